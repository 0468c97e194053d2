"""How sure a number is: bootstrap intervals over speakers, paired comparison of two systems, intervals over seeds.

Utterances of one speaker share a voice, so they are not independent draws, and an interval that resamples utterances is
too narrow for the question asked here: how would the error rate be for other speakers? Whole speakers are resampled
instead, with all their utterances. Where there is only one speaker (or none named), utterances are resampled, the
answer then holds for that speaker only, and the result's `unit` says so.

Few speakers are few draws: a nominal 95 % percentile interval covered the truth in 86 % of simulated test sets with 6
speakers, 90 % with 10, 93 % with 20 (`simulate` in tests/evaluation/test_significance.py, 1000 test sets each). The
permutation p-value has no such weakness.

Units with the same counts are exchangeable, so neither method looks at units one by one where many are alike: what is
drawn is how many of each kind there are. Of thousands of reviews, right or wrong, there are three kinds.

Sources: M. Bisani, H. Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004
(the interval and its paired form); P. Koehn, "Statistical significance tests for machine translation evaluation",
EMNLP 2004 (paired bootstrap); Z. Liu, F. Peng, "Statistical testing on ASR performance via blockwise bootstrap",
Interspeech 2020 (blocks of dependent utterances); E. J. G. Pitman, "Significance tests which may be applied to samples
from any populations", 1937 (permutation); B. Efron, R. Tibshirani, "An introduction to the bootstrap", 1993, ch. 13.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from speechnlp_tl.evaluation.wer import Score

ResamplingUnit = Literal["speakers", "utterances"]

_CELLS_AT_ONCE = 2_000_000
_EXACT_OPERATIONS = 2_000_000_000
_KIND_COST = 10
"""Drawing how many there are of one kind costs about as much as drawing ten units."""
_NO_SHARE = 1e-300


@dataclass(frozen=True)
class Interval:
    """A bootstrap interval, in percent. With n = 1 there is nothing to resample and both ends are the rate itself."""

    low: float
    high: float
    unit: ResamplingUnit
    """What was resampled."""
    n: int
    """How many of them there are."""

    @property
    def ci95(self) -> tuple[float, float] | None:
        """(low, high), or None where one unit allows no interval."""
        return (self.low, self.high) if self.n > 1 else None


@dataclass(frozen=True)
class Comparison:
    """A system against a baseline on the same utterances. Rates and differences are in percent (points)."""

    wer: float
    """Of the baseline."""
    difference: float
    """System minus baseline: negative when the system is better."""
    low: float
    high: float
    p_permutation: float
    """Two-sided, sign-flip permutation over units; valid for few units, and never below 2^(1-n)."""
    p_bootstrap: float
    """Two-sided, paired bootstrap; too small when there are fewer than about 20 units."""
    exact: bool
    """The permutation distribution was computed in full, not sampled."""
    unit: ResamplingUnit
    n: int

    @property
    def p(self) -> float:
        """The p-value to report: `p_permutation`, the one that keeps its promise with few speakers."""
        return self.p_permutation

    @property
    def ci95(self) -> tuple[float, float] | None:
        return (self.low, self.high) if self.n > 1 else None


@dataclass(frozen=True)
class MeanInterval:
    """The mean of n runs and its t interval."""

    mean: float
    ci95: tuple[float, float] | None
    """None for a single value."""
    standard_deviation: float | None
    n: int


def wer_interval(score: Score, resamples: int = 10_000, seed: int = 0) -> Interval:
    """The 95 % interval of a score's error rate, over its speakers."""
    errors = [utterance.counts.errors for utterance in score.utterances]
    words = [utterance.counts.words for utterance in score.utterances]
    return bootstrap_interval(errors, words, score.speakers, resamples, seed)


def compare(system: Score, baseline: Score, resamples: int = 10_000, seed: int = 0) -> Comparison:
    """`system` against `baseline`, both scored on the same references.

    Raises:
        ValueError: the two scores are not of the same utterances.
    """
    if [(u.id, u.counts.words) for u in system.utterances] != [(u.id, u.counts.words) for u in baseline.utterances]:
        raise ValueError("two systems can be compared on the same references only")
    errors = [utterance.counts.errors for utterance in system.utterances]
    baseline_errors = [utterance.counts.errors for utterance in baseline.utterances]
    words = [utterance.counts.words for utterance in system.utterances]
    return paired_comparison(errors, baseline_errors, words, system.speakers, resamples, seed)


