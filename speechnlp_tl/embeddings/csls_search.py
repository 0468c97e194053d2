"""CSLS (Conneau et al. 2018) where the targets' neighbourhood means are not known: computed for few of them, exactly.

The mean cosine of a target to its k nearest sources is at least that to its k nearest of some sources only. So
2 cos(x, y) - (mean over a sample of the sources) is never less than the score, and a target whose bound lies below the
k-th best score known needs no mean over all sources.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.embeddings.exact_search import ExactSearch, UnitRows

SAMPLE = 0.1
"""Share of the sources, the most frequent ones, that bounds are taken from."""
DEPTH = 8
"""A query's list of targets by bound is this many times k long, and as many times longer where that was too short."""


def means(vectors: UnitRows, others: UnitRows, k: int) -> NDArray[np.float32]:
    """(n,) mean cosine of each vector to its k nearest of `others`."""
    return _mean(ExactSearch(others, min(k, len(others))), vectors)


def _mean(search: ExactSearch, vectors: UnitRows) -> NDArray[np.float32]:
    return search(vectors)[1].mean(axis=1, dtype=np.float64).astype(np.float32)


def csls_best(
    queries: UnitRows, targets: UnitRows, sources: UnitRows, k: int, neighbourhood: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows and scores (q, k) of the largest 2 cos(x, y) - r_S(y), best first, equal ones by row."""
    sample = sources.take(slice(max(neighbourhood, round(SAMPLE * len(sources)))))
    if len(sample) == len(sources) or len(queries) * k >= len(targets):
        return ExactSearch(targets, k, 2.0, means(targets, sources, neighbourhood))(queries)
    cost = means(targets, sample, neighbourhood)  # of each target: its mean where known, otherwise at most that
    known = np.zeros(len(targets), dtype=bool)
    search = ExactSearch(sources, neighbourhood)
    rows = np.empty((len(queries), k), dtype=np.int64)
    scores = np.empty((len(queries), k), dtype=np.float32)
    left, depth = np.arange(len(queries)), min(DEPTH * k, len(targets))
    while len(left):
        asked = queries.take(left)
        found, bounds = ExactSearch(targets, depth, 2.0, cost)(asked)
        twice = 2.0 * asked.cosines(np.repeat(np.arange(len(left)), depth), targets, found.ravel()).reshape(found.shape)
        values, first = bounds, np.sort(found[:, :k], axis=None)
        wanted = np.unique(first[~known[first]])
        while len(wanted):
            cost[wanted] = _mean(search, targets.take(wanted))
            known[wanted] = True
            values = (twice - cost[found]).astype(np.float32)
            # k known ones are no worse than this; an unknown one that may be better is wanted, too
            worst = -np.sort(np.where(known[found], -values, np.inf), axis=1)[:, k - 1]
            wanted = np.unique(found[~known[found] & (values >= worst[:, None])])
        chosen = np.lexsort((found, -values))[:, :k]
        rows[left], scores[left] = np.take_along_axis(found, chosen, 1), np.take_along_axis(values, chosen, 1)
        # what is not in the list has no larger bound than its last entry
        done = (scores[left, -1] > bounds[:, -1]) | (depth == len(targets))
        left, depth = left[~done], min(DEPTH * depth, len(targets))
    return rows, scores
