"""Every method adapts a copy, does what its name says, and leaves the source bit for bit as it was."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from speechnlp_tl.core.config import dump_config, load_config
from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.wer import score
from speechnlp_tl.speech import pronunciation
from speechnlp_tl.speech.adaptation import (
    AdaptConfig,
    Adapted,
    LayersConfig,
    adapt,
    fill_defaults,
    own_transcripts,
)
from speechnlp_tl.speech.adaptation_method import ADAPTERS, HELD_BACK, parse_method
from speechnlp_tl.speech.adaptation_run import source_fisher
from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.dataset import NO_AUGMENTATION, SpeechDataset
from speechnlp_tl.speech.recogniser import Recogniser
from speechnlp_tl.transfer.adapters import attached, detach
from tests.tiny import TinyCorpus

METHODS = (
    *("auto", "finetune", "kld", "l2sp", "ewc", "kld+l2sp+ewc"),
    *("layers", "layers+kld", "layers+l2sp", "layers+ewc"),
    *("lin", "lin+kld", "lhuc", "lhuc+l2sp", "lora", "lora+kld", "lora+l2sp"),
)
OLD_ENOUGH = 2
"""Optimiser steps that show a change without costing time."""


@pytest.fixture(scope="module")
def speech(tiny_corpus: TinyCorpus) -> dict[str, list[Utterance]]:
    names = ("dev", "adaptation", "test")
    return {name: list(DataDir.read(tiny_corpus.root / name)) for name in names}


@pytest.fixture(scope="module")
def fisher(tiny_recogniser: Recogniser, speech: dict[str, list[Utterance]]) -> dict[str, Tensor]:
    return source_fisher(tiny_recogniser, speech["dev"])


@pytest.fixture
def source(tiny_recogniser: Recogniser):
    """The shared recogniser, which no test may change: neither its tensors nor what of it is trained."""
    before = copy.deepcopy(tiny_recogniser.model.state_dict())
    yield tiny_recogniser
    after = tiny_recogniser.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.requires_grad for parameter in tiny_recogniser.model.parameters())
    assert not tiny_recogniser.model.training
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in tiny_recogniser.model.modules())


def weights(adapted: Adapted) -> dict[str, Tensor]:
    return adapted.recogniser.model.state_dict()


def changed(source: Recogniser, adapted: Adapted) -> set[str]:
    """Names of the source's own tensors that adaptation changed."""
    after = weights(adapted)
    return {name for name, value in source.model.state_dict().items() if not torch.equal(value, after[name])}


def outputs(recogniser: Recogniser, utterances: list[Utterance]) -> dict[str, Tensor]:
    """Log posteriors (T, P) of each utterance."""
    dataset = SpeechDataset(utterances, recogniser.config.features)
    prior = -recogniser.log_likelihoods(torch.zeros(()))
    return {name: torch.from_numpy(scores.copy()) + prior for name, scores in recogniser.scores(dataset)}


def wer(recogniser: Recogniser, utterances: list[Utterance]) -> float:
    found = recogniser.transcribe(utterances)
    return score({u.id: u.words for u in utterances}, {name: found[name].words for name in found}).wer


def drift(source: Recogniser, adapted: Recogniser, utterances: list[Utterance]) -> float:
    """Mean Kullback-Leibler divergence per frame of the adapted from the source posteriors."""
    total, frames = 0.0, 0
    q, p = (outputs(recogniser, utterances) for recogniser in (source, adapted))
    for name in q:
        total += float((q[name].exp() * (q[name] - p[name])).sum())
        frames += len(q[name])
    return total / frames


