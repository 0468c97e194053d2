"""Scores that choose between adapted models without a target label."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.errors import InputError


def mutual_information(probabilities: NDArray[Any]) -> float:
    """Between inputs and predicted classes, in nats: H(mean p) - mean H(p) (Shi and Sha 2012); the more the better.

    High when the model is sure of each target row and all classes are used alike: it assumes classes of like frequency,
    and believes a model that is confidently wrong.

    Args:
        probabilities: (n, classes) of unlabelled target rows.

    Returns:
        From 0 (the same answer for all) to ln(classes).

    Raises:
        InputError: no rows, or rows that are no distributions.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or not p.size or not (p >= 0).all() or not np.allclose(p.sum(1), 1, atol=1e-3):
        raise InputError(f"a score of predictions needs rows of probabilities that sum to 1, not {p.shape}")
    return float(_entropy(p.mean(0)) - _entropy(p).mean())


def _entropy(p: NDArray[np.float64]) -> Any:
    return -(p * np.log(np.maximum(p, np.finfo(np.float64).tiny))).sum(-1)
