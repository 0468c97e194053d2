"""Vectors as text: a line `<words> <dimension>`, then lines `<word> <number> ... <number>`.

So write word2vec and fastText (`.vec`). GloVe writes the same without the first line, which is read as well. Files
compressed with gzip are read as they are.
"""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from speechnlp_tl.atomic import atomic_file
from speechnlp_tl.embeddings.decimal_numbers import parse_decimals
from speechnlp_tl.embeddings.normalisation import blocks
from speechnlp_tl.embeddings.raw_vectors import RawVectors
from speechnlp_tl.embeddings.vectors import Matrix, WordVectors
from speechnlp_tl.errors import InputError, Problem

_NUMBERS_AT_ONCE = 1 << 15
"""So many stay in the processor's cache while they are read."""
_OTHER_ENCODING = "give its encoding, such as encoding='latin-1', or save the file as UTF-8"


@contextmanager
def open_vectors(path: Path) -> Iterator[BinaryIO | gzip.GzipFile]:
    """Read a file, through gzip where it is compressed.

    Raises:
        InputError: it cannot be read, or the compressed data is damaged.
    """
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if compressed else path.open("rb") as file:
            yield file
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(Problem(f"cannot be read: {reason}", file=path)) from error


def parse_header(line: bytes) -> tuple[int, int] | None:
    """(words, dimension) of a first line, None when it is something else."""
    fields = line.removeprefix(codecs.BOM_UTF8).split()
    if len(fields) != 2 or not all(field.isdigit() and len(field) < 16 for field in fields):
        return None
    return int(fields[0]), int(fields[1])


