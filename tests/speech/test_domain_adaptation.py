"""Adaptation to audio without transcripts: it does what it says to features, and never looks at the target's words."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import replace
from statistics import mean

import pytest
import torch
from torch import Tensor

from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.wer import score
from speechnlp_tl.speech.adaptation import AdaptConfig, Adapted, LayersConfig, adapt, fill_defaults
from speechnlp_tl.speech.adaptation_method import DOMAIN, parse_method
from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.domain_adaptation import DomainConfig, adapt_statistics, domain_terms
from speechnlp_tl.speech.recogniser import Recogniser
from speechnlp_tl.transfer.discrepancy import mmd
from tests.tiny import TinyCorpus

Speech = dict[str, list[Utterance]]


@pytest.fixture(scope="module")
def speech(tiny_corpus: TinyCorpus) -> Speech:
    return {name: list(DataDir.read(tiny_corpus.root / name)) for name in ("train", "dev", "adaptation", "test")}


@pytest.fixture
def source(tiny_recogniser: Recogniser):
    before = copy.deepcopy(tiny_recogniser.model.state_dict())
    yield tiny_recogniser
    after = tiny_recogniser.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before), "adaptation changes a copy"
    assert not any(module._forward_pre_hooks for module in tiny_recogniser.model.modules())


def adapted_by(method: str, source: Recogniser, speech: Speech, **settings) -> Adapted:
    config = AdaptConfig(method=method, **settings)
    return adapt(source, speech["adaptation"], config, source_speech=speech["train"][:30])


def weights(recogniser: Recogniser) -> dict[str, Tensor]:
    return recogniser.model.state_dict()


def same(one: Recogniser, other: Recogniser) -> bool:
    return all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


def wer(recogniser: Recogniser, utterances: list[Utterance]) -> float:
    found = recogniser.transcribe(utterances)
    return score({u.id: u.words for u in utterances}, {name: found[name].words for name in found}).wer


@torch.no_grad()
def frames(recogniser: Recogniser, utterances: list[Utterance], layer: str) -> Tensor:
    """(N, D) activations of every frame, each utterance by itself."""
    dataset = SpeechDataset(utterances, recogniser.config.features)
    rows = [dataset.plain(row).unsqueeze(0) for row in range(len(dataset))]
    return torch.cat([recogniser.model(x, torch.tensor([x.shape[1]])).hidden[layer][0] for x in rows])


def distance(recogniser: Recogniser, speech: Speech, layer: str = "layer4") -> float:
    """MMD between frames of old speakers and of the new one, none of them heard in adaptation."""
    old, new = (frames(recogniser, speech[name], layer)[::3] for name in ("dev", "test"))
    return float(mmd(old, new, estimator="biased", multiples=(1.0,), bandwidth=float(old.shape[1])))


def mistuned(recogniser: Recogniser) -> Recogniser:
    """A planted shift: batch statistics of some other speech than the recogniser will hear."""
    model = copy.deepcopy(recogniser.model)
    generator = torch.Generator().manual_seed(0)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            scale = model.get_buffer(name.replace("running_mean", "running_var")).sqrt()
            buffer += 1.5 * scale * torch.randn(buffer.shape, generator=generator)
        elif name.endswith("running_var"):
            buffer *= torch.exp(torch.randn(buffer.shape, generator=generator))
    return recogniser.with_model(model)


def test_adabn_repairs_a_planted_shift_from_audio_alone(source, speech):
    broken = mistuned(source)
    audio = [replace(utterance, text=None) for utterance in speech["dev"]]
    repaired = adapt(broken, audio, AdaptConfig(method="adabn", domain=DomainConfig(source_seconds=0.0)))
    errors = [wer(recogniser, speech["train"][:20]) for recogniser in (source, broken, repaired.recogniser)]
    assert errors[1] > 30
    assert errors[2] < errors[0] + 5
    moved = {
        name for name, value in weights(broken).items() if not torch.equal(value, weights(repaired.recogniser)[name])
    }
    assert moved
    assert all(name.endswith(("running_mean", "running_var")) for name in moved)


def test_adabn_counts_frames_not_padding_and_not_batches(source, speech):
    """The first layer's statistics are the mean and variance of all real frames, beside the source's share."""
    found: list[Tensor] = []
    norm = source.model.encoder.subsampling.norm.norm
    handle = norm.register_forward_hook(lambda module, inputs, output: found.append(inputs[0].detach().double()))
    frames(source, speech["dev"], "layer1")
    handle.remove()
    rows = torch.cat(found)
    seconds = 4.0
    adapted, heard = adapt_statistics(source, speech["dev"], seconds)
    share = heard / (heard + seconds)
    expected = (1 - share) * norm.running_mean + share * rows.mean(0)
    after = adapted.model.encoder.subsampling.norm.norm
    torch.testing.assert_close(after.running_mean, expected.float(), rtol=1e-4, atol=1e-4)
    variance = (1 - share) * norm.running_var + share * rows.var(0)
    torch.testing.assert_close(after.running_var, variance.float(), rtol=1e-4, atol=1e-4)


def test_endless_source_seconds_are_the_source(source, speech):
    adapted, _ = adapt_statistics(source, speech["adaptation"], 1e12)
    for name, value in weights(source).items():
        torch.testing.assert_close(weights(adapted)[name], value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "weight", "layer", "rate"),
    [
        ("mmd", 300.0, "layer2", 2e-3),
        ("mkmmd", 300.0, "layer2", 2e-3),
        ("coral", 1e4, "layer2", 2e-3),
        ("dann", 10.0, "layer4", 4e-3),
    ],
)
def test_the_term_brings_unheard_speech_of_both_closer_and_weight_0_does_not(
    source, speech, method: str, weight: float, layer: str, rate: float
):
    settings = {"steps": 40 if method != "dann" else 60, "learning_rate": rate}
    control, adapted = (
        adapted_by(method, source, speech, domain=DomainConfig(weight=strength), **settings).recogniser
        for strength in (0.0, weight)
    )
    before, without, after = (distance(one, speech, layer) for one in (source, control, adapted))
    assert after < 0.7 * without, (before, without, after)
    assert after < 0.7 * before, (before, without, after)


def test_a_planted_tilt_of_the_spectrum_is_unlearnt_from_its_audio_and_not_with_weight_0(source, speech, monkeypatch):
    """Every frame of the target is moved in one direction, after normalisation, which would take the tilt off."""
    straight = SpeechDataset._features

    def features(self: SpeechDataset, row: int, speed: float, warp: float) -> Tensor:
        found = straight(self, row, speed, warp)
        tilted = self.utterances[row].id.endswith("-tilted")
        return found + 2.0 * torch.linspace(1, -1, found.shape[1]) if tilted else found

    monkeypatch.setattr(SpeechDataset, "_features", features)
    target, unheard = (
        [replace(utterance, id=f"{utterance.id}-tilted") for utterance in utterances]
        for utterances in (speech["train"][30:], speech["dev"])
    )
    control, adapted = (
        adapted_by("mmd", source, {**speech, "adaptation": target}, steps=40, learning_rate=2e-3, domain=domain)
        for domain in (DomainConfig(weight=0.0), DomainConfig())
    )
    assert wer(source, speech["dev"]) < 5
    before, without, after = (
        wer(recogniser, unheard) for recogniser in (source, control.recogniser, adapted.recogniser)
    )
    assert min(before, without) > 40, (before, without, after)
    assert after < 15, (before, without, after)
    assert wer(adapted.recogniser, speech["dev"]) < 10, "the source is not forgotten"


def test_danns_classifier_loses_against_a_strong_model_and_wins_against_a_weak_one(source, speech, tmp_path):
    """Averaged over the run and over both domains; 50 % is guessing."""

    def accuracy(weight: float) -> float:
        folder, config = tmp_path / str(weight), DomainConfig(weight=weight)
        settings = AdaptConfig(method="dann", steps=60, learning_rate=4e-3, domain=config)
        adapt(source, speech["adaptation"], settings, source_speech=speech["train"][:30], directory=folder)
        records = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
        # at step 1 lambda is 0 and the term rests; afterwards there is a record of every ten steps
        return mean(record["dann_domain_accuracy"] for record in records if "loss" in record and record["step"] > 1)

    weak, strong = accuracy(0.01), accuracy(10.0)
    assert weak > 57, (weak, strong)
    assert strong < 54, (weak, strong)


@pytest.mark.parametrize("method", ["adabn", "dann+adabn", "mmd", "coral+l2sp", "layers+mmd", "lin+dann"])
def test_no_transcript_of_the_target_matters(source, speech, method: str):
    """Removed, shuffled or of unknown words: bit for bit the same weights."""
    texts = [utterance.text for utterance in speech["adaptation"]]
    random.Random(0).shuffle(texts)
    variants = [
        speech["adaptation"],
        [replace(utterance, text=None) for utterance in speech["adaptation"]],
        [replace(utterance, text=text) for utterance, text in zip(speech["adaptation"], texts, strict=True)],
        [replace(utterance, text="no such words " * 99) for utterance in speech["adaptation"]],
    ]
    config = AdaptConfig(method=method, steps=2)
    found = [adapt(source, one, config, source_speech=speech["train"][:6]).recogniser for one in variants]
    assert all(same(found[0], other) for other in found[1:])
    other = adapt(source, speech["test"], config, source_speech=speech["train"][:6]).recogniser
    assert not same(found[0], other), "the audio does matter"


def test_statistics_and_prior_stay_the_sources_unless_adabn_is_named(source, speech):
    without = weights(adapted_by("mmd", source, speech, steps=2).recogniser)
    with_ = weights(adapted_by("mmd+adabn", source, speech, steps=2).recogniser)
    for name, buffer in source.model.named_buffers():
        assert torch.equal(without[name], buffer)
        assert torch.equal(with_[name], buffer) != name.endswith(("running_mean", "running_var")), name
    trained = [name for name, _ in source.model.named_parameters()]
    assert all(torch.equal(without[name], with_[name]) for name in trained)


def test_adapters_learn_without_transcripts_too(source, speech):
    adapted = adapted_by("lin+mmd", source, speech, steps=3)
    assert adapted.adapter is not None
    base = source.model.state_dict()
    assert all(torch.equal(value, weights(adapted.recogniser)[name]) for name, value in base.items())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dann+mmd", "dann and mmd cannot be combined"),
        ("adabn+kld", "adabn looks at audio alone and kld at transcripts"),
        ("lora+adabn", "adabn looks at audio alone and lora at transcripts"),
        ("lora+mmd+adabn", "adabn changes the source's statistics, which an adapter such as lora leaves"),
        ("mmd+kld", "leave kld and ewc out, or take mmd\\+l2sp"),
        ("dann+ewc", "leave kld and ewc out"),
        ("dan", "did you mean 'dann'"),
        ("adabn+adabn", "named twice"),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, said: str):
    with pytest.raises(InputError, match=said):
        parse_method(name)


@pytest.mark.parametrize("name", ["adabn", "mmd+adabn", "dann+l2sp+adabn", "lin+coral", "layers+dann"])
def test_names_are_read_and_said_alike(name: str):
    method = parse_method(name)
    assert parse_method(method.name) == method
    assert not method.needs_transcripts
    assert (method.needs_source_speech is None) == (name == "adabn")
    assert set(method.name.split("+")) == set(name.split("+"))


def test_source_speech_is_asked_for(source, speech):
    for method in DOMAIN:
        with pytest.raises(InputError, match="--source-data"):
            adapt(source, speech["adaptation"], AdaptConfig(method=method))


def test_hypotheses_are_not_learned_from_at_the_same_time(source, speech):
    with pytest.raises(InputError, match="not from hypotheses"):
        adapted_by("adabn", source, speech, unsupervised=True)


def test_layers_are_checked_before_training(source):
    with pytest.raises(InputError, match=r"no layer 'layer9'.*layer1, layer2, layer3, layer4"):
        domain_terms("mmd", DomainConfig(layers=["layer9"]), source.model, 0)
    with pytest.raises(InputError, match="looks at one layer"):
        domain_terms("dann", DomainConfig(layers=["layer1", "layer2"]), source.model, 0)


def test_an_encoder_without_batch_normalisation_is_refused_by_name(make_recogniser, speech):
    with pytest.raises(InputError, match="adabn needs batch normalisation"):
        adapt_statistics(make_recogniser(encoder={"norm": "layer"}), speech["adaptation"], 0.0)


def test_the_rate_fits_what_is_trained_and_how():
    def rate(method: str, **settings) -> float | None:
        return fill_defaults(AdaptConfig(method=method, **settings), 10.0).learning_rate

    assert rate("mmd") == 1e-4
    assert rate("mmd", optimizer="sgd") == rate("kld")
    assert rate("lhuc+mmd") == rate("lhuc")
    assert rate("layers+mmd", layers=LayersConfig(rest="fresh")) == rate("layers", layers=LayersConfig(rest="fresh"))


def test_what_the_user_sets_stays_set():
    filled = fill_defaults(AdaptConfig(method="dann", steps=7, learning_rate=0.5, optimizer="sgd"), 10.0)
    assert (filled.steps, filled.learning_rate, filled.optimizer) == (7, 0.5, "sgd")
