"""Long dense rows in as few coordinates as there are rows, from which linear classifiers learn the very same thing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.errors import InputError

JITTER = 1e-6
"""Share of the mean squared length added to the diagonal, so that documents that stand twice are no obstacle."""


class CompactRows:
    """n rows x of d > n features as n rows r of n coordinates with the same inner products.

        R R^T = X X^T + JITTER * mean |x|^2 * I   (Cholesky)

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
        gram = self._original @ self._original.T
        length = float(gram.diagonal().mean()) if len(gram) else 0.0
        if not (np.isfinite(length) and length > 0):
            raise InputError(f"rows {self._original.shape} have no finite inner products above zero")
        gram = gram.astype(np.float64)
        gram[np.diag_indices_from(gram)] += JITTER * length
        self.rows: NDArray[np.float64] = np.linalg.cholesky(gram)
        """(n, n), one row for each row, in the same order."""

    def expand(self, weights: NDArray[Any]) -> NDArray[Any]:
        """(k, n) weights of the compact rows -> (k, d) weights of the original ones, and of any other such row."""
        from scipy.linalg import solve_triangular

        shares = solve_triangular(self.rows, np.asarray(weights).T, lower=True, trans="T")
        found: NDArray[Any] = (self._original.T @ shares.astype(self._original.dtype)).T
        return found
