"""Models of fastText (`.bin`): the vectors of their words, made of the word's own and those of its subwords.

Bojanowski et al. 2017. The layout is that of `FastText::saveModel`, version 12 of the format. Nothing in a file is
trusted: every length is compared with the size of the file, and there is nothing in it that could be executed. (The
reader of gensim waits for ever where a file is cut off within its words.)
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.embeddings.raw_vectors import RawVectors
from speechnlp_tl.errors import InputError, Problem

MAGIC = struct.pack("<i", 793712314)
_VERSION = 12
_END_OF_SENTENCE = "</s>"
_ARGUMENTS = struct.Struct("<12id")
_WORDS_AT_ONCE = 4096
_DAMAGED = "the file is cut off or damaged: get it again"


def read_fasttext_model(path: Path, limit: int | None = None, encoding: str = "utf-8") -> RawVectors:
    """The words of a fastText model with the vectors that `fasttext print-word-vectors` gives them, and their counts.

    The file is mapped into memory: with `limit`, only the vectors that the first words need are read.

    Raises:
        InputError: gensim, which has the hash of subwords, is missing; the file is cut off, damaged or compressed; its
            numbers are quantised or its version is another.
    """
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # goes with the last array that needs it
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise InputError(Problem(f"cannot be read: {error}", file=path, remedy=_DAMAGED)) from error
    try:
        return _Model(path, content).vectors(limit, encoding)
    except struct.error as error:
        raise InputError(Problem("ends too early", file=path, remedy=_DAMAGED)) from error


@dataclass(frozen=True)
class _Entry:
    """A word as the dictionary of the model has it."""

    word: bytes
    count: int


class _Model:
    def __init__(self, path: Path, content: mmap.mmap) -> None:
        self._path, self._content = path, content
        magic, version = struct.unpack_from("<2i", content)
        if struct.pack("<i", magic) != MAGIC or version > _VERSION:
            remedy = f"give a model of format version {_VERSION}, or its .vec file"
            raise self._bad("is not a fastText model" if version <= _VERSION else f"has version {version}", remedy)
        arguments = _ARGUMENTS.unpack_from(content, 8)
        self._dimension, self._buckets, self._shortest, self._longest = arguments[0], *arguments[8:11]
        self._place = 8 + _ARGUMENTS.size
        if self._dimension < 1 or self._buckets < 0:
            raise self._bad(f"says its vectors have {self._dimension} numbers and {self._buckets} buckets")

    def vectors(self, limit: int | None, encoding: str) -> RawVectors:
        entries = self._entries()
        table = self._table(len(entries))
        raw = RawVectors(self._path, [], np.zeros((0, self._dimension), np.float32))
        rows, counts = [], []
        for row, entry in enumerate(entries[:limit]):
            try:
                raw.words.append(entry.word.decode(encoding))
            except UnicodeDecodeError:
                what = f"word {row + 1} is not {encoding}: {entry.word[:40]!r}"
                remedy = "give its encoding, such as encoding='latin-1'"
                raw.problems.setdefault("words in another encoding", []).append(Problem(what, self._path, None, remedy))
                continue
            rows.append(row)
            counts.append(entry.count)
        raw.counts = np.array(counts, dtype=np.int64)
        raw.matrix = np.empty((len(rows), self._dimension), np.float32)
        for start in range(0, len(rows), _WORDS_AT_ONCE):
            words = raw.words[start : start + _WORDS_AT_ONCE]
            parts = self._parts(words, rows[start : start + _WORDS_AT_ONCE], len(entries))
            sizes = np.array([len(part) for part in parts])
            gathered = table[np.fromiter(chain.from_iterable(parts), np.int64, int(sizes.sum()))]
            sums = np.add.reduceat(gathered, np.cumsum(sizes) - sizes, axis=0)
            raw.matrix[start : start + len(words)] = sums / sizes[:, None]
        return raw

    def _entries(self) -> list[_Entry]:
        """The words of the dictionary; labels of a supervised model are left out."""
        size, words, _, _, pruned = struct.unpack_from("<3i2q", self._content, self._place)
        self._place += 28
        if pruned >= 0:
            raise self._bad("is quantised, its vectors are not there any more", "give the model before quantisation")
        entries: list[_Entry] = []
        for _ in range(size):
            end = self._content.find(b"\0", self._place)
            if end < 0:
                raise self._bad(f"says {size} words, but ends after {len(entries)}")
            count, kind = struct.unpack_from("<qb", self._content, end + 1)
            if kind == 0:
                entries.append(_Entry(self._content[self._place : end], count))
            self._place = end + 10
        if len(entries) != words:
            raise self._bad(f"says {words} words, but has {len(entries)}")
        return entries

    def _table(self, words: int) -> NDArray[np.float32]:
        """(words + buckets, dimension) the vectors of words, then those of the buckets of subwords; not copied."""
        quantised, rows, columns = struct.unpack_from("<?2q", self._content, self._place)
        self._place += 17
        if quantised:
            raise self._bad("is quantised", "give the model before quantisation")
        if (rows, columns) != (words + self._buckets, self._dimension):
            shape = f"{words + self._buckets} vectors of {self._dimension}"
            raise self._bad(f"has {rows} vectors of {columns} numbers where {shape} were announced")
        if len(self._content) - self._place < rows * columns * 4:
            raise self._bad(f"ends before its {rows} vectors")
        table = np.frombuffer(self._content, dtype="<f4", count=rows * columns, offset=self._place)
        return table.reshape(rows, columns)

    def _parts(self, words: list[str], rows: list[int], vocabulary: int) -> list[list[int]]:
        """For each word the rows whose mean is its vector: its own and those of its subwords."""
        if not self._buckets or self._longest < 1:
            return [[row] for row in rows]
        try:
            from gensim.models.fasttext import ft_ngram_hashes
        except ImportError as error:
            remedy = 'pip install "speechnlp_tl[embeddings]", or give the .vec file'
            raise InputError(Problem("needs gensim to be read", file=self._path, remedy=remedy)) from error
        shortest, longest, buckets = self._shortest, self._longest, self._buckets
        return [
            [row]
            if word == _END_OF_SENTENCE  # fastText gives it no subwords
            else [row, *(vocabulary + number for number in ft_ngram_hashes(word, shortest, longest, buckets))]
            for word, row in zip(words, rows, strict=True)
        ]

    def _bad(self, what: str, remedy: str = _DAMAGED) -> InputError:
        return InputError(Problem(what, file=self._path, remedy=remedy))
