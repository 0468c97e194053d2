"""Two made languages whose vectors differ by a rotation and some noise, so that the true dictionary is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ortho_group


@dataclass(frozen=True)
class Planted:
    source: NDArray[np.float32]
    target: NDArray[np.float32]
    rotation: NDArray[np.float64]
    pairs: NDArray[np.int64]
    """The whole dictionary."""


def cloud(words: int, dimensions: int, seed: int) -> NDArray[np.float64]:
    """Vectors in clusters, the dimensions of unlike spread and skew: only one rotation brings them to themselves."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_gamma(1.0, (max(3, words // 40), dimensions)) - 1
    rows = centres[generator.integers(len(centres), size=words)] + generator.standard_normal((words, dimensions))
    return rows * np.linspace(1.5, 0.5, dimensions)


def planted(
    words: int = 600, dimensions: int = 20, noise: float = 0.05, seed: int = 0, shuffled: bool = True
) -> Planted:
    """Word i of the source is word pairs[i, 1] of the target; noise is per dimension, in standard deviations."""
    generator = np.random.default_rng([seed, 1])
    source = cloud(words, dimensions, seed)
    rotation = ortho_group.rvs(dimensions, random_state=seed)
    target = source @ rotation + noise * source.std() * generator.standard_normal(source.shape)
    # neighbours in frequency change places, as between real languages
    order = np.argsort(np.arange(words) + (generator.uniform(0, words / 20, words) if shuffled else 0))
    place = np.empty(words, np.int64)
    place[order] = np.arange(words)
    pairs = np.stack([np.arange(words), place], axis=1)
    return Planted(source.astype(np.float32), target[order].astype(np.float32), rotation, pairs)


def precision(
    mapped_source: NDArray[np.float32], mapped_target: NDArray[np.float32], pairs: NDArray[np.int64]
) -> float:
    """P@1 of the pairs by the nearest cosine among all target words, by a plain product."""
    x = mapped_source[pairs[:, 0]]
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    y = mapped_target / np.linalg.norm(mapped_target, axis=1, keepdims=True)
    return float(np.mean((x @ y.T).argmax(1) == pairs[:, 1]))
