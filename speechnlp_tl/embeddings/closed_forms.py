"""Linear maps between two sets of matched rows, in closed form: least squares, orthogonal Procrustes, CCA, whitening.

Rows x_i of X (n, d) and y_i of Y (n, e) are translations of each other. Nothing is normalised here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.embeddings.normalisation import Vectors, blocks
from speechnlp_tl.errors import InputError

Matrix = NDArray[np.floating]


def least_squares(source: Vectors, target: Vectors, ridge: float = 0.0) -> Matrix:
    """W (d, e) that minimises ||X W - Y||_F^2 + ridge ||W||_F^2 (Mikolov, Le and Sutskever 2013).

    With ridge = 0 and fewer rows than dimensions the W of smallest norm.

    Raises:
        InputError: a negative ridge.
    """
    if not 0 <= ridge < float("inf"):
        raise InputError(f"ridge must be 0 or more, not {ridge}")
    if ridge == 0:
        return np.linalg.lstsq(_wide(source), _wide(target), rcond=None)[0]
    gram = inner(source, source)
    gram[np.diag_indices_from(gram)] += ridge
    return np.linalg.solve(gram, inner(source, target))


def orthogonal_procrustes(source: Vectors, target: Vectors) -> Matrix:
    """W (d, e) with orthonormal columns or rows (whichever there are fewer of) that minimises ||X W - Y||_F.

    W = U V^T where X^T Y = U S V^T (Schönemann 1966; for word vectors Xing et al. 2015, Artetxe et al. 2016).
    """
    return nearest_orthogonal(inner(source, target))


def nearest_orthogonal(matrix: NDArray[np.floating]) -> Matrix:
    """U V^T of the singular value decomposition U S V^T: the orthogonal matrix nearest to `matrix`."""
    u, _, vt = np.linalg.svd(_wide(matrix), full_matrices=False)
    return u @ vt


class CanonicalMaps(NamedTuple):
    """Maps of both sides onto their canonical variables, the most correlated first."""

    source: Matrix
    """(d, k), k = min(d, e)."""
    target: Matrix
    """(e, k)."""
    correlations: Matrix
    """(k,), from 1 down to 0."""


def canonical_correlation(source: Vectors, target: Vectors, ridge: float = 0.0) -> CanonicalMaps:
    """CCA (Hotelling 1936; for word vectors Faruqui and Dyer 2014): maps A, B after which

        (X A)^T (X A) = I,   (Y B)^T (Y B) = I,   (X A)^T (Y B) = diag(correlations)

    A = (X^T X)^-1/2 U and B = (Y^T Y)^-1/2 V with U S V^T = (X^T X)^-1/2 X^T Y (Y^T Y)^-1/2. The rows are taken as
    they are: centre them for correlations in the strict sense. `ridge` is added to the diagonals of X^T X and Y^T Y.

    Raises:
        InputError: without a ridge, the rows do not span their dimensions.
    """
    whiten_source, _ = whitening(source, ridge)
    whiten_target, _ = whitening(target, ridge)
    u, s, vt = np.linalg.svd(whiten_source @ inner(source, target) @ whiten_target, full_matrices=False)
    return CanonicalMaps(whiten_source @ u, whiten_target @ vt.T, np.clip(s, 0, 1))


def whitening(rows: Vectors, ridge: float = 0.0) -> tuple[Matrix, Matrix]:
    """(X^T X + ridge I)^-1/2 and its inverse, both (d, d) and symmetric.

    Raises:
        InputError: the rows do not span all d dimensions and there is no ridge, or a negative ridge.
    """
    if not 0 <= ridge < float("inf"):
        raise InputError(f"ridge must be 0 or more, not {ridge}")
    values, directions = np.linalg.eigh(inner(rows, rows))
    values = values + ridge
    if values[0] <= 1e-10 * values[-1]:
        raise InputError(
            f"{len(rows)} rows do not span their {len(values)} dimensions, so they cannot be whitened; "
            "give more pairs, a ridge above 0, or align without whitening"
        )
    root = np.sqrt(values)
    return (directions / root) @ directions.T, (directions * root) @ directions.T


def inner(left: Vectors, right: Vectors) -> Matrix:
    """X^T Y (d, e), in float64 whatever the rows are, a block of rows at a time."""
    parts = zip(blocks(left), blocks(right), strict=True)
    return sum((_wide(x).T @ _wide(y) for (_, x), (_, y) in parts), np.zeros((left.shape[1], right.shape[1])))


def _wide(values: Vectors) -> Matrix:
    return np.asarray(values, dtype=np.float64)
