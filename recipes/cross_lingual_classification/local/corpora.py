"""The text that vectors are trained on: verses of the seen books, and what other corpora there are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from books import Division, Verses

from speechnlp_tl.embeddings.dictionary import WordDictionary, read_dictionary
from speechnlp_tl.embeddings.matched_sentences import MatchedSentences, read_matched_sentences
from speechnlp_tl.embeddings.sentence_dictionary import dictionary_from_sentences
from speechnlp_tl.embeddings.training import sentences_of

SHELVES = ("xling", "made")
"""Where published training dictionaries are looked for, in this order."""


def sentences(data: Path, verses: Verses, division: Division) -> list[list[str]]:
    """All text of a language, without the test books."""
    files = sorted((data / "text").glob(f"*/{verses.language}.txt"))
    other = [list(sentence) for sentence in sentences_of(files)] if files else []
    return [*verses.words(division.seen).values(), *other]


def matched(data: Path, source: Verses, target: Verses, division: Division) -> list[MatchedSentences]:
    """Verses that both languages have, without the test books; and the sentences of every other corpus of the two."""
    one, other = source.language, target.language
    folders = sorted([*(data / "text").glob(f"*/{one}-{other}"), *(data / "text").glob(f"*/{other}-{one}")])
    return [matched_verses(source, target, division), *(read_matched_sentences(each, (one, other)) for each in folders)]


def matched_verses(source: Verses, target: Verses, division: Division) -> MatchedSentences:
    ours, theirs = source.words(division.seen), target.words(division.seen)
    both = [name for name in ours if name in theirs]
    return MatchedSentences(
        {source.language: [ours[name] for name in both], target.language: [theirs[name] for name in both]}
    )


def dictionary(data: Path, source: Verses, target: Verses, division: Division, words: int) -> WordDictionary:
    """The published training dictionary of the pair; where there is none, one from the verses of the seen books."""
    path = published(data, source.language, target.language)
    if path is not None:
        return read_dictionary(path, several_words="drop").first(words)
    return dictionary_from_sentences(matched_verses(source, target, division)).first(words)


def published(data: Path, source: str, target: str) -> Path | None:
    paths: Iterable[Path] = (data / "dictionaries" / shelf / f"{source}-{target}.train.tsv" for shelf in SHELVES)
    return next((path for path in paths if path.is_file()), None)


def text_files(data: Path) -> list[Path]:
    """Everything that vectors, dictionaries and classifiers are made of."""
    folders = (data / name for name in ("documents", "text", "dictionaries"))
    return sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in (".txt", ".tsv", ".jsonl"))
