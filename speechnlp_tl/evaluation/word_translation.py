"""Word translation: precision at k and mean reciprocal rank over source words, and whether a run without words failed.

A source word counts as translated at the rank of the first of its translations, however many it has. Source words that
cannot be scored, because they or all their translations have no vector, are stated; rates are given without them
(`covered`, what papers report) and with them as failures (`over_all`, which vocabularies of other sizes do not change).

Everything here takes ranks and rows: how words were retrieved is not its business.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechnlp_tl.errors import InputError, Problem

AT = (1, 5, 10)
BANDS = (0, 500, 5_000, 20_000, 100_000)
"""First rows of the frequency bands: a word's row is its rank in frequency."""
ALIKE_WORDS, ALIKE_FOUND = 50, 5.0
"""Words, and percent of them. On vectors of five pairs of European languages wrong maps had 0 to 2 % of 390 to 400 such
words in place, right ones with a P@1 of 14 to 25 had 25 to 58 %."""
ROUND_TRIPS, ABOVE_CHANCE = 52.0, 8.0
"""Percent and points. On planted clusters of 50 to 200 dimensions wrong maps left 32 to 46 % of the words in place, at
most 8 more than a random rotation, collapsed ones under 20 %, and right ones with noise that leaves a P@1 of 38, 51 %.
On English and French vectors of 200,000 sentences, maps with a P@1 of 0 to 2 left 42 to 47 %, one of 18 left 60 %, and
one of 26, 73 %. Self-learning that had failed left 69 % of the 2000 words it had seen, 41 % of the next 2000, and a
random rotation 47 %: hence words that took no part."""
NEAR_ZERO = 5.0
"""P@1 in percent that a dictionary of the right languages exceeds."""
_AT_ONCE = 2**14


@dataclass(frozen=True)
class Rate:
    """In percent, with its 95 % bootstrap interval over source words."""

    value: float
    ci95: tuple[float, float] | None
    """None for a single word."""


@dataclass(frozen=True)
class Rates:
    """Over the same source words."""

    n: int
    precision: dict[int, Rate]
    """By k: the share of words with a correct translation among the k best."""
    mrr: Rate
    """Mean of 1 / rank; words without a correct one among those retrieved count 0."""


@dataclass(frozen=True)
class WordTranslation:
    """How well a dictionary's source words were translated."""

    words: int
    """Source words of the dictionary."""
    unknown_sources: int
    """Of these, how many have no vector."""
    unknown_translations: int
    """How many have a vector, but none of their translations has."""
    covered: Rates
    """Of the rest."""
    over_all: Rates
    """Of all, those without vectors counted as failures."""
    bands: dict[str, Rates]
    """Of the covered ones by the rank of the source word in frequency, such as "1-500"."""

    @property
    def coverage(self) -> float:
        """In percent of the words."""
        return 100.0 * self.covered.n / self.words

    def __str__(self) -> str:
        """One line for a log."""
        parts = [f"P@{k} {rate.value:.1f}" for k, rate in self.covered.precision.items()]
        left = f"{self.unknown_sources} without a vector, {self.unknown_translations} without one of a translation"
        return (
            f"{', '.join(parts)}, MRR {self.covered.mrr.value:.1f} over {self.covered.n} of {self.words} source words "
            f"({self.coverage:.1f} %; {left}); P@1 over all {self.over_all.precision[min(AT)].value:.1f}"
        )


