"""Neighbourhood means kept on disk: they cost a product of two whole vocabularies and change only with the vectors."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.atomic import atomic_file
from speechnlp_tl.embeddings.exact_search import Vectors
from speechnlp_tl.embeddings.retrieval import neighbourhood_means

_AT_ONCE = 2**14


def cached_means(folder: str | Path, vectors: Vectors, others: Vectors, k: int = 10) -> NDArray[np.float32]:
    """`neighbourhood_means`, read from `folder` where they are there for exactly these numbers, and left there.

    The file is named after the contents of both arrays and k; a damaged one is computed again.

    Raises:
        InputError: as `neighbourhood_means`, or the folder cannot be written.
    """
    path = Path(folder) / f"neighbourhood-means-{_digest(vectors, others, k)}.npy"
    try:
        found: NDArray[np.float32] = np.load(path, allow_pickle=False)
        if found.shape == (len(vectors),) and found.dtype == np.float32:
            return found
    except (OSError, ValueError, EOFError):
        pass
    found = neighbourhood_means(vectors, others, k)
    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, found, allow_pickle=False)
    return found


def _digest(vectors: Vectors, others: Vectors, k: int) -> str:
    digest = hashlib.blake2b(f"{k}".encode(), digest_size=16)
    for array in (vectors, others):
        digest.update(f" {array.shape} {array.dtype.str}".encode())
        for start in range(0, len(array), _AT_ONCE):
            digest.update(np.ascontiguousarray(array[start : start + _AT_ONCE]).data)
    return digest.hexdigest()
