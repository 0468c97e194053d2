"""What the prepared data hold: text of a language, matched sentences of two, dictionaries of a pair."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from settings import ends

from data_prep.checksums import digest_of_all
from speechnlp_tl.embeddings.dictionary import WordDictionary, read_dictionary
from speechnlp_tl.embeddings.matched_sentences import MatchedSentences, read_matched_sentences
from speechnlp_tl.errors import InputError, Problem

SHELVES = ("xling", "muse", "made", "derived")
"""Where a pair's dictionaries are looked for, in this order."""


def text_files(data: Path, language: str) -> list[Path]:
    """Files with the sentences of a language, one of each corpus that has it.

    Raises:
        InputError: there are none.
    """
    found = sorted((data / "text").glob(f"*/{language}.txt"))
    if not found:
        raise InputError(Problem(f"no text of '{language}'", file=data / "text", remedy="run stage 1"))
    return found


def matched_folders(data: Path, pair: str) -> list[Path]:
    """Folders with matched sentences of the two languages, in whatever order they are named.

    Raises:
        InputError: there are none.
    """
    one, other = ends(pair)
    found = sorted([*(data / "text").glob(f"*/{one}-{other}"), *(data / "text").glob(f"*/{other}-{one}")])
    if not found:
        raise InputError(Problem(f"no matched sentences of '{pair}'", file=data / "text"))
    return found


def matched_sentences(data: Path, pair: str) -> list[MatchedSentences]:
    return [read_matched_sentences(folder, ends(pair)) for folder in matched_folders(data, pair)]


def has_dictionary(data: Path, pair: str, part: str) -> bool:
    return _place(data, pair, part) is not None


def dictionary(data: Path, pair: str, part: str) -> WordDictionary:
    """The `train` or `test` dictionary of a pair; that of the other direction, turned round, where it has none.

    Raises:
        InputError: there is none in either direction.
    """
    place = _place(data, pair, part)
    if place is None:
        remedy = "name the pair in 'derived', or take another"
        raise InputError(Problem(f"no {part} dictionary of '{pair}'", file=data / "dictionaries", remedy=remedy))
    path, turned = place
    found = read_dictionary(path, several_words="drop")
    return found.swapped() if turned else found


def train_and_test(data: Path, pair: str) -> tuple[WordDictionary, WordDictionary]:
    """The two dictionaries; no source word of the test is in the training one."""
    train, test = dictionary(data, pair, "train"), dictionary(data, pair, "test")
    tested = {word.lower() for word, _ in test.entries}
    kept = [entry for entry in train.entries if entry[0].lower() not in tested]
    return WordDictionary(kept, train.name, train.several_words), test


def _place(data: Path, pair: str, part: str) -> tuple[Path, bool] | None:
    one, other = ends(pair)
    for shelf in SHELVES:
        for name, turned in ((f"{one}-{other}", False), (f"{other}-{one}", True)):
            path = data / "dictionaries" / shelf / f"{name}.{part}.tsv"
            if path.is_file():
                return path, turned
    return None


def fingerprint(data: Path, files: Sequence[Path]) -> str:
    """Of the contents of files: other text, other runs."""
    return digest_of_all(data, files)[:16]


def files_of_pair(data: Path, pair: str) -> list[Path]:
    """Of its matched sentences."""
    return [folder / f"{name}.txt" for folder in matched_folders(data, pair) for name in ends(pair)]
