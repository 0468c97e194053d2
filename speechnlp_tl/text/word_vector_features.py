"""Documents of several languages as means of word vectors in one space, so that a classifier of one reads the others.

A document's language is its domain (`document_file`): `en.train.jsonl` holds English, or a field says so. The space is
one that `speechnlp-tl embed align` made, or that of vectors that were trained together. What is saved with a model are
the words and their mapped, weighted vectors: neither the original vectors nor the alignment is needed again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.embeddings.normalisation import scale_to_unit, unit_rows
from speechnlp_tl.embeddings.space import Space
from speechnlp_tl.embeddings.vector_files import read_vectors, write_vectors
from speechnlp_tl.embeddings.vectors import WordVectors
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.text.words import split_words

FOLDER = "words"
_ZIPF_SHIFT = 2.7
"""Of Zipf's law as Mandelbrot wrote it: the word of rank r is seen 1 / (r + 2.7) times as often as all are."""


class WordVectorConfig(StrictModel):
    """Word-vector features of a text model."""

    kind: Literal["word-vectors"] = "word-vectors"
    vectors: dict[str, Path] = Field(min_length=1, description="language (the domain of its documents) -> vectors")
    alignment: Path | None = Field(None, description="folder of 'embed align'; not given: the vectors share a space")
    limit: PositiveInt | None = Field(200_000, description="the most frequent words of each language")
    smoothing: PositiveFloat | None = Field(
        1e-3, description="a word seen in a share p of the text weighs a / (a + p); null: all weigh the same"
    )


class WordVectorFeatures:
    """Documents as means of their words' vectors.

    v(d) = sqrt(k) s / |s| with s = sum over the words w of d of a / (a + p(w)) u(w), where u(w) is the word's vector of
    unit length in the common space of k dimensions, p(w) how often it is seen among all words of its language and a the
    smoothing (Arora, Liang and Ma 2017, eq. 3, without the removal of a principal component). Where the vectors do not
    tell how often words were seen, p is Zipf's law of the rank. Words without a vector count nothing. The length
    sqrt(k) gives coordinates of about one, as networks want them.

    Args:
        words: language -> its words and their weighted vectors, all of one dimension.

    Raises:
        InputError: no languages, dimensions that differ, or names that cannot name a folder.
    """

    unit = "word"
    """What documents are made of, for messages."""

    def __init__(self, words: Mapping[str, WordVectors]) -> None:
        self.words = dict(words)
        widths = {name: vectors.dimension for name, vectors in self.words.items()}
        problems = [_bad_name(name) for name in widths if Path(name).name != name or name in (".", "..")]
        if len(set(widths.values())) != 1:
            told = ", ".join(f"{name} {width}" for name, width in widths.items()) or "none are given"
            what, remedy = f"vectors of one space have one dimension ({told})", "name the alignment of these languages"
            problems.append(Problem(what, remedy=remedy))
        if problems:
            raise InputError(problems)

    @classmethod
    def read(cls, config: WordVectorConfig) -> WordVectorFeatures:
        """Read, map and weigh the vectors that a config names.

        Raises:
            InputError: files that cannot be used, an alignment of other languages or dimensions; lists all.
        """
        found, problems = dict[str, WordVectors](), list[Problem]()
        for language, path in config.vectors.items():
            try:
                found[language] = read_vectors(path, config.limit, name=language).check()
            except InputError as error:
                problems += error.problems
        space = None
        if config.alignment is not None:
            try:
                space = Space.load(config.alignment)
                problems += _unaligned(space, config)
            except InputError as error:
                problems += error.problems
        if problems:
            raise InputError(problems)
        return cls.of(found, space, config.smoothing)

    @classmethod
    def of(
        cls, vectors: Mapping[str, WordVectors], space: Space | None = None, smoothing: float | None = 1e-3
    ) -> WordVectorFeatures:
        """From vectors in memory, `space` being their alignment; None where they share a space as they are.

        Raises:
            InputError: a language that the space does not have, or dimensions that do not fit.
        """
        made = {}
        for language, own in vectors.items():
            matrix = unit_rows(own.matrix if space is None else _mapped(space, language, own.matrix))
            if smoothing is not None:
                matrix *= (smoothing / (smoothing + _shares(own)))[:, None].astype(np.float32)
            made[language] = WordVectors(own.words, matrix, language, own.counts)
        return cls(made)

    @property
    def width(self) -> int:
        """Dimensions of the common space."""
        return next(iter(self.words.values())).dimension

    @property
    def languages(self) -> list[str]:
        return list(self.words)

    @cached_property
    def sha256(self) -> str:
        """Of all words and vectors, so that a model and the words of another one are told apart."""
        digest = hashlib.sha256()
        for language, vectors in self.words.items():
            digest.update("\n".join([language, *vectors.words]).encode("utf-8"))
            digest.update(np.ascontiguousarray(vectors.matrix).data)
        return digest.hexdigest()

    def rows(self, texts: Sequence[str], languages: Sequence[str]) -> NDArray[np.float32]:
        """(n, width) rows of n texts in these languages, of length sqrt(width); zeros for one without a known word.

        Raises:
            InputError: languages without vectors; lists each with the number of its documents.
        """
        if problems := self.unknown_languages(languages):
            raise InputError(problems)
        found = np.zeros((len(texts), self.width), np.float32)
        for language in dict.fromkeys(languages):
            mine = [number for number, name in enumerate(languages) if name == language]
            bags = word_counts([split_words(texts[number], language) for number in mine], self.words[language].index)
            found[mine] = bags @ self.words[language].matrix
        scale_to_unit(found)
        return found * np.float32(self.width**0.5)

    def unknown_languages(self, languages: Sequence[str]) -> list[Problem]:
        """One problem for each language of documents that has no vectors."""
        there = ", ".join(self.words)
        remedy = (
            f"there are vectors of {there}: the domain of a document, or else the name of its file, is its language"
        )
        counts = Counter(name for name in languages if name not in self.words)
        return [
            Problem(f"{count} documents are of '{name}', which has no vectors", remedy=remedy)
            for name, count in sorted(counts.items())
        ]

    def save(self, folder: Path) -> None:
        """Write the words of each language into a model directory."""
        for language, vectors in self.words.items():
            write_vectors(vectors, folder / FOLDER / language)

    @classmethod
    def load(cls, folder: Path, config: WordVectorConfig) -> WordVectorFeatures:
        """Read the words of a model directory; the files that `config` names are not looked at.

        Raises:
            InputError: they are missing or damaged.
        """
        found, problems = dict[str, WordVectors](), list[Problem]()
        for language in config.vectors:
            try:
                found[language] = read_vectors(folder / FOLDER / language, name=language)
            except InputError as error:
                problems += error.problems
        if problems:
            raise InputError(problems)
        return cls(found)


