"""Strength chosen by cross-validation: never worse than not adapting, and only adaptation speech is looked at."""

from __future__ import annotations

import pytest
import torch

from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.wer import score
from speechnlp_tl.speech import audio, dataset, selection
from speechnlp_tl.speech.adaptation import AdaptConfig, adapt, fill_defaults
from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.recogniser import Recogniser
from speechnlp_tl.speech.selection import Trial, best_of, candidates, cross_validate
from tests.tiny import TinyCorpus

STRONG = AdaptConfig(method="kld", steps=25, learning_rate=3e-2)
"""Leaves rho to be chosen: three candidates."""


@pytest.fixture(scope="module")
def adaptation(tiny_corpus: TinyCorpus) -> list[Utterance]:
    return list(DataDir.read(tiny_corpus.adaptation))


def select(recogniser: Recogniser, utterances: list[Utterance], config: AdaptConfig, folds: int = 4):
    """The chosen config, None for the source as it is, and all trials."""
    trials: list[Trial] = list(cross_validate(recogniser, utterances, config, folds))
    return best_of(trials).config, trials


def errors(recogniser: Recogniser, utterances: list[Utterance]) -> float:
    found = recogniser.transcribe(utterances)
    return score({u.id: u.words for u in utterances}, {name: found[name].words for name in found}).wer


def test_what_helps_on_the_folds_is_chosen(tiny_recogniser: Recogniser, adaptation: list[Utterance]):
    chosen, trials = select(tiny_recogniser, adaptation, STRONG, folds=2)
    unadapted, *others = trials
    assert unadapted.config is None
    assert unadapted.wer == errors(tiny_recogniser, adaptation)
    assert len(others) == 3
    assert chosen is not None
    best = min(trial.wer for trial in trials)
    assert best < unadapted.wer
    assert next(trial for trial in trials if trial.config is chosen).wer == best


def test_each_fold_is_scored_by_a_model_that_has_not_heard_it(
    tiny_recogniser: Recogniser, adaptation: list[Utterance], monkeypatch: pytest.MonkeyPatch
):
    """The rate of a candidate is that of models adapted on the other folds, pooled over all utterances."""
    heard = []

    def spy(recogniser, utterances, config, *arguments, **options):
        adapted = adapt(recogniser, utterances, config, *arguments, **options)
        heard.append((adapted.recogniser, {utterance.id for utterance in utterances}))
        return adapted

    monkeypatch.setattr(selection, "adapt", spy)
    some = adaptation[:5]
    fixed = AdaptConfig(method="finetune", steps=5, learning_rate=1e-3)
    _, (_, trial) = select(tiny_recogniser, some, fixed, folds=4)
    assert len(heard) == 4
    everything = {utterance.id for utterance in some}
    held_out = [everything - ids for _, ids in heard]
    assert set.union(*held_out) == everything
    assert sum(map(len, held_out)) == len(everything), "each utterance is held out once"
    found = {}
    for (recogniser, _), names in zip(heard, held_out, strict=True):
        found |= recogniser.transcribe([utterance for utterance in some if utterance.id in names])
    assert trial.wer == score({u.id: u.words for u in some}, {name: found[name].words for name in found}).wer


def test_the_source_stays_when_nothing_is_better(tiny_recogniser: Recogniser, tiny_corpus: TinyCorpus):
    """On speakers whom the source understands without error no candidate can win; ties go to leaving it alone."""
    known = list(DataDir.read(tiny_corpus.dev))[:4]
    before = {name: value.clone() for name, value in tiny_recogniser.model.state_dict().items()}
    chosen, trials = select(tiny_recogniser, known, AdaptConfig(method="kld", steps=2, learning_rate=1e-5), folds=2)
    assert trials[0].wer == 0
    assert chosen is None
    assert all(torch.equal(value, before[name]) for name, value in tiny_recogniser.model.state_dict().items())


def test_a_candidate_that_harms_is_never_chosen(tiny_recogniser: Recogniser, adaptation: list[Utterance]):
    harmful = AdaptConfig(method="finetune", steps=5, learning_rate=10.0)
    chosen, trials = select(tiny_recogniser, adaptation[:4], harmful, folds=2)
    assert trials[1].wer > trials[0].wer
    assert chosen is None


def test_ties_go_to_the_candidate_that_changes_less(
    tiny_recogniser: Recogniser, adaptation: list[Utterance], monkeypatch: pytest.MonkeyPatch
):
    rates = iter([50.0, 20.0, 20.0, 20.0])
    monkeypatch.setattr(selection, "_error", lambda *arguments: next(rates))
    weak = AdaptConfig(method="kld", steps=1, learning_rate=1e-5)
    chosen, trials = select(tiny_recogniser, adaptation[:2], weak, folds=2)
    assert chosen is trials[1].config
    assert chosen is not None
    assert chosen.kld == max(trial.config.kld for trial in trials[1:] if trial.config and trial.config.kld)


def test_only_adaptation_speech_is_read(
    tiny_recogniser: Recogniser, adaptation: list[Utterance], monkeypatch: pytest.MonkeyPatch
):
    read = set()

    def spy(path, *arguments, **options):
        read.add(str(path))
        return audio.read_audio(path, *arguments, **options)

    monkeypatch.setattr(dataset, "read_audio", spy)
    fixed = AdaptConfig(method="finetune", steps=1, learning_rate=1e-4)
    select(tiny_recogniser, adaptation[:3], fixed, folds=3)
    assert read == {utterance.audio for utterance in adaptation[:3]}


@pytest.mark.parametrize("method", ["auto", "finetune", "lhuc", "lora+kld", "layers"])
def test_candidates_surround_the_defaults_weakest_first(method: str):
    config = AdaptConfig(method=method)
    default = fill_defaults(config, 30.0)
    found = candidates(config, 30.0)
    assert len({one.model_dump_json() for one in found}) == len(found)
    assert {one.steps for one in found} >= {default.steps}
    assert {one.learning_rate for one in found} >= {default.learning_rate}
    assert len({one.kld for one in found}) == (3 if "kld" in default.method_parts else 1)
    strengths = [(one.steps or 0) * (one.learning_rate or 0) * (1 - (one.kld or 0)) for one in found]
    assert strengths == sorted(strengths)


def test_what_the_user_fixed_is_the_same_in_all_candidates():
    fixed = AdaptConfig(method="kld", steps=3, learning_rate=0.1, kld=0.4, seed=5)
    (only,) = candidates(fixed, 30.0)
    assert (only.steps, only.learning_rate, only.kld, only.seed) == (3, 0.1, 0.4, 5)


def test_one_utterance_or_no_transcripts_cannot_be_cross_validated(
    tiny_recogniser: Recogniser, adaptation: list[Utterance]
):
    with pytest.raises(InputError, match="at least two utterances"):
        select(tiny_recogniser, adaptation[:1], AdaptConfig())
    with pytest.raises(InputError, match="needs transcripts"):
        select(tiny_recogniser, adaptation[:2], AdaptConfig(unsupervised=True))
