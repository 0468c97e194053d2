"""Word dictionaries: from files, from strings that two languages share; and as pairs of rows of two vocabularies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.embeddings.vectors import MOST_LISTED, WordVectors
from speechnlp_tl.errors import InputError, Problem

_NUMERAL = re.compile(r"\d+(?:[.,]\d+)*")
_SHOWN = 5
ALIKE_LETTERS, ALIKE_MOST = 4, 400
"""Of `spelt_alike`: shorter words are spelt alike by chance."""


@dataclass(frozen=True)
class DictionaryPairs:
    """A dictionary over two vocabularies, and what of it is not among them."""

    rows: NDArray[np.int64]
    """(pairs, 2) [source row, target row], in the dictionary's order."""
    unknown_source: list[str]
    """Source words without a vector."""
    unknown_target: list[str]
    """Translations without a vector, of source words that have one."""
    untranslatable: list[str]
    """Source words with a vector, none of whose translations has one."""
    source_words: int
    """Different source words of the dictionary."""

    @property
    def coverage(self) -> float:
        """The share of the dictionary's source words that are in `rows`."""
        return len(np.unique(self.rows[:, 0])) / self.source_words

    def report(self) -> str:
        """What is used and what is not, with the first few words: a line to print."""
        used = len(np.unique(self.rows[:, 0]))
        text = f"{used} of {self.source_words} dictionary words are in both vocabularies ({len(self.rows)} pairs)"
        missing = ("without a vector", self.unknown_source), ("whose translations have none", self.untranslatable)
        for what, words in missing:
            if words:
                text += f"; {len(words)} {what}: {', '.join(words[:_SHOWN])}{', ...' if len(words) > _SHOWN else ''}"
        return text


@dataclass(frozen=True)
class WordDictionary:
    """Words and their translations, a word with several as several entries."""

    entries: list[tuple[str, str]]
    name: str = ""
    several_words: list[str] = field(default_factory=list)
    """Entries of more than one word that were left out when it was read; see `read_dictionary`."""

    def __len__(self) -> int:
        return len(self.entries)

    def swapped(self) -> WordDictionary:
        """The same dictionary in the other direction."""
        return WordDictionary([(target, source) for source, target in self.entries], self.name, self.several_words)

    def first(self, count: int) -> WordDictionary:
        """The entries of the first `count` different source words."""
        words = set(list(dict.fromkeys(source for source, _ in self.entries))[:count])
        return WordDictionary([entry for entry in self.entries if entry[0] in words], self.name)

    def pairs(self, source: WordVectors, target: WordVectors) -> DictionaryPairs:
        """The entries as rows of two vocabularies; words are looked up as they are and, failing that, in lower case.

        Raises:
            InputError: not one entry is in both vocabularies. Where the dictionary fits in the other direction, the
                message says so.
        """
        rows, unknown_target = [], []
        unknown_source: dict[str, None] = {}
        translated: dict[str, bool] = {}
        for word, translation in self.entries:
            row, other = _row(word, source), _row(translation, target)
            if row < 0:
                unknown_source[word] = None
                continue
            translated[word] = translated.get(word, False) or other >= 0
            if other < 0:
                unknown_target.append(translation)
            else:
                rows.append((row, other))
        if not rows:
            raise InputError(self._nothing_shared(source, target))
        unique = np.array(list(dict.fromkeys(rows)), dtype=np.int64)
        untranslatable = [word for word, found in translated.items() if not found]
        count = len({word for word, _ in self.entries})
        return DictionaryPairs(unique, list(unknown_source), unknown_target, untranslatable, count)

    def _nothing_shared(self, source: WordVectors, target: WordVectors) -> Problem:
        names = f"'{source.name or 'source'}' and '{target.name or 'target'}'"
        if any(_row(word, target) >= 0 and _row(other, source) >= 0 for word, other in self.entries):
            what = f"no entry is in both vocabularies {names}, but some are the other way round"
            return Problem(what, file=self.name or None, remedy="swap the languages, or the dictionary with swapped()")
        shown = "; ".join(f"{word} - {translation}" for word, translation in self.entries[:3])
        what = f"no entry is in both vocabularies {names} (it begins {shown})"
        return Problem(what, file=self.name or None, remedy="check the languages and the case of its words")


