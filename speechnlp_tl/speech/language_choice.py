"""Which of a model's languages an utterance is in, by how well each language's recogniser explains it.

The heads of two languages have softmaxes of their own, so their scores cannot be compared as they are. A language's
score of an utterance is therefore that of its best path less that of its best states without any word, language model
or topology, per frame, as in confidence measures (Young 1994). It becomes the log odds that the utterance is in this
language and no other, by the scores that speech of this language and of the others had: two normal distributions of one
variance (a linear discriminant). The language with the largest log odds is chosen.

The statistics are measured in training, on dev speech. Those of a language that was added later are measured on what it
was learned from, which scores better than other speech will, and on other languages' speech where that was given; where
it was not, others are taken to score as far below as they do in the model's other languages.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.data_split import spread
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.decoder import Hypothesis
from speechnlp_tl.speech.multilingual import MultilingualRecogniser, ScoreStatistics
from speechnlp_tl.speech.multilingual_task import by_language, language_problems
from speechnlp_tl.speech.recogniser import scores_of

LEAST_DEVIATION = 0.01
"""Nats per frame: few utterances may agree by chance."""
USUAL_OTHERS = (0.8, 0.25)
"""Nats per frame that other languages' speech scores below a language's own, and its deviation: about the average of
English, Arabic, Mandarin and Hebrew, for models none of whose languages has heard another."""
MEASURED = 100
"""Utterances of each language."""


@dataclass(frozen=True)
class Choice:
    """The language chosen, what was understood in it, and each language's log odds."""

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


def measure_scores(
    recognisers: MultilingualRecogniser,
    utterances: Sequence[Utterance],
    allow_pipes: bool = False,
    names: Collection[str] | None = None,
) -> dict[str, ScoreStatistics]:
    """How each language, or those of `names`, scores its own speech and that of the others, which weigh alike; up to
    `MEASURED` utterances of each language are heard. Languages that can decode none of their own are left out."""
    languages = {name: own for name, own in recognisers.languages.items() if names is None or name in names}
    values: dict[str, dict[str, list[float]]] = {name: {} for name in languages}
    parts = [[each for each in utterances if each.language == name] for name in recognisers.languages]
    heard = [each for part in parts for each in spread(part, MEASURED)]
    for spoken, dataset in by_language(heard, recognisers.config.features, allow_pipes=allow_pipes).items():
        for _, of_languages in scores_of(languages, dataset):
            for name, scores in of_languages.items():
                value = path_score(scores, languages[name].decoder.decode(scores, False))
                if math.isfinite(value):
                    values[name].setdefault(spoken, []).append(value)
    return {name: _statistics(of.pop(name), [*of.values()]) for name, of in values.items() if name in of}


def _statistics(own: Sequence[float], others: Sequence[Sequence[float]]) -> ScoreStatistics:
    measured = ScoreStatistics(mean=float(np.mean(own)), deviation=max(float(np.std(own)), LEAST_DEVIATION))
    if not others:
        return measured
    mean = float(np.mean([np.mean(each) for each in others]))
    variance = float(np.mean([np.mean((np.array(each) - mean) ** 2) for each in others]))
    deviation = max(math.sqrt(variance), LEAST_DEVIATION)
    return measured.model_copy(update={"other_mean": mean, "other_deviation": deviation})


def log_odds(score: float, own: ScoreStatistics) -> float:
    """That speech with this `path_score` is in the language rather than in another, both as likely beforehand; `own`
    has the statistics of other speech too. A language that explains its own speech no better says nothing: 0."""
    assert own.other_mean is not None
    assert own.other_deviation is not None
    if not math.isfinite(score):
        return -math.inf
    if own.mean <= own.other_mean:
        return 0.0
    variance = (own.deviation**2 + own.other_deviation**2) / 2
    return (own.mean - own.other_mean) / variance * (score - (own.mean + own.other_mean) / 2)


def _completed(statistics: Mapping[str, ScoreStatistics]) -> dict[str, ScoreStatistics]:
    """With statistics of other speech for the languages that have heard none: the average of those that have."""
    known = [
        (own.mean - own.other_mean, own.other_deviation)
        for own in statistics.values()
        if own.other_mean is not None and own.other_deviation is not None and own.other_mean < own.mean
    ]
    gap, deviation = np.mean(known or [USUAL_OTHERS], axis=0).tolist()
    return {
        name: own
        if own.other_mean is not None
        else own.model_copy(update={"other_mean": own.mean - gap, "other_deviation": deviation})
        for name, own in statistics.items()
    }


def choose_language(
    recognisers: MultilingualRecogniser, utterances: Sequence[Utterance], allow_pipes: bool = False
) -> dict[str, Choice]:
    """Decode every utterance in every language and keep the one that fits best, by utterance id.

    Raises:
        InputError: languages whose scores have no statistics; lists all.
    """
    found = {name: own.scores for name, own in recognisers.config.languages.items()}
    lacking = [name for name, own in found.items() if own is None]
    if lacking:
        what = "has no scores to compare with: no dev speech of it could be decoded, or its layers were trained on"
        remedy = "say the language with --lang; or add languages with new-language+frozen, or with --source-data that "
        remedy += "has speech of every old language"
        raise InputError([Problem(f"language {name} {what}", remedy=remedy) for name in lacking])
    statistics = _completed({name: own for name, own in found.items() if own is not None})
    dataset = SpeechDataset(utterances, recognisers.config.features, allow_pipes=allow_pipes)
    scored: dict[str, dict[str, tuple[float, Hypothesis]]] = {utterance.id: {} for utterance in utterances}
    for utterance, of_languages in scores_of(recognisers.languages, dataset):
        for name, scores in of_languages.items():
            hypothesis = recognisers.languages[name].decoder.decode(scores, False)
            odds = log_odds(path_score(scores, hypothesis), statistics[name])
            scored[utterance][name] = (odds, hypothesis)
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
