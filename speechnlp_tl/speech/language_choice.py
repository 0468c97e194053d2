"""Which of a model's languages an utterance is in, by how well each language's recogniser explains it.

The heads of two languages have softmaxes of their own, so their scores cannot be compared as they are. A language's
score of an utterance is therefore that of its best path less that of its best states without any word, language model
or topology, per frame, as in confidence measures (Young 1994); and it is compared with the same score of the
language's own speech: the language with the largest (score - mean) / deviation is chosen. Both numbers are measured in
training, on dev speech; those of a language that was added later on what it was learned from, which scores better than
other speech will: it is chosen somewhat too rarely.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.decoder import Hypothesis
from speechnlp_tl.speech.multilingual import MultilingualRecogniser, ScoreStatistics
from speechnlp_tl.speech.multilingual_task import by_language, language_problems
from speechnlp_tl.speech.recogniser import Recogniser, scores_of

LEAST_DEVIATION = 0.01
"""Nats per frame: few utterances may agree by chance."""


@dataclass(frozen=True)
class Choice:
    """The language chosen, what was understood in it, and each language's standardised score."""

    language: str
    hypothesis: Hypothesis
    scores: dict[str, float]


def path_score(scores: npt.NDArray[np.float32], hypothesis: Hypothesis) -> float:
    """Log score per frame of the best path, less that of the best states; -inf without a complete path or frames.

    Args:
        scores: (T, P) log-likelihoods that `hypothesis` was found in.
    """
    if not len(scores) or not hypothesis.complete:
        return -math.inf
    return (hypothesis.score - float(scores.max(axis=1).sum())) / len(scores)


def score_statistics(recogniser: Recogniser, speech: SpeechDataset) -> ScoreStatistics | None:
    """Mean and deviation of `path_score` over a language's own speech; None where nothing could be decoded."""
    found = [path_score(scores, recogniser.decoder.decode(scores, False)) for _, scores in recogniser.scores(speech)]
    finite = [value for value in found if math.isfinite(value)]
    if not finite:
        return None
    return ScoreStatistics(mean=float(np.mean(finite)), deviation=max(float(np.std(finite)), LEAST_DEVIATION))


def choose_language(
    recognisers: MultilingualRecogniser, utterances: Sequence[Utterance], allow_pipes: bool = False
) -> dict[str, Choice]:
    """Decode every utterance in every language and keep the one that fits best, by utterance id.

    Raises:
        InputError: languages whose scores have no statistics; lists all.
    """
    statistics = {name: own.scores for name, own in recognisers.config.languages.items()}
    lacking = [name for name, found in statistics.items() if found is None]
    if lacking:
        what = "has no scores to compare with: it had no dev speech, or its layers were trained on afterwards"
        remedy = "say the language with --lang, or add languages with new-language+frozen or with --source-data"
        raise InputError([Problem(f"language {name} {what}", remedy=remedy) for name in lacking])
    dataset = SpeechDataset(utterances, recognisers.config.features, allow_pipes=allow_pipes)
    scored: dict[str, dict[str, tuple[float, Hypothesis]]] = {utterance.id: {} for utterance in utterances}
    for utterance, of_languages in scores_of(recognisers.languages, dataset):
        for name, scores in of_languages.items():
            own = statistics[name]
            assert own is not None
            hypothesis = recognisers.languages[name].decoder.decode(scores, False)
            standardised = (path_score(scores, hypothesis) - own.mean) / own.deviation
            scored[utterance][name] = (standardised, hypothesis)
    return {name: _best(of) for name, of in scored.items()}


def _best(of: dict[str, tuple[float, Hypothesis]]) -> Choice:
    best = max(of, key=lambda name: of[name][0])
    return Choice(best, of[best][1], {name: value for name, (value, _) in of.items()})


def transcribe_languages(
    recognisers: MultilingualRecogniser,
    utterances: Sequence[Utterance],
    languages: Mapping[str, str],
    allow_pipes: bool = False,
    confidence: bool = False,
) -> dict[str, Hypothesis]:
    """Decode every utterance in the language that `languages` has for its id, in the order given.

    Raises:
        InputError: utterances without a language, or with one that the model lacks; lists all.
    """
    told = [replace(utterance, language=languages.get(utterance.id) or None) for utterance in utterances]
    problems = [
        Problem(problem.what, remedy=f"{problem.remedy}; or give --lang, which may be auto")
        for problem in language_problems(told, recognisers.languages)
    ]
    if problems:
        raise InputError(problems)
    found: dict[str, Hypothesis] = {}
    for name, speech in by_language(told, recognisers.config.features, allow_pipes=allow_pipes).items():
        found |= recognisers.language(name).transcribe(speech, confidence=confidence)
    return {utterance.id: found[utterance.id] for utterance in utterances}
