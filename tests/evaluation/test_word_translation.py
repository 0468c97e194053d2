"""Word translation scores against counts made by hand, and the warnings on planted maps, good and bad."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechnlp_tl.embeddings.retrieval import neighbours
from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.significance import bootstrap_interval
from speechnlp_tl.evaluation.word_translation import (
    by_source,
    collapse_warning,
    ranks,
    round_trips,
    score,
    swapped_warning,
    validation_score,
)


def test_any_of_several_translations_counts_and_the_first_one_found_gives_the_rank():
    rows, correct = by_source([[4, 7], [2, 5], [4, 9], [2, 5], [8, 1]])
    np.testing.assert_array_equal(rows, [2, 4, 8])
    assert [list(part) for part in correct] == [[5], [7, 9], [1]]
    retrieved = np.array([[5, 1, 2], [3, 9, 7], [4, 5, 6]])
    np.testing.assert_array_equal(ranks(retrieved, correct), [1, 2, 0])


def test_rates_are_those_counted_by_hand():
    result = score([1, 1, 2, 6, 0], 10, unknown_sources=3, unknown_translations=2)
    assert {k: rate.value for k, rate in result.covered.precision.items()} == pytest.approx({1: 40, 5: 60, 10: 80})
    assert result.covered.mrr.value == pytest.approx(100 * (1 + 1 + 1 / 2 + 1 / 6) / 5)
    assert (result.words, result.covered.n, result.over_all.n) == (10, 5, 10)
    assert result.coverage == pytest.approx(50)
    assert result.over_all.precision[1].value == pytest.approx(20)
    assert result.over_all.mrr.value == pytest.approx(result.covered.mrr.value / 2)
    assert "over 5 of 10 source words" in str(result)
    assert "3 without a vector, 2 without one of a translation" in str(result)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=2, max_size=300), st.integers(0, 50))
def test_rates_are_in_order_and_inside_their_intervals(numbers, unknown):
    result = score(numbers, 12, unknown_sources=unknown, resamples=500)
    for rates in (result.covered, result.over_all):
        values = [rates.precision[k].value for k in (1, 5, 10)]
        assert values == sorted(values)
        assert values[0] - 1e-9 <= rates.mrr.value
        for rate in (*rates.precision.values(), rates.mrr):
            assert rate.ci95 is not None
            assert 0 <= rate.ci95[0] <= rate.ci95[1] <= 100 + 1e-9
    hits = len(numbers) * result.covered.precision[1].value
    assert hits == pytest.approx((len(numbers) + unknown) * result.over_all.precision[1].value)


def test_intervals_are_those_of_the_bootstrap_over_words():
    generator = np.random.default_rng(0)
    numbers = generator.integers(0, 11, 400)
    result = score(numbers, 10, seed=1)
    reciprocal = np.where(numbers > 0, 1 / np.maximum(numbers, 1), 0)
    for rate, values in (
        (result.covered.precision[5], (numbers > 0) & (numbers <= 5)),
        (result.covered.mrr, reciprocal),
    ):
        word_by_word = bootstrap_interval(values, np.ones(400), seed=2)
        assert rate.ci95 == pytest.approx((word_by_word.low, word_by_word.high), abs=0.4)


def test_frequency_bands_part_the_covered_words():
    rows = np.array([0, 499, 500, 7000, 150_000, 200_000])
    result = score([1, 0, 1, 2, 1, 1], 10, source_rows=rows)
    assert {name: rates.n for name, rates in result.bands.items()} == {
        "1-500": 2,
        "501-5000": 1,
        "5001-20000": 1,
        "above 100000": 2,
    }
    assert result.bands["1-500"].precision[1].value == 50
    assert result.bands["5001-20000"].precision[1].value == 0


def test_what_cannot_be_scored_is_refused_with_all_problems():
    with pytest.raises(InputError, match="no word of the dictionary can be scored: 4 source words have no vector"):
        score([], 10, unknown_sources=4)
    with pytest.raises(InputError) as raised:
        score([1, 7], 5, source_rows=[1])
    text = str(raised.value)
    assert "needs the 10 best" in text
    assert "from 0 to 5" in text
    assert "2 ranks and 1 source rows" in text


def test_validation_score_is_the_mean_cosine_of_the_pairs():
    generator = np.random.default_rng(0)
    x, y, rows = generator.normal(size=(30, 4)), generator.normal(size=(50, 4)), generator.integers(0, 50, 30)
    pairs = [a @ y[r] / np.linalg.norm(a) / np.linalg.norm(y[r]) for a, r in zip(x, rows, strict=True)]
    assert validation_score(x, y, rows) == pytest.approx(np.mean(pairs))


def planted(noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Clustered vectors of two languages, row by row translations, already in one space but for the noise."""
    generator = np.random.default_rng(0)
    spread = np.arange(1, 51) ** -0.3
    centres = generator.normal(size=(100, 50))
    x = (0.9 * centres[generator.integers(0, 100, 2000)] + 0.6 * generator.normal(size=(2000, 50))) * spread
    y = x + noise * generator.normal(size=x.shape) * spread
    return x, y


def trips(x: np.ndarray, y: np.ndarray) -> float:
    there, back = (neighbours(a, b, 1, "csls").rows[:, 0] for a, b in ((x, y), (y, x)))
    return round_trips(there, back)


def rotation(seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(50, 50)))[0]


@pytest.mark.parametrize("noise", [0.3, 1.0, 1.5])
def test_a_sound_alignment_gives_no_warning_and_collapsed_ones_do(noise):
    x, y = planted(noise)
    chance = trips(x @ rotation(1), y)
    flat = np.outer(np.random.default_rng(2).normal(size=50), y[0]) + 0.02 * np.random.default_rng(3).normal(
        size=(50, 50)
    )
    assert collapse_warning(trips(x, y), chance) is None
    assert collapse_warning(trips(x, y)) is None
    for wrong in (rotation(4), flat):
        found = trips(x @ wrong, y)
        for warning in (collapse_warning(found, chance), collapse_warning(found)):
            assert warning is not None
            assert "identical strings" in warning


def test_words_that_took_no_part_give_a_failed_self_learning_away():
    x, y = planted(1.0)
    learning, others = slice(0, 250), slice(250, 2000)
    turn = rotation(5)
    for _ in range(20):
        there, back = (
            neighbours(a, b, 1, "csls").rows[:, 0]
            for a, b in ((x[learning] @ turn, y[learning]), (y[learning], x[learning] @ turn))
        )
        rows = np.flatnonzero(back[there] == np.arange(250))
        u, _, v = np.linalg.svd(x[rows].T @ y[there[rows]])
        turn = u @ v
    chance = trips(x[others] @ rotation(1), y[others])
    assert (neighbours(x @ turn, y, 1).rows[:, 0] == np.arange(2000)).mean() < 0.05
    assert collapse_warning(trips(x[learning] @ turn, y[learning]), chance) is None  # fooled
    assert collapse_warning(trips(x[others] @ turn, y[others]), chance) is not None
    assert collapse_warning(trips(x[others], y[others]), chance) is None


def test_round_trips_are_counted_by_hand():
    assert round_trips([1, 0, 2], [1, 0, 0, 5]) == pytest.approx(100 * 2 / 3)


def test_swapped_languages_are_hinted_at_and_a_hard_task_is_not():
    failed, good = score([0] * 50, 10, unknown_sources=150), score([1] * 80 + [0] * 100, 10, unknown_sources=20)
    hint = swapped_warning(failed, good)
    assert hint is not None
    assert "are the languages swapped?" in hint
    assert swapped_warning(good, failed) is None
    assert swapped_warning(failed, failed) is None
