"""Words and their vectors, one row each, most frequent first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.embeddings.normalisation import blocks
from speechnlp_tl.errors import InputError, Problem

MOST_LISTED = 20
"""Bad words of one kind that are named; the rest is counted."""

Matrix = NDArray[np.float32]


class WordVectors:
    """The vectors of a vocabulary.

    Args:
        words: the words, each once, most frequent first.
        matrix: (words, dimension) float32, row i is the vector of word i. It may be memory-mapped: it is kept as it is.
        name: what messages and tables call it, such as a language.
        counts: (words,) how often each word was seen in training, where that is known.

    Raises:
        InputError: a matrix that is not two-dimensional or of numbers, other numbers of words, rows and counts, words
            that stand twice (the first 20 are named).
    """

    def __init__(
        self, words: Sequence[str], matrix: NDArray[Any], name: str = "", counts: NDArray[np.int64] | None = None
    ) -> None:
        self.words = words if isinstance(words, list) else list(words)
        self.name = name
        self.counts = None if counts is None else np.asarray(counts, dtype=np.int64)
        problems = []
        if matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
            problems.append(Problem(f"vectors are {matrix.dtype} of shape {matrix.shape}, not rows of numbers"))
        elif len(matrix) != len(self.words):
            problems.append(Problem(f"{len(self.words)} words for {len(matrix)} vectors"))
        if self.counts is not None and self.counts.shape != (len(self.words),):
            problems.append(Problem(f"counts are {self.counts.shape} for {len(self.words)} words"))
        if len(self.index) != len(self.words):
            problems += _twice(self.words, self.index)
        if problems:
            raise InputError(problems)
        # a memory-mapped float32 matrix stays one: `asarray` would keep the memory and lose that it is a map
        self.matrix: Matrix = matrix if matrix.dtype == np.float32 else matrix.astype(np.float32)

    @cached_property
    def index(self) -> dict[str, int]:
        """Word -> row."""
        return {word: row for row, word in enumerate(self.words)}

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return int(self.matrix.shape[1])

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self.index

    def __getitem__(self, word: str) -> Matrix:
        """(dimension,) the vector of a word; KeyError where it has none."""
        return self.matrix[self.index[word]]

    def rows(self, words: Iterable[str]) -> NDArray[np.int64]:
        """(words,) the row of each word, -1 for one without a vector."""
        return np.array([self.index.get(word, -1) for word in words], dtype=np.int64)

    def first(self, count: int) -> WordVectors:
        """The `count` most frequent words, or all where there are fewer; the matrix is a view, not a copy."""
        counts = None if self.counts is None else self.counts[:count]
        return WordVectors(self.words[:count], self.matrix[:count], self.name, counts)

    def check(self, where: str | None = None) -> WordVectors:
        """Look at every number, block by block, and return self.

        Raises:
            InputError: vectors with NaN or infinity, or of zeros only, which have no direction to compare; the first
                20 words of each kind are named.
        """
        shown = where or self.name or None
        bad, zero = bad_rows(self.matrix)
        problems = [
            Problem(f"the vector of '{self.words[row]}' is not finite", file=shown) for row in bad[:MOST_LISTED]
        ]
        problems += [Problem(f"the vector of '{self.words[row]}' is zero", file=shown) for row in zero[:MOST_LISTED]]
        for rows, what in ((bad, "are not finite"), (zero, "are zero")):
            if len(rows) > MOST_LISTED:
                problems.append(Problem(f"{len(rows) - MOST_LISTED} more vectors {what}", file=shown))
        if problems:
            raise InputError(problems)
        return self


def bad_rows(matrix: Matrix) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows with NaN or infinity, rows of zeros only) of a matrix (n, d), read block by block."""
    bad, zero = [], []
    for place, block in blocks(matrix):
        finite = np.isfinite(block).all(axis=1)
        bad.append(place.start + np.flatnonzero(~finite))
        zero.append(place.start + np.flatnonzero(~block.any(axis=1)))
    none = np.zeros(0, dtype=np.int64)
    return np.concatenate([none, *bad]), np.concatenate([none, *zero])


def _twice(words: Sequence[str], index: dict[str, int]) -> list[Problem]:
    """Words that are there more than once; `index` has the last row of each."""
    first: dict[str, int] = {}
    doubles = [word for row, word in enumerate(words) if first.setdefault(word, row) != row]
    problems = [Problem(f"'{word}' stands twice, in rows {first[word]} and {index[word]}") for word in doubles]
    rest = len(doubles) - MOST_LISTED
    return problems if rest <= 0 else [*problems[:MOST_LISTED], Problem(f"{rest} more words stand twice")]
