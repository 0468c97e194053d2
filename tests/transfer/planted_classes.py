"""Two planted classes, their move from a source to a target, and a classifier that is trained in a microsecond."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


def planted(domain: int, count: int, seed: int = 0, share: float = 0.5) -> tuple[Array, Labels]:
    """(count, 30) word counts; words 0-9 name the class in both domains a little, 10-19 well in the source, 20-29 well
    in the target; `share` of the rows are of class 1."""
    random_numbers = np.random.default_rng([seed, domain])
    labels = random_numbers.permutation((np.arange(count) < round(share * count)).astype(np.int64))
    side = np.outer(2.0 * labels - 1, np.resize([1, -1], 10))
    rates = np.full((count, 30), 0.8)
    rates[:, :10] += 0.25 * side
    own = slice(10, 20) if domain == 0 else slice(20, 30)
    rates[:, own] += 0.5 * side
    return random_numbers.poisson(rates).astype(float), labels


@dataclass(frozen=True)
class Centroids:
    """score of class k = x . mean_k - |mean_k|^2 / 2; a class without rows never wins."""

    means: Array
    seed: int

    def scores(self, rows: Array) -> Array:
        bias = np.where(np.isfinite(self.means).all(1), -0.5 * np.square(self.means).sum(1), -np.inf)
        return np.asarray(rows @ np.nan_to_num(self.means).T) + np.nan_to_num(bias, nan=-np.inf, neginf=-np.inf)


def fit_centroids(rows: Array, labels: Labels, weights: Array | None, seed: int) -> Centroids:
    weights = np.ones(len(labels)) if weights is None else weights
    rows = np.asarray(rows.todense()) if hasattr(rows, "todense") else rows
    means = np.full((2, rows.shape[1]), np.nan)
    for label in np.unique(labels):
        mine = labels == label
        means[label] = np.average(rows[mine], axis=0, weights=weights[mine])
    return Centroids(means, seed)