@pytest.mark.parametrize("method", METHODS)
def test_every_method_changes_the_copy_only(source, speech, fisher, method: str):
    config = AdaptConfig(method=method, steps=OLD_ENOUGH)
    adapted = adapt(source, speech["adaptation"][:3], config, fisher)
    parsed = parse_method(fill_defaults(config, adapted.seconds).method)
    assert adapted.method == parsed
    assert adapted.utterances == 3
    moved = changed(source, adapted)
    parameters = dict(source.model.named_parameters())
    assert moved <= set(parameters), "buffers are the source's: running statistics and prior"
    if parsed.trained in ADAPTERS:
        assert not moved
        assert adapted.adapter is not None
        assert adapted.adapter.kind == parsed.trained
    elif parsed.trained == "layers":
        assert moved
        assert adapted.report is not None
        assert not moved & set(adapted.report.names("frozen"))
    else:
        assert moved == set(parameters)
    before, after = outputs(source, speech["dev"]), outputs(adapted.recogniser, speech["dev"])
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert not adapted.recogniser.model.training
    assert all(parameter.requires_grad for parameter in adapted.recogniser.model.parameters())
    assert None not in adapted.settings.model_dump().values()
    assert adapted.result is not None
    assert adapted.result.steps == OLD_ENOUGH


