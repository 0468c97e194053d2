"""Rows of counts: what they weigh, and that they reach torch unchanged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from speechnlp_tl.errors import InputError
from speechnlp_tl.text.features import SparseRows, checked_rows, take, weigh_counts

COUNTS = np.array([[0, 1, 3], [0, 0, 0], [2, 0, 0]], dtype=np.float32)


@given(st.lists(st.integers(0, 5), min_size=0, max_size=12), st.integers(0, 10**6))
def test_taken_rows_are_the_matrix_rows_in_the_order_asked_for(numbers, seed):
    counts = np.random.default_rng(seed).poisson(0.5, size=(6, 7)).astype(np.float32)
    taken = take(sparse.csr_matrix(counts), numbers)
    assert isinstance(taken, SparseRows)
    assert len(taken) == len(numbers)
    assert torch.equal(taken.dense(), torch.from_numpy(counts[np.array(numbers, int)]))
    assert torch.equal(take(counts, numbers), torch.from_numpy(counts[np.array(numbers, int)]))


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [("count", [0, 1, 3]), ("binary", [0, 1, 1]), ("log", [0, 1, 1 + np.log(3)])],
)
@pytest.mark.parametrize("make", [np.asarray, sparse.csr_matrix])
def test_counts_weigh_what_the_rule_says_dense_or_sparse(weighting, expected, make):
    counts = make(COUNTS)
    found = weigh_counts(counts, weighting)
    assert sparse.issparse(found) == sparse.issparse(counts)
    found = found.toarray() if sparse.issparse(found) else found
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(counts.toarray() if sparse.issparse(counts) else counts, COUNTS)


def test_unit_length_leaves_an_empty_document_empty():
    found = weigh_counts(sparse.csr_matrix(COUNTS), "log", unit_length=True).toarray()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 0, 1], rtol=1e-6)


@pytest.mark.parametrize(
    ("rows", "weighting", "said"),
    [(COUNTS, "tfidf", "count, binary, log"), (-COUNTS, "binary", "a count of -3"), (COUNTS / 2, "log", "of 0.5")],
)
def test_an_impossible_weighting_is_refused(rows, weighting, said):
    with pytest.raises(InputError, match=said):
        weigh_counts(rows, weighting)


@pytest.mark.parametrize(("rows", "said"), [(np.zeros(3), "documents, features"), (np.full((1, 2), np.nan), "finite")])
def test_rows_that_are_none_are_refused(rows, said):
    with pytest.raises(InputError, match=said):
        checked_rows(rows)
