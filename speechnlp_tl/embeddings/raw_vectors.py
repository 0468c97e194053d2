"""Vectors as a file has them, good rows and bad ones; the bad are an error, or dropped and reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.embeddings.vectors import MOST_LISTED, Matrix, WordVectors, bad_rows
from speechnlp_tl.errors import InputError, Problem

Report = Callable[[str], None]
"""Takes a line of text: what was dropped, and how many. `print`, for example."""


@dataclass
class RawVectors:
    """What was read from one file."""

    path: Path
    words: list[str]
    matrix: Matrix
    """(words, dimension)."""
    lines: Sequence[int] | None = None
    """(words,) the line of each; None where the file has no lines."""
    counts: NDArray[np.int64] | None = None
    problems: dict[str, list[Problem]] = field(default_factory=dict)
    """Kind, such as `lines of another dimension` -> what was found; the rows are not among the words."""


def settled(raw: RawVectors, name: str, on_drop: Report | None) -> WordVectors:
    """The vectors without bad rows.

    Args:
        raw: what was read.
        name: of the vectors.
        on_drop: None: anything bad is an error. Otherwise it is dropped (of a word that stands twice, the later rows),
            and `on_drop` is called with one line for each kind, the number and the first few.

    Raises:
        InputError: bad rows and no `on_drop`, listed by kind, the first 20 of each; or nothing good is there.
    """
    keep = np.ones(len(raw.words), dtype=bool)
    bad, zero = bad_rows(raw.matrix)
    _refuse(raw, keep, bad, "vectors that are not finite", "the vector of '{}' is not finite")
    _refuse(raw, keep, zero, "zero vectors", "the vector of '{}' is zero")
    first: dict[str, int] = {}
    doubles = [row for row, word in enumerate(raw.words) if first.setdefault(word, row) != row]
    _refuse(raw, keep, np.array(doubles, dtype=np.int64), "words that stand twice", "'{}' stands above already")
    if raw.problems and on_drop is None:
        raise InputError([problem for kind, found in raw.problems.items() for problem in _first(kind, found, raw.path)])
    if not keep.any():
        found = [problem for kind, kinds in raw.problems.items() for problem in _first(kind, kinds, raw.path)]
        raise InputError([Problem("holds no vectors", file=raw.path), *found])
    for kind, found in raw.problems.items():
        assert on_drop is not None
        some = "; ".join(f"line {bad.line}: {bad.what}" if bad.line else bad.what for bad in found[:3])
        on_drop(f"{raw.path}: dropped: {len(found)} {kind} ({some}{'; ...' if len(found) > 3 else ''})")
    if keep.all():
        return WordVectors(raw.words, raw.matrix, name, raw.counts)
    words = [word for word, kept in zip(raw.words, keep, strict=True) if kept]
    return WordVectors(words, raw.matrix[keep], name, None if raw.counts is None else raw.counts[keep])


def _refuse(raw: RawVectors, keep: NDArray[np.bool_], rows: NDArray[np.int64], kind: str, what: str) -> None:
    keep[rows] = False
    for row in rows.tolist():
        line = None if raw.lines is None else raw.lines[row]
        shown = what.format(raw.words[row][:40]) + ("" if line else f" (word {row + 1})")
        raw.problems.setdefault(kind, []).append(Problem(shown, raw.path, line, "mend it, or drop it with on_drop"))


def _first(kind: str, found: list[Problem], path: Path) -> list[Problem]:
    rest = len(found) - MOST_LISTED
    return found if rest <= 0 else [*found[:MOST_LISTED], Problem(f"{rest} more {kind}", file=path)]
