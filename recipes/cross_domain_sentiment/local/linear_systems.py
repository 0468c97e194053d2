"""Linear systems of the recipe: from a config to predictions of the target's test reviews."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pairs import Pair, held_out, told
from run_record import Outcome
from settings import SystemConfig

from speechnlp_tl.evaluation.domain_distance import proxy_a_distance
from speechnlp_tl.text.baselines import LinearModel, fit_augmented, fit_linear, linear_fit, majority, self_train
from speechnlp_tl.text.classification import Documents
from speechnlp_tl.text.compact import CompactRows
from speechnlp_tl.transfer.discrepancy import coral_transform
from speechnlp_tl.transfer.reweighting import domain_odds_weights, stack_rows
from speechnlp_tl.transfer.shifted_validation import shifted_folds
from speechnlp_tl.transfer.tri_training import TriTrained, tri_train


def run_linear(system: SystemConfig, pair: Pair, source: str, share: float, seed: int) -> Outcome:
    """Train one linear system on one pair.

    Args:
        source: name of the source domain.
        share: of the labelled documents that C is chosen on.
    """
    features = pair.features(system, source)
    documents, target = features.source, features.target
    if features.compact is not None:
        own, target = features.compact_rows  # the same models, learnt in fewer coordinates
        documents = replace(documents, rows=own)
    if system.kind == "majority":
        return Outcome(majority(documents).predict(features.test), "fixed")
    selection = "source validation" if system.chosen == "random" else "shifted source validation"
    if system.labels == "target":
        documents, selection = Documents(target, pair.target_labels(source), 1, "target"), "target validation"
    elif system.rare is not None:
        documents = _thinned(documents, system.rare, seed)
    if system.coral is not None:
        own, multiple, width = documents.rows, system.coral, features.source.rows.shape[1]
        rows = pair.recoloured(system, source, lambda: _recoloured(own, target, multiple, width))
        documents = replace(documents, rows=rows)
    known = None
    if system.known is not None:
        known, _ = told(target, pair.target_labels(source), system.known, seed)
        selection += f", {system.known} target labels"
    model, found = _train(system, documents, target, known, share, seed)
    if features.compact is not None:
        model = _expanded(model, features.compact)
    distance = proxy_a_distance(documents.rows, target, seed) if system.distance else None
    return Outcome(model.predict(features.test), selection, found.validation_accuracy, distance, found.strength)


def _train(
    system: SystemConfig, documents: Documents, target: Any, known: Documents | None, share: float, seed: int
) -> tuple[LinearModel | TriTrained[LinearModel], LinearModel]:
    """The system's model, and the first one, whose strength was chosen."""
    assert system.kind in ("svm", "logistic")
    weights = domain_odds_weights(documents.rows, target, seed=seed) if system.reweighted else None
    chosen_on: Any = held_out(len(documents), share, seed)
    if system.chosen == "shifted":
        assert documents.labels is not None
        chosen_on = shifted_folds(documents.rows, documents.labels, seed=seed)
    first = fit_linear(system.kind, documents, chosen_on, weights=weights, resampled=system.resampled, seed=seed)
    if known is not None:
        return _with_known(system, documents, known, first, seed), first
    if system.tri_training is not None:
        assert first.strength is not None
        assert documents.labels is not None
        fit, three = linear_fit(system.kind, first.strength), system.tri_training.model_dump()
        return tri_train(fit, documents.rows, documents.labels, target, weights=weights, seed=seed, **three), first
    if system.self_training is None:
        return first, first
    options = system.self_training.model_dump()
    last = self_train(system.kind, first, documents, target, seed=seed, **options)[-1]
    if not system.augmented:
        return last.model, first
    assert first.strength is not None
    pseudo = Documents(target, last.labels, 1, "pseudo-labelled target")
    return fit_augmented(system.kind, documents, pseudo, first.strength, seed=seed), first


def _with_known(
    system: SystemConfig, documents: Documents, known: Documents, first: LinearModel, seed: int
) -> LinearModel:
    """Trained on source and labelled target documents together, with the source's strength."""
    assert system.kind in ("svm", "logistic")
    assert first.strength is not None
    if system.augmented:
        return fit_augmented(system.kind, documents, known, first.strength, seed=seed)
    assert documents.labels is not None
    assert known.labels is not None
    labels = np.concatenate([documents.labels, known.labels])
    return linear_fit(system.kind, first.strength)(stack_rows([documents.rows, known.rows]), labels, None, seed)


def _thinned(documents: Documents, share: float, seed: int) -> Documents:
    """With a random share of the positive documents only."""
    assert documents.labels is not None
    positive = np.random.default_rng(seed).permutation(np.flatnonzero(documents.labels == 1))
    kept = np.sort(np.r_[np.flatnonzero(documents.labels != 1), positive[: max(1, round(share * len(positive)))]])
    return replace(documents, rows=documents.rows[kept], labels=documents.labels[kept])


def _recoloured(source: Any, target: Any, multiple: float, width: int) -> NDArray[Any]:
    """Source rows with about the means and covariance of the target (CORAL).

    Sun et al. 2016 regularise features of variance 1 with 1; here it is `multiple` of the mean variance of all `width`
    features, which is the same for theirs.
    """
    one, other = (rows if isinstance(rows, np.ndarray) else rows.toarray() for rows in (source, target))
    variance = sum(float(rows.var(0, dtype=np.float64, ddof=1).sum()) for rows in (one, other)) / (2 * width)
    return coral_transform(one, other, multiple * variance, center=True)


def _expanded(
    model: LinearModel | TriTrained[LinearModel], compact: CompactRows
) -> LinearModel | TriTrained[LinearModel]:
    if isinstance(model, LinearModel):
        return model.expanded(compact)
    one, two, three = (part.expanded(compact) for part in model.models)
    return replace(model, models=(one, two, three))
