"""BLEU and chrF of translations (sacrebleu, with its signature), and how sure they are.

Both scores are functions of counts that add up over sentences, so a resample of sentences is a weighted sum of their
counts; a baseline is resampled with the same sentences (Koehn 2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.errors import InputError

Metric = Literal["bleu", "chrf"]


@dataclass(frozen=True)
class CorpusScore:
    """One score of a corpus, in percent."""

    metric: Metric
    value: float
    ci95: tuple[float, float] | None
    """Over sentences; None with one sentence."""
    signature: str
    """sacrebleu's: what a figure must carry to be compared."""
    n: int
    """Sentences."""


@dataclass(frozen=True)
class ScoreDifference:
    """A system against a baseline on the same sentences."""

    difference: float
    ci95: tuple[float, float]
    p: float
    """Twice the smaller share of resampled differences at or beyond zero, counting the observed one."""


def corpus_score(
    hypotheses: Sequence[str], references: Sequence[str], metric: Metric = "bleu", resamples: int = 1000, seed: int = 0
) -> CorpusScore:
    """BLEU (Papineni et al. 2002) or chrF (Popović 2015) of detokenised text, one reference a sentence.

    Raises:
        InputError: no sentences, or not as many hypotheses as references.
    """
    scorer = _scorer(metric)
    counts = _counts(scorer, hypotheses, references)
    value = _value(scorer, counts.sum(0))
    ci95 = None
    if len(counts) > 1:
        resampled = [_value(scorer, weights @ counts) for weights in _weights(len(counts), resamples, seed)]
        ci95 = _middle(resampled)
    return CorpusScore(metric, value, ci95, str(scorer.get_signature()), len(counts))


def compare_scores(
    hypotheses: Sequence[str],
    baseline: Sequence[str],
    references: Sequence[str],
    metric: Metric = "bleu",
    resamples: int = 1000,
    seed: int = 0,
) -> ScoreDifference:
    """Paired bootstrap of the difference of two systems (Koehn 2004).

    Raises:
        InputError: fewer than two sentences, or other numbers of them.
    """
    scorer = _scorer(metric)
    own, other = (_counts(scorer, lines, references) for lines in (hypotheses, baseline))
    if len(own) < 2:
        raise InputError("two sentences at least are needed to tell systems apart")
    differences = [
        _value(scorer, weights @ own) - _value(scorer, weights @ other)
        for weights in _weights(len(own), resamples, seed)
    ]
    beyond = min(sum(each <= 0 for each in differences), sum(each >= 0 for each in differences))
    observed = _value(scorer, own.sum(0)) - _value(scorer, other.sum(0))
    return ScoreDifference(observed, _middle(differences), min(1.0, 2 * (1 + beyond) / (1 + resamples)))


def _scorer(metric: Metric) -> Any:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    scorer = BLEU() if metric == "bleu" else CHRF()
    scorer.num_refs = 1  # part of the signature; sacrebleu sets it when it scores a corpus
    return scorer


def _counts(scorer: Any, hypotheses: Sequence[str], references: Sequence[str]) -> NDArray[np.int64]:
    """(N, counts) what each sentence adds to the corpus' score."""
    if len(hypotheses) != len(references) or not references:
        raise InputError(f"{len(hypotheses)} hypotheses and {len(references)} references: one each is needed")
    return np.array(scorer._extract_corpus_statistics(list(hypotheses), [list(references)]), dtype=np.int64)


def _value(scorer: Any, counts: NDArray[np.int64]) -> float:
    return float(scorer._compute_score_from_stats(counts.tolist()).score)


def _weights(count: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """(resamples, count) how often each sentence is drawn."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)


def _middle(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
