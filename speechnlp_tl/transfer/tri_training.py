"""Tri-training: three classifiers, of which two teach the third where they agree. Target labels are never seen here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.pseudo_labels import Fit, ModelT, balanced_labels
from speechnlp_tl.transfer.reweighting import Rows, stack_rows


@dataclass(frozen=True)
class TriTrained(Generic[ModelT]):
    """Three classifiers and how they came about."""

    models: tuple[ModelT, ModelT, ModelT]
    learnt: list[tuple[int, int, int]]
    """Of each round: the unlabelled rows that each model learnt from."""
    settled: bool
    """Whether a last round changed nothing; False when the rounds ran out."""

    def scores(self, rows: Rows) -> NDArray[np.float64]:
        """(n, classes): the votes for each class, and less than a quarter of a vote by which ties are broken: the
        order of the models' summed scores."""
        return voted([model.scores(rows) for model in self.models])

    def predict(self, rows: Rows) -> NDArray[np.int64]:
        """(n,) the class of each row with most votes."""
        found: NDArray[np.int64] = self.scores(rows).argmax(1)
        return found


def tri_train(
    fit: Fit[ModelT],
    rows: Rows,
    labels: NDArray[np.int64],
    unlabelled: Rows,
    *,
    weights: NDArray[np.float64] | None = None,
    disagreement: bool = False,
    balanced: bool = False,
    rounds: int = 10,
    seed: int = 0,
) -> TriTrained[ModelT]:
    """Tri-training (Zhou and Li 2005) as Ruder and Plank (ACL 2018) compare it under domain shift.

    Three models are trained on bootstrap samples of the labelled rows. Then, round after round, each is trained anew on
    all labelled rows and the unlabelled ones on which the two others agree, with their label, until no model has
    anything new to learn. With `disagreement` (Søgaard 2010), it learns only those on which it is of another opinion
    itself.

    Zhou and Li learn from a set of rows only while an estimate of its errors, made on the labelled rows, allows it,
    and take a sample where it is too large. These conditions are left out, as by Ruder and Plank: under domain shift,
    errors on labelled source rows say little of those on the target. Each model is trained before the next one looks.

    Nothing keeps the models from agreeing that nearly everything is of one class, and under a shift they may. With
    `balanced`, their labels of the unlabelled rows are `balanced_labels`. **Assumption** then: the classes are equally
    frequent in the target.

    A bootstrap sample that misses a class gets one row of it. With `disagreement`, what was learnt is no longer
    disagreed on and is forgotten in the next round, so that the sets may go round in circles: `rounds` ends that, and
    one round is the safest. Without it they nearly always come to an end.

    Args:
        fit: trains a classifier; the three differ by their rows and their seeds.
        rows: (n, features) labelled rows.
        labels: (n,) theirs.
        unlabelled: (m, features), of the target.
        weights: (n,) what each labelled row counts; then an unlabelled one counts 1.
        rounds: at most so many, 0 or more.
        seed: of the bootstrap and, with 1 and 2 added, of the models.

    Raises:
        InputError: no rows, labels or weights that are not one for each row, other features, or rounds below 0.
    """
    _check(rows, labels, unlabelled, weights, rounds)
    given = np.ones(len(labels)) if weights is None else weights
    random_numbers = np.random.default_rng(seed)
    models: list[ModelT] = []
    for number in range(3):
        sample = _bootstrap(labels, random_numbers)
        models.append(fit(rows[sample], labels[sample], None if weights is None else given[sample], seed + number))
    guesses = [balanced_labels(model.scores(unlabelled), balanced)[0] for model in models]
    known = [np.full(unlabelled.shape[0], -2) for _ in models]  # no lesson yet: a lesson holds classes and -1
    learnt: list[tuple[int, int, int]] = []
    settled = False
    while not settled and len(learnt) < rounds:
        settled, counts = True, []
        for number in range(3):
            other, another = (guesses[index] for index in range(3) if index != number)
            agreed = other == another
            if disagreement:
                agreed &= other != guesses[number]
            lesson = np.where(agreed, other, -1)
            counts.append(int(agreed.sum()))
            if np.array_equal(lesson, known[number]):
                continue
            settled, known[number] = False, lesson
            new = np.flatnonzero(agreed)
            learning = stack_rows([rows, unlabelled[new]]), np.concatenate([labels, other[new]])
            counted = None if weights is None else np.concatenate([given, np.ones(len(new))])
            models[number] = fit(*learning, counted, seed + number)
            guesses[number] = balanced_labels(models[number].scores(unlabelled), balanced)[0]
        learnt.append((counts[0], counts[1], counts[2]))
    return TriTrained((models[0], models[1], models[2]), learnt, settled)


def voted(scores: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(n, classes) votes of models with these (n, classes) scores, ties broken by their sum (`TriTrained.scores`)."""
    classes = np.arange(scores[0].shape[1])
    votes = np.sum([part.argmax(1)[:, None] == classes for part in scores], axis=0)
    # a score may be infinite; the arctangent keeps the order and lies between -1/4 and 1/4 when it is divided so
    found: NDArray[np.float64] = votes + np.arctan(np.sum(scores, axis=0)) / (2 * np.pi)
    return found


def _bootstrap(labels: NDArray[np.int64], random_numbers: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of as many rows as there are, drawn with replacement, and one of each class that was not drawn."""
    sample = random_numbers.integers(len(labels), size=len(labels))
    missing = np.setdiff1d(labels, labels[sample])
    extra = [random_numbers.choice(np.flatnonzero(labels == label)) for label in missing]
    return np.concatenate([sample, np.array(extra, dtype=np.int64)])


def _check(
    rows: Rows, labels: NDArray[np.int64], unlabelled: Rows, weights: NDArray[np.float64] | None, rounds: int
) -> None:
    count = rows.shape[0]
    problems = []
    if not count or not unlabelled.shape[0]:
        problems.append(f"tri-training needs labelled and unlabelled rows, not {count} and {unlabelled.shape[0]}")
    if rows.shape[1:] != unlabelled.shape[1:]:
        problems.append(f"labelled and unlabelled rows have different features: {rows.shape} and {unlabelled.shape}")
    if labels.shape != (count,):
        problems.append(f"{count} labelled rows need as many labels, not {labels.shape}")
    if weights is not None and weights.shape != (count,):
        problems.append(f"{count} labelled rows need as many weights, not {weights.shape}")
    if rounds < 0:
        problems.append(f"rounds must be 0 or more, not {rounds}")
    if problems:
        raise InputError(problems)