@pytest.mark.parametrize("method", ["kld", "lora", "layers"])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(source, speech, method: str):
    torch.manual_seed(1)
    configs = [AdaptConfig(method=method, steps=4, seed=seed) for seed in (0, 0, 1)]
    one = adapt(source, speech["adaptation"], configs[0])
    torch.randn(7)  # what happened before does not matter
    again = adapt(source, speech["adaptation"], configs[1])
    other = adapt(source, speech["adaptation"], configs[2])
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(one).items())
    assert any(not torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


def test_fine_tuning_learns_a_new_speaker_and_kld_forgets_less(source, speech):
    """The story of the toolkit, in miniature: the new speaker gains, and holding back keeps the old ones."""
    unadapted = wer(source, speech["test"])
    assert unadapted > 30, "the made speaker must be foreign to the source model"
    assert wer(source, speech["dev"]) < 10
    tuned = adapt(source, speech["adaptation"], AdaptConfig(method="finetune", steps=50, learning_rate=3e-2)).recogniser
    held = adapt(
        source, speech["adaptation"], AdaptConfig(method="kld", steps=50, learning_rate=3e-2, kld=0.5)
    ).recogniser
    assert wer(tuned, speech["test"]) < 0.4 * unadapted
    assert wer(held, speech["test"]) < 0.7 * unadapted
    assert drift(source, held, speech["dev"]) < 0.5 * drift(source, tuned, speech["dev"])


def test_the_default_gains_much_and_costs_the_old_speakers_little(source, speech):
    adapted = adapt(source, speech["adaptation"], AdaptConfig()).recogniser
    assert wer(adapted, speech["test"]) < 0.6 * wer(source, speech["test"])
    assert wer(adapted, speech["dev"]) <= wer(source, speech["dev"]) + 3


@pytest.mark.parametrize(("name", "weak", "strong"), [("kld", 0.1, 0.95), ("l2sp", 0.1, 300.0), ("ewc", 1.0, 1e5)])
def test_more_holding_back_stays_closer_to_the_source(source, speech, fisher, name: str, weak: float, strong: float):
    def moved(strength: float) -> float:
        config = AdaptConfig(method=name, steps=15, learning_rate=1e-3, **{name: strength})
        adapted = adapt(source, speech["adaptation"][:4], config, fisher)
        if name == "kld":
            return drift(source, adapted.recogniser, speech["adaptation"][:4])
        after = weights(adapted)
        scale = fisher if name == "ewc" else {key: torch.ones(()) for key in fisher}
        before = source.model.state_dict()
        return sum(float((scale[key] * (after[key] - before[key]).square()).sum()) for key in fisher)

    assert moved(strong) < 0.7 * moved(weak)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_held_back_adapter_stays_closer_to_doing_nothing(source, speech, kind: str):
    def moved(l2sp: float) -> float:
        config = AdaptConfig(method=f"{kind}+l2sp", steps=15, l2sp=l2sp)
        adapted = adapt(source, speech["adaptation"][:4], config)
        return drift(source, adapted.recogniser, speech["adaptation"][:4])

    assert moved(1e4) < 0.5 * moved(1e-3)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_detached_adapter_leaves_the_base_outputs(source, speech, kind: str):
    adapted = adapt(source, speech["adaptation"][:3], AdaptConfig(method=kind, steps=3)).recogniser
    before, adapted_outputs = outputs(source, speech["dev"]), outputs(adapted, speech["dev"])
    assert any(not torch.equal(before[name], adapted_outputs[name]) for name in before)
    detach(adapted.model)
    assert not attached(adapted.model)
    after = outputs(adapted, speech["dev"])
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert adapted.model.state_dict().keys() == source.model.state_dict().keys()


def test_adaptation_to_nothing_new_keeps_batch_statistics(source, speech):
    """Running statistics are the source's even when every weight is trained."""
    adapted = adapt(source, speech["adaptation"][:2], AdaptConfig(method="finetune", steps=5))
    buffers = dict(source.model.named_buffers())
    assert any("running_mean" in name for name in buffers), "the tiny model must have batch normalisation"
    assert all(torch.equal(value, weights(adapted)[name]) for name, value in buffers.items())


def test_kept_layers_are_the_source_s_and_the_rest_is_trained(source, speech):
    config = AdaptConfig(method="layers", steps=3, layers=LayersConfig(copy="last:2"))
    adapted = adapt(source, speech["adaptation"][:3], config)
    assert adapted.report is not None
    assert adapted.report.counts()["fresh"] == 0
    moved = changed(source, adapted)
    assert {name.rpartition(".")[0] for name in moved} >= {
        "encoder.subsampling.convolution",
        "encoder.layers.0.convolution",
    }
    assert not any(name.startswith(("heads.", "encoder.layers.2.")) for name in moved)


def test_fresh_layers_start_anew_and_are_reported(source, speech):
    config = AdaptConfig(
        method="layers", steps=1, learning_rate=1e-12, layers=LayersConfig(copy="first:3", rest="fresh")
    )
    adapted = adapt(source, speech["adaptation"][:3], config)
    assert adapted.report is not None
    counts = adapted.report.counts()
    assert counts["copied"] > 0
    assert counts["fresh"] > 0
    assert "heads.default.linear.weight" in adapted.report.names("fresh")
    before, after = source.model.state_dict(), weights(adapted)
    assert not torch.allclose(before["heads.default.linear.weight"], after["heads.default.linear.weight"], atol=1e-3)
    assert "fresh" in adapted.report.table()


def test_fine_tuning_all_comes_after_the_rest(source, speech, monkeypatch: pytest.MonkeyPatch):
    """Two phases that share the steps: first the copied layers stand still, then everything moves."""
    from speechnlp_tl.speech import adaptation

    phases = []

    class Spy(adaptation.Trainer):
        def fit(self):
            model = self.task.model
            still = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
            before = copy.deepcopy(model.state_dict())
            result = super().fit()
            moved = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
            phases.append((still, moved, result.steps))
            return result

    monkeypatch.setattr(adaptation, "Trainer", Spy)
    layers = LayersConfig(copy="last:2", then_finetune_all=True)
    adapted = adapt(source, speech["adaptation"][:3], AdaptConfig(method="layers", steps=6, layers=layers))
    (frozen, moved, first), (nothing, all_moved, second) = phases
    parameters = set(dict(source.model.named_parameters()))
    assert frozen
    assert not moved & frozen
    assert nothing == set()
    assert all_moved == parameters
    assert (first, second) == (3, 3)
    assert changed(source, adapted) == parameters


def test_ewc_needs_the_source_s_importance(source, speech):
    with pytest.raises(InputError, match="Fisher information"):
        adapt(source, speech["adaptation"][:1], AdaptConfig(method="ewc", steps=1))


# Unsupervised.


def test_unsupervised_adaptation_never_reads_the_transcripts(source, speech):
    untold = [copy.copy(utterance) for utterance in speech["adaptation"]]
    lied = [Utterance(u.id, u.speaker, u.audio, "sam sam sam") for u in untold]
    blank = [Utterance(u.id, u.speaker, u.audio) for u in untold]
    config = AdaptConfig(unsupervised=True, steps=3, confidence=0.1)
    lies, nothing = adapt(source, lied, config), adapt(source, blank, config)
    assert all(torch.equal(value, weights(nothing)[name]) for name, value in weights(lies).items())


def test_unsupervised_adaptation_on_what_is_understood_equals_supervised(source, speech):
    """On speech that the source recognises without error its hypotheses are the transcripts."""
    assert wer(source, speech["dev"]) == 0
    supervised = adapt(source, speech["dev"], AdaptConfig(steps=3))
    own = adapt(source, speech["dev"], AdaptConfig(steps=3, unsupervised=True, confidence=0.0))
    assert all(torch.equal(value, weights(own)[name]) for name, value in weights(supervised).items())


def test_only_trusted_hypotheses_are_learned_from(source, speech):
    confidences = {
        name: found.confidence for name, found in source.transcribe(speech["adaptation"], confidence=True).items()
    }
    threshold = sorted(confidences.values())[4]
    trusted, left_out = own_transcripts(source, speech["adaptation"], threshold)
    assert {utterance.id for utterance in trusted} == {n for n, c in confidences.items() if c >= threshold}
    assert set(left_out) == {n for n, c in confidences.items() if c < threshold}
    adapted = adapt(source, speech["adaptation"], AdaptConfig(unsupervised=True, confidence=threshold, steps=1))
    assert adapted.left_out == left_out
    assert adapted.utterances == len(trusted)


def test_no_trusted_hypothesis_is_an_error_that_says_how_far_it_was(source, speech):
    config = AdaptConfig(unsupervised=True, confidence=1.0, steps=1)
    doubtful = [u for u in speech["adaptation"] if source.transcribe([u], confidence=True)[u.id].confidence < 0.98]
    assert doubtful
    with pytest.raises(InputError, match=r"no hypothesis has a confidence of 1\.00; the best has 0\.\d\d.*lower the"):
        adapt(source, doubtful, config)


# Names and defaults.


@pytest.mark.parametrize(
    ("name", "trained", "held_back", "shown"),
    [
        ("finetune", "finetune", (), "finetune"),
        ("kld", "finetune", ("kld",), "kld"),
        ("finetune+kld", "finetune", ("kld",), "kld"),
        ("layers+kld", "layers", ("kld",), "layers+kld"),
        ("kld+layers", "layers", ("kld",), "layers+kld"),
        ("l2sp+lora+kld", "lora", ("l2sp", "kld"), "lora+l2sp+kld"),
    ],
)
def test_method_names_are_read(name: str, trained: str, held_back: tuple[str, ...], shown: str):
    method = parse_method(name)
    assert (method.trained, method.held_back, method.name) == (trained, held_back, shown)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("finetun", "did you mean 'finetune'"),
        ("layers+kdl", "did you mean 'kld'"),
        ("", "there is no adaptation method ''"),
        ("kld+", "there is no adaptation method ''"),
        ("lora+lhuc+lin", "lora and lhuc and lin cannot be combined"),
        ("kld+kld", "named twice"),
        ("lhuc+ewc", "which lhuc never changes"),
    ],
)
def test_impossible_methods_are_explained(name: str, said: str):
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        parse_method(name)


