"""Approximate means: exact where everything is looked into, a little less where not."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from speechnlp_tl.embeddings.approximate import approximate_means
from speechnlp_tl.embeddings.retrieval import neighbourhood_means
from speechnlp_tl.errors import InputError


def clustered(rows: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(20, 8))
    return (centres[generator.integers(0, 20, rows)] + 0.4 * generator.normal(size=(rows, 8))).astype(np.float32)


def test_all_cells_give_the_exact_means_and_a_few_nearly_so():
    pytest.importorskip("faiss")
    x, y = clustered(200, 0), clustered(1000, 1)
    exact = neighbourhood_means(x, y)
    np.testing.assert_allclose(approximate_means(x, y, probes=31, cells=31), exact, atol=1e-5)
    few = approximate_means(x, y, probes=6)
    assert (few <= exact + 1e-5).all()
    assert np.abs(few - exact).mean() < 0.02
    assert np.abs(few - exact).max() > 0


def test_without_faiss_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match="pip install faiss-cpu"):
        approximate_means(clustered(5, 0), clustered(50, 1))
