from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechnlp_tl.embeddings import normalisation
from speechnlp_tl.embeddings.normalisation import Normalisation, check_pairs, concatenated
from speechnlp_tl.errors import InputError


@given(st.lists(st.sampled_from(["unit", "centre"]), max_size=4), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_the_steps_are_what_they_say_in_order(steps, seed):
    vectors = np.random.default_rng(seed).standard_normal((50, 4)) + 0.5
    expected = vectors
    for step in steps:
        if step == "centre":
            expected = expected - expected.mean(0)
        else:
            expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(Normalisation.fit(vectors, steps)(vectors), expected, atol=1e-5)


def test_a_block_of_rows_is_as_good_as_all_at_once(monkeypatch):
    vectors = np.random.default_rng(0).standard_normal((100, 5)).astype(np.float32)
    whole = Normalisation.fit(vectors, ["unit", "centre", "unit"])(vectors)
    monkeypatch.setattr(normalisation.blocks, "__defaults__", (7,))
    parted = Normalisation.fit(vectors, ["unit", "centre", "unit"])
    np.testing.assert_allclose(parted(vectors), whole, atol=1e-6)
    np.testing.assert_allclose(parted(vectors[3:4]), whole[3:4], atol=1e-6)


def test_concatenated_trainings_count_alike_whatever_their_scale():
    generator = np.random.default_rng(0)
    one, two = generator.standard_normal((30, 4)), 100 * generator.standard_normal((30, 2)) + 5
    both = concatenated([one, two])
    assert both.shape == (30, 6)
    np.testing.assert_allclose((both[:, :4] ** 2).sum(1), 1, atol=1e-5)
    np.testing.assert_allclose((both[:, 4:] ** 2).sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(both[:, 4:], concatenated([two]))
    for wrong in ([], [one, two[:5]]):
        with pytest.raises(InputError, match="same words"):
            concatenated(wrong)


def test_a_zero_row_has_no_direction_and_stays_zero():
    vectors = np.array([[0, 0], [3, 4]], np.float32)
    np.testing.assert_array_equal(Normalisation.fit(vectors, ["unit"])(vectors), np.float32([[0, 0], [0.6, 0.8]]))


def test_the_given_vectors_are_not_changed():
    vectors = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
    before = vectors.copy()
    Normalisation.fit(vectors, ["unit", "centre", "unit"])(vectors)
    np.testing.assert_array_equal(vectors, before)


def test_rows_that_are_not_finite_are_counted_and_named():
    vectors = np.ones((30, 2))
    vectors[4, 1], vectors[7:20, 0] = np.nan, np.inf
    with pytest.raises(InputError, match=r"french: 14 rows .*: 4, 7, 8, 9, 10, \.\.\."):
        Normalisation.fit(vectors, ["unit"], "french")


def test_all_that_is_wrong_with_pairs_is_said_at_once():
    with pytest.raises(InputError) as caught:
        check_pairs(np.array([[0, 9], [-1, 1], [5, 9]]), (5, 5))
    assert [str(p).split(" outside")[0] for p in caught.value.problems] == [
        "2 pairs name a source row", "2 pairs name a target row",
    ]  # fmt: skip
    for wrong in (np.zeros((0, 2), np.int64), np.zeros((3, 3), np.int64), np.array([[0.5, 1.0]])):
        with pytest.raises(InputError):
            check_pairs(wrong, (5, 5))
