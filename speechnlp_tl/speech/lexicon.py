"""Pronunciation dictionaries: words and the phone sequences that say them.

Reads Kaldi's `lexicon.txt` and the CMU dictionary's layout, writes Kaldi's. Pronunciations of words that no dictionary
has come from `pronunciation`; silence belongs to the `topology`, never to a lexicon.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from speechnlp_tl.atomic import write_text
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.topology import SILENCE

logger = logging.getLogger(__name__)

Pronunciation = tuple[str, ...]

# Symbols of the language model and of the graph, which are no words, and the names other toolkits give to silence.
RESERVED_WORDS = frozenset({"<s>", "</s>", "<eps>", "#0", "<sil>", "!SIL", "!SENT_START", "!SENT_END", "++SIL++"})
_SILENCE_PHONES = frozenset({SILENCE, "sil", "<sil>"})
_VARIANT = re.compile(r"(.+)\(\d+\)")
_PROBABILITY = re.compile(r"\d*\.\d+")
_STRESSED = re.compile(r"[A-Z]+[0-2]")


class Lexicon:
    """Words with one or more pronunciations each, free of duplicates.

    Args:
        entries: word -> its pronunciations (tuples of phones, without silence).

    Raises:
        InputError: a word without pronunciation or with an empty one, a reserved word, or silence inside a word.
    """

    def __init__(self, entries: Mapping[str, Sequence[Sequence[str]]]) -> None:
        problems = [problem for word, variants in entries.items() for problem in _entry_problems(word, variants)]
        if problems:
            raise InputError(problems)
        self._entries: dict[str, tuple[Pronunciation, ...]] = {
            word: tuple(dict.fromkeys(tuple(variant) for variant in entries[word])) for word in sorted(entries)
        }
        self.words: tuple[str, ...] = tuple(self._entries)
        phones = {phone for variants in self._entries.values() for variant in variants for phone in variant}
        self.phones: tuple[str, ...] = tuple(sorted(phones))

    def pronunciations(self, word: str) -> tuple[Pronunciation, ...]:
        """The pronunciations of `word`, in the order given. Raises KeyError for a word the lexicon lacks."""
        return self._entries[word]

    def entries(self) -> dict[str, tuple[Pronunciation, ...]]:
        """Every word with its pronunciations, in order."""
        return {word: self.pronunciations(word) for word in self}

    def missing(self, words: Iterable[str]) -> list[str]:
        """The words without pronunciation, each once, sorted."""
        return sorted({word for word in words if word not in self._entries})

    def subset(self, words: Iterable[str]) -> Lexicon:
        """Those of `words` that the lexicon has; see `missing` for the others."""
        return Lexicon({word: self._entries[word] for word in set(words) if word in self._entries})

    def merge(self, other: Lexicon) -> Lexicon:
        """All words of both; a word of both has this lexicon's pronunciations first, then the other's new ones."""
        merged = dict(self._entries)
        for word, variants in other._entries.items():
            merged[word] = merged.get(word, ()) + variants
        return Lexicon(merged)

    @classmethod
    def read(cls, path: str | Path, strip_stress: bool = False) -> Lexicon:
        """Read `WORD phone phone ...` lines; a word on several lines has several pronunciations.

        Understood besides Kaldi's layout: the CMU dictionary's `WORD(2)` variants, `;;;` comment lines and ` # comment`
        tails; a byte-order mark; Windows line ends; tabs. Entries for silence and sentence boundaries (`!SIL SIL`,
        `<s> SIL`) are skipped with a warning: silence is the topology's.

        Args:
            strip_stress: drop the stress digit of ARPAbet vowels (`AH0` -> `AH`).

        Raises:
            InputError: every line that cannot be used, or a lexicon without words.
        """
        entries: dict[str, list[Pronunciation]] = {}
        problems: list[Problem] = []
        skipped: list[str] = []
        for number, line in _lines(Path(path)):
            word, phones = _parse(line)
            if strip_stress:
                phones = tuple(phone[:-1] if _STRESSED.fullmatch(phone) else phone for phone in phones)
            if word in RESERVED_WORDS or (phones and _SILENCE_PHONES.issuperset(phones)):
                skipped.append(word)
                continue
            found = list(_line_problems(word, phones, Path(path), number))
            problems.extend(found)
            if not found:
                entries.setdefault(word, []).append(phones)
        if not entries and not problems:
            problems.append(Problem("has no words", file=path, remedy="write one 'WORD phone phone ...' per line"))
        if problems:
            raise InputError(problems)
        if skipped:
            logger.warning("%s: skipped %s: silence and sentence boundaries are built in", path, ", ".join(skipped))
        return cls(entries)

    def write(self, path: str | Path) -> None:
        """Write Kaldi's `lexicon.txt`, sorted by word, one pronunciation per line."""
        write_text(path, "".join(f"{word} {' '.join(phones)}\n" for word in self for phones in self._entries[word]))

    def __contains__(self, word: object) -> bool:
        return word in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.words)

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lexicon) and self._entries == other._entries

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Lexicon({len(self)} words, {len(self.phones)} phones)"


def _entry_problems(word: str, variants: Sequence[Sequence[str]]) -> Iterator[Problem]:
    if word in RESERVED_WORDS:
        yield Problem(f"'{word}' cannot be a lexicon's word", remedy="remove it: silence and boundaries are built in")
    if not word or len(word.split()) != 1:
        yield Problem(f"'{word}' is not one word", remedy="words have no white space")
    if not variants:
        yield Problem(f"'{word}' has no pronunciation", remedy="give one or leave the word out")
    for variant in variants:
        if isinstance(variant, str):
            yield Problem(f"'{word}': the pronunciation is one string", remedy="give a tuple of phones")
        elif not variant:
            yield Problem(f"'{word}' has an empty pronunciation", remedy="give its phones or leave the word out")
        elif SILENCE in variant:
            yield Problem(f"'{word}' contains {SILENCE}", remedy=f"{SILENCE} is built in; remove it from the word")
        elif any(len(phone.split()) != 1 for phone in variant):
            yield Problem(f"'{word}' has an empty phone or one with white space", remedy="mend the pronunciation")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines that hold an entry, comments removed. Raises InputError for an unreadable or non-UTF-8 file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(Problem(f"is not UTF-8 (byte {error.start})", file=path, remedy="convert it")) from error
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror}", file=path, remedy="check the path")) from error
    for number, line in enumerate(text.split("\n"), start=1):
        entry = "" if line.startswith(";;;") else re.split(r"(?:^|\s)#(?:\s|$)", line, maxsplit=1)[0].strip()
        if entry:
            yield number, entry


def _parse(line: str) -> tuple[str, Pronunciation]:
    word, *phones = line.split()
    variant = _VARIANT.fullmatch(word)
    return (variant.group(1) if variant else word), tuple(phones)


def _line_problems(word: str, phones: Pronunciation, path: Path, number: int) -> Iterator[Problem]:
    if not phones:
        yield Problem(f"'{word}' has no pronunciation", file=path, line=number, remedy="add its phones")
    elif _PROBABILITY.fullmatch(phones[0]):
        remedy = "pronunciations weigh alike here; remove the column (Kaldi's lexiconp.txt -> lexicon.txt)"
        yield Problem(f"'{word}' has a probability column", file=path, line=number, remedy=remedy)
    elif not _SILENCE_PHONES.isdisjoint(phones):
        remedy = "silence at word boundaries is built in; remove it from the word"
        yield Problem(f"'{word}' contains silence", file=path, line=number, remedy=remedy)
