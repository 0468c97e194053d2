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
_CELLS = 1 << 22

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
    blocks = list(_blocks(source, target))
    pairs = _word_pairs(source, target, blocks)
    firsts = pairs // target.vocabulary
    translation = np.ones(len(pairs), np.float32)
    cells = [np.searchsorted(pairs, _keys(source, target, block)[0]).astype(np.int32) for block in blocks]
    best = np.full(len(target.words), -1, np.int64)
    for number in range(rounds + 1):
        counts = np.zeros(len(pairs))
        for block, cell in zip(blocks, cells, strict=True):
            shape = _Cells.of(source, target, block)
            weights = translation[cell] * shape.prior(tension)
            if number == rounds:
                best[shape.places] = shape.best(weights)
                continue
            totals = np.add.reduceat(weights, shape.starts)
            weights /= np.repeat(np.maximum(totals, 1e-30), shape.widths)
            counts += np.bincount(cell, weights, len(pairs))
        if number < rounds:
            sums = np.bincount(firsts, counts, source.vocabulary + 1)
            translation = (counts / np.maximum(sums[firsts], 1e-30)).astype(np.float32)
    return best


@dataclass(frozen=True)
class _Cells:
    """The cells of a block: for each target word of it one for each source word of its sentence, and one for none."""

    places: Ints
    """(words,) of target.words."""
    starts: Ints
    """(words,) first cell of each."""
    widths: Ints
    """(words,) cells of each: the source words and one more."""
    within: Ints
    """(cells,) number of the source word in its sentence; its length for none."""
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
        within = np.arange(int(widths.sum())) - np.repeat(starts, widths)
        relative = (places - target.ends[sentence] + 0.5) / np.repeat(lengths, lengths)
        return cls(places, starts, widths, within, source.ends[sentence], relative.astype(np.float32))

    def prior(self, tension: float) -> NDArray[np.float32]:
        """(cells,) exp(-tension |i/n - j/m|), normalised over the source words; NULL_SHARE for none."""
        count = np.repeat(self.widths - 1, self.widths)
        none = self.within == count
        place = (self.within + np.float32(0.5)) / np.maximum(count, 1).astype(np.float32)
        weights = np.exp(-np.float32(tension) * np.abs(place - np.repeat(self.relative, self.widths)))
        weights[none] = 0
        totals = np.add.reduceat(weights, self.starts)
        weights *= (1 - NULL_SHARE) / np.repeat(np.maximum(totals, 1e-30), self.widths)
        weights[none] = NULL_SHARE
        return weights.astype(np.float32)

    def best(self, weights: NDArray[np.float32]) -> Ints:
        """(words,) the place of the source word with the largest weight; -1 where none is as likely."""
        largest = np.repeat(np.maximum.reduceat(weights, self.starts), self.widths)
        cells = np.flatnonzero(weights == largest)
        word = np.searchsorted(self.starts, cells, side="right") - 1
        _, first = np.unique(word, return_index=True)  # of equal ones the first
        chosen = self.within[cells[first]]
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


def _keys(source: Sentences, target: Sentences, block: tuple[int, int]) -> tuple[Ints, _Cells]:
    """(cells,) source word number * target vocabulary + target word number; `none` is a source word of its own."""
    shape = _Cells.of(source, target, block)
    none = shape.within == np.repeat(shape.widths - 1, shape.widths)
    places = np.where(none, 0, np.repeat(shape.source_starts, shape.widths) + shape.within)
    words = np.where(none, source.vocabulary, source.words[places] if len(source.words) else 0)
    return words * target.vocabulary + np.repeat(target.words[shape.places], shape.widths), shape


def _word_pairs(source: Sentences, target: Sentences, blocks: list[tuple[int, int]]) -> Ints:
    """Every pair of words that meets in a sentence pair, ascending."""
    pairs = np.zeros(0, np.int64)
    for block in blocks:
        pairs = np.union1d(pairs, _keys(source, target, block)[0])
    return pairs
