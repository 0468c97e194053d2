"""Vectors in word2vec's binary format: a line `<words> <dimension>`, then for each word its name and its numbers."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import numpy as np

from speechnlp_tl.atomic import atomic_file
from speechnlp_tl.embeddings.raw_vectors import RawVectors
from speechnlp_tl.embeddings.text_vectors import check_writable, open_vectors, parse_header
from speechnlp_tl.embeddings.vectors import WordVectors
from speechnlp_tl.errors import InputError, Problem

_LONGEST_WORD = 1 << 16
_DAMAGED = "the file is cut off or damaged: get it again"


def read_binary_vectors(path: Path, limit: int | None = None, encoding: str = "utf-8") -> RawVectors:
    """The vectors of a file in word2vec's binary format, float32 in little-endian order.

    A file that is not compressed is mapped into memory, so with `limit` only the beginning of it is read.

    Raises:
        InputError: the file cannot be read, or its first line is not `<words> <dimension>`.
    """
    with open_vectors(path) as file:
        header = parse_header(file.readline(64))
        if header is None or header[1] < 1:
            raise InputError(Problem("does not begin with '<words> <dimension>'", file=path, remedy=_DAMAGED))
        start = file.tell()
        if hasattr(file, "mtime"):  # gzip
            return _parse_rows(file.read(), 0, path, header, limit, encoding)
        if path.stat().st_size == start:  # nothing that could be mapped
            return _parse_rows(b"", 0, path, header, limit, encoding)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _parse_rows(content, start, path, header, limit, encoding)


def _parse_rows(
    content: bytes | mmap.mmap, place: int, path: Path, header: tuple[int, int], limit: int | None, encoding: str
) -> RawVectors:
    """The rows from `place` on: a word, a space, the numbers, and in some files a line end."""
    stated, dimension = header
    wanted = stated if limit is None else min(stated, limit)
    size = 4 * dimension
    # a header may lie: no more is asked for than can be there
    matrix = np.empty((min(wanted, (len(content) - place) // (size + 1)), dimension), np.float32)
    rows = memoryview(matrix.data).cast("B") if matrix.size else memoryview(b"")
    words: list[str] = []
    raw = RawVectors(path, words, matrix)
    seen = 0
    while seen < wanted:
        space = content.find(b" ", place, place + _LONGEST_WORD)
        if space < 0 or space + 1 + size > len(content):
            what = f"says {stated} words of {dimension} numbers, but holds {seen}"
            raw.problems["wrong counts"] = [Problem(what, path, None, _DAMAGED)]
            break
        word = content[place:space].lstrip(b"\n")
        place = space + 1 + size
        seen += 1
        try:
            words.append(word.decode(encoding))
        except UnicodeDecodeError:
            what = f"word {seen} is not {encoding}: {word[:40]!r}"
            remedy = "give its encoding, such as encoding='latin-1'"
            raw.problems.setdefault("words in another encoding", []).append(Problem(what, path, None, remedy))
            continue
        start = (len(words) - 1) * size
        rows[start : start + size] = content[space + 1 : place]
    if seen == wanted == stated and content[place : place + 2].strip():
        what = f"says {stated} words, but more bytes follow"
        raw.problems["wrong counts"] = [Problem(what, path, None, "the header is wrong: get the file again")]
    rows.release()
    raw.matrix = matrix[: len(words)]
    if sys.byteorder == "big":
        raw.matrix = raw.matrix.byteswap()
    return raw


def write_binary_vectors(vectors: WordVectors, path: Path) -> None:
    """Write word2vec's binary format, as gensim and the original program read it.

    Raises:
        InputError: words that hold white space or nothing, or the disk is full.
    """
    check_writable(vectors)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        file.write(f"{len(vectors)} {vectors.dimension}\n".encode())
        for word, row in zip(vectors.words, vectors.matrix, strict=True):
            file.write(word.encode("utf-8") + b" " + row.astype("<f4", copy=False).tobytes())
