"""Verses as documents, and which books are for what: training, choosing strengths, or the test.

A division is by book, the same in every language: no verse of a test book is trained on in any language, neither by a
classifier nor by the vectors.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.text.words import split_words


@dataclass(frozen=True)
class Verses:
    """The documents of one language, in the order of its file."""

    language: str
    texts: list[str]
    labels: NDArray[np.int64]
    """(n,) numbers of genres."""
    books: list[str]
    names: list[str]
    """Which verse each is, the same in all languages."""
    genres: tuple[str, ...]

    def of(self, books: Collection[str]) -> NDArray[np.int64]:
        """Numbers of the verses of these books."""
        wanted = set(books)
        return np.array([n for n, book in enumerate(self.books) if book in wanted], dtype=np.int64)

    def words(self, books: Collection[str]) -> dict[str, list[str]]:
        """Verse -> its words, of these books."""
        return {self.names[n]: split_words(self.texts[n], self.language) for n in self.of(books)}


@dataclass(frozen=True)
class Division:
    """Books by purpose, every genre in each."""

    train: frozenset[str]
    held_out: frozenset[str]
    test: frozenset[str]

    @property
    def seen(self) -> frozenset[str]:
        """Of which vectors may have seen the text."""
        return self.train | self.held_out


def read_verses(data: Path, language: str) -> Verses:
    """The documents that stage 1 wrote.

    Raises:
        InputError: they are missing or damaged.
    """
    path = data / "documents" / f"{language}.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        genres = tuple(sorted({row["label"] for row in rows}))
        labels = np.array([genres.index(row["label"]) for row in rows], dtype=np.int64)
        fields = ([row[name] for row in rows] for name in ("text", "book", "verse"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(Problem("is missing or damaged", file=path, remedy="run stage 1 again")) from error
    texts, books, names = fields
    return Verses(language, texts, labels, books, names, genres)


def divide(verses: Verses, seed: int, test_share: float, held_out_share: float) -> Division:
    """Draw books of each genre for the test until they hold its share of the verses, then for choosing; at least one
    book is left for each purpose.

    Raises:
        InputError: a genre with fewer than three books.
    """
    sizes = Counter(verses.books)
    genre_of = dict(zip(verses.books, verses.labels.tolist(), strict=True))
    generator = np.random.default_rng(seed)
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    for number, genre in enumerate(verses.genres):
        books = [book for book, own in genre_of.items() if own == number]
        if len(books) < 3:
            raise InputError(f"genre '{genre}' has {len(books)} books: training, choosing and the test need one each")
        left = [books[place] for place in generator.permutation(len(books))]
        verses_of_genre = sum(sizes[book] for book in books)
        for part, share, leave in ((parts[2], test_share, 2), (parts[1], held_out_share, 1)):
            drawn = 0
            while len(left) > leave and drawn < share * verses_of_genre:
                part.append(left.pop(0))
                drawn += sizes[part[-1]]
        parts[0].extend(left)
    return Division(*(frozenset(part) for part in parts))
