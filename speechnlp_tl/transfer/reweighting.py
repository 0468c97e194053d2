"""Classical adaptation of any linear or other classifier: weights for source rows, copies of features by domain.

Both work on fixed features before training and leave the classifier to the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.errors import InputError, Problem

Rows = Any
"""(n, features): a numpy array or a scipy sparse matrix."""


def domain_odds_weights(
    source: Rows,
    target: Rows,
    *,
    limit: float = 10.0,
    inverse_regularisation: float = 1.0,
    folds: int = 5,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Weights that make source rows count as much as target rows like them: covariate shift by a domain classifier.

    The weight p_target(x) / p_source(x) of importance-weighted training (Shimodaira 2000) is, by Bayes' rule, the odds
    of a classifier that tells the domains apart (Bickel, Brückner and Scheffer 2007),

        w(x) = P(target | x) / P(source | x) * n_source / n_target

    Every source row is judged by a logistic regression that was not trained on it (`folds`): with more features than
    rows, one trained on it would know every row's domain and give weights of 0. Weights are clipped to 1 / limit ...
    limit, then scaled to a mean of 1, so that they leave the regularisation of the classifier as it was.

    Args:
        source: (n_source, features); labels are not needed.
        target: (n_target, features), unlabelled.
        limit: the largest odds believed; 1 gives every row the weight 1.
        inverse_regularisation: C of the logistic regression; small values pull all weights towards 1.
        folds: parts of the cross-fitting, at least 2.
        seed: of the folds.

    Returns:
        (n_source,) weights for `sample_weight` of the classifier.

    Raises:
        InputError: different features, fewer rows than folds in a domain, or a setting out of range.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    source, target = _two_domains(source, target)
    problems: list[Problem | str] = []
    if limit < 1 or inverse_regularisation <= 0 or folds < 2:
        what = f"limit={limit}, inverse_regularisation={inverse_regularisation} and folds={folds}"
        problems.append(f"weights by domain need limit >= 1, inverse_regularisation > 0 and folds >= 2, not {what}")
    elif min(source.shape[0], target.shape[0]) < folds:
        few = f"{source.shape[0]} source and {target.shape[0]} target rows are too few for {folds} folds"
        problems.append(few)
    if problems:
        raise InputError(problems)
    rows = stack_rows([source, target])
    domain = np.repeat([0, 1], [source.shape[0], target.shape[0]])
    classifier = LogisticRegression(C=inverse_regularisation, max_iter=1000)
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
    log_odds = cross_val_predict(classifier, rows, domain, cv=parts, method="decision_function")[: source.shape[0]]
    ratio = np.exp(np.clip(log_odds + np.log(source.shape[0] / target.shape[0]), -np.log(limit), np.log(limit)))
    weights: NDArray[np.float64] = ratio / ratio.mean()
    return weights


def augment_features(x: Rows, domain: int | Sequence[int] | NDArray[np.integer], domains: int = 2) -> Rows:
    """Frustratingly easy domain adaptation (Daumé 2007): a shared copy of the features and one per domain.

    For two domains, Phi(x) = [x, x, 0] in domain 0 (source) and [x, 0, x] in domain 1 (target), so that in a linear
    model every feature has a common weight and one for each domain; K domains give K + 1 copies. Rows of the same
    domain have twice their old inner product, others the old one. Sparse rows stay sparse, with twice their entries.

    Args:
        x: (n, features), dense or scipy sparse.
        domain: the domain of all rows or of each row, 0 <= domain < domains.
        domains: how many there are, also where `x` has rows of one only.

    Returns:
        (n, (domains + 1) * features); sparse in CSR form when `x` is sparse.

    Raises:
        InputError: a domain out of range, or not one for each row.
    """
    from scipy import sparse

    count, features = x.shape
    numbers = np.asarray(domain, dtype=None if count else np.int64)
    if numbers.ndim == 0:
        numbers = np.full(count, numbers)
    if numbers.shape != (count,) or not np.issubdtype(numbers.dtype, np.integer):
        raise InputError(f"{count} rows need {count} domain numbers, not {numbers.shape} of {numbers.dtype}")
    if count and not (numbers.min() >= 0 and numbers.max() < domains):
        raise InputError(f"domains are numbered 0 to {domains - 1}, found {numbers.min()} to {numbers.max()}")
    if sparse.issparse(x):
        entries = x.tocoo()
        own = entries.col + features * (1 + numbers[entries.row].astype(np.int64))
        places = np.concatenate([entries.row, entries.row]), np.concatenate([entries.col, own])
        shape = count, (domains + 1) * features
        return sparse.csr_matrix((np.concatenate([entries.data, entries.data]), places), shape=shape)
    out = np.zeros((count, domains + 1, features), np.asarray(x).dtype)
    out[:, 0] = x
    out[np.arange(count), numbers + 1] = x
    return out.reshape(count, (domains + 1) * features)


def _two_domains(source: Rows, target: Rows) -> tuple[Rows, Rows]:
    if source.ndim != 2 or target.ndim != 2 or source.shape[1] != target.shape[1]:
        what = f"source and target have different features: {source.shape} and {target.shape}"
        raise InputError(Problem(what, remedy="make both with one vocabulary"))
    return source, target


def stack_rows(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts, one under the other; in CSR form when any part is sparse."""
    from scipy import sparse

    return sparse.vstack(parts, format="csr") if any(map(sparse.issparse, parts)) else np.concatenate(parts)
