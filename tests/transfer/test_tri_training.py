"""Tri-training against the published algorithm written down by brute force, and on a planted shift."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from speechnlp_tl.errors import InputError
from speechnlp_tl.text.baselines import linear_fit
from speechnlp_tl.transfer.tri_training import tri_train, voted
from tests.transfer.planted_classes import Centroids, fit_centroids, planted


def by_brute_force(rows, labels, unlabelled, disagreement, rounds, seed):
    """Ruder and Plank 2018, algorithm 2, row by row."""
    generator, count = np.random.default_rng(seed), len(labels)
    models, lessons = [], [None] * 3
    for number in range(3):
        sample = generator.integers(count, size=count)
        models.append(fit_centroids(rows[sample], labels[sample], None, seed + number))
    for done in range(rounds):
        changed = False
        for i in range(3):
            j, k = (index for index in range(3) if index != i)
            lesson = []
            for number, row in enumerate(unlabelled):
                p = [int(model.scores(row[None])[0].argmax()) for model in models]
                if p[j] == p[k] and (not disagreement or p[i] != p[j]):
                    lesson.append((number, p[j]))
            if lesson != lessons[i]:
                changed, lessons[i] = True, lesson
                learnt = np.concatenate([rows, unlabelled[[number for number, _ in lesson]]])
                given = np.concatenate([labels, np.array([label for _, label in lesson], dtype=np.int64)])
                models[i] = fit_centroids(learnt, given, None, seed + i)
        if not changed:
            return models, done + 1
    return models, rounds


@pytest.mark.parametrize("disagreement", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_models_are_those_of_the_published_algorithm(disagreement, seed):
    rows, labels = planted(0, 40, seed)
    target, _ = planted(1, 60, seed)
    ours = tri_train(fit_centroids, rows, labels, target, disagreement=disagreement, rounds=6, seed=seed)
    theirs, rounds = by_brute_force(rows, labels, target, disagreement, 6, seed)
    assert len(ours.learnt) == rounds
    assert ours.settled == (rounds < 6)
    for one, other in zip(ours.models, theirs, strict=True):
        np.testing.assert_allclose(one.means, other.means)
        assert one.seed == other.seed


def gains(**options) -> list[float]:
    """Gains on the target over three models from the same bootstrap samples that learn nothing more, of five seeds."""
    found = []
    for seed in range(5):
        rows, labels = planted(0, 400, seed)
        target, _ = planted(1, 400, seed)
        test, truth = planted(1, 1000, seed + 9)
        parts = sparse.csr_matrix(rows), labels, sparse.csr_matrix(target)
        fit = linear_fit("svm", options["strength"])
        others = {name: value for name, value in options.items() if name != "strength"}
        source, trained = (tri_train(fit, *parts, seed=seed, **more) for more in ({"rounds": 0}, others))
        assert source.learnt == []
        found.append(float(np.mean(trained.predict(test) == truth) - np.mean(source.predict(test) == truth)))
    return found


def test_the_target_gains():
    plain, balanced = gains(strength=0.1), gains(strength=0.1, balanced=True)
    assert min(plain) > 0.05
    assert min(balanced) > 0.1
    assert np.mean(balanced) > np.mean(plain)


def test_the_target_gains_from_a_round_of_disagreement():
    found = gains(strength=3.0, disagreement=True, balanced=True, rounds=1)
    assert np.mean(found) > 0.025
    assert min(found) > -0.02


def test_nothing_is_learnt_when_it_brings_nothing_new():
    rows = np.repeat(np.eye(2), 20, axis=0)
    labels = np.repeat([0, 1], 20)
    calls = []

    def fit(*arguments):
        calls.append(arguments[3])
        return fit_centroids(*arguments)

    trained = tri_train(fit, rows, labels, rows, rounds=10, seed=5)
    assert trained.settled
    # each model once from its sample and once from what the others say; the second round finds nothing new
    assert calls == [5, 6, 7, 5, 6, 7]
    assert trained.learnt == [(40, 40, 40)] * 2
    calls.clear()
    disagreeing = tri_train(fit, rows, labels, rows, disagreement=True)
    assert disagreeing.learnt[-1] == (0, 0, 0)


def test_rounds_end_what_does_not_settle():
    class Fickle:
        def __init__(self, *_: object) -> None:
            self.opinions = random_numbers.random((30, 2))

        def scores(self, rows):
            return self.opinions

    random_numbers = np.random.default_rng(0)
    trained = tri_train(Fickle, np.zeros((4, 1)), np.array([0, 1, 0, 1]), np.zeros((30, 1)), rounds=7)
    assert len(trained.learnt) == 7
    assert not trained.settled


def test_weights_of_labelled_rows_reach_the_models_and_unlabelled_rows_count_one():
    seen = []

    def fit(rows, labels, weights, seed):
        seen.append((len(labels), weights))
        return fit_centroids(rows, labels, weights, seed)

    rows, labels = planted(0, 30)
    target, _ = planted(1, 20)
    weights = np.arange(1.0, 31.0)
    trained = tri_train(fit, rows, labels, target, weights=weights, rounds=1)
    for count, given in seen[:3]:
        assert len(given) == count
        assert set(given) <= set(weights)
    for (count, given), learnt in zip(seen[3:], trained.learnt[0], strict=True):
        assert count == 30 + learnt
        assert np.array_equal(given, np.concatenate([weights, np.ones(learnt)]))


def test_a_class_of_one_row_is_in_every_bootstrap_sample():
    rows, labels = np.eye(8), np.zeros(8, np.int64)
    labels[3] = 1
    found = []

    def fit(rows, labels, weights, seed):
        found.append(set(labels.tolist()))
        return Centroids(np.zeros((2, 8)), seed)

    for seed in range(10):
        tri_train(fit, rows, labels, rows, rounds=0, seed=seed)
    assert len(found) == 30
    assert all(classes == {0, 1} for classes in found)


def test_votes_decide_and_scores_break_ties():
    scores = [
        np.array([[9.0, 0, 0], [1, 0, 0]]),
        np.array([[0.0, 1, 0], [0, 5, 0]]),
        np.array([[0.0, 1, 0], [0, 0, 2]]),
    ]
    found = voted(scores)
    assert found.argmax(1).tolist() == [1, 1]  # two votes beat one sure model; of three single votes the surest wins
    assert np.array_equal(np.round(found), [[1, 2, 0], [1, 1, 1]])
    never = voted([np.array([[1.0, -np.inf]])] * 3)
    assert np.isfinite(never).all()
    assert never.argmax() == 0


def test_what_does_not_fit_is_listed():
    with pytest.raises(InputError) as error:
        tri_train(
            fit_centroids,
            np.zeros((3, 2)),
            np.zeros(2, np.int64),
            np.zeros((0, 4)),
            weights=np.ones(1),
            rounds=-1,
        )
    assert len(error.value.problems) == 5
