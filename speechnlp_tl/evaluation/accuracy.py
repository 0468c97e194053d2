"""Accuracy, confusion counts and F1 of labels. Error rates of word sequences are in `wer`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.evaluation.significance import bootstrap_interval

_NORMAL_975 = 1.959963984540054


@dataclass(frozen=True)
class Accuracy:
    """How well labels were predicted. Rates in percent."""

    accuracy: float
    ci95: tuple[float, float] | None
    macro_f1: float
    """Mean F1 over the labels; a label that occurs in the predictions only counts as 0."""
    correct: int
    n: int
    labels: tuple[str, ...]
    confusion: NDArray[Any]
    """(labels, labels) counts, reference by prediction."""
    per_label_f1: dict[str, float]
    interval_unit: str
    """"items" for Wilson's interval, "groups" for the bootstrap over groups."""


def accuracy(
    reference: Sequence[str],
    predicted: Sequence[str],
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> Accuracy:
    """Compare (N,) predicted with (N,) reference labels.

    The interval is Wilson's score interval (1927) over items, which stays honest near 0 and 100 %; with `groups`
    (speakers, documents: items that are not independent) it is the bootstrap over groups of `significance`.

    Raises:
        ValueError: no items, or lengths that differ.
    """
    if not reference or len(reference) != len(predicted):
        raise ValueError(f"{len(reference)} reference labels and {len(predicted)} predicted ones")
    labels = tuple(sorted(set(reference) | set(predicted)))
    number = {label: index for index, label in enumerate(labels)}
    rows = np.array([number[label] for label in reference])
    columns = np.array([number[label] for label in predicted])
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (rows, columns), 1)
    f1 = 200.0 * confusion.diagonal() / (confusion.sum(axis=0) + confusion.sum(axis=1))
    correct, n = int(confusion.trace()), len(reference)
    ci95: tuple[float, float] | None = wilson_interval(correct, n)
    by_group = groups is not None and len(set(groups)) > 1
    if by_group:
        ci95 = bootstrap_interval(rows == columns, np.ones(n), groups, seed=seed).ci95
    return Accuracy(
        accuracy=100.0 * correct / n,
        ci95=ci95,
        macro_f1=float(f1.mean()),
        correct=correct,
        n=n,
        labels=labels,
        confusion=confusion,
        per_label_f1=dict(zip(labels, f1.tolist(), strict=True)),
        interval_unit="groups" if by_group else "items",
    )


def macro_f1_interval(found: Accuracy, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of macro-F1 over items, in percent (Efron and Tibshirani 1993, ch. 13).

    Drawing n items with replacement draws the counts of the confusion's cells from a multinomial. A label that a
    resample has neither in the references nor in the predictions is left out of its mean.
    """
    rows, columns = found.confusion.nonzero()
    shares = found.confusion[rows, columns] / found.n
    drawn = np.random.default_rng(seed).multinomial(found.n, shares, size=resamples)
    count = len(found.labels)
    correct, together = np.zeros((resamples, count)), np.zeros((resamples, count))
    for cell, (row, column) in enumerate(zip(rows, columns, strict=True)):
        together[:, row] += drawn[:, cell]
        together[:, column] += drawn[:, cell]
        if row == column:
            correct[:, row] += drawn[:, cell]
    f1 = 200.0 * correct / np.maximum(together, 1)
    means = f1.sum(1) / (together > 0).sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def wilson_interval(correct: int, n: int, z: float = _NORMAL_975) -> tuple[float, float]:
    """Score interval of a proportion, in percent (E. B. Wilson 1927)."""
    share = correct / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # rounding must not push an end past the rate it encloses
    return 100.0 * max(0.0, min(center - half, share)), 100.0 * min(1.0, max(center + half, share))
