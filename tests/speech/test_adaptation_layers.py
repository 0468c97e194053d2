"""Layers that start afresh inside an adapted recogniser."""

import pytest
import torch
from pydantic import ValidationError

from speechnlp_tl.speech.adaptation import AdaptConfig, LayersConfig, adapt
from speechnlp_tl.speech.adaptation_run import source_fisher
from speechnlp_tl.speech.data_dir import DataDir


def test_a_fresh_head_keeps_the_prior_and_fresh_layers_learn_their_own_statistics(tiny_recogniser, tiny_corpus):
    utterances = list(DataDir.read(tiny_corpus.dev))[:3]
    layers = LayersConfig(copy="first:1", rest="fresh", then_finetune_all=True)
    before = {name: value.clone() for name, value in tiny_recogniser.model.state_dict().items()}
    adapted = adapt(tiny_recogniser, utterances, AdaptConfig(method="layers", layers=layers, steps=4))
    after = adapted.recogniser.model.state_dict()
    assert torch.equal(after["heads.default.prior"], before["heads.default.prior"])
    moved = {name for name in after if name.endswith("running_mean") and not torch.equal(after[name], before[name])}
    means = {name for name in after if name.endswith("running_mean")}
    assert moved == {name for name in means if not name.startswith("encoder.subsampling")}
    assert means - moved
    fresh = next(name for name in moved)
    assert after[fresh].abs().max() > 0


@pytest.mark.parametrize("freeze", [True, False])
def test_copied_layers_stay_as_they_were_only_when_frozen(tiny_recogniser, tiny_corpus, freeze: bool):
    """AnB and AnB+ of Yosinski et al. 2014."""
    utterances = list(DataDir.read(tiny_corpus.dev))[:3]
    layers = LayersConfig(copy="first:1", rest="fresh", freeze=freeze)
    adapted = adapt(tiny_recogniser, utterances, AdaptConfig(method="layers", layers=layers, steps=4))
    name = "encoder.subsampling.convolution.weight"
    copied, source = adapted.recogniser.model.state_dict()[name], tiny_recogniser.model.state_dict()[name]
    assert torch.equal(copied, source) == freeze


@pytest.mark.parametrize(("held", "strength"), [("l2sp", 1e4), ("ewc", 1e9)])
def test_fresh_layers_are_not_drawn_to_those_of_the_source(tiny_recogniser, tiny_corpus, held: str, strength: float):
    utterances = list(DataDir.read(tiny_corpus.dev))[:3]
    layers = LayersConfig(copy="first:1", rest="fresh", freeze=False)
    settings = {"method": f"layers+{held}", "layers": layers, "steps": 40, "learning_rate": 1e-2, held: strength}
    fisher = source_fisher(tiny_recogniser, utterances) if held == "ewc" else None
    adapted = adapt(tiny_recogniser, utterances, AdaptConfig.model_validate(settings), fisher)
    before, after = tiny_recogniser.model.state_dict(), adapted.recogniser.model.state_dict()

    def shift(name: str) -> float:
        return float((after[name] - before[name]).norm() / before[name].norm())

    assert shift("encoder.layers.0.convolution.weight") > 0.5, "random weights are far from others"
    assert shift("encoder.subsampling.convolution.weight") < 0.1


def test_layers_that_are_not_frozen_have_no_second_phase():
    with pytest.raises(ValidationError, match="leave 'then_finetune_all' out"):
        LayersConfig(freeze=False, then_finetune_all=True)
