"""What every other method has to beat: linear classifiers of documents, alone, reweighted, augmented, self-trained.

All take features as they come (counts, mSDA) and return a `LinearModel`. Target labels are read where they are given
as such, in the ceiling `fit_linear(kind, target)`, and nowhere else; test rows are never seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.text.classification import Documents, label_problems
from speechnlp_tl.text.compact import CompactRows
from speechnlp_tl.text.features import Rows
from speechnlp_tl.transfer import pseudo_labels
from speechnlp_tl.transfer.pseudo_labels import SHARES, Fit, SelfTrainingRound, balanced_labels
from speechnlp_tl.transfer.resampling import resample
from speechnlp_tl.transfer.reweighting import augment_features, stack_rows

__all__ = [
    "CANDIDATES",
    "KINDS",
    "SHARES",
    "Kind",
    "LinearModel",
    "SelfTrainingRound",
    "balanced_labels",
    "fit_augmented",
    "fit_linear",
    "linear_fit",
    "majority",
    "self_train",
]

Kind = Literal["svm", "logistic"]
KINDS: tuple[Kind, ...] = ("svm", "logistic")
CANDIDATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""For C times the mean squared length of a row, so that they suit rows of any scale. Of equals the smallest wins."""


@dataclass(frozen=True)
class LinearModel:
    """score of class k = weights[k] . x + bias[k]; the highest one wins."""

    weights: NDArray[Any]
    """(classes, features)."""
    bias: NDArray[Any]
    """(classes,)."""
    strength: float | None = None
    """The member of CANDIDATES that was chosen; None where there is nothing to choose."""
    validation_accuracy: float | None = None
    """In percent, on the held-out rows that it was chosen on; the mean over classes where it was re-sampled."""

    def scores(self, rows: Rows) -> NDArray[np.float64]:
        """(n, classes)."""
        found: NDArray[np.float64] = np.asarray(rows @ self.weights.T, dtype=np.float64) + self.bias
        return found

    def predict(self, rows: Rows) -> NDArray[np.int64]:
        """(n,) numbers of classes."""
        found: NDArray[np.int64] = self.scores(rows).argmax(1)
        return found

    def expanded(self, compact: CompactRows) -> LinearModel:
        """Fitted on `compact.rows`: the same model for the rows behind them."""
        return replace(self, weights=compact.expand(self.weights))


def majority(source: Documents, classes: int = 2) -> LinearModel:
    """The source's most frequent class, whatever the document; of equals the first.

    Raises:
        InputError: no labels, or labels that do not fit.
    """
    _check(source, classes)
    counts = np.bincount(_labels(source), minlength=classes)
    return LinearModel(np.zeros((classes, source.rows.shape[1])), (counts == counts.max()).astype(float))


