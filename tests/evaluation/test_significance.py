import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechnlp_tl.evaluation import significance
from speechnlp_tl.evaluation.significance import (
    bootstrap_interval,
    compare,
    mean_interval,
    paired_comparison,
    sign_flip_p,
    student_t_quantile,
    wer_interval,
)
from speechnlp_tl.evaluation.wer import score


def simulate(generator, speakers, utterances=20, rate=0.1, spread=0.05):
    """A test set: speakers differ in their error rate, utterances in length. Returns errors, words, speaker names."""
    rates = np.clip(generator.normal(rate, spread, speakers), 0.0, 1.0).repeat(utterances)
    words = generator.integers(3, 12, speakers * utterances)
    return generator.binomial(words, rates), words, [f"s{index // utterances}" for index in range(len(words))]


def test_interval_over_speakers_covers_the_truth_and_over_utterances_does_not():
    generator = np.random.default_rng(1)
    covered = {"speakers": 0, "utterances": 0}
    runs = 300
    for _ in range(runs):
        errors, words, speakers = simulate(generator, speakers=40)
        for unit, names in (("speakers", speakers), ("utterances", None)):
            interval = bootstrap_interval(errors, words, names, resamples=1000)
            assert interval.unit == unit
            covered[unit] += interval.low <= 10.0 <= interval.high
    assert 0.91 <= covered["speakers"] / runs <= 0.98
    assert covered["utterances"] / runs < 0.75


def test_interval_is_the_binomial_closed_form_for_independent_words():
    generator = np.random.default_rng(2)
    errors = (generator.random(2000) < 0.2).astype(int)
    interval = bootstrap_interval(errors, np.ones(2000, dtype=int))
    share = errors.mean()
    half = 1.96 * math.sqrt(share * (1 - share) / 2000)
    assert interval.low == pytest.approx(100 * (share - half), abs=0.15)
    assert interval.high == pytest.approx(100 * (share + half), abs=0.15)


