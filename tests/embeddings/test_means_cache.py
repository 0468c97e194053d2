"""Cached means are those of the vectors given, and of no others."""

from __future__ import annotations

import numpy as np

from speechnlp_tl.embeddings import means_cache
from speechnlp_tl.embeddings.means_cache import cached_means
from speechnlp_tl.embeddings.retrieval import neighbourhood_means


def vectors(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, 6)).astype(np.float32)


def test_means_are_computed_once_and_again_when_anything_changes(tmp_path, monkeypatch):
    computed = []

    def counted(*arguments):
        computed.append(arguments)
        return neighbourhood_means(*arguments)

    monkeypatch.setattr(means_cache, "neighbourhood_means", counted)
    x, y = vectors(30, 0), vectors(40, 1)
    expected = neighbourhood_means(x, y, 5)
    for _ in range(2):
        np.testing.assert_array_equal(cached_means(tmp_path, x, y, 5), expected)
    assert len(computed) == 1
    changed = x.copy()
    changed[29, 5] += 1
    for others in ((changed, y, 5), (x, y[:39], 5), (x, y, 4), (y, x, 5)):
        np.testing.assert_array_equal(cached_means(tmp_path, *others), neighbourhood_means(*others))
    assert len(computed) == 5


def test_a_damaged_file_is_computed_again_and_no_pickle_is_read(tmp_path):
    x, y = vectors(30, 0), vectors(40, 1)
    expected = cached_means(tmp_path, x, y)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    np.testing.assert_array_equal(cached_means(tmp_path, x, y), expected)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.testing.assert_array_equal(cached_means(tmp_path, x, y), expected)
    np.testing.assert_array_equal(np.load(path), expected)