def read_dictionary(path: str | Path, several_words: str = "refuse") -> WordDictionary:
    """The entries of a file with a word, a tab or blanks, and its translation on each line, in UTF-8.

    Where a line has a tab, the two sides may be of several words, which word vectors do not have.

    Args:
        path: the file.
        several_words: what becomes of such entries: `refuse` raises; `drop` leaves them out and keeps them in
            `WordDictionary.several_words`, to be counted.

    Raises:
        InputError: the file cannot be read, has no entry, or lines that are none (the first 20 are named): one word
            alone, an empty side, more than two words without a tab, not UTF-8.
    """
    path = Path(path)
    if several_words not in ("refuse", "drop"):
        raise InputError(f"several_words is 'refuse' or 'drop', not '{several_words}'")
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror or error}", file=path)) from error
    entries, left_out, problems = [], [], []
    for number, raw in enumerate(lines, start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            remedy = "save the file as UTF-8"
            problems.append(Problem(f"is not UTF-8 (byte {error.start + 1})", path, number, remedy))
            continue
        if not line:
            continue
        sides = [side.strip() for side in line.split("\t")] if "\t" in line else line.split()
        if len(sides) != 2 or not all(sides):
            problems.append(Problem("is not a word and its translation", path, number, "part the two by a tab"))
        elif any(len(side.split()) > 1 for side in sides):
            left_out.append(line)
            if several_words == "refuse":
                remedy = "remove it, or read the file with several_words='drop'"
                problems.append(Problem(f"'{line}' has more than one word on a side", path, number, remedy))
        else:
            entries.append((sides[0], sides[1]))
    if not entries and not problems:
        problems.append(Problem("holds no entries", file=path, remedy="give a word and its translation a line"))
    if len(problems) > MOST_LISTED:
        rest = len(problems) - MOST_LISTED
        problems = [*problems[:MOST_LISTED], Problem(f"{rest} more lines are bad", file=path)]
    if problems:
        raise InputError(problems)
    return WordDictionary(list(dict.fromkeys(entries)), path.name, left_out)


def identical_strings(source: WordVectors, target: WordVectors) -> WordDictionary:
    """The words that both vocabularies have, as their own translations (names, numerals, loans), in source order.

    Raises:
        InputError: there is none, as between two scripts.
    """
    return _seeds((word for word in source.words if word in target.index), "identical strings", source, target)


def identical_numerals(source: WordVectors, target: WordVectors) -> WordDictionary:
    """The numerals that both vocabularies have: seeds also between two scripts (Artetxe, Labaka and Agirre 2017).

    Raises:
        InputError: there is none.
    """
    shared = (word for word in source.words if word in target.index and _NUMERAL.fullmatch(word))
    return _seeds(shared, "identical numerals", source, target)


def spelt_alike(source: WordVectors, target: WordVectors) -> NDArray[np.int64]:
    """(p, 2) [source row, target row] of words of `ALIKE_LETTERS` letters or more that both vocabularies have.

    They are mostly names and loans, so that an alignment that did not learn from them can be judged by them. The
    `ALIKE_MOST` that are most frequent in the language where they are rarer; none between two scripts.
    """
    found = [
        (row, target.index[word])
        for row, word in enumerate(source.words)
        if word in target.index and word.isalpha() and len(word) >= ALIKE_LETTERS
    ]
    return np.array(sorted(found, key=max)[:ALIKE_MOST], dtype=np.int64).reshape(-1, 2)


def _seeds(words: Iterable[str], name: str, source: WordVectors, target: WordVectors) -> WordDictionary:
    entries = [(word, word) for word in words]
    if not entries:
        what = f"'{source.name or 'source'}' and '{target.name or 'target'}' share no {name.removeprefix('identical ')}"
        raise InputError(Problem(what, remedy="give a dictionary, or an unsupervised method"))
    return WordDictionary(entries, name)


def _row(word: str, vectors: WordVectors) -> int:
    row = vectors.index.get(word)
    return vectors.index.get(word.lower(), -1) if row is None else row
