"""How words are spelt, as further columns of their vectors: related languages share much of it.

Orthographic features for bilingual lexicons after Riley and Gildea 2018; here character n-grams in a random projection,
so that the number of columns does not grow with the alphabet.
"""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Mapping
from itertools import chain

import numpy as np

from speechnlp_tl.embeddings.normalisation import unit_rows
from speechnlp_tl.embeddings.vectors import WordVectors
from speechnlp_tl.errors import InputError, Problem

_BUCKETS = 1 << 16


def append_spelling(
    vectors: Mapping[str, WordVectors],
    weight: float = 0.7,
    dimension: int = 200,
    shortest: int = 2,
    longest: int = 4,
    seed: int = 0,
) -> dict[str, WordVectors]:
    """Unit vectors of meaning and, beside them, `weight` times unit vectors of spelling; unit rows together.

    The spelling of a word is the sum of the random directions of its n-grams, without accents and with marks at both
    ends, each times the logarithm of how rare it is among the words of all languages. The cosine of two words becomes
    (cosine of meaning + weight^2 * cosine of spelling) / (1 + weight^2). Languages that share no alphabet gain nothing.

    Args:
        vectors: language -> vectors in one space.
        weight: of the spelling.
        dimension: columns of it.
        shortest: characters of the shortest n-grams.
        longest: characters of the longest.
        seed: of the random directions.

    Raises:
        InputError: there are no vectors, or `longest` is below `shortest`.
    """
    from scipy import sparse

    if not vectors or not 1 <= shortest <= longest:
        raise InputError(Problem(f"no spelling of {len(vectors)} languages with n-grams of {shortest} to {longest}"))
    words = [word for found in vectors.values() for word in found.words]
    numbers = [_ngrams(word, shortest, longest) for word in words]
    ends = np.cumsum([0, *map(len, numbers)])
    places = np.fromiter(chain.from_iterable(numbers), np.int64, int(ends[-1]))
    counts = sparse.csr_matrix((np.ones(len(places), np.float32), places, ends), shape=(len(words), _BUCKETS))
    counts.sum_duplicates()
    rare = np.log((len(words) + 1) / (np.bincount(counts.indices, minlength=_BUCKETS) + 1)).astype(np.float32)
    directions = np.random.default_rng(seed).standard_normal((_BUCKETS, dimension), np.float32)
    spelling = unit_rows(counts @ (rare[:, None] * directions))
    scale = np.float32(1 / np.sqrt(1 + weight**2))
    result, first = {}, 0
    for language, found in vectors.items():
        own = spelling[first : first + len(found)]
        first += len(found)
        matrix = np.hstack([scale * unit_rows(found.matrix), np.float32(weight) * scale * own])
        result[language] = WordVectors(found.words, matrix, found.name, found.counts)
    return result


def _ngrams(word: str, shortest: int, longest: int) -> list[int]:
    """The buckets of a word's n-grams; crc32 because Python's own hash differs from run to run."""
    plain = "".join(letter for letter in unicodedata.normalize("NFD", word) if not unicodedata.combining(letter))
    marked = f"<{plain}>"
    return [
        zlib.crc32(marked[start : start + size].encode("utf-8")) % _BUCKETS
        for size in range(shortest, longest + 1)
        for start in range(len(marked) - size + 1)
    ]