def by_source(pairs: ArrayLike) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Source rows (q,), each once and in order, and the target rows that translate each, of pairs (p, 2)."""
    sorted_pairs = np.unique(np.asarray(pairs, dtype=np.int64).reshape(-1, 2), axis=0)
    rows, starts = np.unique(sorted_pairs[:, 0], return_index=True)
    return rows, np.split(sorted_pairs[:, 1], starts[1:])


def ranks(retrieved: NDArray[Any], correct: Sequence[ArrayLike]) -> NDArray[np.int64]:
    """(q,) rank, from 1, of the first correct one in each row of `retrieved` (q, k), best first; 0 where there is none.

    Raises:
        ValueError: not as many lists of translations as rows.
    """
    hits = np.stack([np.isin(row, which) for row, which in zip(retrieved, correct, strict=True)])
    return np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, 0)


def score(
    found: ArrayLike,
    depth: int,
    *,
    source_rows: ArrayLike | None = None,
    unknown_sources: int = 0,
    unknown_translations: int = 0,
    bands: Sequence[int] = BANDS,
    resamples: int = 10_000,
    seed: int = 0,
) -> WordTranslation:
    """P@1, P@5, P@10 and MRR of source words whose `ranks` were found among the `depth` best.

    The bootstrap resamples source words. As a rate depends only on how many words have which rank, a resample is
    drawn as these counts, which is the same distribution.

    Args:
        found: (q,) ranks; 0 is none.
        depth: how many targets were retrieved for each; at least 10, or P@10 would be something else.
        source_rows: (q,) rows of the source words, for the frequency bands.
        unknown_sources, unknown_translations: source words that are not in `found` and why, see `WordTranslation`.

    Raises:
        InputError: no word can be scored, fewer than 10 were retrieved, or ranks and rows do not fit.
    """
    numbers = np.asarray(found, dtype=np.int64)
    rows = None if source_rows is None else np.asarray(source_rows)
    problems = []
    if not numbers.size:
        left = f"{unknown_sources} source words have no vector, of {unknown_translations} no translation has one"
        problems.append(Problem(f"no word of the dictionary can be scored: {left}"))
    if depth < max(AT):
        problems.append(Problem(f"P@{max(AT)} needs the {max(AT)} best translations, not {depth}"))
    if numbers.size and not 0 <= numbers.min() <= numbers.max() <= depth:
        problems.append(Problem(f"ranks are from 0 to {depth}, not from {numbers.min()} to {numbers.max()}"))
    if rows is not None and rows.shape != numbers.shape:
        problems.append(Problem(f"there are {numbers.size} ranks and {rows.size} source rows"))
    if problems:
        raise InputError(problems)
    generator = np.random.default_rng(seed)
    counts = np.bincount(numbers, minlength=depth + 1)
    unknown = unknown_sources + unknown_translations
    every = counts + unknown * (np.arange(depth + 1) == 0)
    in_bands = {}
    for first, last in zip(bands, [*bands[1:], sys.maxsize], strict=True):
        inside = np.zeros(0, dtype=bool) if rows is None else (rows >= first) & (rows < last)
        if inside.any():
            name = f"above {first}" if last == sys.maxsize else f"{first + 1}-{last}"
            in_bands[name] = _rates(np.bincount(numbers[inside], minlength=depth + 1), generator, resamples)
    return WordTranslation(
        words=numbers.size + unknown,
        unknown_sources=unknown_sources,
        unknown_translations=unknown_translations,
        covered=_rates(counts, generator, resamples),
        over_all=_rates(every, generator, resamples),
        bands=in_bands,
    )


def _rates(counts: NDArray[Any], generator: np.random.Generator, resamples: int) -> Rates:
    """Of (depth + 1,) numbers of words by rank, 0 for none."""
    n = int(counts.sum())
    drawn = np.vstack([counts, generator.multinomial(n, counts / n, size=resamples)]) * (100.0 / n)
    reciprocal = 1.0 / np.maximum(np.arange(len(counts)), 1) * (np.arange(len(counts)) > 0)

    def rate(values: NDArray[Any]) -> Rate:
        low, high = np.quantile(values[1:], [0.025, 0.975])
        return Rate(float(values[0]), (float(low), float(high)) if n > 1 else None)

    return Rates(n, {k: rate(drawn[:, 1 : k + 1].sum(axis=1)) for k in AT}, rate(drawn @ reciprocal))


def validation_score(source: NDArray[Any], target: NDArray[Any], rows: ArrayLike) -> float:
    """Mean cosine of the most frequent source words and their CSLS translations: chooses between maps without a word.

    The unsupervised criterion of Conneau et al. 2018, section 2.4, who take 10,000 words.

    Args:
        source: (n, d) mapped vectors of these words.
        target: (m, d) mapped vectors of the target language.
        rows: (n,) the target row that translates each.
    """
    total = 0.0
    chosen = np.asarray(rows, dtype=np.int64)
    for start in range(0, len(chosen), _AT_ONCE):
        x = np.asarray(source[start : start + _AT_ONCE], dtype=np.float64)
        y = np.asarray(target[chosen[start : start + _AT_ONCE]], dtype=np.float64)
        lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        total += float((np.einsum("nd,nd->n", x, y) / np.maximum(lengths, np.finfo(np.float64).tiny)).sum())
    return total / len(chosen)


def round_trips(forward: ArrayLike, backward: ArrayLike) -> float:
    """Percent of source words that are the translation of their translation, which a wrong map seldom leaves so.

    Args:
        forward: (n,) target row of each source word's translation.
        backward: (m,) source row of each target word's.
    """
    there, back = np.asarray(forward, dtype=np.int64), np.asarray(backward, dtype=np.int64)
    return 100.0 * float((back[there] == np.arange(len(there))).mean())


def collapse_warning(
    found: float, by_chance: float | None = None, alike: float | None = None, alike_words: int = 0
) -> str | None:
    """A plain warning where an unsupervised alignment has most likely found nothing; None where it looks sound.

    Words that are spelt alike decide where there are `ALIKE_WORDS` of them: a wrong map on which both directions agree
    leaves as many words in place as a right one.

    Args:
        found: `round_trips` through CSLS translations under the map, of words that took no part in learning it and
            among such words: self-learning goes on until the words that it sees agree, rightly or wrongly.
        by_chance: the same of the same words after a random rotation in place of the map: any two clouds of points
            have mutual neighbours. `ROUND_TRIPS` stands in for it where unknown.
        alike: percent of the words that both languages spell alike, and that took no part, of which the nearest target
            is the same word.
        alike_words: how many these are.
    """
    if alike is not None and alike_words >= ALIKE_WORDS:
        if alike >= ALIKE_FOUND:
            return None
        return (
            f"the alignment seems to have failed: of {alike_words} words that both languages spell alike, only "
            f"{alike:.0f} % find each other (at least {ALIKE_FOUND:.0f} % expected). Do not trust its translations: "
            "start from identical strings or from a small dictionary, or try another seed"
        )
    least = ROUND_TRIPS if by_chance is None else by_chance + ABOVE_CHANCE
    if found >= least:
        return None
    chance = "" if by_chance is None else f"; a random rotation leaves {by_chance:.0f} %"
    return (
        f"the alignment seems to have failed: only {found:.0f} % of the words are the translation of their translation "
        f"(at least {least:.0f} % expected{chance}). Do not trust its translations: start from identical strings or "
        "from a small dictionary, or try another seed"
    )


def swapped_warning(given: WordTranslation, reversed_: WordTranslation) -> str | None:
    """A hint where the dictionary fits better with its columns exchanged: languages, files or columns are swapped.

    Args:
        given: scored as asked.
        reversed_: the same vectors scored with the dictionary's columns exchanged.
    """
    one, other = given.over_all.precision[1], reversed_.over_all.precision[1]
    if one.value >= NEAR_ZERO or other.value < NEAR_ZERO or other.value < 5.0 * one.value:
        return None
    return (
        f"P@1 is {one.value:.1f} % (coverage {given.coverage:.0f} %), but {other.value:.1f} % (coverage "
        f"{reversed_.coverage:.0f} %) with the columns of the dictionary exchanged: are the languages swapped?"
    )