def bootstrap_interval(
    errors: ArrayLike,
    words: ArrayLike,
    speakers: Sequence[str] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of 100 * sum(errors) / sum(words) (Bisani and Ney 2004, over speakers).

    Args:
        errors, words: (N,) counts of each utterance.
        speakers: (N,) names. Resamples utterances when None or when all are the same.
        level: the share of resamples inside.

    A resample that holds no words has no rate and is left out.
    """
    columns, unit = _pool(np.array([errors, words], dtype=np.float64), speakers)
    error_sums, word_sums = _resampled_sums(columns, resamples, seed)
    low, high = _percentiles(100.0 * error_sums[word_sums > 0] / word_sums[word_sums > 0], level)
    return Interval(low, high, unit, columns.shape[1])


def paired_comparison(
    errors: ArrayLike,
    baseline_errors: ArrayLike,
    words: ArrayLike,
    speakers: Sequence[str] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """The difference of two error rates on the same utterances, its interval and two p-values.

    Every resample draws the same speakers for both systems, so what is hard for both cancels (Bisani and Ney
    2004; Koehn 2004). p_bootstrap is twice the smaller share of resampled differences at or beyond zero, counting
    the observed one. p_permutation asks how often a difference at least as large arises when, for each speaker, it is
    a coin's choice which system made which errors.

    Args:
        errors, baseline_errors, words: (N,) counts of each utterance.
        speakers: (N,) names. Resamples utterances when None or when all are the same.
    """
    counts = np.array([errors, baseline_errors, words], dtype=np.float64)
    columns, unit = _pool(np.stack([counts[0] - counts[1], counts[2]]), speakers)
    difference_sums, word_sums = _resampled_sums(columns, resamples, seed)
    differences = 100.0 * difference_sums[word_sums > 0] / word_sums[word_sums > 0]
    low, high = _percentiles(differences, level)
    beyond = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    p_permutation, exact = sign_flip_p(columns[0], resamples, seed)
    total_words = columns[1].sum()
    return Comparison(
        wer=float(100.0 * counts[1].sum() / total_words),
        difference=float(100.0 * columns[0].sum() / total_words),
        low=low,
        high=high,
        p_permutation=p_permutation,
        p_bootstrap=min(1.0, 2.0 * (1 + int(beyond)) / (1 + len(differences))),
        exact=exact,
        unit=unit,
        n=columns.shape[1],
    )


def sign_flip_p(differences: ArrayLike, resamples: int = 10_000, seed: int = 0) -> tuple[float, bool]:
    """Two-sided p of whole-number paired differences (N,) under random signs, and whether it is exact.

    The sum under random signs is 2 * (sum of a random subset) - total. Of the c differences of one size, a number with
    the distribution Binomial(c, 1/2) is in the subset; the sum's distribution is built up one size at a time. That is
    exact for tens of thousands of units; sampled signs (Pitman 1937, with the observed arrangement counted as one of
    them) are for what is larger.

    Raises:
        ValueError: differences that are not whole numbers.
    """
    values = np.asarray(differences, dtype=np.float64)
    if not np.array_equal(values, np.rint(values)):
        raise ValueError("differences of error counts are whole numbers")
    sizes, counts = np.unique(np.abs(values[values != 0]).astype(np.int64), return_counts=True)
    observed, total = abs(int(values.sum())), int(sizes @ counts)
    kinds = sorted(zip(counts.tolist(), sizes.tolist(), strict=True), reverse=True)
    ways = [_coin_shares(count) for count, _ in kinds]
    if sum(map(len, ways)) * (total + 1) <= _EXACT_OPERATIONS:
        probability = _subset_sums(kinds, ways)
        sums = np.abs(2 * np.arange(total + 1) - total)
        return min(1.0, float(probability[sums >= observed].sum())), True
    generator = np.random.default_rng(seed)
    positive = generator.binomial(counts, 0.5, size=(resamples, len(counts))) @ sizes
    beyond = int(np.count_nonzero(np.abs(2 * positive - total) >= observed))
    return (1 + beyond) / (1 + resamples), False


def _coin_shares(count: int) -> dict[int, float]:
    """k -> P(Binomial(count, 1/2) = k), without those k whose probability is nearly no number at all."""
    k = np.arange(1, count + 1)
    logarithms = np.concatenate([[0.0], np.cumsum(np.log((count - k + 1) / k))]) - count * math.log(2.0)
    shares = np.exp(logarithms)
    kept = np.flatnonzero(shares > _NO_SHARE)
    return dict(zip(kept.tolist(), shares[kept].tolist(), strict=True))


def _subset_sums(kinds: Sequence[tuple[int, int]], ways: Sequence[Mapping[int, float]]) -> NDArray[np.float64]:
    """(total + 1,) P(sum = i) for (count, size) kinds, of each of which so many are added as its `ways` say.

    The most frequent sizes first: the long distributions then meet the short ones.
    """
    probability = np.ones(1)
    for (count, size), shares in zip(kinds, ways, strict=True):
        length = len(probability)
        grown = np.zeros(length + size * count)
        for taken, share in shares.items():
            grown[size * taken : size * taken + length] += share * probability
        probability = grown
    return probability


def mean_interval(values: ArrayLike, level: float = 0.95) -> MeanInterval:
    """Mean over seeds (or folds) and its interval, mean ± t(n - 1) s / sqrt(n) (Student 1908).

    Raises:
        ValueError: there are no values.
    """
    numbers = np.asarray(values, dtype=np.float64).ravel()
    if not numbers.size:
        raise ValueError("a mean needs at least one value")
    mean = float(numbers.mean())
    if numbers.size == 1:
        return MeanInterval(mean, None, None, 1)
    deviation = float(numbers.std(ddof=1))
    half = student_t_quantile(level, numbers.size - 1) * deviation / math.sqrt(numbers.size)
    return MeanInterval(mean, (mean - half, mean + half), deviation, int(numbers.size))


def student_t_quantile(level: float, degrees: int) -> float:
    """The t with P(|T| <= t) = `level` for T with whole `degrees` of freedom, by bisection."""
    low, high = 0.0, 1.0
    while _student_t_within(high, degrees) < level:
        high *= 2.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _student_t_within(middle, degrees) < level else (low, middle)
    return 0.5 * (low + high)


def _student_t_within(t: float, degrees: int) -> float:
    """P(|T| <= t), the finite series of Abramowitz and Stegun 1964, 26.7.3 and 26.7.4."""
    theta = math.atan(t / math.sqrt(degrees))
    cosine_squared = math.cos(theta) ** 2
    odd = degrees % 2
    term = math.cos(theta) if odd else 1.0
    series = 0.0
    for k in range(1 + odd, degrees, 2):
        series += term
        term *= k / (k + 1) * cosine_squared
    series *= math.sin(theta)
    return 2.0 / math.pi * (theta + series) if odd else series


def _pool(columns: NDArray[Any], speakers: Sequence[str] | None) -> tuple[NDArray[Any], ResamplingUnit]:
    """Sum the (K, N) counts of utterances into (K, n) counts of speakers, unless there is only one."""
    if columns.ndim != 2 or not columns.shape[1]:
        raise ValueError("there is nothing to resample")
    if speakers is None or len(set(speakers)) == 1:
        return columns, "utterances"
    names, index = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)
    if len(index) != columns.shape[1]:
        raise ValueError(f"{columns.shape[1]} utterances but {len(index)} speakers given")
    return np.stack([np.bincount(index, weights=row, minlength=len(names)) for row in columns]), "speakers"


def _resampled_sums(columns: NDArray[Any], resamples: int, seed: int) -> NDArray[Any]:
    """(K, resamples) sums of the (K, n) columns over n units drawn with replacement, the same units for every row."""
    if not columns[-1].sum() > 0:
        raise ValueError("an error rate needs reference words")
    n = columns.shape[1]
    generator = np.random.default_rng(seed)
    kinds, counts = np.unique(columns, axis=1, return_counts=True)
    if _KIND_COST * len(counts) <= n:
        drawn_kinds: NDArray[Any] = kinds @ generator.multinomial(n, counts / n, size=resamples).T
        return drawn_kinds
    sums = []
    for count in _chunks(resamples, n):
        drawn = generator.integers(0, n, size=(count, n), dtype=np.int32)
        sums.append(np.stack([row[drawn].sum(axis=1) for row in columns]))
    return np.concatenate(sums, axis=1)


def _chunks(total: int, width: int) -> list[int]:
    """Part `total` rows so that a chunk of rows of `width` cells stays in a few tens of megabytes."""
    size = max(1, _CELLS_AT_ONCE // max(1, width))
    return [min(size, total - start) for start in range(0, total, size)]


def _percentiles(values: NDArray[Any], level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)
