"""How different two domains look to a classifier, from their features alone. Knows no labels of the task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.accuracy import wilson_interval

REGULARISATIONS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""C of the linear SVM, tried on a part of the training halves."""


@dataclass(frozen=True)
class ProxyADistance:
    """2 (1 - 2 error), between 0 (indistinguishable; by chance a little below) and 2 (perfectly separable)."""

    distance: float
    error: float
    """Share of held-out rows whose domain was told wrongly, both domains with the same weight."""
    ci95: tuple[float, float]
    """Of the distance: Wilson's interval of the error over the held-out rows."""
    n: int
    """Held-out rows."""


def proxy_a_distance(
    source: Any, target: Any, seed: int = 0, regularisations: tuple[float, ...] = REGULARISATIONS
) -> ProxyADistance:
    """The proxy A-distance of two sets of rows (Ben-David, Blitzer, Crammer and Pereira 2007).

    Each domain is halved at random. A linear SVM learns on two halves to tell the domains apart; its error on the other
    two is the answer. C is chosen on a third of the training halves, never on the held-out ones, which would make the
    domains look more different than they are. The larger domain is cut to the size of the smaller one.

    Args:
        source: (n, features) numpy array or scipy sparse matrix.
        target: (m, features) likewise.
        seed: of the halves and the cut.
        regularisations: candidates for C; with a single one nothing is chosen.

    Raises:
        InputError: different features, or fewer than 6 rows in a domain.
    """
    if source.ndim != 2 or target.ndim != 2 or source.shape[1] != target.shape[1]:
        what = f"source and target have different features: {source.shape} and {target.shape}"
        raise InputError(Problem(what, remedy="make both with one vocabulary"))
    size = min(source.shape[0], target.shape[0])
    if size < 6:
        what = f"{source.shape[0]} source and {target.shape[0]} target rows: at least 6 of each are needed"
        raise InputError(what)
    generator = np.random.default_rng(seed)
    order = [generator.permutation(domain.shape[0])[:size] for domain in (source, target)]
    half, sixth = size // 2, size // 6

    def part(begin: int, end: int) -> tuple[Any, NDArray[np.int64]]:
        rows = [domain[picked[begin:end]] for domain, picked in zip((source, target), order, strict=True)]
        return _stack(rows), np.repeat([0, 1], end - begin)

    best = regularisations[0]
    if len(regularisations) > 1:
        tried = [_error(part(sixth, half), part(0, sixth), c, seed) for c in regularisations]
        best = regularisations[int(np.argmin(tried))]
    held_out = part(half, size)
    error = _error(part(0, half), held_out, best, seed)
    n = len(held_out[1])
    low, high = wilson_interval(round(error * n), n)
    return ProxyADistance(2 * (1 - 2 * error), error, (2 * (1 - high / 50), 2 * (1 - low / 50)), n)


def _error(train: tuple[Any, NDArray[np.int64]], test: tuple[Any, NDArray[np.int64]], c: float, seed: int) -> float:
    from sklearn.svm import LinearSVC

    rows, domain = train
    classifier = LinearSVC(C=c, dual="auto", random_state=seed, max_iter=5000)
    return float(np.mean(classifier.fit(rows, domain).predict(test[0]) != test[1]))


def _stack(rows: list[Any]) -> Any:
    from scipy import sparse

    return sparse.vstack(rows, format="csr") if any(map(sparse.issparse, rows)) else np.concatenate(rows)
