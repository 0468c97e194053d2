"""Layers that start afresh inside an adapted recogniser."""

import pytest
import torch

from speechnlp_tl.speech.adaptation import AdaptConfig, LayersConfig, adapt
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