def word_counts(texts: Sequence[Sequence[str]], index: Mapping[str, int]) -> Any:
    """(texts, words) float32 CSR matrix: how often each word of `index` (word -> column) stands in each text."""
    from scipy import sparse

    columns = [[index[word] for word in words if word in index] for words in texts]
    ends = np.concatenate([[0], np.cumsum([len(row) for row in columns])])
    flat = np.array([column for row in columns for column in row], dtype=np.int64)
    counts = sparse.csr_matrix((np.ones(len(flat), np.float32), flat, ends), shape=(len(texts), len(index)))
    counts.sum_duplicates()
    return counts


def vectors_digest(config: WordVectorConfig) -> str:
    """SHA-256 of all that the features are made of.

    Raises:
        InputError: files that cannot be read.
    """
    digest = hashlib.sha256()
    for place in [*config.vectors.values(), *([config.alignment] if config.alignment else [])]:
        files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
        for path in files:
            try:
                with path.open("rb") as file:
                    digest.update(f"{path.relative_to(place)} {path.stat().st_size}\n".encode())
                    while block := file.read(1 << 20):
                        digest.update(block)
            except OSError as error:
                raise InputError(Problem(f"cannot be read: {error.strerror or error}", file=path)) from error
    return digest.hexdigest()


def _mapped(space: Space, language: str, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """(words, d) vectors of a language in the hub's space, or in the one that both are mapped to."""
    if language != space.hub:
        return space.between(language, space.hub).map_source(matrix)
    return next(iter(space.alignments.values())).map_target(matrix)


def _unaligned(space: Space, config: WordVectorConfig) -> list[Problem]:
    there = ", ".join(space.languages)
    remedy = f"its languages are {there}: call yours as it does"
    lacking = [name for name in config.vectors if name not in space.languages]
    return [Problem(f"does not have '{name}'", config.alignment, remedy=remedy) for name in lacking]


def _shares(vectors: WordVectors) -> NDArray[np.float64]:
    """(words,) what share of the text each word makes up."""
    if vectors.counts is not None and vectors.counts.sum() > 0:
        seen = vectors.counts.astype(np.float64)
    else:
        seen = 1 / (np.arange(len(vectors)) + 1 + _ZIPF_SHIFT)
    return seen / seen.sum()


def _bad_name(language: str) -> Problem:
    return Problem(f"'{language}' names a path, not a language", remedy="call it by a plain name, such as 'en'")
