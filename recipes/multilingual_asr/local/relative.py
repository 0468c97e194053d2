"""The mean relative change of error rates over languages, with an interval over speakers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from speechnlp_tl.evaluation.wer import Score

FEW_ERRORS = 30
"""Of a baseline: a share of fewer is decided by single words."""
Pair = tuple[Score, Score]
"""A system and its baseline on the same utterances."""


def mean_relative(
    of_language: Mapping[str, Sequence[Pair]], resamples: int = 10_000
) -> tuple[float, tuple[float, float], list[str]] | None:
    """Percent by which errors change: over a language's test sets, then over languages, so that each counts the same.

    Test sets where the baseline makes fewer than `FEW_ERRORS` errors are left out.

    Returns:
        The mean, its 95 % interval (percentile bootstrap over speakers, drawn in each test set alone) and the languages
        that took part; None without any.
    """
    rows: list[npt.NDArray[np.float64]] = []
    languages = []
    for language, pairs in of_language.items():
        own = [_drawn(*pair, resamples) for pair in pairs if pair[1].counts.errors >= FEW_ERRORS]
        if own:
            languages.append(language)
            rows.append(np.mean(own, axis=0))
    if not rows:
        return None
    mean = np.mean(rows, axis=0)
    low, high = np.percentile(mean[1:], [2.5, 97.5])
    return float(mean[0]), (float(low), float(high)), languages


def _drawn(system: Score, baseline: Score, resamples: int) -> npt.NDArray[np.float64]:
    """Relative change as it is, then in each resample of the speakers."""
    names = sorted({str(utterance.speaker) for utterance in system.utterances})
    place = {name: number for number, name in enumerate(names)}
    errors = np.zeros((2, len(names)))
    for side, score in enumerate((system, baseline)):
        for utterance in score.utterances:
            errors[side, place[str(utterance.speaker)]] += utterance.counts.errors
    chance = np.random.default_rng(0)
    times = chance.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    ours, theirs = errors @ np.vstack([np.ones(len(names)), times]).T
    return 100 * (ours - theirs) / np.maximum(theirs, 1)
