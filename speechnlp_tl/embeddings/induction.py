"""A dictionary made from two mapped vocabularies: CSLS neighbours in both directions, whole or with random parts.

Also the unsupervised first dictionary, from the shape of each vocabulary alone. Similarities are held for a block of
words at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechnlp_tl.embeddings.closed_forms import inner
from speechnlp_tl.embeddings.normalisation import Vectors, scale_to_unit, unit_rows
from speechnlp_tl.errors import InputError

CELLS = 2**24
"""Similarities held at a time."""


@dataclass(frozen=True)
class Induction:
    """Each word's best translation, both ways, among the words that it was compared with."""

    forward: NDArray[np.int64]
    """(n,) target row for each source word."""
    backward: NDArray[np.int64]
    """(m,) source row for each target word."""
    similarity: float
    """Mean over the words of both languages of the highest cosine: what self-learning makes larger."""

    @property
    def pairs(self) -> NDArray[np.int64]:
        """(n + m, 2): both directions one after the other; mutual pairs stand twice and so count twice."""
        ahead = np.stack([np.arange(len(self.forward)), self.forward], axis=1)
        back = np.stack([self.backward, np.arange(len(self.backward))], axis=1)
        return np.concatenate([ahead, back])

    @property
    def mutual(self) -> NDArray[np.int64]:
        """(p, 2): the pairs in which each word is the other's best translation, in order of source rows."""
        rows = np.flatnonzero(self.backward[self.forward] == np.arange(len(self.forward)))
        return np.stack([rows, self.forward[rows]], axis=1)


def induce(
    source: Vectors,
    target: Vectors,
    neighbourhood: int = 10,
    parts: int = 1,
    generator: np.random.Generator | None = None,
) -> Induction:
    """Translate all words of two mapped vocabularies in both directions by CSLS (Conneau et al. 2018).

    With `parts` > 1 both vocabularies are parted at random into as many parts, and the words of a part are compared
    only with those of one part of the other language. Every pair of words is thus considered with probability
    1 / parts, as in the stochastic dictionary induction of Artetxe, Labaka and Agirre (2018, ACL), which draws for each
    pair by itself and computes all similarities first; here the time falls with the number of parts.

    Args:
        source: (n, d) mapped vectors.
        target: (m, d).
        neighbourhood: how many nearest words the CSLS means are over.
        parts: 1 compares all with all.
        generator: of the random parts.

    Raises:
        InputError: fewer words than parts, or vectors of unlike dimensions.
    """
    if not 1 <= parts <= min(len(source), len(target)):
        raise InputError(f"{parts} parts of {len(source)} source and {len(target)} target words")
    if source.shape[1] != target.shape[1]:
        raise InputError(f"the mapped vectors have {source.shape[1]} and {target.shape[1]} dimensions")
    x, y = (torch.from_numpy(unit_rows(side)) for side in (source, target))
    if parts == 1:
        ahead, back, similarity = _both_ways(x, y, neighbourhood)
        return Induction(ahead.numpy(), back.numpy(), similarity)
    generator = np.random.default_rng(0) if generator is None else generator
    forward, backward = np.empty(len(x), np.int64), np.empty(len(y), np.int64)
    total = 0.0
    shuffled = [np.array_split(generator.permutation(len(side)), parts) for side in (x, y)]
    for mine, others in zip(*shuffled, strict=True):
        ahead, back, similarity = _both_ways(x[mine], y[others], neighbourhood)
        forward[mine], backward[others] = others[ahead.numpy()], mine[back.numpy()]
        total += similarity * (len(mine) + len(others))
    return Induction(forward, backward, total / (len(x) + len(y)))


def unsupervised_pairs(source: Vectors, target: Vectors, words: int = 4000, neighbourhood: int = 10) -> Induction:
    """A first dictionary without any link between the languages (Artetxe, Labaka and Agirre 2018, ACL, section 3.2).

    Each word is described by its sorted similarities to the words of its own language, which do not depend on the
    basis: the rows of sqrt(X X^T), sorted, scaled to unit length, centred and scaled again. Words of like profiles are
    paired by CSLS.

    Args:
        source: (n, d) normalised vectors, most frequent first.
        target: (m, e).
        words: how many of each language take part; memory and time grow with its square and cube.
    """
    count = min(words, len(source), len(target))
    return induce(_profiles(source[:count]), _profiles(target[:count]), neighbourhood)


def _profiles(vectors: Vectors) -> NDArray[np.float32]:
    """Sorted rows of sqrt(X X^T) (n, n) = X (X^T X)^-1/2 X^T, normalised."""
    values, directions = np.linalg.eigh(inner(vectors, vectors))
    kept = values > 1e-10 * values[-1]  # of directions that no vector has, the root is zero as well
    root = (directions[:, kept] * values[kept] ** -0.5) @ directions[:, kept].T
    similarities = (vectors @ root.astype(np.float32)) @ np.asarray(vectors, np.float32).T
    similarities.sort(axis=1)
    scale_to_unit(similarities)
    similarities -= similarities.mean(0)
    scale_to_unit(similarities)
    return similarities


def _both_ways(x: Tensor, y: Tensor, neighbourhood: int) -> tuple[Tensor, Tensor, float]:
    """CSLS translations of unit rows x (n, d) and y (m, d) into each other, and the mean of their highest cosines."""
    rows_at_once = max(1, CELLS // len(y))
    # what fits is multiplied once; the rest once for the means and once more for the translations
    kept = x @ y.T if rows_at_once >= len(x) else None
    cost_x, cost_y = (mean / 2 for mean in _means(x, y, kept, neighbourhood, rows_at_once))
    forward = torch.empty(len(x), dtype=torch.int64)
    backward = torch.zeros(len(y), dtype=torch.int64)
    best = torch.full((len(y),), -torch.inf)
    highest_y = torch.full((len(y),), -torch.inf)
    total = 0.0
    for begin in range(0, len(x), rows_at_once):
        place = slice(begin, begin + rows_at_once)
        block = x[place] @ y.T if kept is None else kept
        total += float(block.amax(1).sum())
        highest_y = torch.maximum(highest_y, block.amax(0))
        forward[place] = (block - cost_y).argmax(1)
        block -= cost_x[place, None]
        value = block.amax(0)
        better = torch.nonzero(value > best).squeeze(1)
        backward[better] = begin + block[:, better].argmax(0)
        best[better] = value[better]
    return forward, backward, (total + float(highest_y.sum())) / (len(x) + len(y))


def _means(x: Tensor, y: Tensor, kept: Tensor | None, neighbourhood: int, rows_at_once: int) -> tuple[Tensor, Tensor]:
    """(n,) and (m,): mean cosine of each row of x to its nearest of y, and of each of y to its nearest of x."""
    means_x, nearest = [], []
    for rows in x.split(rows_at_once):
        block = rows @ y.T if kept is None else kept
        means_x.append(block.topk(min(neighbourhood, len(y)), sorted=False).values.mean(1))
        nearest.append(block.T.contiguous().topk(min(neighbourhood, len(rows)), sorted=False).values)
    found = nearest[0] if len(nearest) == 1 else torch.cat(nearest, 1)
    means_y = found.topk(min(neighbourhood, found.shape[1]), sorted=False).values.mean(1)
    return torch.cat(means_x), means_y
