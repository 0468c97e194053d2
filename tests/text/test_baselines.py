"""Linear baselines against scikit-learn itself and against what they promise about labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from speechnlp_tl.errors import InputError
from speechnlp_tl.text import baselines
from speechnlp_tl.text.baselines import (
    LinearModel,
    balanced_labels,
    fit_augmented,
    fit_linear,
    majority,
    self_train,
)
from speechnlp_tl.text.classification import Documents
from speechnlp_tl.text.compact import CompactRows

WIDTH = 60


def made(domain: int, count: int = 400, seed: int = 0) -> Documents:
    """Balanced; words 0-19 name the class in both domains, 20-39 in the source only, 40-59 in the target only."""
    random_numbers = np.random.default_rng([seed, domain])
    labels = random_numbers.permutation(np.arange(count) % 2)
    side = np.outer(2.0 * labels - 1, np.resize([1, -1], 20))
    rates = np.full((count, WIDTH), 0.4)
    rates[:, :20] += 0.12 * side
    own = slice(20, 40) if domain == 0 else slice(40, 60)
    rates[:, own] += 0.6 + 0.5 * side
    counts = sparse.csr_matrix(random_numbers.poisson(rates).astype(np.float32))
    return Documents(counts, labels, domain, f"domain {domain}")


HELD_OUT = np.arange(0, 400, 10)


def accuracy(model: LinearModel, documents: Documents) -> float:
    return 100 * float(np.mean(model.predict(documents.rows) == documents.labels))


@pytest.mark.parametrize("kind", ["svm", "logistic"])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_model_is_scikit_learns_with_the_strength_in_units_of_the_rows(kind, classes):
    documents = made(0)
    if classes == 3:
        documents.labels[::3] = 2
    rows = documents.rows
    found = fit_linear(kind, documents, classes=classes, candidates=[0.5])
    c = 0.5 / float(np.mean(np.asarray(rows.multiply(rows).sum(1))))
    expected = {
        "svm": LinearSVC(C=c, random_state=0, max_iter=5000),
        "logistic": LogisticRegression(C=c, max_iter=2000),
    }
    expected = expected[kind].fit(rows, documents.labels)
    np.testing.assert_array_equal(found.predict(rows), expected.predict(rows))
    scores = found.scores(rows)
    theirs = expected.decision_function(rows)
    np.testing.assert_allclose(scores[:, 1] - scores[:, 0] if classes == 2 else scores, theirs, rtol=1e-4, atol=1e-6)
    scaled = Documents(rows * 10, documents.labels)
    again = fit_linear(kind, scaled, classes=classes, candidates=[0.5])
    assert np.mean(again.predict(scaled.rows) == found.predict(rows)) > 0.99


def test_the_strength_is_the_best_on_the_held_out_documents_and_of_equals_the_smallest():
    documents = made(0)
    rest = np.setdiff1d(np.arange(400), HELD_OUT)
    part, held = (
        Documents(documents.rows[rest], documents.labels[rest]),
        Documents(documents.rows[HELD_OUT], documents.labels[HELD_OUT]),
    )
    candidates = [0.01, 0.1, 1.0]
    each = [accuracy(fit_linear("svm", part, candidates=[value]), held) for value in candidates]
    found = fit_linear("svm", documents, HELD_OUT, candidates=candidates[::-1])
    assert found.strength == candidates[int(np.argmax(each))]
    assert found.validation_accuracy == pytest.approx(max(each))
    whole = fit_linear("svm", documents, candidates=[found.strength])
    np.testing.assert_allclose(found.weights, whole.weights)


@pytest.mark.parametrize("kind", ["svm", "logistic"])
def test_compact_rows_teach_the_same_model_on_any_subset(kind):
    random_numbers = np.random.default_rng(0)
    rows = random_numbers.normal(size=(50, 300)).astype(np.float32)
    rows[7] = rows[3]  # a document that stands twice
    labels = (rows[:, :3].sum(1) > 0).astype(np.int64)
    unseen = random_numbers.normal(size=(200, 300)).astype(np.float32)
    compact = CompactRows(rows)
    assert compact.rows.shape == (50, 50)
    np.testing.assert_allclose(compact.rows @ compact.rows.T, rows @ rows.T, rtol=1e-3, atol=1e-2)
    for numbers in (np.arange(50), np.arange(5, 40)):
        direct = fit_linear(kind, Documents(rows[numbers], labels[numbers]), candidates=[0.1])
        small = fit_linear(kind, Documents(compact.rows[numbers], labels[numbers]), candidates=[0.1])
        expected = direct.scores(unseen)
        found = small.expanded(compact).scores(unseen)
        np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


def test_rows_that_are_not_longer_than_many_are_kept_as_they_are():
    rows = np.random.default_rng(0).normal(size=(20, 5))
    compact = CompactRows(rows)
    assert compact.kept
    assert compact.rows is rows
    assert np.array_equal(compact.expand(np.ones((2, 5))), np.ones((2, 5)))


def test_rows_without_inner_products_are_refused():
    for rows in (np.zeros((3, 5)), np.zeros((0, 5)), np.full((2, 5), np.inf)):
        with pytest.raises(InputError, match="inner products"):
            CompactRows(rows)


def test_majority_is_the_most_frequent_class():
    documents = Documents(np.zeros((5, 2)), np.array([0, 2, 2, 1, 2]))
    assert majority(documents, classes=3).predict(np.ones((4, 2))).tolist() == [2] * 4


@given(arrays.arrays(np.float64, st.tuples(st.integers(4, 40), st.just(1)), elements=st.floats(-5, 5), unique=True))
def test_balanced_labels_halve_two_classes_at_the_median_score(score):
    labels, lead = balanced_labels(np.concatenate([-score, score], axis=1))
    above = score[:, 0] > np.median(score)
    sure = np.abs(score[:, 0] - np.median(score)) > 1e-9
    assert np.array_equal(labels[sure] == 1, above[sure])
    np.testing.assert_allclose(lead, 2 * np.abs(score[:, 0] - np.median(score)), atol=1e-9)
    plain, _ = balanced_labels(np.concatenate([-score, score], axis=1), balanced=False)
    assert np.array_equal(plain, (score[:, 0] > 0).astype(int))


def test_self_training_takes_the_most_confident_of_each_class_and_finds_the_targets_own_words():
    source, target, test = made(0), made(1), made(1, 2000, seed=5)
    first = fit_linear("svm", source, HELD_OUT)
    rounds = self_train("svm", first, source, target.rows)
    assert [len(r.chosen) for r in rounds] == [160, 280, 400]
    assert [int(r.labels[r.chosen].sum()) for r in rounds] == [80, 140, 200]
    labels, lead = balanced_labels(first.scores(target.rows))
    assert np.array_equal(labels, rounds[0].labels)
    for label in (0, 1):
        kept = np.isin(np.arange(400), rounds[0].chosen) & (labels == label)
        assert lead[kept].min() >= lead[(labels == label) & ~kept].max()
    assert accuracy(rounds[-1].model, test) > accuracy(first, test) + 5
    without_source = self_train("svm", first, source, target.rows, with_source=False)
    assert not np.allclose(without_source[0].model.weights, rounds[0].model.weights)


def test_a_shifted_bias_does_not_hurt_the_balanced_kind():
    source, target = made(0), made(1)
    first = fit_linear("svm", source, HELD_OUT)
    tilted = LinearModel(first.weights, first.bias + np.array([0, 100.0]), first.strength)
    for balanced, ones in ((True, 200), (False, 400)):
        labels, _ = balanced_labels(tilted.scores(target.rows), balanced)
        assert labels.sum() == ones


def test_augmented_features_give_what_the_augmented_matrix_gives_on_target_rows():
    source, target, test = made(0), made(1, 40), made(1, 2000, seed=5)
    found = fit_augmented("svm", source, target, strength=0.1)
    x, y, z = (part.rows.toarray() for part in (source, target, test))
    stacked = np.concatenate([np.concatenate([x, x, 0 * x], 1), np.concatenate([y, 0 * y, y], 1)])
    c = 0.2 / np.mean((stacked**2).sum(1))
    oracle = LinearSVC(C=c, random_state=0, max_iter=5000).fit(stacked, np.r_[source.labels, target.labels])
    theirs = oracle.predict(np.concatenate([z, 0 * z, z], 1))
    assert np.mean(found.predict(test.rows) == theirs) > 0.995
    assert found.weights.shape == (2, WIDTH)
    assert accuracy(found, test) > accuracy(fit_linear("svm", source, candidates=[0.1]), test) + 10


def test_weights_of_zero_leave_documents_out():
    documents = made(0)
    weights = (np.arange(400) < 200).astype(float)
    documents.labels[200:] = 1 - documents.labels[200:]
    found = fit_linear("svm", documents, candidates=[0.1], weights=weights)
    assert accuracy(found, made(0, 1000, seed=4)) > 85


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "forest"}, "svm, logistic"),
        ({"documents": Documents(np.zeros((3, 2)))}, "no labels"),
        ({"documents": Documents(np.ones((3, 2)), np.ones(3, int)), "candidates": [1]}, "1 class"),
        ({"held_out": None}, "needs held-out documents"),
        ({"held_out": np.arange(400)}, "a part of the 400"),
        ({"candidates": [0.0, 1.0]}, "above 0"),
        ({"weights": np.ones(3)}, "need 400 weights"),
    ],
)
def test_what_does_not_fit_is_refused(options, said):
    settings: dict = {"kind": "svm", "documents": made(0), "held_out": HELD_OUT} | options
    if settings["documents"].rows.shape[0] == 3:
        settings["held_out"] = None
    with pytest.raises(InputError, match=said):
        fit_linear(**settings)


def test_self_training_refuses_shares_out_of_range():
    source = made(0)
    with pytest.raises(InputError, match="shares above 0 up to 1"):
        self_train("svm", fit_linear("svm", source, HELD_OUT), source, made(1).rows, shares=[0.5, 1.5])


def test_documents_that_are_trained_on_are_resampled_and_held_out_ones_are_not(monkeypatch):
    made_from, documents = [], made(0)
    rare = np.sort(np.r_[np.flatnonzero(documents.labels == 0), np.flatnonzero(documents.labels == 1)[:30]])
    thin = Documents(documents.rows[rare], documents.labels[rare])
    plain = baselines.resample
    monkeypatch.setattr(
        baselines, "resample", lambda *options: made_from.append(options[0].shape[0]) or plain(*options)
    )
    held_out = np.arange(0, len(rare), 5)
    alone, found = (fit_linear("svm", thin, held_out, resampled=how) for how in (None, "smote"))
    assert made_from == [len(rare) - len(held_out), len(rare)]
    test = made(0, 2000, seed=3)
    recall = [np.mean(model.predict(test.rows)[test.labels == 1] == 1) for model in (alone, found)]
    assert recall[1] > recall[0] + 0.05
    assert accuracy(found, test) > accuracy(alone, test)
    truth = thin.labels[held_out]
    rest = np.setdiff1d(np.arange(len(rare)), held_out)
    rows, labels = plain(thin.rows[rest], thin.labels[rest], "smote", 0)
    right = (
        fit_linear("svm", Documents(rows, labels), candidates=[found.strength]).predict(thin.rows[held_out]) == truth
    )
    expected = 100 * np.mean([right[truth == label].mean() for label in (0, 1)])
    assert found.validation_accuracy == pytest.approx(expected)
    with pytest.raises(InputError, match="take weights or re-sampling"):
        fit_linear("svm", thin, held_out, weights=np.ones(len(rare)), resampled="smote")
