"""Steps that vectors go through before they are mapped: unit length and centring, in blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.errors import InputError, Problem

Vectors = NDArray[Any]
"""(n, d), rows are words, most frequent first; any float type, may be memory-mapped."""
NormalisationStep = Literal["unit", "centre"]

ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class Normalisation:
    """What is done to each row before it is mapped, the same for words that were not there when it was fitted.

    `unit` divides a row by its length, `centre` subtracts the mean row of the fitted vectors at that point. A zero row
    has no direction: `unit` leaves it as it is.
    """

    steps: tuple[NormalisationStep, ...] = ()
    means: tuple[NDArray[np.float32], ...] = ()
    """(d,) for each `centre` among the steps, in order."""

    @classmethod
    def fit(cls, vectors: Vectors, steps: Sequence[NormalisationStep], name: str = "vectors") -> Normalisation:
        """Measure the means that `steps` need over all rows of `vectors`.

        Raises:
            InputError: the vectors are not (n, d) with at least one row, or hold values that are not finite.
        """
        check_vectors(vectors, name)
        fitted = cls()
        for step in steps:
            means = fitted.means
            if step == "centre":
                total = np.zeros(vectors.shape[1])
                for _, rows in blocks(vectors):
                    total += fitted(rows).sum(0, dtype=np.float64)
                means = (*means, (total / len(vectors)).astype(np.float32))
            fitted = cls((*fitted.steps, step), means)
        return fitted

    def __call__(self, rows: Vectors) -> NDArray[np.float32]:
        """(n, d) rows -> (n, d) float32, normalised; `rows` stay as they are."""
        result = np.array(rows, dtype=np.float32)
        means = iter(self.means)
        for step in self.steps:
            if step == "centre":
                result -= next(means)
            else:
                scale_to_unit(result)
        return result


def concatenated(
    parts: Sequence[Vectors], steps: Sequence[NormalisationStep] = ("unit", "centre", "unit")
) -> NDArray[np.float32]:
    """Vectors of the same words from several trainings side by side, each normalised: (n, sum of their dimensions).

    Trainings of other windows, corpora or seeds err in other places; an alignment with re-weighting keeps what they
    share with the other language's.

    Raises:
        InputError: no parts, other numbers of words, or vectors that cannot be used.
    """
    if not parts or len({len(part) for part in parts}) > 1:
        raise InputError(f"concatenation needs the same words in each part, not {[len(part) for part in parts]}")
    return np.hstack([Normalisation.fit(part, steps)(part) for part in parts])


def scale_to_unit(rows: NDArray[np.float32]) -> None:
    """Divide each row by its length, in place; zero rows stay."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    lengths[lengths == 0] = 1
    rows /= lengths[:, None]


def unit_rows(vectors: Vectors, limit: int | None = None) -> NDArray[np.float32]:
    """A float32 copy of the first `limit` rows (all when None), each of unit length."""
    rows = np.array(vectors[:limit], dtype=np.float32)
    scale_to_unit(rows)
    return rows


def blocks(vectors: Vectors, rows_at_once: int = ROWS_AT_ONCE) -> Iterator[tuple[slice, Vectors]]:
    """Consecutive rows, a few thousand at a time, each with its place."""
    for begin in range(0, len(vectors), rows_at_once):
        place = slice(begin, begin + rows_at_once)
        yield place, vectors[place]


def check_vectors(vectors: Vectors, name: str) -> None:
    """Refuse what cannot be aligned.

    Raises:
        InputError: not (n, d) with at least one row, or values that are not finite, the first rows of them named.
    """
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise InputError(f"{name}: vectors must be (words, dimensions) with at least one of each, not {vectors.shape}")
    bad: list[int] = []
    count = 0
    for place, rows in blocks(vectors):
        # a sum is not finite when one of its numbers is not, and cheaper than asking each
        if not np.isfinite(np.sum(rows, dtype=np.float64)):
            wrong = np.flatnonzero(~np.isfinite(rows).all(1)) + place.start
            count += len(wrong)
            bad += wrong[: 5 - len(bad)].tolist()
    if count:
        shown = ", ".join(map(str, bad)) + (", ..." if count > len(bad) else "")
        raise InputError(
            Problem(f"{name}: {count} rows hold values that are not finite: {shown}", remedy="leave these words out")
        )


def check_pairs(pairs: NDArray[Any], sizes: tuple[int, int], fewest: int = 1) -> NDArray[np.int64]:
    """`pairs` as (p, 2) int64.

    Raises:
        InputError: another shape, fewer than `fewest` pairs, or rows outside the vocabularies of `sizes` words.
    """
    pairs = np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or (pairs.size and not np.issubdtype(pairs.dtype, np.integer)):
        raise InputError(f"a dictionary is (pairs, 2) whole numbers, source row and target row, not {pairs.shape}")
    pairs = pairs.astype(np.int64)
    problems = []
    if len(pairs) < fewest:
        remedy = "give more pairs, or align without a dictionary"
        problems.append(Problem(f"the dictionary has {len(pairs)} pairs, at least {fewest} are needed", remedy=remedy))
    for column, (side, size) in enumerate(zip(("source", "target"), sizes, strict=True)):
        outside = int(np.count_nonzero((pairs[:, column] < 0) | (pairs[:, column] >= size)))
        if outside:
            what = f"{outside} pairs name a {side} row outside 0 to {size - 1}"
            problems.append(Problem(what, remedy="make the pairs with the vocabularies that are aligned"))
    if problems:
        raise InputError(problems)
    return pairs