def test_every_mistake_in_a_method_name_is_listed():
    with pytest.raises(InputError) as caught:
        parse_method("magic+lora+lhuc+ewc+ewc")
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize("method", METHODS)
def test_what_the_user_fixed_stays_and_the_rest_is_filled(method: str):
    fixed = AdaptConfig(method=method, steps=7, learning_rate=0.5, optimizer="adamw", kld=0.0, l2sp=0.0, ewc=0.0)
    fixed = fixed.model_copy(update={"augment": NO_AUGMENTATION})
    filled = fill_defaults(fixed, 10.0)
    assert filled.model_dump(exclude={"method"}) == fixed.model_dump(exclude={"method"})
    opened = fill_defaults(AdaptConfig(method=method), 10.0)
    assert all(getattr(opened, name) is not None for name in ("steps", "learning_rate", "optimizer", *HELD_BACK))


def test_more_speech_is_trusted_more():
    few, many = (fill_defaults(AdaptConfig(method="kld"), seconds) for seconds in (2.0, 200.0))
    assert few.kld is not None
    assert many.kld is not None
    assert few.steps is not None
    assert many.steps is not None
    assert many.kld < few.kld
    assert many.steps >= few.steps


def test_settings_survive_the_disk(source, speech, tmp_path):
    config = AdaptConfig(method="layers+kld", steps=2, layers=LayersConfig(copy="first:2", rest="copied"))
    adapted = adapt(source, speech["adaptation"][:2], config)
    path = tmp_path / "adaptation.yaml"
    path.write_text(dump_config(adapted.settings), encoding="utf-8")
    assert "copy: first:2" in path.read_text(encoding="utf-8").replace("'", "")
    loaded = load_config(path, AdaptConfig)
    assert loaded == adapted.settings
    again = adapt(source, speech["adaptation"][:2], loaded)
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(adapted).items())


