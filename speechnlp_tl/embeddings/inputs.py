"""Vectors and dictionaries that a command names: read together, so that everything wrong is said at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechnlp_tl.embeddings.dictionary import DictionaryPairs, WordDictionary, read_dictionary
from speechnlp_tl.embeddings.vector_files import read_vectors
from speechnlp_tl.embeddings.vectors import WordVectors
from speechnlp_tl.errors import InputError, Problem

Report = Callable[[str], None]
SHOWN = 10
"""Words of one kind that a report names."""
_NAMED = re.compile(r"([\w.+-]+)=(.+)", re.DOTALL)


@dataclass(frozen=True)
class Place:
    """A file or folder of vectors, and the language's name."""

    name: str
    path: Path

    @classmethod
    def of(cls, text: str | Path) -> Place:
        """`fr=wiki.fr.vec`, or a path, whose language is its name without the ending."""
        found = _NAMED.fullmatch(str(text))
        if found and not Path(text).exists():
            return cls(found[1], Path(found[2]))
        path = Path(text)
        return cls(path.name if path.is_dir() else path.name.removesuffix(".gz").removesuffix(path.suffix), path)


def read_languages(places: Sequence[Place], limit: int | None, report: Report) -> dict[str, WordVectors]:
    """Language -> vectors; rows that are dropped are reported.

    Raises:
        InputError: everything wrong with all of them, two of one name among it.
    """
    problems: list[Problem] = []
    found: dict[str, WordVectors] = {}
    for number, place in enumerate(places):
        if place.name in [other.name for other in places[:number]]:
            remedy = "name them: en=FILE fr=FILE"
            problems.append(Problem(f"two languages are called '{place.name}'", file=place.path, remedy=remedy))
            continue
        try:
            found[place.name] = read_vectors(place.path, limit, name=place.name, on_drop=report)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return found


def read_dictionaries(paths: Sequence[Path], report: Report) -> list[WordDictionary]:
    """The dictionaries; entries of several words are left out and reported.

    Raises:
        InputError: everything wrong with all of them.
    """
    problems: list[Problem] = []
    found = []
    for path in paths:
        try:
            dictionary = read_dictionary(path, several_words="drop")
        except InputError as error:
            problems += error.problems
            continue
        if dictionary.several_words:
            count = len(dictionary.several_words)
            report(f"{path}: {count} entries of several words are left out: {_first(dictionary.several_words)}")
        found.append(dictionary)
    if problems:
        raise InputError(problems)
    return found


def dropped(pairs: DictionaryPairs) -> list[str]:
    """A line for each kind of entry that is not among the pairs."""
    kinds = {
        "words without a vector": pairs.unknown_source,
        "words whose translations have no vector": pairs.untranslatable,
        "translations without a vector": pairs.unknown_target,
    }
    return [f"left out: {len(words)} {kind}: {_first(words)}" for kind, words in kinds.items() if words]


def _first(words: Sequence[str]) -> str:
    shown = ", ".join(word.replace("\t", " - ") for word in words[:SHOWN])
    return shown + (", ..." if len(words) > SHOWN else "")
