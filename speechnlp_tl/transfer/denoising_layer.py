"""The linear algebra of one marginalised denoising layer, exact and fast. The stack of them is in `denoising.py`.

With the constant eliminated (it is uncorrupted and has no ridge) the closed form of Chen et al. 2012 is a ridge
regression on centred rows: for c = 1 - noise, Sc = sum of (x - mean)(x - mean)^T and D = noise c diag(S) + ridge,

    W = c Sc (c^2 Sc + D)^-1,    b = mean - c W mean

Scaling with D^-1/2 gives Y = (X - mean) D^-1/2 and the matrix T = I + c^2 Y^T Y, whose condition is at most
1 + d c / noise whatever the data are: that is why float32 is enough. The same matrix seen from the rows is
M = I + c^2 Y Y^T, and with its Cholesky factor L and B = L^-1 Y,

    W = c D^1/2 B^T B D^-1/2 = D^1/2 (I - T^-1) D^-1/2 / c,    (X - mean) W^T = ((X - mean) - M^-1 (X - mean)) / c

so that with fewer rows than features, only an (n, n) matrix is factorised, one symmetric rank-n update gives W, and
the hidden layer of the rows costs half a product. Here rows are rows: weights are W^T, (inputs, outputs).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import get_blas_funcs, get_lapack_funcs

from speechnlp_tl.errors import InputError, Problem

Rows = Any
"""(n, features): a numpy array, or a scipy sparse matrix in CSR form."""

_ROWS_AT_ONCE = 1024
_MIRROR = 512
_TRUSTED_FLOAT32 = 0.02
"""Rounding of float32 times the bound of the condition above which float64 is taken; with noise 0.5 and 5000 features
the bound is 5001 and the product 0.0006."""


@dataclass(frozen=True)
class Layer:
    """h = tanh(x weight + bias)."""

    weight: NDArray[np.float32]
    """(inputs, outputs)"""
    bias: NDArray[np.float32]
    """(outputs,)"""

    def __call__(self, rows: Rows) -> NDArray[np.float32]:
        """(n, inputs) -> (n, outputs); the whole result at once."""
        hidden: NDArray[np.float32] = np.asarray(rows @ self.weight, dtype=np.float32)
        hidden += self.bias
        return np.tanh(hidden, out=hidden)


class _NotPositiveDefiniteError(Exception):
    """Rounding ate the matrix."""


def as_rows(rows: Rows) -> Rows:
    """Float32 rows, C-ordered or CSR.

    Raises:
        InputError: not two dimensions, or a value that is not finite.
    """
    if not sparse.issparse(rows):
        rows = np.asarray(rows)
    if rows.ndim != 2:
        raise InputError(f"rows of features have two dimensions, not {rows.ndim}")
    if sparse.issparse(rows):
        rows = rows.tocsr().astype(np.float32)
        rows.sum_duplicates()
    else:
        rows = np.ascontiguousarray(rows, dtype=np.float32)
    values = rows.data if sparse.issparse(rows) else rows
    # a sum is finite unless something in it is not: one pass, no mask as big as the rows
    if not np.isfinite(np.sum(values, dtype=np.float64)):
        bad = int(np.count_nonzero(~np.isfinite(values)))
        raise InputError(Problem(f"{bad} values of the features are not finite", remedy="remove or replace them"))
    return rows


def blocks_of_rows(count: int, rows_at_once: int = _ROWS_AT_ONCE) -> Iterator[tuple[int, int]]:
    """(begin, end) of successive blocks."""
    return ((begin, min(begin + rows_at_once, count)) for begin in range(0, count, rows_at_once))


def fit_layer(rows: Rows, noise: float, ridge: float) -> tuple[Layer, NDArray[np.float32]]:
    """The layer that repairs all features of `rows` (`as_rows`), and its hidden values (n, features) for them.

    Raises:
        InputError: the matrix is singular even in float64 (no ridge, and features that depend on each other).
    """
    scaled = _Scaled(rows, noise, ridge)
    solve = _square_from_rows if rows.shape[0] < rows.shape[1] else _square_from_features
    return scaled.in_trusted_precision(solve)


def fit_block(rows: Rows, targets: Rows, noise: float, ridge: float) -> Layer:
    """The layer that repairs (n, outputs) `targets` from the corrupted (n, inputs) `rows`; both from `as_rows`.

    Raises:
        InputError: as `fit_layer`.
    """
    scaled = _Scaled(rows, noise, ridge)
    mean = _moments(targets)[0]

    def solve(scaled: _Scaled, dtype: Any) -> Layer:
        few = rows.shape[0] < rows.shape[1]
        weight = (_weight_from_rows if few else _weight_from_features)(scaled, targets, mean, dtype)
        return Layer(weight, (mean - scaled.kept * scaled.mean_through(weight)).astype(np.float32))

    return scaled.in_trusted_precision(solve)


class _Scaled:
    """Rows with what turns them into Y = (X - mean) D^-1/2, which is made in blocks."""

    def __init__(self, rows: Rows, noise: float, ridge: float) -> None:
        self.rows, self.kept = rows, 1.0 - noise
        self.mean, squares = _moments(rows)
        diagonal = noise * self.kept * squares + ridge
        self.root = np.sqrt(diagonal)
        # without ridge, a feature that never occurs has no scale; it predicts nothing
        self.inverse_root = np.divide(1.0, self.root, out=np.zeros_like(self.root), where=diagonal > 0)
        count = rows.shape[0]
        variance = np.maximum(squares - count * self.mean**2, 0.0)
        self.condition = 1.0 + self.kept**2 * float(variance @ self.inverse_root**2)
        """The trace bounds the largest eigenvalue of T and M; the smallest is at least 1."""

    def block(self, begin: int, end: int, dtype: Any) -> NDArray[Any]:
        y = _dense(self.rows, begin, end, dtype)
        y -= self.mean.astype(dtype)
        y *= self.inverse_root.astype(dtype)
        return y

    def whole(self, dtype: Any) -> NDArray[Any]:
        y = np.empty(self.rows.shape, dtype)
        for begin, end in blocks_of_rows(len(y)):
            y[begin:end] = self.block(begin, end, dtype)
        return y

    def mean_through(self, weight: NDArray[np.float32]) -> NDArray[np.float64]:
        # in float32: numpy would otherwise make a float64 copy of the whole weight
        return (self.mean.astype(np.float32) @ weight).astype(np.float64)

    def in_trusted_precision(self, solve: Any) -> Any:
        """`solve(self, dtype)` in float32, in float64 where that cannot be trusted or did not work."""
        if self.condition * np.finfo(np.float32).eps <= _TRUSTED_FLOAT32:
            try:
                return solve(self, np.float32)
            except _NotPositiveDefiniteError:
                pass
        try:
            return solve(self, np.float64)
        except _NotPositiveDefiniteError as error:
            what = "the denoiser's matrix is singular to working precision"
            raise InputError(Problem(what, remedy="raise ridge or noise")) from error


def _square_from_rows(scaled: _Scaled, dtype: Any) -> tuple[Layer, NDArray[np.float32]]:
    """Fewer rows than features: factorise M, W from B = L^-1 Y, hidden values from M^-1 Y."""
    y = scaled.whole(dtype)
    trsm, syrk = get_blas_funcs(("trsm", "syrk"), (y,))
    factor = _factor_of_rows(y, scaled.kept)
    # BLAS counts by columns: a C-ordered y is its transpose there, so L is solved from the right, in place
    y = trsm(1.0, factor, y.T, side=1, lower=1, trans_a=1, overwrite_b=1).T
    weight = _unscaled(_mirrored(syrk(scaled.kept, y.T, lower=1)), scaled)
    y = trsm(1.0, factor, y.T, side=1, lower=1, overwrite_b=1).T
    del factor
    at_mean = scaled.mean_through(weight)
    layer = Layer(weight, (scaled.mean - scaled.kept * at_mean).astype(np.float32))
    # (X - mean) W^T + (W mean + b), with W mean + b = mean + (1 - c) W mean
    offset = (scaled.mean + (1 - scaled.kept) * at_mean - scaled.mean / scaled.kept).astype(dtype)
    back, share = (-scaled.root / scaled.kept).astype(dtype), 1.0 / scaled.kept
    hidden = y if dtype == np.float32 else np.empty(y.shape, np.float32)
    for begin, end in blocks_of_rows(len(y)):
        part = y[begin:end]
        part *= back
        rows = _dense(scaled.rows, begin, end, dtype)
        rows *= dtype(share)
        part += rows
        part += offset
        np.tanh(part, out=part)
        hidden[begin:end] = part
    return layer, hidden


def _square_from_features(scaled: _Scaled, dtype: Any) -> tuple[Layer, NDArray[np.float32]]:
    """At least as many rows as features: W = D^1/2 (I - T^-1) D^-1/2 / c, then the layer itself on the rows."""
    factor = _factor_of_features(scaled, dtype)
    (potri,) = get_lapack_funcs(("potri",), (factor,))
    inverse, _ = potri(factor, lower=1, overwrite_c=1)
    inverse *= dtype(-1.0 / scaled.kept)
    inverse[np.diag_indices_from(inverse)] += dtype(1.0 / scaled.kept)
    weight = _unscaled(_mirrored(inverse), scaled)
    layer = Layer(weight, (scaled.mean - scaled.kept * scaled.mean_through(weight)).astype(np.float32))
    hidden = np.empty(scaled.rows.shape, np.float32)
    for begin, end in blocks_of_rows(len(hidden)):
        hidden[begin:end] = layer(scaled.rows[begin:end])
    return layer, hidden


def _weight_from_rows(scaled: _Scaled, targets: Rows, mean: NDArray[Any], dtype: Any) -> NDArray[np.float32]:
    """W^T = c D^-1/2 Y^T M^-1 (targets - mean)."""
    y = scaled.whole(dtype)
    factor = _factor_of_rows(y, scaled.kept)
    (potrs,) = get_lapack_funcs(("potrs",), (factor,))
    wanted = np.asfortranarray(_dense(targets, 0, len(y), dtype) - mean.astype(dtype))
    solved, _ = potrs(factor, wanted, lower=1, overwrite_b=1)
    weight = y.T @ solved
    weight *= (scaled.kept * scaled.inverse_root).astype(dtype)[:, None]
    return np.ascontiguousarray(weight, dtype=np.float32)


def _weight_from_features(scaled: _Scaled, targets: Rows, mean: NDArray[Any], dtype: Any) -> NDArray[np.float32]:
    """W^T = c D^-1/2 T^-1 Y^T (targets - mean)."""
    factor = _factor_of_features(scaled, dtype)
    (potrs,) = get_lapack_funcs(("potrs",), (factor,))
    across = np.zeros((len(factor), targets.shape[1]), dtype, order="F")
    for begin, end in blocks_of_rows(scaled.rows.shape[0]):
        across += scaled.block(begin, end, dtype).T @ (_dense(targets, begin, end, dtype) - mean.astype(dtype))
    weight, _ = potrs(factor, across, lower=1, overwrite_b=1)
    weight *= (scaled.kept * scaled.inverse_root).astype(dtype)[:, None]
    return np.ascontiguousarray(weight, dtype=np.float32)


def _factor_of_rows(y: NDArray[Any], kept: float) -> NDArray[Any]:
    """The lower Cholesky factor of M = I + c^2 Y Y^T, (n, n); above the diagonal is no matter."""
    (syrk,) = get_blas_funcs(("syrk",), (y,))
    return _cholesky(syrk(kept**2, y.T, trans=1, lower=1))


def _factor_of_features(scaled: _Scaled, dtype: Any) -> NDArray[Any]:
    """The lower Cholesky factor of T = I + c^2 Y^T Y, (d, d), summed over blocks of rows."""
    width = scaled.rows.shape[1]
    total = np.zeros((width, width), dtype, order="F")
    (syrk,) = get_blas_funcs(("syrk",), (total,))
    for begin, end in blocks_of_rows(scaled.rows.shape[0]):
        y = scaled.block(begin, end, dtype)
        total = syrk(scaled.kept**2, y.T, beta=1.0, c=total, lower=1, overwrite_c=1)
    return _cholesky(total)


def _cholesky(matrix: NDArray[Any]) -> NDArray[Any]:
    """Of I + matrix, of which the lower triangle is read; in place."""
    matrix[np.diag_indices_from(matrix)] += 1
    (potrf,) = get_lapack_funcs(("potrf",), (matrix,))
    factor, info = potrf(matrix, lower=1, clean=0, overwrite_a=1)
    if info != 0:
        raise _NotPositiveDefiniteError
    return factor


def _mirrored(lower: NDArray[Any]) -> NDArray[Any]:
    """The symmetric matrix of which `lower` holds the lower triangle (Fortran order); in place, C-ordered."""
    for begin in range(0, len(lower), _MIRROR):
        end = begin + _MIRROR
        lower[begin:end, end:] = lower[end:, begin:end].T
        corner = np.tril(lower[begin:end, begin:end])
        lower[begin:end, begin:end] = corner + np.tril(corner, -1).T
    return lower.T


def _unscaled(symmetric: NDArray[Any], scaled: _Scaled) -> NDArray[np.float32]:
    """W^T = D^-1/2 symmetric D^1/2, in place where it is float32."""
    for begin, end in blocks_of_rows(len(symmetric)):
        part = symmetric[begin:end]
        part *= scaled.inverse_root[begin:end, None].astype(symmetric.dtype)
        part *= scaled.root.astype(symmetric.dtype)
    return symmetric.astype(np.float32, copy=False)


def _moments(rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and sum of squares of each feature: small blocks are added in float32, their sums in float64."""
    total, squares = np.zeros((2, rows.shape[1]))
    for begin, end in blocks_of_rows(rows.shape[0], 256):
        block = rows[begin:end]
        if sparse.issparse(block):
            total += np.asarray(block.sum(axis=0, dtype=np.float64)).ravel()
            squares += np.asarray(block.multiply(block).sum(axis=0, dtype=np.float64)).ravel()
        else:
            total += block.sum(axis=0)
            squares += np.einsum("ij,ij->j", block, block)
    return total / rows.shape[0], squares


def _dense(rows: Rows, begin: int, end: int, dtype: Any) -> NDArray[Any]:
    """A dense copy of some rows that may be overwritten."""
    block = rows[begin:end]
    return block.toarray().astype(dtype, copy=False) if sparse.issparse(block) else block.astype(dtype)
