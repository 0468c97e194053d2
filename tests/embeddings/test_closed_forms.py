from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import CCA

from speechnlp_tl.embeddings.closed_forms import (
    canonical_correlation,
    least_squares,
    nearest_orthogonal,
    orthogonal_procrustes,
    whitening,
)
from speechnlp_tl.errors import InputError


def rows(count: int, width: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.standard_normal((count, width)) @ generator.standard_normal((width, width))


@given(st.integers(1, 6), st.integers(1, 20), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_procrustes_is_scipys(width, count, seed):
    x, y = rows(count, width, seed), rows(count, width, seed + 1)
    ours = orthogonal_procrustes(x, y)
    theirs, _ = scipy.linalg.orthogonal_procrustes(x, y)
    # with fewer rows than dimensions several rotations are as good: the error is what is determined
    assert np.linalg.norm(x @ ours - y) == pytest.approx(np.linalg.norm(x @ theirs - y))
    if count > width:
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_allclose(ours.T @ ours, np.eye(width), atol=1e-9)


def test_procrustes_between_unlike_widths_keeps_lengths_where_it_can():
    x, y = rows(30, 5), rows(30, 3, 1)
    down, up = orthogonal_procrustes(x, y), orthogonal_procrustes(y, x)
    np.testing.assert_allclose(down.T @ down, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(up @ up.T, np.eye(3), atol=1e-9)


def test_no_orthogonal_matrix_is_nearer_than_the_nearest():
    matrix = rows(4, 4)
    nearest = nearest_orthogonal(matrix)
    for seed in range(50):
        other = scipy.stats.ortho_group.rvs(4, random_state=seed)
        assert np.linalg.norm(matrix - nearest) <= np.linalg.norm(matrix - other)


@pytest.mark.parametrize("ridge", [0.0, 0.7])
def test_least_squares_has_no_gradient_left(ridge):
    x, y = rows(40, 5), rows(40, 3, 1)
    w = least_squares(x, y, ridge)
    np.testing.assert_allclose(x.T @ (x @ w - y) + ridge * w, 0, atol=1e-8)


def test_least_squares_with_too_few_rows_takes_the_smallest_map():
    x, y = rows(3, 6), rows(3, 2, 1)
    w = least_squares(x, y)
    np.testing.assert_allclose(x @ w, y, atol=1e-8)
    np.testing.assert_allclose(w, np.linalg.pinv(x) @ y, atol=1e-8)


def test_cca_is_its_definition_and_sklearns():
    x = rows(500, 4) - 2
    y = x @ rows(4, 3, 2)[:, :3] + 3 * rows(500, 3, 3)
    x, y = x - x.mean(0), y - y.mean(0)
    a, b, correlations = canonical_correlation(x, y)
    np.testing.assert_allclose((x @ a).T @ (x @ a), np.eye(3), atol=1e-8)
    np.testing.assert_allclose((y @ b).T @ (y @ b), np.eye(3), atol=1e-8)
    np.testing.assert_allclose((x @ a).T @ (y @ b), np.diag(correlations), atol=1e-8)
    u, v = CCA(3, scale=False, tol=1e-10, max_iter=10000).fit_transform(x, y)
    theirs = [np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(3)]
    np.testing.assert_allclose(correlations, theirs, atol=1e-6)
    assert correlations[0] > correlations[-1] > 0


def test_whitened_rows_are_uncorrelated_and_its_inverse_undoes_it():
    x = rows(60, 5)
    white, unwhite = whitening(x)
    np.testing.assert_allclose((x @ white).T @ (x @ white), np.eye(5), atol=1e-8)
    np.testing.assert_allclose(white @ unwhite, np.eye(5), atol=1e-8)


def test_rows_that_do_not_span_their_dimensions_need_a_ridge():
    x = rows(3, 5)
    with pytest.raises(InputError, match="3 rows do not span their 5 dimensions"):
        whitening(x)
    white, unwhite = whitening(x, ridge=0.1)
    np.testing.assert_allclose(white @ unwhite, np.eye(5), atol=1e-8)


def test_a_negative_ridge_is_refused():
    with pytest.raises(InputError, match="ridge"):
        least_squares(rows(5, 2), rows(5, 2), -1)
    with pytest.raises(InputError, match="ridge"):
        whitening(rows(5, 2), -1)
