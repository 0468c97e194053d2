"""Reading and writing word vectors, whatever the format: `read_vectors` looks into the file and knows.

| format | read | written |
|---|---|---|
| folder of ours: `config.yaml`, `words.txt`, `vectors.npy`, `counts.npy` | yes, memory-mapped | yes |
| text of word2vec, fastText (`.vec`) or GloVe, also with gzip | yes | yes |
| binary of word2vec | yes | yes |
| model of fastText (`.bin`) | yes | no |
| gensim's `KeyedVectors` in memory | yes | yes |
| gensim's `KeyedVectors.save`, a pickle | never: it could run code | no |
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from speechnlp_tl.atomic import atomic_directory, write_text
from speechnlp_tl.embeddings.binary_vectors import read_binary_vectors, write_binary_vectors
from speechnlp_tl.embeddings.fasttext_model import MAGIC, read_fasttext_model
from speechnlp_tl.embeddings.raw_vectors import RawVectors, Report, settled
from speechnlp_tl.embeddings.text_vectors import open_vectors, parse_header, read_text_vectors, write_text_vectors
from speechnlp_tl.embeddings.vectors import WordVectors
from speechnlp_tl.errors import InputError, Problem

Format = Literal["text", "binary", "fasttext", "folder"]
_READERS = {"text": read_text_vectors, "binary": read_binary_vectors, "fasttext": read_fasttext_model}
_KIND = "word-vectors"
_PEEK = 4096


def read_vectors(
    path: str | Path,
    limit: int | None = None,
    *,
    name: str | None = None,
    format: Format | None = None,
    encoding: str = "utf-8",
    on_drop: Report | None = None,
) -> WordVectors:
    """The vectors in a file or folder, most frequent first as the file has them.

    Args:
        path: a file of one of the formats above, or a folder that `write_vectors` wrote.
        limit: the first so many words only; of the rest of the file no more is read than the format demands.
        name: of the vectors; the file's name unless given.
        format: what the file is; found out by its contents unless given.
        encoding: of the words.
        on_drop: called with a line of text for each kind of bad rows that is dropped (`print`, for example): rows of
            another dimension, with NaN or infinity, of zeros only, words that stand twice or in another encoding, and a
            header that is wrong about the number of words. Without it all of this is an error.

    Raises:
        InputError: everything that is bad, with its line; a pickle; something that is no vectors at all.
    """
    path = Path(path)
    if limit is not None and limit < 1:
        raise InputError(Problem(f"a limit of {limit} words leaves nothing", file=path, remedy="give 1 or more"))
    chosen = format or _format_of(path)
    shown = name if name is not None else path.name
    if chosen == "folder":
        return settled(_read_folder(path, limit), shown, on_drop)
    return settled(_READERS[chosen](path, limit, encoding), shown, on_drop)


def write_vectors(vectors: WordVectors, path: str | Path, format: Format = "folder") -> None:
    """Write vectors to a file, or a new folder; it appears whole or not at all.

    A folder keeps the counts and can be memory-mapped; `text` and `binary` are what other programs read.

    Raises:
        InputError: the format is not written, the folder exists and holds something, the disk is full, or words that
            the format cannot hold: with white space in a file, with a line break in a folder.
    """
    path = Path(path)
    if format == "text":
        write_text_vectors(vectors, path)
    elif format == "binary":
        write_binary_vectors(vectors, path)
    elif format == "folder":
        _write_folder(vectors, path)
    else:
        raise InputError(Problem(f"the format '{format}' is not written", remedy="choose text, binary or folder"))


def from_gensim(keyed_vectors: Any, name: str = "") -> WordVectors:
    """The words of gensim's `KeyedVectors` in memory; the matrix is shared, not copied."""
    words = list(keyed_vectors.index_to_key)
    known = "count" in getattr(keyed_vectors, "expandos", {})
    counts = np.array([keyed_vectors.get_vecattr(word, "count") for word in words], np.int64) if known else None
    return WordVectors(words, keyed_vectors.vectors, name, counts)


