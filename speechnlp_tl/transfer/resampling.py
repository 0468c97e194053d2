"""Classes that are not equally frequent, made so by re-sampling the training rows (imbalanced-learn).

Only rows that are trained on: a resampled set to choose or to test on would measure another task, and rows made from
others must not meet them again there.
"""

from __future__ import annotations

import difflib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.transfer.reweighting import Rows

Strategy = Literal["random_over", "random_under", "smote", "borderline_smote", "adasyn"]
STRATEGIES: dict[str, tuple[str, str, str]] = {
    "random_over": ("imblearn.over_sampling", "RandomOverSampler", "rows of the rarer classes drawn again"),
    "random_under": ("imblearn.under_sampling", "RandomUnderSampler", "rows of the more frequent classes left out"),
    "smote": ("imblearn.over_sampling", "SMOTE", "new rows between neighbours of the rarer class (Chawla et al. 2002)"),
    "borderline_smote": (
        "imblearn.over_sampling",
        "BorderlineSMOTE",
        "the same near the border of the classes only (Han, Wang and Mao 2005)",
    ),
    "adasyn": (
        "imblearn.over_sampling",
        "ADASYN",
        "the same, more where other classes are near; counts are about equal (He, Bai, Garcia and Li 2008)",
    ),
}
"""Name -> module and class of imbalanced-learn, and what it does."""
NEIGHBOURS = 5
"""How many neighbours of its own class a row is mixed with: what imbalanced-learn takes where nothing is said."""
_MADE = ("smote", "borderline_smote", "adasyn")


def resample(
    rows: Rows, labels: NDArray[np.int64], how: str = "smote", seed: int = 0
) -> tuple[Rows, NDArray[np.int64]]:
    """Rows and labels with classes as frequent as each other: the rarer ones filled up, or the others cut down.

    Args:
        rows: (n, features), dense or scipy sparse; sparse rows stay sparse (CSR).
        labels: (n,).
        how: a name in `STRATEGIES`.
        seed: of what is drawn.

    Returns:
        The rows (those of "smote" and its relatives begin with the given ones) and their labels. Classes that are
        equally frequent already come back as they are.

    Raises:
        InputError: an unknown strategy, one class only, labels that do not fit, a class too small to make rows of.
    """
    if how not in STRATEGIES:
        near = difflib.get_close_matches(how, STRATEGIES, n=1)
        remedy = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(STRATEGIES)}"
        raise InputError(Problem(f"unknown re-sampling strategy '{how}'", remedy=remedy))
    if labels.shape != (rows.shape[0],):
        raise InputError(f"{rows.shape[0]} rows need as many labels, not {labels.shape}")
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise InputError(f"re-sampling evens out two classes or more, the rows have {len(classes)}")
    if counts.min() == counts.max():
        return rows, labels
    if how in _MADE:
        _check_neighbours(how, classes, counts)
    rows = sparse.csr_matrix(rows) if sparse.issparse(rows) else np.asarray(rows)
    try:
        resampled, given = _sampler(how, seed).fit_resample(rows, labels)
    except (ValueError, RuntimeError) as error:  # ADASYN: no row of another class is near
        remedy = "take another strategy, such as 'smote' or 'random_over'"
        raise InputError(Problem(f"'{how}' cannot re-sample these rows: {error}", remedy=remedy)) from error
    return resampled, given


def _check_neighbours(how: str, classes: NDArray[Any], counts: NDArray[Any]) -> None:
    """A row is mixed with neighbours of its own class: each class that is filled up must have enough."""
    problems = [
        Problem(
            f"class {label} has {count} rows, '{how}' needs at least {NEIGHBOURS + 1} to make others from",
            remedy="take 'random_over', or more rows",
        )
        for label, count in zip(classes, counts, strict=True)
        if count <= NEIGHBOURS and count < counts.max()
    ]
    if problems:
        raise InputError(problems)


def _sampler(how: str, seed: int) -> Any:
    import importlib

    module, name, _ = STRATEGIES[how]
    try:
        return getattr(importlib.import_module(module), name)(random_state=seed)
    except ModuleNotFoundError as error:
        remedy = 'pip install "speechnlp_tl[text]"'
        raise InputError(Problem("re-sampling needs imbalanced-learn", remedy=remedy)) from error
