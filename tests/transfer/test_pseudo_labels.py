"""Self-training with any classifier. What linear models gain from it is tested in tests/text/test_baselines.py."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from speechnlp_tl.errors import InputError
from speechnlp_tl.text import baselines
from speechnlp_tl.text.classification import Documents
from speechnlp_tl.transfer.pseudo_labels import balanced_labels, self_train
from tests.transfer.planted_classes import fit_centroids, planted


def test_any_classifier_gains_on_the_target():
    rows, labels = planted(0, 400)
    target, _ = planted(1, 400)
    test, truth = planted(1, 2000, seed=7)
    first = fit_centroids(rows, labels, None, 0)
    rounds = self_train(fit_centroids, first, rows, labels, target)
    before, after = (np.mean(model.scores(test).argmax(1) == truth) for model in (first, rounds[-1].model))
    assert after > before + 0.05


def test_a_round_learns_from_the_source_and_its_most_confident_answers():
    rows, labels = planted(0, 60)
    target, _ = planted(1, 50)
    seen = []

    def fit(rows, labels, weights, seed):
        seen.append((rows, labels, seed))
        return fit_centroids(rows, labels, weights, seed)

    first = fit_centroids(rows, labels, None, 0)
    (only,) = self_train(fit, first, rows, labels, target, shares=[0.2], seed=3)
    guesses, lead = balanced_labels(first.scores(target))
    expected = [
        number for label in (0, 1) for number in sorted(np.flatnonzero(guesses == label), key=lambda n: -lead[n])[:5]
    ]
    assert only.chosen.tolist() == sorted(expected)
    learnt, given, seed = seen[0]
    assert np.array_equal(learnt, np.concatenate([rows, target[only.chosen]]))
    assert np.array_equal(given, np.concatenate([labels, guesses[only.chosen]]))
    assert seed == 3
    self_train(fit, first, rows, labels, sparse.csr_matrix(target), shares=[0.2], with_source=False)
    assert seen[1][0].shape == (10, 30)


def test_the_linear_baseline_is_the_same_function():
    rows, labels = planted(0, 100)
    target, _ = planted(1, 100)
    source = Documents(rows, labels)
    first = baselines.fit_linear("svm", source, np.arange(0, 100, 10))
    theirs = baselines.self_train("svm", first, source, target, seed=1)
    ours = self_train(baselines.linear_fit("svm", first.strength), first, rows, labels, target, seed=1)
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(one.model.weights, other.model.weights)
        assert np.array_equal(one.chosen, other.chosen)
        assert one.model.strength == other.model.strength == first.strength


def test_what_does_not_fit_is_listed():
    rows, labels = planted(0, 10)
    first = fit_centroids(rows, labels, None, 0)
    with pytest.raises(InputError) as error:
        self_train(fit_centroids, first, rows, labels[:-1], rows, shares=[0.5, 1.5])
    assert len(error.value.problems) == 2
    with pytest.raises(InputError, match="needs target rows"):
        self_train(fit_centroids, first, rows, labels, rows[:0])
