"""Learning from one's own answers: rounds of self-training with any classifier, and balanced pseudo-labels.

Three classifiers that teach each other are in `tri_training.py`. Target labels are never seen here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.reweighting import Rows, stack_rows

SHARES = (0.4, 0.7, 1.0)
"""Shares of the unlabelled rows that each round of self-training learns from."""


class Scorer(Protocol):
    """A trained classifier."""

    def scores(self, rows: Rows) -> NDArray[np.float64]:
        """(n, features) rows -> (n, classes); the highest score wins."""
        ...


ModelT = TypeVar("ModelT", bound=Scorer)
ModelT_co = TypeVar("ModelT_co", bound=Scorer, covariant=True)


class Fit(Protocol[ModelT_co]):
    """Trains a classifier: a linear one (`text.baselines.linear_fit`), a network, any other."""

    def __call__(
        self, rows: Rows, labels: NDArray[np.int64], weights: NDArray[np.float64] | None, seed: int
    ) -> ModelT_co:
        """(n, features) rows, their (n,) labels and what each counts (None: all alike) -> the classifier."""
        ...


@dataclass(frozen=True)
class SelfTrainingRound(Generic[ModelT]):
    """One round: what it learnt from, and what came out."""

    model: ModelT
    chosen: NDArray[np.int64]
    """Numbers of the target rows it learnt from, the most confident ones."""
    labels: NDArray[np.int64]
    """(n,) the labels given to all target rows before this round."""


def self_train(
    fit: Fit[ModelT],
    first: ModelT,
    rows: Rows,
    labels: NDArray[np.int64],
    target: Rows,
    shares: Sequence[float] = SHARES,
    balanced: bool = True,
    with_source: bool = True,
    seed: int = 0,
) -> list[SelfTrainingRound[ModelT]]:
    """Rounds of self-training on unlabelled target rows (Scudder 1965; Yarowsky 1995), each from the one before.

    A round labels all target rows with the model it has, keeps the share of them that it is most sure of, of each
    class alike, and trains a new model on these.

    **Assumption:** with `balanced`, the classes are equally frequent in the target (see `balanced_labels`). Where they
    are not, say `balanced=False`.

    Args:
        fit: trains the new models.
        first: the model of the first round, trained on the source.
        rows: (n, features) labelled source rows.
        labels: (n,) theirs.
        target: (m, features) unlabelled training rows of the target.
        shares: of each round, above 0 up to 1.
        with_source: train on the source rows as well.

    Returns:
        The rounds, of which the last is the result.

    Raises:
        InputError: shares out of range, no target rows, or not one label for each source row.
    """
    problems = []
    if not shares or min(shares) <= 0 or max(shares) > 1 or not target.shape[0]:
        what = f"{target.shape[0]} and {tuple(shares)}"
        problems.append(f"self-training needs target rows and shares above 0 up to 1, not {what}")
    if labels.shape != (rows.shape[0],):
        problems.append(f"{rows.shape[0]} source rows need as many labels, not {labels.shape}")
    if problems:
        raise InputError(problems)
    rounds: list[SelfTrainingRound[ModelT]] = []
    model = first
    for share in shares:
        guessed, confidence = balanced_labels(model.scores(target), balanced)
        chosen = _most_confident(guessed, confidence, share)
        learnt, given = target[chosen], guessed[chosen]
        if with_source:
            learnt, given = stack_rows([rows, learnt]), np.concatenate([labels, given])
        model = fit(learnt, given, None, seed)
        rounds.append(SelfTrainingRound(model, chosen, guessed))
    return rounds


def balanced_labels(
    scores: NDArray[np.float64], balanced: bool = True
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The label of each row and how sure it is: the lead of the best score over the second best.

    With `balanced`, each class' scores are first shifted so that a share of 1/classes of the rows lies above zero. With
    two classes that moves the border to the median score, and each class gets half of the rows.

    Args:
        scores: (n, classes).

    Returns:
        (n,) labels and (n,) leads.
    """
    if balanced:
        scores = scores - np.quantile(scores, 1 - 1 / scores.shape[1], axis=0)
    ordered = np.sort(scores, axis=1)
    return scores.argmax(1), ordered[:, -1] - ordered[:, -2]


def _most_confident(labels: NDArray[np.int64], confidence: NDArray[Any], share: float) -> NDArray[np.int64]:
    """Numbers, ascending, of the share of each class' rows that lead most; one at least of each class there is."""
    chosen = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        order = rows[np.argsort(-confidence[rows], kind="stable")]
        chosen.append(order[: max(1, round(share * len(rows)))])
    return np.sort(np.concatenate(chosen)).astype(np.int64)
