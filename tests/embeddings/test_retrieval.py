"""Retrieval against loops that follow the definitions; whatever the block size."""

from __future__ import annotations

import numpy as np
import pytest

from speechnlp_tl.embeddings.retrieval import neighbourhood_means, neighbours
from speechnlp_tl.errors import InputError


def vectors(rows: int, seed: int, d: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, d)).astype(np.float32)


def cosines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = x.astype(float), y.astype(float)
    return np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in y] for a in x])


def csls_by_loop(x: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    cos = cosines(x, y)
    scores = np.empty_like(cos)
    for i in range(len(x)):
        for j in range(len(y)):
            mean_i = sum(sorted(cos[i], reverse=True)[:k]) / k
            mean_j = sum(sorted(cos[:, j], reverse=True)[:k]) / k
            scores[i, j] = 2 * cos[i, j] - mean_i - mean_j
    return scores


@pytest.mark.parametrize(("block", "tile"), [(1024, 4096), (5, 3), (7, 64)])
def test_csls_is_the_double_loop(block, tile):
    x, y = vectors(40, 0), vectors(50, 1)
    expected = csls_by_loop(x, y, 10)
    found = neighbours(x, y, 5, "csls", block=block, tile=tile)
    order = np.argsort(-expected, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(found.rows, order)
    np.testing.assert_allclose(found.scores, np.take_along_axis(expected, order, 1), atol=1e-6)


def test_ties_go_to_the_lower_row():
    x, y = vectors(6, 0), np.repeat(vectors(4, 1), 3, axis=0)
    found = neighbours(x, y, 6, block=2, tile=5)
    assert (np.sort(found.rows, axis=1)[:, 0] % 3 == 0).all()
    assert (found.rows[:, 1] == found.rows[:, 0] + 1).all()


def test_means_are_over_the_nearest():
    x, y = vectors(30, 0), vectors(20, 1)
    expected = np.sort(cosines(x, y), axis=1)[:, -10:].mean(axis=1)
    np.testing.assert_allclose(neighbourhood_means(x, y, 10, block=7, tile=6), expected, atol=1e-6)


def test_vectors_of_other_dimensions_are_refused():
    with pytest.raises(InputError, match="7 and of 8 dimensions"):
        neighbours(vectors(3, 0), vectors(20, 1, 8))