def test_interval_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    errors, words, speakers = simulate(np.random.default_rng(3), speakers=30)
    error_sums = np.array([errors[np.array(speakers) == name].sum() for name in sorted(set(speakers))])
    word_sums = np.array([words[np.array(speakers) == name].sum() for name in sorted(set(speakers))])
    expected = stats.bootstrap(
        (error_sums, word_sums),
        lambda e, w, axis: 100 * e.sum(axis) / w.sum(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    interval = bootstrap_interval(errors, words, speakers, resamples=20_000)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=0.15)


def test_interval_depends_on_the_seed_only():
    errors, words, speakers = simulate(np.random.default_rng(4), speakers=12)
    assert bootstrap_interval(errors, words, speakers) == bootstrap_interval(errors, words, speakers)
    assert bootstrap_interval(errors, words, speakers) != bootstrap_interval(errors, words, speakers, seed=1)


def test_one_speaker_means_utterances_are_resampled_and_the_result_says_so():
    errors, words, _ = simulate(np.random.default_rng(5), speakers=1)
    interval = bootstrap_interval(errors, words, ["s"] * len(words))
    assert (interval.unit, interval.n) == ("utterances", len(words))
    assert interval.low < interval.high


def test_no_errors_and_a_single_utterance_are_degenerate_and_not_fatal():
    assert bootstrap_interval([0, 0, 0], [5, 5, 5]).ci95 == (0.0, 0.0)
    single = bootstrap_interval([1], [4])
    assert (single.low, single.high, single.ci95) == (25.0, 25.0, None)


def test_resamples_without_words_are_left_out():
    interval = bootstrap_interval([1, 3], [0, 4], resamples=500)
    assert (interval.low, interval.high) == pytest.approx((75.0, 100.0))
    with pytest.raises(ValueError, match="reference words"):
        bootstrap_interval([1, 1], [0, 0])


def test_ten_thousand_resamples_of_a_thousand_utterances_take_well_under_a_second():
    errors, words, _ = simulate(np.random.default_rng(6), speakers=50)
    started = time.process_time()
    bootstrap_interval(errors, words)
    assert time.process_time() - started < 0.7


def test_chunks_do_not_change_the_distribution(monkeypatch):
    errors, words, speakers = simulate(np.random.default_rng(7), speakers=20)
    whole = bootstrap_interval(errors, words, speakers)
    monkeypatch.setattr(significance, "_CELLS_AT_ONCE", 640)
    parted = bootstrap_interval(errors, words, speakers)
    assert (parted.low, parted.high) == pytest.approx((whole.low, whole.high), abs=0.3)


def test_drawing_kinds_of_units_is_drawing_units(monkeypatch):
    """The sums over drawn units, and their joint distribution, do not depend on how they are drawn."""
    generator = np.random.default_rng(13)
    columns = np.array([[0, 0, 0, 1, 2, 1], [3, 3, 3, 3, 5, 4]])[:, generator.integers(0, 6, 300)]
    by_kind = significance._resampled_sums(columns, 20_000, seed=1)
    monkeypatch.setattr(significance, "_KIND_COST", 300)
    by_unit = significance._resampled_sums(columns, 20_000, seed=2)
    expected = 300 * columns.mean(1), 300 * np.cov(columns, ddof=0)
    for sums in (by_kind, by_unit):
        np.testing.assert_allclose(sums.mean(1), expected[0], atol=4 * np.sqrt(np.diag(expected[1]).max() / 20_000))
        np.testing.assert_allclose(np.cov(sums), expected[1], rtol=0.05)
    for one, other in (
        (by_kind[0], by_unit[0]),
        (by_kind[1], by_unit[1]),
        (by_kind[0] / by_kind[1], by_unit[0] / by_unit[1]),
    ):
        points = np.union1d(one, other)
        shares = [np.searchsorted(np.sort(values), points, side="right") / 20_000 for values in (one, other)]
        assert np.abs(shares[0] - shares[1]).max() < 1.95 * math.sqrt(2 / 20_000)  # Smirnov 1939, at 0.001


def test_units_of_one_kind_are_resampled_like_the_binomial_that_they_are():
    stats = pytest.importorskip("scipy.stats")
    errors = np.arange(400) < 90
    sums = significance._resampled_sums(np.array([errors, np.ones(400)], dtype=float), 50_000, seed=0)
    assert (sums[1] == 400).all()
    at_most = np.searchsorted(np.sort(sums[0]), np.arange(401), side="right") / 50_000
    assert np.abs(at_most - stats.binom.cdf(np.arange(401), 400, 90 / 400)).max() < 1.95 / math.sqrt(50_000)


def test_a_system_against_itself_differs_by_nothing():
    errors, words, speakers = simulate(np.random.default_rng(8), speakers=15)
    result = paired_comparison(errors, errors, words, speakers)
    assert (result.difference, result.low, result.high, result.p, result.p_bootstrap) == (0.0, 0.0, 0.0, 1.0, 1.0)


def test_a_clear_gain_is_found_and_its_sign_is_system_minus_baseline():
    errors, words, speakers = simulate(np.random.default_rng(9), speakers=15)
    baseline = errors + (np.arange(len(errors)) % 3 == 0)
    result = paired_comparison(errors, baseline, words, speakers)
    assert result.difference == pytest.approx(100 * (errors.sum() - baseline.sum()) / words.sum())
    assert result.low < result.difference < result.high < 0
    assert result.p == pytest.approx(2 / 2**15)
    assert result.p_bootstrap < 0.001
    swapped = paired_comparison(baseline, errors, words, speakers)
    assert (swapped.difference, swapped.p) == pytest.approx((-result.difference, result.p))
    assert (swapped.low, swapped.high) == pytest.approx((-result.high, -result.low))


def test_pairing_sees_differences_that_separate_intervals_hide():
    generator = np.random.default_rng(10)
    errors, words, speakers = simulate(generator, speakers=25, spread=0.08)
    baseline = errors + (generator.random(len(errors)) < 0.1)
    ours, theirs = (bootstrap_interval(counts, words, speakers) for counts in (errors, baseline))
    assert ours.high > theirs.low
    assert paired_comparison(errors, baseline, words, speakers).p < 0.001


def test_under_no_difference_p_is_below_5_percent_in_at_most_5_percent_of_cases():
    generator = np.random.default_rng(11)
    small = 0
    for _ in range(400):
        first, words, speakers = simulate(generator, speakers=8, utterances=5)
        second = generator.permutation(first.reshape(8, 5), axis=1).ravel()
        swap = generator.integers(0, 2, 8).repeat(5).astype(bool)
        noise = generator.integers(0, 3, len(first))
        ours, theirs = np.where(swap, first + noise, second), np.where(swap, second, first + noise)
        small += paired_comparison(ours, theirs, words, speakers, resamples=10).p <= 0.05
    assert small / 400 <= 0.07


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=9))
def test_permutation_p_is_the_share_of_all_sign_arrangements(differences):
    observed = abs(sum(differences))
    sums = [
        abs(sum(sign * value for sign, value in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    p, exact = sign_flip_p(differences)
    assert exact
    assert p == pytest.approx(np.mean([value >= observed for value in sums]))


def p_one_by_one(differences):
    """Sums under random signs, built up one difference after the other."""
    total = int(np.abs(differences).sum())
    probability = np.zeros(2 * total + 1)
    probability[total] = 1.0
    for value in differences:
        probability = 0.5 * (np.roll(probability, value) + np.roll(probability, -value))
    return probability[np.abs(np.arange(-total, total + 1)) >= abs(differences.sum())].sum()


@pytest.mark.parametrize(("units", "largest", "lean"), [(300, 9, 0.0), (2000, 2, 0.3), (2500, 1, 0.05), (40, 60, 8.0)])
def test_permutation_p_of_many_units_is_that_of_one_after_the_other(units, largest, lean):
    generator = np.random.default_rng(units)
    differences = np.rint(generator.integers(-largest, largest + 1, units) + lean * generator.random(units)).astype(int)
    p, exact = sign_flip_p(differences)
    assert exact
    assert p == pytest.approx(p_one_by_one(differences), rel=1e-9)


def test_permutation_p_of_tens_of_thousands_of_units_is_exact_and_takes_well_under_a_second():
    stats = pytest.importorskip("scipy.stats")
    differences = np.repeat([1, -1, 0], [6300, 6000, 30_000])
    started = time.process_time()
    p, exact = sign_flip_p(differences)
    assert exact
    assert p == pytest.approx(2 * stats.binom.sf(6299, 12_300, 0.5), rel=1e-9)
    generator = np.random.default_rng(14)
    _, exact = sign_flip_p(generator.integers(-15, 16, 15_000))
    assert exact
    assert time.process_time() - started < 2


def test_sampled_permutation_p_agrees_with_the_exact_one(monkeypatch):
    differences = np.random.default_rng(12).integers(-3, 5, 60)
    exact, _ = sign_flip_p(differences)
    monkeypatch.setattr(significance, "_EXACT_OPERATIONS", 0)
    sampled, is_exact = sign_flip_p(differences, resamples=20_000)
    assert not is_exact
    assert sampled == pytest.approx(exact, abs=4 * math.sqrt(exact / 20_000))
    with pytest.raises(ValueError, match="whole numbers"):
        sign_flip_p([0.5, 1.0])


def test_scores_are_compared_by_their_utterances():
    reference = {f"u{n}": ["a", "b"] for n in range(6)}
    speakers = {name: f"s{index // 2}" for index, name in enumerate(reference)}
    good, bad = score(reference, reference, speakers), score(reference, {}, speakers)
    result = compare(good, bad)
    assert (result.wer, result.difference, result.unit, result.n) == (100.0, -100.0, "speakers", 3)
    assert result.p == pytest.approx(2 / 2**3)
    assert wer_interval(good).ci95 == (0.0, 0.0)
    with pytest.raises(ValueError, match="same references"):
        compare(good, score({"v": ["a"]}, {}))


@pytest.mark.parametrize(("degrees", "expected"), [(1, 12.7062), (2, 4.3027), (4, 2.7764), (9, 2.2622), (100, 1.9840)])
def test_student_t_is_the_printed_table(degrees, expected):
    assert student_t_quantile(0.95, degrees) == pytest.approx(expected, abs=5e-5)


def test_student_t_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    for degrees in (1, 2, 3, 5, 8, 17, 40, 999):
        for level in (0.5, 0.9, 0.95, 0.99):
            assert student_t_quantile(level, degrees) == pytest.approx(stats.t.ppf((1 + level) / 2, degrees), rel=1e-7)


def test_mean_over_seeds_and_its_interval():
    result = mean_interval([5.0, 7.0, 9.0])
    assert (result.mean, result.standard_deviation, result.n) == (7.0, 2.0, 3)
    assert result.ci95 == pytest.approx((7 - 4.30265 * 2 / math.sqrt(3), 7 + 4.30265 * 2 / math.sqrt(3)), abs=1e-4)
    assert mean_interval([4.0]).ci95 is None
    assert mean_interval([4.0, 4.0]).ci95 == (4.0, 4.0)
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])
