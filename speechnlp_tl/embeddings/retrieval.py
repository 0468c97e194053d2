"""The targets nearest to a query: nearest neighbour, CSLS and inverted softmax; exact, in bounded memory.

Vectors are (n, d) arrays of any floating type, rows = words, possibly memory-mapped; they need not be of unit length. A
zero row has cosine 0 with everything. Blocks, precision and what may be left out are `exact_search`'s and
`csls_search`'s; neither changes a result.

All three methods rank the targets y of a query x by a * cos(x, y) - (what x costs) - (what y costs):

    nn               cos(x, y)
    csls             2 cos(x, y) - r_T(x) - r_S(y)       (Conneau et al. 2018, equation 3)
    inverted-softmax cos(x, y) - log(sum_x' exp(beta cos(x', y))) / beta       (Smith et al. 2017)

with r_T(x) the mean cosine of x to its nearest targets, r_S(y) that of y to its nearest sources. Equal scores are
ordered by row: the lower one, for most vectors the more frequent word, comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from speechnlp_tl.embeddings.csls_search import csls_best, means
from speechnlp_tl.embeddings.exact_search import ExactSearch, UnitRows, Vectors
from speechnlp_tl.errors import InputError, Problem

Method = Literal["nn", "csls", "inverted-softmax"]

_AT_ONCE = 1024


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
    sources: Vectors | None = None,
    query_means: NDArray[Any] | None = None,
    target_means: NDArray[Any] | None = None,
    neighbourhood: int = 10,
    inverse_temperature: float = 30.0,
) -> Neighbours:
    """The k best targets (m, d) of each query (q, d).

    Args:
        k: at most m.
        sources: (s, d) the whole source vocabulary, most frequent first, where the queries are only some of it: for
            csls, r_S is over them; for inverted-softmax, the sum is.
        query_means, target_means: for csls, r_T of the queries (q,) and r_S of the targets (m,) where they are known
            (`neighbourhood_means`). Otherwise r_S is computed for those targets only that it can bring to the top.
        neighbourhood: for csls, how many nearest vectors the means are over.
        inverse_temperature: the beta of the inverted softmax.

    Raises:
        InputError: dimensions or lengths differ, vectors are not finite, or there are fewer targets than k.
    """
    _check(queries, targets, k, sources, query_means, target_means)
    x, y = UnitRows(queries), UnitRows(targets)
    if method == "nn":
        return Neighbours(*ExactSearch(y, k)(x))
    if method == "inverted-softmax":
        cost = log_sums(targets, queries if sources is None else sources, inverse_temperature)
        return Neighbours(*ExactSearch(y, k, 1.0, cost)(x))
    if method != "csls":
        raise InputError(Problem(f"there is no retrieval method {method!r}", remedy="take nn, csls, inverted-softmax"))
    own = means(x, y, neighbourhood) if query_means is None else np.asarray(query_means, dtype=np.float32)
    if target_means is None:
        rows, scores = csls_best(x, y, x if sources is None else UnitRows(sources), k, neighbourhood)
    else:
        rows, scores = ExactSearch(y, k, 2.0, target_means)(x)
    return Neighbours(rows, scores - own[:, None])


def neighbourhood_means(vectors: Vectors, others: Vectors, k: int = 10) -> NDArray[np.float32]:
    """(n,) mean cosine of each of `vectors` (n, d) to its k nearest of `others` (m, d); to all of them where m < k.

    r_T and r_S of CSLS (Conneau et al. 2018).

    Raises:
        InputError: dimensions differ, vectors are not finite, or there is nothing in `others`.
    """
    _check(vectors, others, 1)
    return means(UnitRows(vectors), UnitRows(others), k)


def log_sums(vectors: Vectors, others: Vectors, inverse_temperature: float = 30.0) -> NDArray[np.float32]:
    """(n,) log(sum over `others` of exp(beta cos)) / beta of each of `vectors`: what inverted softmax divides by."""
    _check(vectors, others, 1)
    x, y = UnitRows(vectors), UnitRows(others)
    found = np.empty(len(x), dtype=np.float32)
    for start in range(0, len(x), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        rows = inverse_temperature * x.unit(part)
        logs = [torch.logsumexp(rows @ y.unit(slice(i, i + _AT_ONCE)).T, 1) for i in range(0, len(y), _AT_ONCE)]
        found[part] = torch.logsumexp(torch.stack(logs).double(), 0).numpy() / inverse_temperature
    return found


def _check(
    queries: Vectors,
    targets: Vectors,
    k: int,
    sources: Vectors | None = None,
    query_means: NDArray[Any] | None = None,
    target_means: NDArray[Any] | None = None,
) -> None:
    problems = []
    arrays = {"queries": queries, "targets": targets} | ({} if sources is None else {"sources": sources})
    for name, array in arrays.items():
        if array.ndim != 2:
            problems.append(Problem(f"{name} have the shape (n, d), not {array.shape}"))
    dimensions = {name: array.shape[1] for name, array in arrays.items() if array.ndim == 2}
    if len(set(dimensions.values())) > 1:
        stated = ", ".join(f"{name} {number}" for name, number in dimensions.items())
        problems.append(Problem(f"vectors of different dimensions cannot be compared: {stated}"))
    if k < 1 or len(targets) < k:
        problems.append(Problem(f"{k} neighbours are asked for, of {len(targets)} targets"))
    for name, given, array in (("query", query_means, queries), ("target", target_means, targets)):
        if given is not None and np.shape(given) != (len(array),):
            problems.append(Problem(f"{name}_means have the shape ({len(array)},), not {np.shape(given)}"))
    if problems:
        raise InputError(problems)
