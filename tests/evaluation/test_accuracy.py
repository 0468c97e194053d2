import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechnlp_tl.evaluation.accuracy import accuracy, macro_f1_interval, wilson_interval

LABELS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1, max_size=30)


@given(LABELS)
def test_accuracy_confusion_and_f1_by_their_definitions(pairs):
    reference, predicted = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    result = accuracy(reference, predicted)
    assert result.accuracy == pytest.approx(100 * np.mean([left == right for left, right in pairs]))
    for row, label in enumerate(result.labels):
        for column, other in enumerate(result.labels):
            assert result.confusion[row, column] == pairs.count((label, other))
        hits = pairs.count((label, label))
        expected = 200 * hits / (reference.count(label) + predicted.count(label))
        assert result.per_label_f1[label] == pytest.approx(expected)
    assert result.macro_f1 == pytest.approx(np.mean(list(result.per_label_f1.values())))
    assert result.ci95[0] <= result.accuracy <= result.ci95[1]


def test_macro_f1_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(0)
    reference, predicted = (list(generator.choice(list("abcd"), 200)) for _ in range(2))
    expected = 100 * metrics.f1_score(reference, predicted, average="macro")
    assert accuracy(reference, predicted).macro_f1 == pytest.approx(expected)


def test_wilson_interval_is_the_textbook_value_and_honest_at_the_ends():
    assert wilson_interval(81, 263) == pytest.approx((25.53, 36.62), abs=0.01)  # Newcombe 1998, table I
    assert wilson_interval(0, 20) == pytest.approx((0.0, 16.11), abs=0.01)
    assert wilson_interval(29, 29)[1] == 100.0


def test_interval_is_over_groups_where_items_hang_together():
    reference = ["x"] * 100
    predicted = (["x"] * 10 + ["y"] * 10) * 5
    groups = [f"g{index // 10}" for index in range(100)]
    by_item, by_group = accuracy(reference, predicted), accuracy(reference, predicted, groups)
    assert (by_item.interval_unit, by_group.interval_unit) == ("items", "groups")
    assert by_group.ci95[1] - by_group.ci95[0] > 2 * (by_item.ci95[1] - by_item.ci95[0])


@pytest.mark.parametrize(("reference", "predicted"), [([], []), (["a"], ["a", "b"])])
def test_lists_that_do_not_match_are_refused(reference, predicted):
    with pytest.raises(ValueError, match="labels"):
        accuracy(reference, predicted)


def test_the_interval_of_macro_f1_is_that_of_resampled_items():
    generator = np.random.default_rng(0)
    reference = generator.choice(["a", "b", "c"], 80, p=[0.6, 0.3, 0.1]).tolist()
    predicted = [label if generator.random() < 0.7 else "a" for label in reference]
    low, high = macro_f1_interval(accuracy(reference, predicted))
    resampled = []
    for _ in range(2000):
        rows = generator.integers(0, 80, 80)
        resampled.append(accuracy([reference[row] for row in rows], [predicted[row] for row in rows]).macro_f1)
    expected_low, expected_high = np.quantile(resampled, [0.025, 0.975])
    assert abs(low - expected_low) < 1.5
    assert abs(high - expected_high) < 1.5


def test_the_interval_of_a_perfect_macro_f1_is_a_point():
    assert macro_f1_interval(accuracy(list("abab"), list("abab"))) == (100.0, 100.0)
