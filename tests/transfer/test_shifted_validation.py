"""Validation under a shift of the source's own: folds follow what varies and not the labels, and choices carry over."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from speechnlp_tl.errors import InputError
from speechnlp_tl.text.baselines import fit_linear
from speechnlp_tl.text.classification import Documents
from speechnlp_tl.transfer.shifted_validation import shifted_folds


def topics(count: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with a topic that varies most and a class that varies less; (n, 30), (n,) classes, (n,) topics."""
    random_numbers = np.random.default_rng(seed)
    labels, topic = random_numbers.integers(0, 2, (2, count))
    rows = random_numbers.normal(size=(count, 30)) * 0.3
    rows[:, 0] += 6 * topic
    rows[:, 1] += 3 * labels
    return rows, labels, topic


def test_halves_part_the_topics_and_not_the_classes() -> None:
    rows, labels, topic = topics()
    one, two = shifted_folds(rows, labels, splits=1, directions=2)
    assert sorted([*one, *two]) == list(range(len(rows)))
    purity = sorted([topic[one].mean(), topic[two].mean()])
    assert purity[0] < 0.06
    assert purity[1] > 0.94
    assert abs(labels[one].mean() - labels[two].mean()) < 0.15


def test_sparse_rows_give_the_same_folds_and_a_seed_the_same_again() -> None:
    rows, labels, _ = topics()
    rows[np.abs(rows) < 0.2] = 0
    dense, thin = shifted_folds(rows, labels), shifted_folds(sparse.csr_matrix(rows), labels)
    assert len(dense) == 6
    for one, other in zip(dense, thin, strict=True):
        assert set(one.tolist()) == set(other.tolist())


def topic_reviews(topic: int, count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of one of three topics, (count, 34), and classes: a loud word tells the class roughly anywhere, a faint
    word of each topic tells it well there and means nothing elsewhere, and ten words tell the topic."""
    labels = generator.integers(0, 2, count)
    signs = 2 * labels - 1
    rows = generator.normal(size=(count, 34))
    rows[:, 0] += signs
    for other in range(3):
        meant = signs if other == topic else generator.choice([-1, 1], count)
        rows[:, 1 + other] = 0.2 * (meant + 0.5 * rows[:, 1 + other])
    rows[:, 4 + 10 * topic : 14 + 10 * topic] += 2
    return rows, labels


def test_what_is_chosen_across_topics_carries_over_to_a_new_topic() -> None:
    """A large C makes use of faint words, which pays on rows like those learnt from and harms on a new topic."""
    gains = []
    for seed in range(5):
        generator = np.random.default_rng(seed)
        source = [topic_reviews(topic, 300, generator) for topic in (0, 1)]
        documents = Documents(*(np.concatenate(part) for part in zip(*source, strict=True)))
        fresh, truth = topic_reviews(2, 2000, generator)
        random_halves = np.array_split(np.random.default_rng(seed).permutation(600), 2)
        right = []
        for folds in (random_halves, shifted_folds(documents.rows, documents.labels, 1, 1)):
            chosen = fit_linear("svm", documents, folds, candidates=[10.0**power for power in range(-4, 3)])
            right.append(100 * (chosen.predict(fresh) == truth).mean())
        gains.append(right[1] - right[0])
    assert np.mean(gains) > 3, gains
    assert min(gains) > -1, gains


def test_several_folds_count_by_their_mean_accuracy() -> None:
    rows, labels, _ = topics(120)
    folds = [np.arange(40), np.arange(40, 120)]
    chosen = fit_linear("svm", Documents(rows, labels), folds)
    accuracies = []
    for fold in folds:
        rest = np.setdiff1d(np.arange(120), fold)
        model = fit_linear("svm", Documents(rows[rest], labels[rest]), None, candidates=(chosen.strength,))
        accuracies.append(100 * (model.predict(rows[fold]) == labels[fold]).mean())
    assert chosen.validation_accuracy == pytest.approx(np.mean(accuracies))


@pytest.mark.parametrize("options", [{"splits": 0}, {"splits": 11}, {"directions": 30}])
def test_impossible_splits_are_refused(options: dict) -> None:
    rows, labels, _ = topics()
    with pytest.raises(InputError, match="shifted validation needs"):
        shifted_folds(rows, labels, **options)


def test_rows_of_one_class_leave_nothing_to_check() -> None:
    rows, _, _ = topics(40)
    labels = np.zeros(40, np.int64)
    labels[0] = 1  # only one half can hold it
    with pytest.raises(InputError, match="no half"):
        shifted_folds(rows, labels)
