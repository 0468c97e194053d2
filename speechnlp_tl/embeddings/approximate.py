"""Neighbourhood means by approximate search with faiss: for whole vocabularies, where the exact ones take too long."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from speechnlp_tl.embeddings.exact_search import UnitRows, Vectors
from speechnlp_tl.errors import InputError, Problem

_AT_ONCE = 2**13
_PER_CELL = 40
_ROUNDS = 6


def approximate_means(
    vectors: Vectors, others: Vectors, k: int = 10, *, probes: int = 8, cells: int | None = None
) -> NDArray[np.float32]:
    """(n,) mean cosine of each of `vectors` (n, d) to the k nearest of `others` (m, d) in the cells nearest to it.

    `others` are parted into cells by k-means, and each vector looks into `probes` of them: what lies elsewhere is
    missed, so a mean is never larger than the exact one (but for rounding) and reaches it with as many probes as cells.

    Args:
        cells: sqrt(m) when None.

    Raises:
        InputError: faiss is not installed, or arrays of other dimensions.
    """
    try:
        import faiss
    except ImportError as error:
        remedy = "pip install faiss-cpu, or take the exact neighbourhood_means"
        raise InputError(Problem("approximate search needs faiss", remedy=remedy)) from error
    if vectors.ndim != 2 or others.ndim != 2 or vectors.shape[1] != others.shape[1] or not len(others):
        raise InputError(Problem(f"vectors {vectors.shape} cannot be searched for among {others.shape}"))
    x, y = UnitRows(vectors), UnitRows(others)
    cells = max(1, round(len(y) ** 0.5)) if cells is None else cells
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(torch.get_num_threads())
    try:
        quantiser = faiss.IndexFlatIP(vectors.shape[1])
        index = faiss.IndexIVFFlat(quantiser, vectors.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
        index.cp.niter, index.cp.min_points_per_centroid, index.nprobe = _ROUNDS, 1, min(probes, cells)
        step = max(1, len(y) // (_PER_CELL * cells))
        index.train(y.take(slice(None, None, step)).unit(slice(None)).numpy())
        for start in range(0, len(y), _AT_ONCE):
            index.add(y.unit(slice(start, start + _AT_ONCE)).numpy())
        found = np.empty(len(x), dtype=np.float32)
        for start in range(0, len(x), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            cosines, rows = index.search(x.unit(part).numpy(), min(k, len(y)))
            missing = rows < 0  # fewer than k in the cells looked into
            found[part] = np.where(missing, 0, cosines).sum(1) / np.maximum((~missing).sum(1), 1)
    finally:
        faiss.omp_set_num_threads(threads)
    return found
