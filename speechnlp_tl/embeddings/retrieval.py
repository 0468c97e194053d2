"""The targets nearest to a query: nearest neighbour, CSLS and inverted softmax; exact, in blocks of bounded memory.

Vectors are (n, d) arrays of any floating type, rows = words, possibly memory-mapped: they are read, normalised to unit
length and turned to float32 block by block and never copied whole. A zero row has cosine 0 with everything.

All three methods rank the targets y of a query x by a * cos(x, y) - (what x costs) - (what y costs):

    nn               cos(x, y)
    csls             2 cos(x, y) - r_T(x) - r_S(y)       (Conneau et al. 2018, equation 3)
    inverted-softmax cos(x, y) - log(sum_x' exp(beta cos(x', y))) / beta       (Smith et al. 2017)

with r_T(x) the mean cosine of x to its nearest targets, r_S(y) that of y to its nearest sources. Equal scores are
ordered by row: the lower one, for most vectors the more frequent word, comes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechnlp_tl.errors import InputError, Problem

Method = Literal["nn", "csls", "inverted-softmax"]
Vectors = NDArray[Any]

BLOCK = 1024
"""Queries at a time."""
TILE = 4096
"""Targets at a time: a block's scores for a tile stay in the processor's cache."""


@dataclass(frozen=True)
class Neighbours:
    """The best targets of each query, best first."""

    rows: NDArray[np.int64]
    """(q, k) rows of the targets."""
    scores: NDArray[np.float32]
    """(q, k)"""


def neighbours(
    queries: Vectors,
    targets: Vectors,
    k: int = 10,
    method: Method = "nn",
    *,
    query_means: NDArray[Any] | None = None,
    target_means: NDArray[Any] | None = None,
    neighbourhood: int = 10,
    inverse_temperature: float = 30.0,
    block: int = BLOCK,
    tile: int = TILE,
) -> Neighbours:
    """The k best targets (m, d) of each query (q, d).

    Args:
        k: at most m.
        query_means, target_means: for csls, r_T of the queries (q,) and r_S of the targets (m,), as
            `neighbourhood_means` gives them. Computed when None; r_S then over the queries: give it where the queries
            are not the whole source vocabulary.
        neighbourhood: for csls, how many nearest vectors the means are over.
        inverse_temperature: the beta of the inverted softmax, whose sum runs over the queries.
    """
    _check(queries, targets, k)
    scale, query_cost, target_cost = 1.0, None, None
    if method == "csls":
        scale = 2.0
        query_cost = neighbourhood_means(queries, targets, neighbourhood) if query_means is None else query_means
        target_cost = neighbourhood_means(targets, queries, neighbourhood) if target_means is None else target_means
    elif method == "inverted-softmax":
        target_cost = log_sums(targets, queries, inverse_temperature)
    elif method != "nn":
        raise InputError(Problem(f"there is no retrieval method {method!r}", remedy="take nn, csls, inverted-softmax"))
    rows, scores = _best(queries, targets, k, scale, target_cost, block, tile)
    if query_cost is not None:
        scores -= np.asarray(query_cost, dtype=np.float32)[:, None]
    return Neighbours(rows, scores)


def neighbourhood_means(
    vectors: Vectors, others: Vectors, k: int = 10, *, block: int = BLOCK, tile: int = TILE
) -> NDArray[np.float32]:
    """(n,) mean cosine of each of `vectors` (n, d) to its k nearest of `others` (m, d); all of them where m < k.

    r_T and r_S of CSLS (Conneau et al. 2018).
    """
    _check(vectors, others, 1)
    _, scores = _best(vectors, others, min(k, len(others)), 1.0, None, block, tile)
    return scores.mean(axis=1, dtype=np.float64).astype(np.float32)


def log_sums(
    vectors: Vectors, others: Vectors, inverse_temperature: float = 30.0, *, block: int = BLOCK, tile: int = TILE
) -> NDArray[np.float32]:
    """(n,) log(sum over `others` of exp(beta cos)) / beta of each of `vectors`: what inverted softmax divides by."""
    parts = []
    for start in range(0, len(vectors), block):
        rows = _unit(vectors[start : start + block])
        logs = [torch.logsumexp(inverse_temperature * (rows @ part.T), 1) for _, part in _tiles(others, tile)]
        parts.append(torch.logsumexp(torch.stack(logs), 0) / inverse_temperature)
    return torch.cat(parts).numpy()


def _best(
    queries: Vectors, targets: Vectors, k: int, scale: float, cost: NDArray[Any] | None, block: int, tile: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows and scores (q, k) of the largest scale * cos - cost."""
    all_rows = np.empty((len(queries), k), dtype=np.int64)
    all_scores = np.empty((len(queries), k), dtype=np.float32)
    costs = None if cost is None else torch.from_numpy(np.ascontiguousarray(cost, dtype=np.float32))
    for start in range(0, len(queries), block):
        part = scale * _unit(queries[start : start + block])
        rows = torch.zeros((len(part), 0), dtype=torch.int64)
        scores = torch.zeros((len(part), 0))
        for first, others in _tiles(targets, tile):
            found = part @ others.T
            if costs is not None:
                found -= costs[first : first + len(others)]
            rows, scores = _merge(rows, scores, found, first, k)
        all_rows[start : start + len(part)], all_scores[start : start + len(part)] = rows, scores
    return all_rows, all_scores


