from __future__ import annotations

import numpy as np
import pytest

from speechnlp_tl.embeddings.vectors import WordVectors, bad_rows, blocks
from speechnlp_tl.errors import InputError


def made(count: int = 5, dimension: int = 3) -> WordVectors:
    matrix = np.arange(1, count * dimension + 1, dtype=np.float32).reshape(count, dimension)
    return WordVectors([f"w{row}" for row in range(count)], matrix, "en", np.arange(count, 0, -1))


def test_words_find_their_rows_and_unknown_words_have_none() -> None:
    vectors = made()
    assert vectors.rows(["w3", "nothing", "w0"]).tolist() == [3, -1, 0]
    assert vectors.rows([]).shape == (0,)
    assert "w4" in vectors
    assert "w5" not in vectors
    assert np.array_equal(vectors["w1"], [4, 5, 6])


def test_the_first_words_are_a_view_of_the_same_memory() -> None:
    vectors = made()
    first = vectors.first(2)
    assert (first.words, first.name, first.dimension, len(first)) == (["w0", "w1"], "en", 3, 2)
    assert first.counts is not None
    assert first.counts.tolist() == [5, 4]
    assert np.shares_memory(first.matrix, vectors.matrix)
    assert len(vectors.first(99)) == 5


def test_a_matrix_of_float32_is_kept_and_any_other_becomes_it() -> None:
    matrix = np.ones((2, 2), dtype=np.float32)
    assert WordVectors(["a", "b"], matrix).matrix is matrix
    assert WordVectors(["a", "b"], np.ones((2, 2))).matrix.dtype == np.float32


def test_everything_that_does_not_fit_is_listed() -> None:
    with pytest.raises(InputError) as error:
        WordVectors(["a", "b", "a"], np.ones((2, 2), dtype=np.float32), counts=np.ones(2, dtype=np.int64))
    said = [problem.what for problem in error.value.problems]
    assert said == ["3 words for 2 vectors", "counts are (2,) for 3 words", "'a' stands twice, in rows 0 and 2"]
    with pytest.raises(InputError, match="not rows of numbers"):
        WordVectors(["a"], np.ones(1, dtype=np.float32))
    with pytest.raises(InputError, match="not rows of numbers"):
        WordVectors(["a"], np.array([["x"]]))


def test_vectors_without_direction_are_named_and_counted() -> None:
    vectors = WordVectors([f"w{row}" for row in range(60)], np.ones((60, 2), dtype=np.float32))
    assert vectors.check() is vectors
    vectors.matrix[1] = 0
    vectors.matrix[2, 1] = np.nan
    vectors.matrix[3, 0] = -np.inf
    vectors.matrix[30:, :] = 0
    with pytest.raises(InputError) as error:
        vectors.check("fr")
    said = [problem.what for problem in error.value.problems]
    assert said[:3] == [
        "the vector of 'w2' is not finite",
        "the vector of 'w3' is not finite",
        "the vector of 'w1' is zero",
    ]
    assert said[-1] == "11 more vectors are zero"
    assert error.value.problems[0].file == "fr"


def test_blocks_cover_every_row_once_and_bad_rows_are_found_across_them() -> None:
    matrix = np.ones((40_000, 1), dtype=np.float32)
    matrix[[0, 16_383, 16_384, 39_999]] = [[np.nan], [0], [np.inf], [0]]
    assert sum(len(block) for _, block in blocks(matrix)) == 40_000
    bad, zero = bad_rows(matrix)
    assert (bad.tolist(), zero.tolist()) == ([0, 16_384], [16_383, 39_999])
    assert [rows.tolist() for rows in bad_rows(matrix[:0])] == [[], []]