def read_text_vectors(path: Path, limit: int | None = None, encoding: str = "utf-8") -> RawVectors:
    """The vectors of a text file; what is bad is in `problems` of the result, with its line.

    Args:
        path: the file.
        limit: read so many rows at most; the rest of the file is not looked at.
        encoding: of the words.

    Raises:
        InputError: the file cannot be read or does not begin like vectors.
    """
    with open_vectors(path) as file:
        first = file.readline()
        header = parse_header(first)
        dimension = header[1] if header else len(first.split()) - 1
        if dimension < 1:
            what = "does not begin with '<words> <dimension>' or with a word and its numbers"
            raise InputError(Problem(what, path, 1, "give vectors in the text format of word2vec or fastText"))
        reader = _Reader(path, dimension, encoding)
        if header is None:
            reader.take([first], 1)
        number = 1
        while limit is None or reader.rows_seen < limit:
            size = max(1, _NUMBERS_AT_ONCE // dimension)
            size = size if limit is None else min(size, limit - reader.rows_seen)
            lines = list(islice(file, size))
            if not lines:
                break
            reader.take(lines, number + 1)
            number += len(lines)
        if header:
            reader.check_count(header[0], limit)
        return reader.result()


class _Reader:
    """Collects the rows of a text file, a block of lines at a time."""

    def __init__(self, path: Path, dimension: int, encoding: str) -> None:
        self.raw = RawVectors(path, [], np.zeros((0, dimension), np.float32), [])
        self.rows_seen = 0
        self._dimension, self._encoding = dimension, encoding
        self._blocks: list[Matrix] = []
        self._lines: list[int] = []

    def take(self, lines: list[bytes], first: int) -> None:
        """Add lines of which the first has the number `first`; line by line only where something is unusual."""
        spaces = self._dimension - 1
        stripped = [line.rstrip(b" \r\n") for line in lines]
        parts = [line.partition(b" ") for line in stripped]
        usual = all(word and numbers.count(b" ") == spaces for word, _, numbers in parts)
        if usual:
            try:
                block = parse_decimals(b" ".join([numbers for _, _, numbers in parts]))
                words = [word.decode(self._encoding) for word, _, _ in parts]
            except ValueError:  # a UnicodeDecodeError is one
                usual = False
        if not usual:
            self._take_each(stripped, first)
            return
        self._blocks.append(block.reshape(len(parts), self._dimension))
        self.raw.words += words
        self._lines += range(first, first + len(parts))
        self.rows_seen += len(parts)

    def _take_each(self, lines: list[bytes], first: int) -> None:
        for number, line in enumerate(lines, start=first):
            if not line.strip():
                self._bad("empty lines", "is empty", number, "remove the line")
                continue
            self.rows_seen += 1
            # from the right: a word may hold spaces
            fields = line.replace(b"\t", b" ").rstrip().rsplit(None, self._dimension)
            if len(fields) <= self._dimension:
                what = f"has {len(fields) - 1} numbers, not {self._dimension}"
                self._bad("lines of another dimension", what, number, "the file is damaged: get it again")
                continue
            try:
                row = parse_decimals(b" ".join(fields[1:]))
            except ValueError as error:
                self._bad("lines that are not numbers", f"{error}", number, "the file is damaged: get it again")
                continue
            if _ends_in_number(fields[0]):
                what = f"has more than {self._dimension} numbers"
                self._bad("lines of another dimension", what, number, "the file is damaged: get it again")
                continue
            try:
                word = fields[0].decode(self._encoding)
            except UnicodeDecodeError as error:
                what = f"the word is not {self._encoding} (byte {error.start + 1} of it)"
                self._bad("words in another encoding", what, number, _OTHER_ENCODING)
                continue
            self.raw.words.append(word)
            self._lines.append(number)
            self._blocks.append(row[None])

    def check_count(self, stated: int, limit: int | None) -> None:
        """Compare the number of rows in the header with those that were there, as far as the file was read."""
        seen = self.rows_seen
        at_the_end = limit is None or seen < limit
        if seen > stated or (at_the_end and seen < stated):
            remedy = "the file is cut off or its header is wrong: get it again, or mend the number"
            self._bad("wrong counts", f"says {stated} words, but {seen} lines follow", 1, remedy)

    def result(self) -> RawVectors:
        """What was collected; the blocks are released while they are copied together."""
        self.raw.matrix = np.empty((len(self.raw.words), self._dimension), np.float32)
        self._blocks.reverse()
        row = 0
        while self._blocks:
            block = self._blocks.pop()
            self.raw.matrix[row : row + len(block)] = block
            row += len(block)
        self.raw.lines = self._lines
        return self.raw

    def _bad(self, kind: str, what: str, line: int, remedy: str) -> None:
        self.raw.problems.setdefault(kind, []).append(Problem(what, self.raw.path, line, remedy))


def _ends_in_number(word: bytes) -> bool:
    """Whether a 'word' ends in a number with a point: then the line had one number more, and it is no `route 66`."""
    _, space, last = word.rpartition(b" ")
    if not space:
        return False
    try:
        parse_decimals(last)
    except ValueError:
        return False
    return b"." in last


def write_text_vectors(vectors: WordVectors, path: Path) -> None:
    """Write the text format of word2vec, in UTF-8, with as many digits as give the same float32 numbers again.

    Raises:
        InputError: words that hold white space or nothing, or the disk is full.
    """
    check_writable(vectors)
    row_format = " ".join(["%.9g"] * vectors.dimension)
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"{len(vectors)} {vectors.dimension}\n")
        for place, block in blocks(vectors.matrix):
            rows = zip(vectors.words[place], block.tolist(), strict=True)
            file.writelines([f"{word} {row_format % tuple(row)}\n" for word, row in rows])


def check_writable(vectors: WordVectors) -> None:
    """Raise InputError for words that a file in word2vec's formats cannot hold."""
    bad = [word for word in vectors.words if not word or word.split() != [word]]
    if bad:
        shown = ", ".join(map(repr, bad[:5]))
        what = f"{len(bad)} words are empty or hold white space: {shown}"
        raise InputError(Problem(what, file=vectors.name or None, remedy="save the vectors as a folder"))