def _merge(rows: Tensor, scores: Tensor, found: Tensor, first: int, k: int) -> tuple[Tensor, Tensor]:
    """The k best of the (q, <= k) so far, of lower rows, and a tile's scores (q, t) from row `first` on."""
    if scores.shape[1] < k:  # not full yet: everything may enter
        candidates = torch.cat([scores, found], dim=1)
        columns = torch.arange(first, first + found.shape[1]).expand(found.shape)
        order = candidates.sort(dim=1, descending=True, stable=True).indices[:, :k]
        return torch.cat([rows, columns], dim=1).gather(1, order), candidates.gather(1, order)
    query, column = (found > scores[:, -1:]).nonzero(as_tuple=True)  # an equal one has a higher row and stays out
    if not len(query):
        return rows, scores
    old = torch.arange(len(rows)).repeat_interleave(k)
    which = torch.cat([old, query])
    values = torch.cat([scores.flatten(), found[query, column]])
    candidates = torch.cat([rows.flatten(), column + first])
    order = torch.from_numpy(np.lexsort((candidates.numpy(), -values.numpy(), which.numpy())))
    counts = torch.bincount(which, minlength=len(rows))
    starts = counts.cumsum(0) - counts
    chosen = order[starts[:, None] + torch.arange(k)]
    return candidates[chosen], values[chosen]


def _tiles(vectors: Vectors, size: int) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, len(vectors), size):
        yield start, _unit(vectors[start : start + size])


def _unit(vectors: Vectors) -> Tensor:
    """Rows of unit length in float32; zero rows stay zero."""
    rows = torch.from_numpy(np.array(vectors, dtype=np.float32))
    return torch.nn.functional.normalize(rows, dim=1, eps=1e-30)


def _check(queries: Vectors, targets: Vectors, k: int) -> None:
    problems = []
    if queries.ndim != 2 or targets.ndim != 2:
        problems.append(Problem(f"vectors have shape (n, d), not {queries.shape} and {targets.shape}"))
    elif queries.shape[1] != targets.shape[1]:
        problems.append(
            Problem(f"vectors of {queries.shape[1]} and of {targets.shape[1]} dimensions cannot be compared")
        )
    if len(targets) < max(k, 1):
        problems.append(Problem(f"{k} neighbours are asked for, of {len(targets)} targets"))
    if problems:
        raise InputError(problems)