def test_words_and_lengths_are_checked_before_training(source, speech):
    first = speech["adaptation"][0]
    unknown, long = replace(first, text="asi yes"), replace(first, text="asi " * 100)
    with pytest.raises(InputError, match=r"yes .*no pronunciation"):
        adapt(source, [unknown], AdaptConfig(steps=1))
    with pytest.raises(InputError, match="needs 600 frames"):
        adapt(source, [long], AdaptConfig(steps=1))


def test_the_default_is_conservative_at_any_amount_of_speech():
    filled = [fill_defaults(AdaptConfig(), seconds) for seconds in (0.5, 30.0, 3600.0)]
    assert [one.method for one in filled] == ["kld"] * 3
    assert [one.kld for one in filled] == pytest.approx([0.7, 0.607, 0.1], abs=0.001)


@pytest.mark.parametrize(
    ("method", "rest", "optimizer"),
    [
        *(("finetune", "copied", "sgd"), ("kld", "fresh", "sgd"), ("layers+kld", "copied", "sgd")),
        *(("layers", "fresh", "adamw"), ("lhuc", "copied", "adamw"), ("lora+kld", "copied", "adamw")),
    ],
)
def test_weights_of_the_source_are_moved_by_sgd_new_ones_by_adamw(method: str, rest: str, optimizer: str):
    filled = fill_defaults(AdaptConfig(method=method, layers=LayersConfig(rest=rest)), 10.0)
    assert filled.optimizer == optimizer


def test_words_that_the_lexicon_lacks_are_learned_from_when_espeak_can_say_them(source, speech, monkeypatch):
    """`wham` is made of phones the model has, `zap` is not: the first is learned from, the second is an error."""
    spoken = list(speech["adaptation"][:3])
    spoken[1] = replace(spoken[1], text=spoken[1].text.replace(spoken[1].words[0], "wham"))
    (phones, *_) = source.lexicon.pronunciations(source.lexicon.words[0])
    said = {"wham": phones, "zap": (*phones, "ZH")}

    def guesses(words, language, phone_map, inventory):
        assert language == "en-us"
        return {word: (said[word], "") for word in words}

    monkeypatch.setattr(pronunciation, "_guess", guesses)
    quick = AdaptConfig(steps=1)
    with pytest.raises(InputError, match=r"word wham .* has no pronunciation"):
        adapt(source, spoken, quick)
    english = replace(source, config=source.config.model_copy(update={"language": "en-us"}))
    adapted = adapt(english, spoken, quick)
    assert adapted.guessed == {"wham": phones}
    assert "wham" not in adapted.recogniser.lexicon
    assert wer(adapted.recogniser, speech["test"]) < 100
    spoken[2] = replace(spoken[2], text="zap")
    with pytest.raises(InputError, match=r"word zap .* has no pronunciation"):
        adapt(english, spoken, quick)
