"""The documents of one pair of languages and one division, as the features that a system wants, each made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from align import read_space
from corpora import dictionary
from numpy.typing import NDArray
from runs import Runs

from speechnlp_tl.embeddings.retrieval import neighbours
from speechnlp_tl.text.classification import Documents
from speechnlp_tl.text.ngrams import NgramConfig, NgramFeatures
from speechnlp_tl.text.word_vector_features import WordVectorFeatures
from speechnlp_tl.text.words import split_words

WORDS = NgramConfig(longest=1, min_documents=2, max_features=None, weighting="log", unit_length=True)


@dataclass(frozen=True)
class Labelled:
    """Documents to learn from, their strengths to be chosen on some of them, and test documents without labels."""

    documents: Documents
    held_out: NDArray[np.int64]
    """Rows of `documents`: books of their own."""
    unlabelled: Any
    """Rows of the target's verses of the seen books."""
    test: Any
    """Rows of the target's verses of the test books."""


class PairData:
    """One source, one target, one division of the books."""

    def __init__(self, runs: Runs, target: str, split: int) -> None:
        self.runs, self.target, self.split = runs, target, split
        self.division = runs.division(split)
        self.source_verses, self.target_verses = runs.verses(runs.config.source), runs.verses(target)

    @cached_property
    def test(self) -> NDArray[np.int64]:
        """Numbers of the target's verses that are judged."""
        return self.target_verses.of(self.division.test)

    @lru_cache(maxsize=8)  # noqa: B019 - lives as long as the process of its division
    def vectors(self, space: str, labels: str) -> Labelled:
        """Means of the words' vectors in a space; `labels` are the source's, or the target's."""
        features = read_space(self.runs, space, self.target, self.split)
        known = self.source_verses if labels == "source" else self.target_verses
        seen, other = known.of(self.division.seen), self.target_verses.of(self.division.seen)
        return Labelled(
            Documents(_rows(features, known, seen), known.labels[seen], 0, known.language),
            np.flatnonzero(np.isin(seen, known.of(self.division.held_out))),
            _rows(features, self.target_verses, other),
            _rows(features, self.target_verses, self.test),
        )

    def words(self, labels: str, test: Sequence[str] | None = None) -> Labelled:
        """Counts of words; the test documents are the target's own, or these texts in the language of the labels."""
        known = self.source_verses if labels == "source" else self.target_verses
        seen = known.of(self.division.seen)
        held_out = np.flatnonzero(np.isin(seen, known.of(self.division.held_out)))
        texts = [_spaced(known.texts[number], known.language) for number in seen]
        features = NgramFeatures.fit(texts, WORDS)
        given = test if test is not None else [_spaced(self.target_verses.texts[n], self.target) for n in self.test]
        documents = Documents(features.rows(texts), known.labels[seen], 0, known.language)
        return Labelled(documents, held_out, None, features.rows(given))

    def translated(self, space: str | None) -> list[str]:
        """The target's test documents word by word: each word's nearest source word by CSLS, or the first one of the
        dictionary; words that neither knows are left out."""
        texts = [split_words(self.target_verses.texts[number], self.target) for number in self.test]
        words = sorted({word for text in texts for word in text})
        known = self._by_dictionary() if space is None else self._by_space(space, words)
        return [" ".join(_joined(known[word]) for word in text if word in known) for text in texts]

    def _by_space(self, space: str, words: Sequence[str]) -> dict[str, str]:
        features = read_space(self.runs, space, self.target, self.split).words
        source, target = features[self.runs.config.source], features[self.target]
        there = [word for word in words if word in target]
        rows = target.rows(there)
        best = neighbours(target.matrix[rows], source.matrix, 1, "csls", sources=target.matrix).rows[:, 0]
        return {word: source.words[row] for word, row in zip(there, best.tolist(), strict=True)}

    def _by_dictionary(self) -> dict[str, str]:
        runs = self.runs
        found = dictionary(runs.data, self.source_verses, self.target_verses, self.division, runs.config.words)
        known: dict[str, str] = {}
        for source, target in found.entries:
            known.setdefault(target.lower(), source.lower())
        return known


def _rows(features: WordVectorFeatures, verses: Any, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
    texts = [verses.texts[number] for number in numbers]
    return features.rows(texts, [verses.language] * len(texts))


def _spaced(text: str, language: str) -> str:
    """A text in the words that vectors and dictionaries have, so that n-grams are the same ones."""
    return " ".join(_joined(word) for word in split_words(text, language))


def _joined(word: str) -> str:
    """A word that n-grams do not part: they part at hyphens and at an apostrophe in the end."""
    return word.replace("-", "_").replace("'", "_")
