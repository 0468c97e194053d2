"""Re-sampling: class counts after, what stays as it is, what a classifier gains, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import f1_score
from sklearn.svm import LinearSVC

from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.resampling import STRATEGIES, resample
from tests.transfer.planted_classes import planted


def imbalanced(count: int = 200, share: float = 0.15, seed: int = 0):
    return planted(0, count, seed, share)


@pytest.mark.parametrize("how", STRATEGIES)
@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_classes_are_equally_frequent_afterwards(how, layout):
    rows, labels = imbalanced()
    found, given = resample(layout(rows), labels, how, seed=1)
    counts = np.bincount(given)
    wanted = 30 if how == "random_under" else 170
    if how == "adasyn":
        assert counts[0] == 170
        assert counts[1] == pytest.approx(170, abs=20)
    else:
        assert counts.tolist() == [wanted, wanted]
    assert sparse.issparse(found) == (layout is not np.asarray)
    assert found.shape == (len(given), 30)


@pytest.mark.parametrize("how", STRATEGIES)
def test_the_same_seed_draws_the_same_rows_and_another_seed_others(how):
    rows, labels = imbalanced()
    one, two, three = (resample(rows, labels, how, seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(one, two)
    assert one.shape != three.shape or not np.array_equal(one, three)


def test_random_strategies_only_draw_rows_that_are_there():
    rows, labels = imbalanced()
    known = {(*row, label) for row, label in zip(rows.tolist(), labels.tolist(), strict=True) for row in [tuple(row)]}
    for how in ("random_over", "random_under"):
        found, given = resample(rows, labels, how)
        assert {(*row, label) for row, label in zip(map(tuple, found.tolist()), given.tolist(), strict=True)} <= known


def test_smote_keeps_all_rows_and_makes_new_ones_between_two_of_the_rare_class():
    rows, labels = imbalanced()
    found, given = resample(rows, labels, "smote")
    assert np.array_equal(found[:200], rows)
    assert given[200:].all()
    rare = rows[labels == 1]
    for new in found[200:220]:
        # |a - new| + |new - b| = |a - b| for some pair a, b of the class
        to_each = np.linalg.norm(rare - new, axis=1)
        apart = np.linalg.norm(rare[:, None] - rare[None], axis=2)
        assert np.abs(to_each[:, None] + to_each[None] - apart).min() < 1e-6


@pytest.mark.parametrize("how", STRATEGIES)
def test_macro_f1_of_a_linear_svm_rises(how):
    test, truth = imbalanced(4000, 0.5, seed=8)
    gains = []
    for seed in range(3):
        rows, labels = imbalanced(400, 0.06, seed)
        before, after = (
            f1_score(truth, LinearSVC(C=0.003, random_state=0).fit(*data).predict(test), average="macro")
            for data in ((rows, labels), resample(rows, labels, how, seed))
        )
        gains.append(after - before)
    assert np.mean(gains) > 0.05


def test_three_classes_are_all_filled_up_and_even_ones_left_alone():
    rows = np.random.default_rng(0).normal(size=(60, 3))
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    assert np.bincount(resample(rows, labels, "smote")[1]).tolist() == [30, 30, 30]
    even = np.repeat([0, 1, 2], 20)
    found, given = resample(rows, even, "smote")
    assert found is rows
    assert given is even


def test_what_cannot_be_resampled_is_named():
    rows, labels = imbalanced()
    with pytest.raises(InputError, match=r"unknown re-sampling strategy 'smot'; did you mean 'smote'\?"):
        resample(rows, labels, "smot")
    with pytest.raises(InputError, match=r"known: random_over, random_under"):
        resample(rows, labels, "qqq")
    with pytest.raises(InputError, match="the rows have 1"):
        resample(rows, np.zeros(200, np.int64))
    with pytest.raises(InputError, match="200 rows need as many labels"):
        resample(rows, labels[:5])


@pytest.mark.parametrize("how", ["smote", "borderline_smote", "adasyn"])
def test_classes_too_small_to_make_rows_of_are_all_named(how):
    rows = np.random.default_rng(0).normal(size=(40, 3))
    labels = np.repeat([0, 1, 2], [30, 7, 3])
    with pytest.raises(InputError, match=f"class 2 has 3 rows, '{how}' needs at least 6") as error:
        resample(rows, labels, how)
    assert len(error.value.problems) == 1
    labels = np.repeat([0, 1, 2], [32, 5, 3])
    with pytest.raises(InputError) as error:
        resample(rows, labels, how)
    assert len(error.value.problems) == 2
    assert np.bincount(resample(rows, labels, "random_over")[1]).tolist() == [32, 32, 32]


def test_a_strategy_that_finds_nothing_to_do_says_so():
    rows = np.concatenate(
        [np.random.default_rng(0).normal(size=(30, 2)), 100 + np.random.default_rng(1).normal(size=(10, 2))]
    )
    with pytest.raises(InputError, match="'adasyn' cannot re-sample these rows"):
        resample(rows, np.repeat([0, 1], [30, 10]), "adasyn")