def fit_linear(
    kind: Kind,
    documents: Documents,
    held_out: NDArray[np.int64] | Sequence[NDArray[np.int64]] | None = None,
    classes: int = 2,
    candidates: Sequence[float] = CANDIDATES,
    weights: NDArray[np.float64] | None = None,
    resampled: str | None = None,
    seed: int = 0,
) -> LinearModel:
    """A linear SVM (squared hinge loss, one class against the rest) or logistic regression, with its C chosen.

    Trained with each candidate on the documents that are not held out, chosen by the accuracy on those that are, then
    trained with the chosen one on all.

    Args:
        kind: "svm" or "logistic".
        documents: labelled: the source's, or the target's for the ceiling that no method without target labels has.
        held_out: numbers of the documents to choose on, or several such arrays whose mean accuracy counts
            (`transfer.shifted_validation`); None chooses nothing and needs one candidate.
        weights: (n,) what each document counts in training (`transfer.reweighting.domain_odds_weights`).
        resampled: how the documents that are trained on are re-sampled to equally frequent classes (a name of
            `transfer.resampling.STRATEGIES`); held-out ones never are. The candidates are then compared by the mean of
            the classes' recalls, because plain accuracy prefers the class that is frequent in held-out documents.
        seed: of the solver and the re-sampling.

    Raises:
        InputError: an unknown kind, labels that do not fit or of one class, held-out rows or candidates that do not
            fit, documents that cannot be re-sampled.
    """
    _check(documents, classes, kind)
    count = len(documents)
    problems: list[Problem | str] = []
    if (held_out is None or not len(held_out)) and len(candidates) != 1:
        problems.append(f"choosing one of {len(candidates)} candidates needs held-out documents")
    folds = [] if held_out is None else [held_out] if isinstance(held_out, np.ndarray) else list(held_out)
    problems += [
        f"held-out documents must be a part of the {count}, not {len(fold)} of them"
        for fold in folds
        if not (0 < len(fold) < count and fold.min() >= 0 and fold.max() < count)
    ]
    if not candidates or min(candidates) <= 0:
        problems.append(f"candidates for C must be above 0, not {tuple(candidates)}")
    if weights is not None and weights.shape != (count,):
        problems.append(f"{count} documents need {count} weights, not {weights.shape}")
    if weights is not None and resampled is not None:
        problems.append("re-sampling makes documents that have no weight: take weights or re-sampling")
    if problems:
        raise InputError(problems)
    best, best_accuracy = candidates[0], None
    if folds:
        best, best_accuracy = _choose(kind, documents, folds, classes, candidates, weights, resampled, seed)
    train, everything = _resampled(documents, np.arange(count), resampled, seed)
    model = _fit(kind, train, everything, classes, best, weights, seed)
    return replace(model, strength=best, validation_accuracy=best_accuracy)


def _choose(
    kind: Kind,
    documents: Documents,
    folds: Sequence[NDArray[np.int64]],
    classes: int,
    candidates: Sequence[float],
    weights: NDArray[np.float64] | None,
    resampled: str | None,
    seed: int,
) -> tuple[float, float]:
    """The candidate with the best mean accuracy on the folds, and that accuracy in percent; of equals the smallest."""
    everything, truth = np.arange(len(documents)), _labels(documents)
    parts = [(_resampled(documents, np.setdiff1d(everything, fold), resampled, seed), fold) for fold in folds]
    best, best_accuracy = 0.0, -1.0
    for candidate in sorted(candidates):
        accuracies = []
        for (train, rest), fold in parts:
            model = _fit(kind, train, rest, classes, candidate, weights, seed)
            right = model.predict(documents.rows[fold]) == truth[fold]
            groups = [right] if resampled is None else [right[truth[fold] == label] for label in np.unique(truth[fold])]
            accuracies.append(np.mean([group.mean() for group in groups]))
        accuracy = 100 * float(np.mean(accuracies))
        if accuracy > best_accuracy:
            best, best_accuracy = candidate, accuracy
    return best, best_accuracy


def fit_augmented(
    kind: Kind,
    source: Documents,
    target: Documents,
    strength: float,
    classes: int = 2,
    seed: int = 0,
) -> LinearModel:
    """Feature augmentation (Daumé 2007) on labelled source and target documents, as a model of target documents.

    `transfer.reweighting.augment_features` gives each domain weights of its own beside the common ones; what counts on
    the target is the sum of both, which is what is returned. The target's labels may be pseudo-labels.

    Raises:
        InputError: labels that do not fit.
    """
    _check(source, classes, kind)
    _check(target, classes, kind)
    copies = [augment_features(part.rows, domain) for domain, part in enumerate((source, target))]
    labels = np.concatenate([_labels(source), _labels(target)])
    together = Documents(stack_rows(copies), labels, name="source and target")
    # a row is twice as long squared as it was: the strength stays what it is for one copy
    model = _fit(kind, together, np.arange(len(together)), classes, 2 * strength, None, seed)
    shared, _, own = np.split(model.weights, 3, axis=1)
    return replace(model, weights=shared + own, strength=strength)