def to_gensim(vectors: WordVectors) -> Any:
    """gensim's `KeyedVectors` with a copy of the vectors, for its own methods."""
    from gensim.models import KeyedVectors

    made = KeyedVectors(vectors.dimension)
    made.add_vectors(vectors.words, np.array(vectors.matrix))
    if vectors.counts is not None:
        for word, count in zip(vectors.words, vectors.counts.tolist(), strict=True):
            made.set_vecattr(word, "count", count)
    return made


def _format_of(path: Path) -> Format:
    """What a file is, by its first bytes."""
    if path.is_dir():
        return "folder"
    with open_vectors(path) as file:
        start = file.read(_PEEK)
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05" and len(start) > 1:
        what = "is a Python pickle, as gensim's KeyedVectors.save writes it, which could run code when it is opened"
        remedy = "where you trust it, load it with gensim and give what its save_word2vec_format(...) writes"
        raise InputError(Problem(what, file=path, remedy=remedy))
    if start[:4] == b"PK\x03\x04":
        raise InputError(Problem("is an archive", file=path, remedy="unpack it and give the file in it"))
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(Problem("is UTF-16 text", file=path, remedy="save the file as UTF-8"))
    if start[:4] == MAGIC:
        return "fasttext"
    header, _, rest = start.partition(b"\n")
    if parse_header(header) and any(character < 9 for character in rest):  # no text has such, and numbers do
        return "binary"
    return "text"


def _read_folder(path: Path, limit: int | None) -> RawVectors:
    remedy = "give a folder that write_vectors wrote"
    try:
        config = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
        words = (path / "words.txt").read_bytes().decode("utf-8").split("\n")[:-1]
        matrix = np.load(path / "vectors.npy", mmap_mode="r", allow_pickle=False)
        has_counts = (path / "counts.npy").is_file()
        counts = np.load(path / "counts.npy", allow_pickle=False) if has_counts else None
    except (OSError, ValueError, EOFError, yaml.YAMLError) as error:
        raise InputError(Problem(f"cannot be read as vectors: {error}", file=path, remedy=remedy)) from error
    if not isinstance(config, dict) or config.get("kind") != _KIND:
        raise InputError(Problem(f"does not say 'kind: {_KIND}'", file=path / "config.yaml", remedy=remedy))
    stated = (config.get("words"), config.get("dimension"))
    bad = matrix.ndim != 2 or matrix.dtype != np.float32 or (len(words), *matrix.shape[1:]) != stated
    if bad or len(words) != len(matrix) or (counts is not None and counts.shape != (len(words),)):
        what = f"{stated[0]} words of {stated[1]} numbers are announced, {len(words)} words are there"
        what += f" and {matrix.dtype} vectors of shape {matrix.shape}"
        raise InputError(Problem(what, file=path, remedy="the folder is damaged: write it again"))
    return RawVectors(path, words[:limit], matrix[:limit], counts=None if counts is None else counts[:limit])


def _write_folder(vectors: WordVectors, path: Path) -> None:
    broken = [word for word in vectors.words if "\n" in word]
    if broken:
        raise InputError(Problem(f"{len(broken)} words hold a line break: {broken[0]!r}", file=path))
    config = {"kind": _KIND, "name": vectors.name, "words": len(vectors), "dimension": vectors.dimension}
    with atomic_directory(path) as folder:
        write_text(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        with (folder / "words.txt").open("w", encoding="utf-8", newline="\n") as file:
            file.writelines([f"{word}\n" for word in vectors.words])
        np.save(folder / "vectors.npy", np.asarray(vectors.matrix, dtype=np.float32), allow_pickle=False)
        if vectors.counts is not None:
            np.save(folder / "counts.npy", vectors.counts, allow_pickle=False)
