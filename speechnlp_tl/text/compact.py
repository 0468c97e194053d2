"""Long dense rows in as few coordinates as there are rows, from which linear classifiers learn the very same thing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.errors import InputError

JITTERS = (1e-6, 1e-5, 1e-4)
"""Shares of the mean squared length added to the diagonal, so that documents that stand twice and rounding are no
obstacle; the first that is enough is taken."""


class CompactRows:
    """n rows x of d > n features as n rows r of n coordinates with the same inner products.

        R R^T = X X^T + jitter * mean |x|^2 * I   (Cholesky)

    A linear classifier whose penalty is the Euclidean length of its weights depends on its training rows through their
    inner products only (Kimeldorf and Wahba 1971), so on any subset of these rows it can be trained on r instead of x:
    d/n times faster, and in n/d of the memory. Its weights v belong to the weights X^T R^-T v of x, up to the jitter.

    Args:
        rows: (n, d) dense features.

    Raises:
        InputError: rows that are empty or all zero, or values that are not finite.
    """

    def __init__(self, rows: NDArray[Any]) -> None:
        self._original = np.asarray(rows)
        self.kept = len(rows) >= self._original.shape[-1]
        """There is nothing to gain: `rows` are the original ones."""
        length = float(np.einsum("ij,ij->", self._original, self._original)) / max(len(rows), 1)
        if not (np.isfinite(length) and length > 0):
            raise InputError(f"rows {self._original.shape} have no finite inner products above zero")
        self.rows: NDArray[Any] = self._original
        if not self.kept:
            self.rows = _factor((self._original @ self._original.T).astype(np.float64), length)
        """(n, n), or (n, d) where they are kept: one row for each row, in the same order."""

    @property
    def width(self) -> int:
        """Features of an original row."""
        return int(self._original.shape[1])

    def expand(self, weights: NDArray[Any]) -> NDArray[Any]:
        """(k, n) weights of the compact rows -> (k, d) weights of the original ones, and of any other such row."""
        from scipy.linalg import solve_triangular

        if self.kept:
            return weights
        shares = solve_triangular(self.rows, np.asarray(weights).T, lower=True, trans="T")
        found: NDArray[Any] = (self._original.T @ shares.astype(self._original.dtype)).T
        return found


def _factor(gram: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    diagonal = gram.diagonal().copy()
    for jitter in JITTERS:
        gram[np.diag_indices_from(gram)] = diagonal + jitter * length
        try:
            found: NDArray[Any] = np.linalg.cholesky(gram)
        except np.linalg.LinAlgError:
            continue
        return found
    raise InputError(f"the inner products of {len(gram)} rows are too inexact: give the rows in double precision")