def linear_fit(kind: Kind, strength: float, classes: int = 2) -> Fit[LinearModel]:
    """What `transfer.pseudo_labels` and `transfer.tri_training` train with: linear models of one strength."""

    def fit(
        rows: Rows, labels: NDArray[np.int64], weights: NDArray[np.float64] | None = None, seed: int = 0
    ) -> LinearModel:
        documents = Documents(rows, labels, name="labelled and pseudo-labelled documents")
        model = _fit(kind, documents, np.arange(len(labels)), classes, strength, weights, seed)
        return replace(model, strength=strength)

    return fit


def self_train(
    kind: Kind,
    model: LinearModel,
    source: Documents,
    target: Rows,
    shares: Sequence[float] = SHARES,
    balanced: bool = True,
    with_source: bool = True,
    seed: int = 0,
) -> list[SelfTrainingRound[LinearModel]]:
    """`transfer.pseudo_labels.self_train` with linear models of the first one's strength.

    **Assumption:** with `balanced`, the classes are equally frequent in the target. Where they are not, say
    `balanced=False`.

    Args:
        kind: of the new models.
        model: the first one, trained on the source.
        source: labelled.
        target: (m, features) unlabelled training rows of the target.
        shares: of each round, above 0 up to 1.
        with_source: train on the source documents as well.

    Returns:
        The rounds, of which the last is the result.

    Raises:
        InputError: labels that do not fit, shares out of range, or no target rows.
    """
    classes = len(model.bias)
    _check(source, classes, kind)
    fit = linear_fit(kind, CANDIDATES[-1] if model.strength is None else model.strength, classes)
    return pseudo_labels.self_train(
        fit, model, source.rows, _labels(source), target, shares, balanced, with_source, seed
    )


def _resampled(
    documents: Documents, numbers: NDArray[np.int64], how: str | None, seed: int
) -> tuple[Documents, NDArray[np.int64]]:
    """Documents and the numbers of those to train on: the given ones, or what re-sampling makes of them."""
    if how is None:
        return documents, numbers
    rows, labels = resample(documents.rows[numbers], _labels(documents)[numbers], how, seed)
    return replace(documents, rows=rows, labels=labels), np.arange(len(labels))


def _fit(
    kind: Kind,
    documents: Documents,
    numbers: NDArray[np.int64],
    classes: int,
    strength: float,
    weights: NDArray[np.float64] | None,
    seed: int,
) -> LinearModel:
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    rows, labels = documents.rows[numbers], _labels(documents)[numbers]
    present = np.unique(labels)
    if len(present) < 2:
        what = f"{documents.name}: the training documents have {len(present)} class(es), a classifier needs two"
        raise InputError(Problem(what, remedy="add documents of another class"))
    c = strength / max(_mean_squared_length(rows), np.finfo(np.float64).tiny)
    if kind == "svm":
        classifier = LinearSVC(C=c, dual="auto", random_state=seed, max_iter=5000)
    else:
        classifier = LogisticRegression(C=c, max_iter=2000)
    classifier.fit(rows, labels, sample_weight=None if weights is None else weights[numbers])
    coefficients, intercept = classifier.coef_, classifier.intercept_
    if len(present) == 2:  # one function for two classes: half of it each way
        coefficients, intercept = np.concatenate([-coefficients, coefficients]) / 2, np.r_[-intercept, intercept] / 2
    # a class that no document has is never the answer
    all_weights, all_bias = np.zeros((classes, rows.shape[1])), np.full(classes, -np.inf)
    all_weights[present], all_bias[present] = coefficients, intercept
    return LinearModel(all_weights, all_bias)


def _mean_squared_length(rows: Rows) -> float:
    from scipy import sparse

    squares = rows.multiply(rows).sum() if sparse.issparse(rows) else np.einsum("ij,ij->", rows, rows)
    return float(squares) / rows.shape[0]


def _check(documents: Documents, classes: int, kind: str = "svm") -> None:
    problems = label_problems(documents, classes)
    if kind not in KINDS:
        problems.append(Problem(f"a linear classifier is one of {', '.join(KINDS)}, not {kind!r}"))
    if problems:
        raise InputError(problems)


def _labels(documents: Documents) -> NDArray[np.int64]:
    assert documents.labels is not None
    return documents.labels
