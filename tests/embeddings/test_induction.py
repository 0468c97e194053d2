from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechnlp_tl.embeddings import induction
from speechnlp_tl.embeddings.induction import induce, unsupervised_pairs
from speechnlp_tl.errors import InputError
from tests.embeddings.planted import planted


def csls_translations(x: np.ndarray, y: np.ndarray, k: int) -> tuple[list[int], list[int], float]:
    """By the definition, word for word."""
    cosine = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in y] for a in x])
    row_means = [np.mean(sorted(row)[-k:]) for row in cosine]
    column_means = [np.mean(sorted(column)[-k:]) for column in cosine.T]
    score = np.array(
        [[2 * c - row_means[i] - column_means[j] for j, c in enumerate(row)] for i, row in enumerate(cosine)]
    )
    highest = np.concatenate([cosine.max(1), cosine.max(0)])
    return score.argmax(1).tolist(), score.argmax(0).tolist(), float(highest.mean())


@given(st.integers(2, 25), st.integers(2, 25), st.integers(1, 12), st.sampled_from([2**24, 40]), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_induction_is_csls_in_both_directions_however_many_cells_fit(words, others, k, cells, seed):
    generator = np.random.default_rng(seed)
    x, y = generator.standard_normal((words, 4)), generator.standard_normal((others, 4))
    before, induction.CELLS = induction.CELLS, cells
    try:
        found = induce(x, y, k)
    finally:
        induction.CELLS = before
    forward, backward, similarity = csls_translations(x, y, k)
    assert found.forward.tolist() == forward
    assert found.backward.tolist() == backward
    assert found.similarity == pytest.approx(similarity, abs=1e-5)
    mutual = [[i, j] for i, j in enumerate(forward) if backward[j] == i]
    assert found.mutual.tolist() == mutual
    assert found.pairs.tolist() == [[i, j] for i, j in enumerate(forward)] + [[i, j] for j, i in enumerate(backward)]


def test_parts_consider_each_pair_with_the_promised_probability():
    """With orthonormal words the only similar word is the word itself: it is found where it was considered."""
    same = np.eye(400, dtype=np.float32)
    generator = np.random.default_rng(0)
    shares = [np.mean(induce(same, same, 10, 4, generator).forward == np.arange(400)) for _ in range(30)]
    assert np.mean(shares) == pytest.approx(0.25, abs=0.02)
    assert np.std(shares) > 0.005


def test_words_of_a_part_are_translated_as_if_there_were_no_others():
    made = planted(words=90)
    found = induce(made.source, made.source, 5, 3, np.random.default_rng(1))
    generator = np.random.default_rng(1)
    sides = [np.array_split(generator.permutation(90), 3) for _ in range(2)]
    for mine, others in zip(*sides, strict=True):
        forward, backward, _ = csls_translations(made.source[mine], made.source[others], 5)
        assert found.forward[mine].tolist() == others[forward].tolist()
        assert found.backward[others].tolist() == mine[backward].tolist()


def test_the_unsupervised_dictionary_finds_words_of_a_rotated_space():
    made = planted(words=400, noise=0.01)
    found = unsupervised_pairs(made.source, made.target)
    right = np.mean(found.forward == made.pairs[:, 1])
    assert right > 0.5
    assert right > 50 * np.mean(np.random.default_rng(0).permutation(400) == made.pairs[:, 1])


def test_profiles_are_the_sorted_rows_of_the_root_of_the_similarities():
    rows = planted(words=30, dimensions=5).source.astype(np.float64)
    values, vectors = np.linalg.eigh(rows @ rows.T)
    root = np.sort((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T, axis=1)
    root /= np.linalg.norm(root, axis=1, keepdims=True)
    root -= root.mean(0)
    root /= np.linalg.norm(root, axis=1, keepdims=True)
    np.testing.assert_allclose(induction._profiles(rows), root, atol=1e-4)


def test_impossible_parts_and_widths_are_refused():
    rows = planted(words=30).source
    with pytest.raises(InputError, match="31 parts of 30"):
        induce(rows, rows, parts=31)
    with pytest.raises(InputError, match="20 and 7 dimensions"):
        induce(rows, rows[:, :7])
