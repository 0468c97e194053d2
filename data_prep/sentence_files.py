"""Sentences as files: `<language>.txt`, words parted by blanks, one sentence a line; and matched sentences of two.

`write_pairs` writes `<first>-<second>/<first>.txt` and `<first>-<second>/<second>.txt`, of which line n is the
translation of line n.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from speechnlp_tl.text.words import split_words


def word_lines(texts: Iterable[str], language: str) -> list[str]:
    """The words of each text, parted by blanks; an empty line for a text without words, so that lines still match."""
    return [" ".join(split_words(text, language)) for text in texts]


def write_sentences(folder: Path, language: str, lines: Iterable[str]) -> int:
    """Write `<language>.txt` without the empty lines; returns how many sentences it has."""
    kept = [line for line in lines if line]
    _write(folder / f"{language}.txt", kept)
    return len(kept)


def write_pairs(folder: Path, languages: Sequence[str], pairs: Iterable[tuple[str, str]]) -> int:
    """Write the matched sentences of two languages, without pairs that lack a side; returns how many there are."""
    first, second = languages
    kept = [pair for pair in pairs if all(pair)]
    target = folder / f"{first}-{second}"
    target.mkdir()
    _write(target / f"{first}.txt", (line for line, _ in kept))
    _write(target / f"{second}.txt", (line for _, line in kept))
    return len(kept)


def _write(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
