"""Made word vectors of two languages that are as hard as real ones: clusters, few strong directions, hubs, noise."""

from __future__ import annotations

from typing import Any

TOPICS = 300
WORDS_OF_A_CLUSTER = 20
HUBS = 0.005
"""Share of rows near the common mean, which are near to everything."""


def made_languages(rows: int, dimension: int = 300, seed: int = 0, noise: float = 1.0) -> tuple[Any, Any, Any]:
    """Source and target vectors (rows, dimension) float32; row i of one translates row i of the other.

    Words lie in clusters, clusters in topics, all about a common mean, as in trained vectors; the variance falls off
    over the directions. The target language is the source, turned, with noise that grows from frequent to rare words:
    of mostly frequent words among 200,000, CSLS finds the translation of 94 % (`csls.py`). `noise` scales it:
    with all of it nothing is found without a dictionary, with half of it everything is.

    Returns:
        source, target, and the rotation (dimension, dimension) that takes the one to the other.
    """
    import numpy as np

    generator = np.random.default_rng(seed)

    def normal(*shape: int) -> Any:
        return generator.standard_normal(shape, dtype=np.float32)

    spread = np.arange(1, dimension + 1, dtype=np.float32) ** -0.4
    mean = 0.5 * normal(dimension) * spread
    clusters = normal(TOPICS, dimension)[generator.integers(0, TOPICS, max(1, rows // WORDS_OF_A_CLUSTER))]
    clusters = 0.7 * clusters + 0.7 * normal(*clusters.shape)
    growing = noise * np.linspace(1.5, 2.6, rows, dtype=np.float32)[:, None]
    source = clusters[generator.integers(0, len(clusters), rows)]
    source += 0.9 * normal(rows, dimension)
    source *= spread
    source[generator.random(rows) < HUBS] *= 0.2
    source += mean
    turn = np.linalg.qr(normal(dimension, dimension))[0]
    target = normal(rows, dimension)
    target *= growing * spread
    target += source
    return source, target @ turn, turn
