"""Retrieval against loops that follow the definitions; whatever the block size and the screening precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechnlp_tl.embeddings import csls_search
from speechnlp_tl.embeddings.exact_search import ExactSearch, UnitRows
from speechnlp_tl.embeddings.retrieval import log_sums, neighbourhood_means, neighbours
from speechnlp_tl.errors import InputError


def vectors(rows: int, seed: int, d: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, d)).astype(np.float32)


def cosines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = x.astype(float), y.astype(float)
    return np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in y] for a in x])


def csls_by_loop(x: np.ndarray, y: np.ndarray, sources: np.ndarray, k: int) -> np.ndarray:
    cos, others = cosines(x, y), cosines(sources, y)
    scores = np.empty_like(cos)
    for i in range(len(x)):
        for j in range(len(y)):
            mean_i = sum(sorted(cos[i], reverse=True)[:k]) / k
            mean_j = sum(sorted(others[:, j], reverse=True)[:k]) / k
            scores[i, j] = 2 * cos[i, j] - mean_i - mean_j
    return scores


def leading(scores: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def test_csls_is_the_double_loop():
    x, y = vectors(40, 0), vectors(50, 1)
    expected = csls_by_loop(x, y, x, 10)
    found = neighbours(x, y, 5, "csls")
    np.testing.assert_array_equal(found.rows, leading(expected, 5))
    np.testing.assert_allclose(found.scores, np.take_along_axis(expected, found.rows, 1), atol=1e-6)


@pytest.mark.parametrize(("sample", "depth", "k"), [(0.1, 8, 5), (0.05, 2, 1), (0.5, 2, 20), (0.0, 2, 3)])
def test_csls_with_few_means_computed_is_the_double_loop(monkeypatch, sample, depth, k):
    monkeypatch.setattr(csls_search, "SAMPLE", sample)
    monkeypatch.setattr(csls_search, "DEPTH", depth)
    sources, y = vectors(90, 0), vectors(80, 1)
    y[::9] *= 3.0
    y[5:70:7] = y[3]  # ties, among the best of some
    x = sources[20:23]
    found = neighbours(x, y, k, "csls", sources=sources)
    expected = csls_by_loop(x, y, sources, 10)
    np.testing.assert_array_equal(found.rows, leading(expected.round(9), k))
    np.testing.assert_allclose(found.scores, np.take_along_axis(expected, found.rows, 1), atol=1e-6)
    known = neighbours(x, y, k, "csls", target_means=neighbourhood_means(y, sources, 10))
    np.testing.assert_array_equal(found.rows, known.rows)
    np.testing.assert_array_equal(found.scores, known.scores)


def test_few_means_are_computed_for_few_queries(monkeypatch):
    sources, y = vectors(3000, 0, 20), vectors(3000, 1, 20)
    asked = []
    take = UnitRows.take
    monkeypatch.setattr(UnitRows, "take", lambda rows, which: asked.append(which) or take(rows, which))
    neighbours(sources[:10], y, 1, "csls", sources=sources)
    means_of = {int(row) for which in asked if not isinstance(which, slice) for row in which}
    assert len(means_of) < 600


def test_inverted_softmax_is_its_definition():
    x, y, beta = vectors(12, 0), vectors(15, 1), 10.0
    shared = np.exp(beta * cosines(x, y))
    probabilities = shared / shared.sum(axis=0)
    found = neighbours(x, y, 15, "inverted-softmax", inverse_temperature=beta)
    np.testing.assert_array_equal(found.rows, leading(probabilities, 15))
    log_ratio = np.log(np.take_along_axis(probabilities, found.rows, 1)) / beta
    np.testing.assert_allclose(found.scores, log_ratio, atol=1e-5)
    np.testing.assert_allclose(log_sums(y, x, beta), np.log(shared.sum(axis=0)) / beta, atol=1e-6)


def test_means_are_over_the_nearest_and_over_all_where_there_are_fewer():
    x, y = vectors(30, 0), vectors(20, 1)
    expected = np.sort(cosines(x, y), axis=1)
    np.testing.assert_allclose(neighbourhood_means(x, y, 10), expected[:, -10:].mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(neighbourhood_means(x, y, 50), expected.mean(axis=1), atol=1e-6)


def test_ties_go_to_the_lower_row():
    x, y = vectors(6, 0), np.repeat(vectors(4, 1), 3, axis=0)
    y[1::3] *= 4.0  # as long as it points the same way
    found = neighbours(x, y, 12).rows
    assert (found[:, ::3] % 3 == 0).all()
    assert (found[:, 1::3] == found[:, ::3] + 1).all()
    assert (found[:, 2::3] == found[:, ::3] + 2).all()


def test_a_zero_row_is_as_near_to_all_and_comes_in_order():
    y = vectors(40, 1)
    found = neighbours(np.zeros((1, 7), dtype=np.float32), y, 5)
    np.testing.assert_array_equal(found.rows, [[0, 1, 2, 3, 4]])
    np.testing.assert_array_equal(found.scores, np.zeros((1, 5)))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 60), st.integers(1, 3000), st.integers(1, 30), st.integers(1, 70), st.integers(1, 5000),
    st.sampled_from([torch.float32, torch.bfloat16]), st.booleans(), st.integers(0, 9),
)  # fmt: skip
def test_no_block_and_no_precision_changes_anything(queries, targets, k, block, tile, dtype, narrow, seed):
    k = min(k, targets)
    x, y = vectors(queries, seed), vectors(targets, seed + 1)
    if narrow:  # nearly one direction: bfloat16 cannot tell them apart
        x, y = x + 40, y + 40
    cost = np.random.default_rng(seed).normal(size=targets).round(1) if seed % 2 else np.zeros(targets)
    unit = [m.astype(float) / np.linalg.norm(m.astype(float), axis=1, keepdims=True) for m in (x, y)]
    expected = (2 * unit[0] @ unit[1].T - cost).astype(np.float32)
    rows, scores = ExactSearch(UnitRows(y), k, 2.0, cost, dtype=dtype, block=block, tile=tile)(UnitRows(x))
    np.testing.assert_allclose(scores, -np.sort(-expected, axis=1)[:, :k], atol=3e-7)
    np.testing.assert_allclose(scores, np.take_along_axis(expected, rows, 1), atol=3e-7)
    assert all(len(set(row)) == k for row in rows)
    again = ExactSearch(UnitRows(y), k, 2.0, cost, dtype=torch.float32)(UnitRows(x))
    np.testing.assert_array_equal(rows, again[0])
    np.testing.assert_array_equal(scores, again[1])


def test_many_equal_targets_are_told_apart_by_row_in_bounded_memory(monkeypatch):
    from speechnlp_tl.embeddings import exact_search

    monkeypatch.setattr(exact_search, "_FINALISTS", 3000)
    x, y = vectors(20, 0), np.repeat(vectors(2, 1), 1000, axis=0)
    rows, _ = ExactSearch(UnitRows(y), 10, dtype=torch.bfloat16)(UnitRows(x))
    np.testing.assert_array_equal(rows % 1000, np.tile(np.arange(10), (20, 1)))


def test_half_precision_and_memory_mapped_vectors_are_taken(tmp_path):
    x, y = vectors(30, 0), vectors(200, 1).astype(np.float16)
    np.save(tmp_path / "y.npy", y)
    mapped = np.load(tmp_path / "y.npy", mmap_mode="r")
    found = neighbours(x, mapped, 3)
    np.testing.assert_array_equal(found.rows, neighbours(x, y.astype(np.float32), 3).rows)


def test_what_does_not_fit_is_refused_with_all_problems():
    with pytest.raises(InputError) as raised:
        neighbours(vectors(3, 0), vectors(20, 1, 8), 21, target_means=np.zeros(19))
    text = str(raised.value)
    assert "queries 7, targets 8" in text
    assert "21 neighbours are asked for, of 20 targets" in text
    assert "target_means have the shape (20,), not (19,)" in text


def test_vectors_that_are_not_finite_are_refused():
    y = vectors(20, 1)
    y[[3, 11]] = np.nan
    with pytest.raises(InputError, match="2 vectors hold NaN or infinity: rows 3, 11"):
        neighbours(vectors(3, 0), y)


def test_an_unknown_method_is_refused():
    with pytest.raises(InputError, match="no retrieval method 'cosine'"):
        neighbours(vectors(3, 0), vectors(20, 1), method="cosine")  # type: ignore[arg-type]
