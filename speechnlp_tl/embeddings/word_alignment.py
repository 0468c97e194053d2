"""Which word of a sentence stands for which word of its translation: an alignment model learned from the pairs alone.

IBM model 1 (Brown et al. 1993) with a prior that favours words at like places of their sentences (Dyer, Chahuneau and
Smith 2013), trained by expectation maximisation in both directions; a link counts when both directions choose it. No
randomness: the same pairs give the same links.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDS = 5
TENSION = 4.0
NULL_SHARE = 0.08
_CELLS = 1 << 21
_SMALL = 1e-30

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Sentences:
    """Sentences as word numbers, one after the other."""

    words: Ints
    """(tokens,) numbers from 0."""
    ends: Ints
    """(sentences + 1,): sentence s is words[ends[s]:ends[s + 1]]; the first is 0."""
    vocabulary: int
    """Numbers are below this."""

    @classmethod
    def of(cls, sentences: Sequence[Sequence[int]], vocabulary: int) -> Sentences:
        lengths = np.fromiter((len(sentence) for sentence in sentences), np.int64, len(sentences))
        ends = np.concatenate([[0], np.cumsum(lengths)])
        words = np.fromiter((word for sentence in sentences for word in sentence), np.int64, int(ends[-1]))
        return cls(words, ends, vocabulary)

    @property
    def lengths(self) -> Ints:
        return np.diff(self.ends)


def align_words(source: Sentences, target: Sentences, rounds: int = ROUNDS, tension: float = TENSION) -> Ints:
    """Links between the words of sentence pairs: (links, 2) places in `source.words` and `target.words`.

    Every word has at most one link, and links come in the order of the source. A sentence is a row of cells, one for
    each pair of its words, so time and memory grow with the product of the two lengths.

    Args:
        source: one side.
        target: the other; sentence s is the translation of sentence s.
        rounds: iterations of expectation maximisation.
        tension: how much a link to a like place is favoured; 0 is IBM model 1.
    """
    forward = best_sources(source, target, rounds, tension)
    backward = best_sources(target, source, rounds, tension)
    places = np.flatnonzero(forward >= 0)
    both = places[backward[forward[places]] == places]
    links = np.stack([forward[both], both], axis=1)
    return links[np.argsort(links[:, 0], kind="stable")]


def best_sources(source: Sentences, target: Sentences, rounds: int = ROUNDS, tension: float = TENSION) -> Ints:
    """For each word of `target`, the place in `source.words` that most probably produced it; -1 for none.

    Returns:
        (target tokens,) places.
    """
    parts = [_Cells.of(source, target, block) for block in _blocks(source, target)]
    found = [_distinct(part.keys(source, target)) for part in parts]
    pairs = _distinct(np.concatenate([np.zeros(0, np.int64), *(keys for keys, _ in found)]))[0]
    # a search for sorted keys among sorted pairs stays in the processor's caches
    cells = [np.searchsorted(pairs, keys).astype(np.int32)[places] for keys, places in found]
    priors = [part.prior(tension) for part in parts]
    firsts = pairs // target.vocabulary
    translation = np.ones(len(pairs), np.float32)
    for _ in range(rounds):
        counts = np.zeros(len(pairs))
        for part, cell, prior in zip(parts, cells, priors, strict=True):
            weights = translation[cell]
            weights *= prior
            totals = np.add.reduceat(weights, part.starts)
            weights *= np.repeat(1 / np.maximum(totals, _SMALL), part.widths)
            counts += np.bincount(cell, weights, len(pairs))
        sums = np.bincount(firsts, counts, source.vocabulary + 1)
        translation = (counts / np.maximum(sums[firsts], _SMALL)).astype(np.float32)
    best = np.full(len(target.words), -1, np.int64)
    for part, cell, prior in zip(parts, cells, priors, strict=True):
        best[part.places] = part.best(translation[cell] * prior)
    return best


def _distinct(keys: Ints) -> tuple[Ints, NDArray[np.int32]]:
    """The keys in order, each once, and the place of each of the given ones among them.

    What `np.unique` does, of which numpy's hashing version takes several times as long on millions of keys.
    """
    order = np.argsort(keys)
    ordered = keys[order]
    first = np.ones(len(keys), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    places = np.empty(len(keys), np.int32)
    places[order] = np.cumsum(first, dtype=np.int32) - 1
    return ordered[first], places


@dataclass(frozen=True)
class _Cells:
    """The cells of a block: for each target word of it one for each source word of its sentence, and one for none."""

    places: Ints
    """(words,) of target.words."""
    starts: Ints
    """(words,) first cell of each."""
    widths: Ints
    """(words,) cells of each: the source words and one more."""
    source_starts: Ints
    """(words,) where the source sentence of each begins."""
    relative: NDArray[np.float32]
    """(words,) place of the word in its own sentence, 0 to 1."""

    @classmethod
    def of(cls, source: Sentences, target: Sentences, block: tuple[int, int]) -> _Cells:
        first, last = block
        lengths = target.lengths[first:last]
        places = np.arange(target.ends[first], target.ends[last])
        sentence = np.repeat(np.arange(first, last), lengths)
        widths = source.lengths[sentence] + 1
        starts = np.cumsum(widths) - widths
        relative = (places - target.ends[sentence] + 0.5) / np.repeat(lengths, lengths)
        return cls(places, starts, widths, source.ends[sentence], relative.astype(np.float32))

    def within(self) -> NDArray[np.int32]:
        """(cells,) number of the source word in its sentence; its length for none."""
        return np.arange(int(self.widths.sum()), dtype=np.int32) - np.repeat(self.starts, self.widths).astype(np.int32)

    def keys(self, source: Sentences, target: Sentences) -> Ints:
        """(cells,) source word number * target vocabulary + target word number; none is a source word of its own."""
        within = self.within()
        places = np.repeat(self.source_starts, self.widths) + within
        words = np.append(source.words, source.vocabulary)[np.minimum(places, len(source.words))]
        words[within == np.repeat(self.widths - 1, self.widths)] = source.vocabulary
        return words * target.vocabulary + np.repeat(target.words[self.places], self.widths)

    def prior(self, tension: float) -> NDArray[np.float32]:
        """(cells,) exp(-tension |i/n - j/m|), normalised over the source words; NULL_SHARE for none."""
        count = np.repeat(self.widths - 1, self.widths)
        within = self.within()
        none = within == count
        place = (within + np.float32(0.5)) / np.maximum(count, 1).astype(np.float32)
        weights = np.exp(-np.float32(tension) * np.abs(place - np.repeat(self.relative, self.widths)))
        weights[none] = 0
        totals = np.add.reduceat(weights, self.starts)
        weights *= (1 - NULL_SHARE) / np.repeat(np.maximum(totals, _SMALL), self.widths)
        weights[none] = NULL_SHARE
        return weights.astype(np.float32)

    def best(self, weights: NDArray[np.float32]) -> Ints:
        """(words,) the place of the source word with the largest weight; -1 where none is as likely."""
        largest = np.repeat(np.maximum.reduceat(weights, self.starts), self.widths)
        cells = np.flatnonzero(weights == largest)
        word = np.searchsorted(self.starts, cells, side="right") - 1
        _, first = np.unique(word, return_index=True)  # of equal ones the first
        chosen = cells[first] - self.starts
        return np.where(chosen == self.widths - 1, -1, self.source_starts + chosen)


def _blocks(source: Sentences, target: Sentences) -> Iterator[tuple[int, int]]:
    """Ranges of sentences with about _CELLS cells each and at least one target word."""
    cells = np.cumsum((source.lengths + 1) * target.lengths)
    first, count = 0, len(cells)
    while first < count:
        before = cells[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(cells, before + _CELLS, side="right")))
        if target.ends[last] > target.ends[first]:
            yield first, last
        first = last
