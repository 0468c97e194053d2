"""Documents as rows of features: checked, weighted, and sparse all the way into the model.

A row holds what was counted in one document (words, n-grams), or dense features made from that. Where the counts come
from is the business of `data_prep`; what is learnt from them that of `classifier` and `baselines`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.text.token_rows import TokenBatch, TokenRows

Rows = Any
"""(n, features): a numpy array, a scipy sparse matrix, or `TokenRows` for a model that begins with a transformer."""
Weighting = Literal["count", "binary", "log"]
WEIGHTINGS: tuple[Weighting, ...] = ("count", "binary", "log")


@dataclass
class SparseRows:
    """B documents as torch sees them: the CSR form, of which only what is not zero takes memory."""

    indices: Tensor
    """(entries,) int32 number of each entry's feature: as scipy keeps them, and half as much to read."""
    values: Tensor
    """(entries,) float32."""
    offsets: Tensor
    """(B + 1,) int32: row i holds the entries offsets[i] to offsets[i + 1]."""
    width: int
    """Features of a row."""

    @classmethod
    def of(cls, rows: Any) -> SparseRows:
        """From a scipy CSR matrix."""
        return cls(
            torch.from_numpy(rows.indices.astype(np.int32)),
            torch.from_numpy(rows.data.astype(np.float32)),
            torch.from_numpy(rows.indptr.astype(np.int32)),
            rows.shape[1],
        )

    @classmethod
    def picked(cls, rows: Any, numbers: Sequence[int] | NDArray[np.int64]) -> SparseRows:
        """Rows of a scipy CSR matrix by their numbers: `of(rows[numbers])` in a third of its time."""
        chosen = np.asarray(numbers, dtype=np.int64)
        begins = rows.indptr[:-1][chosen].astype(np.int64)
        counts = rows.indptr[1:][chosen] - begins
        offsets = np.zeros(len(chosen) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        places = np.repeat(begins - offsets[:-1], counts)
        places += np.arange(offsets[-1])
        return cls(
            torch.from_numpy(rows.indices[places].astype(np.int32, copy=False)),
            torch.from_numpy(rows.data[places].astype(np.float32, copy=False)),
            torch.from_numpy(offsets.astype(np.int32)),
            rows.shape[1],
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def dense(self) -> Tensor:
        """(B, width) float32, zeros and all."""
        found = self.values.new_zeros(len(self), self.width)
        rows = torch.arange(len(self), device=self.offsets.device).repeat_interleave(self.offsets.diff())
        return found.index_put_((rows, self.indices.long()), self.values, accumulate=True)

    def to(self, device: torch.device) -> SparseRows:
        moved = {name: getattr(self, name).to(device) for name in ("indices", "values", "offsets")}
        return replace(self, **moved)


def checked_rows(rows: Rows, name: str = "rows") -> Rows:
    """`rows` as a float32 CSR matrix or numpy array; token rows as they are.

    Raises:
        InputError: not two-dimensional, or values that are not finite.
    """
    from scipy import sparse

    if isinstance(rows, TokenRows):
        return rows
    if sparse.issparse(rows):
        found = sparse.csr_matrix(rows, dtype=np.float32)
        values = found.data
    else:
        found = values = np.asarray(rows, dtype=np.float32)
    if found.ndim != 2:
        what = f"{name} must be (documents, features), not {found.shape}"
        raise InputError(Problem(what, remedy="give one row for each document"))
    if not np.isfinite(values).all():
        raise InputError(Problem(f"{name} hold values that are not finite", remedy="correct or remove these documents"))
    return found


def take(rows: Rows, numbers: Sequence[int] | NDArray[np.int64] | slice) -> SparseRows | Tensor | TokenBatch:
    """Some rows as a model takes them: `SparseRows`, a (B, features) tensor of dense ones, or a `TokenBatch`."""
    from scipy import sparse

    if sparse.issparse(rows) and rows.format == "csr" and not isinstance(numbers, slice):
        return SparseRows.picked(rows, numbers)
    chosen = rows[numbers]
    if isinstance(chosen, TokenRows):
        return chosen.batch()
    return SparseRows.of(chosen) if sparse.issparse(chosen) else torch.from_numpy(np.ascontiguousarray(chosen))


def weigh_counts(counts: Rows, weighting: Weighting = "count", unit_length: bool = False) -> Rows:
    """What a count is worth: c ("count"), 1 ("binary") or 1 + ln c ("log"), where there is any; else 0.

    Args:
        counts: (n, features), 0 or more; sparse rows stay sparse.
        weighting: the rule; for counts between 0 and 1 "log" is not defined.
        unit_length: divide each row by its Euclidean length, so that long documents weigh no more than short ones.
            An empty document stays empty.

    Returns:
        (n, features) float32.

    Raises:
        InputError: an unknown weighting, counts below 0 or, for "log", between 0 and 1.
    """
    from scipy import sparse

    rows = checked_rows(counts, "counts")
    if weighting not in WEIGHTINGS:
        raise InputError(f"counts are weighted by one of {', '.join(WEIGHTINGS)}, not {weighting!r}")
    dense = not sparse.issparse(rows)
    rows = sparse.csr_matrix(rows) if dense else rows.copy()
    rows.eliminate_zeros()
    lowest = float(rows.data.min(initial=1.0))
    if lowest < (1 if weighting == "log" else 0):
        raise InputError(f"weighting {weighting!r} is not defined for a count of {lowest:g}")
    if weighting == "binary":
        rows.data[:] = 1
    elif weighting == "log":
        rows.data = 1 + np.log(rows.data)
    if unit_length:
        lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(1)).ravel())
        rows.data /= np.repeat(lengths, np.diff(rows.indptr))
    return rows.toarray() if dense else rows
