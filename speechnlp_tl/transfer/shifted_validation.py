"""Validation under a shift that the labelled rows hold themselves: learn on one topic of the source, check on another.

Rows held out at random look like the rest; what is chosen on them is chosen for a domain that nobody needs to be moved
to. Here the rows are parted along what varies most among them besides the labels, so that a choice has to carry over.
It sees source labels only. Knows no modality.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.errors import InputError


def shifted_folds(
    rows: Any, labels: NDArray[np.int64], splits: int = 3, directions: int = 10, seed: int = 0
) -> list[NDArray[np.int64]]:
    """The rows to hold out, one array for each fold: two for each split of the rows into two unlike halves.

    A split is the median along one of the first principal components, of which those tell the classes apart least:
    among labelled reviews, topics and lengths. Close to leave-one-cluster-out cross-validation (Meredig et al. 2018),
    with clusters that do not follow the labels.

    Args:
        rows: (n, features) dense or scipy sparse.
        labels: (n,) their classes.
        splits: how many components, each giving two folds.
        directions: of how many first components.
        seed: of the solver's first vector.

    Returns:
        2 * splits ascending arrays of row numbers. Folds whose rows or whose rest lack a class are left out.

    Raises:
        InputError: more splits than directions, as many directions as rows or features, or no usable fold.
    """
    from sklearn.decomposition import PCA

    if not 1 <= splits <= directions < min(rows.shape) or len(labels) != rows.shape[0]:
        raise InputError(
            f"shifted validation needs 1 <= splits <= directions < rows and features and a label for each row, not "
            f"splits={splits}, directions={directions}, rows of {rows.shape} and {len(labels)} labels"
        )
    places = PCA(directions, svd_solver="arpack", random_state=seed).fit_transform(rows)
    told = [_told_apart(place, labels) for place in places.T]
    folds = []
    for direction in np.argsort(told, kind="stable")[:splits]:
        above = places[:, direction] > np.median(places[:, direction])
        folds += [np.flatnonzero(half) for half in (above, ~above) if _all_classes(labels, half)]
    if not folds:
        raise InputError(f"no half of the {len(labels)} rows and its rest hold all classes: give more rows of each")
    return folds


def _told_apart(place: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """The share of the variance that lies between classes (the correlation ratio), 0 to 1."""
    between = sum(np.sum(labels == label) * place[labels == label].mean() ** 2 for label in np.unique(labels))
    return float(between / max(np.square(place).sum(), np.finfo(np.float64).tiny))


def _all_classes(labels: NDArray[np.int64], half: NDArray[np.bool_]) -> bool:
    return set(labels[half]) == set(labels[~half]) == set(labels)
