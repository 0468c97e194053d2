"""Sentences and their translations: what vectors of several languages are learned from together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speechnlp_tl.embeddings.training import sentences_of
from speechnlp_tl.errors import InputError, Problem

_BETWEEN = "\t"


@dataclass(frozen=True)
class MatchedSentences:
    """Sentences in two or more languages; sentence n of each is a translation of sentence n of the others."""

    sentences: dict[str, Sequence[Sequence[str]]]
    """Language -> its sentences, lists of words."""

    def __post_init__(self) -> None:
        counts = {language: len(sentences) for language, sentences in self.sentences.items()}
        if len(counts) < 2 or len(set(counts.values())) > 1:
            shown = ", ".join(f"{language} {count}" for language, count in counts.items()) or "none"
            remedy = "give two or more languages with a sentence each for every sentence of the others"
            raise InputError(Problem(f"sentences do not match: {shown}", remedy=remedy))

    def __len__(self) -> int:
        return len(next(iter(self.sentences.values())))

    @property
    def languages(self) -> list[str]:
        return list(self.sentences)


def read_matched_sentences(folder: str | Path, languages: Sequence[str]) -> MatchedSentences:
    """The files `<language>.txt` of a folder, line by line translations of each other, as `data_prep` writes them.

    Raises:
        InputError: a file is missing, not UTF-8, or has another number of lines.
    """
    files = {language: Path(folder) / f"{language}.txt" for language in languages}
    missing = [Problem("is no file", file=path) for path in files.values() if not path.is_file()]
    if missing:
        raise InputError(missing)
    return MatchedSentences({language: list(sentences_of(path)) for language, path in files.items()})


def word_counts(corpora: Sequence[MatchedSentences]) -> dict[str, Counter[str]]:
    """Language -> how often each of its words stands in all corpora."""
    counts: dict[str, Counter[str]] = {}
    for corpus in corpora:
        for language, sentences in corpus.sentences.items():
            counter = counts.setdefault(language, Counter())
            for sentence in sentences:
                counter.update(sentence)
    return counts


def frequent_words(counts: Counter[str], min_count: int) -> list[str]:
    """The words with at least `min_count` occurrences, most frequent first, equals in alphabetical order."""
    kept = ((word, count) for word, count in counts.items() if count >= min_count)
    return [word for word, _ in sorted(kept, key=lambda item: (-item[1], item[0]))]


def marked(language: str, word: str) -> str:
    """A word that is not mistaken for the same string of another language."""
    return f"{language}{_BETWEEN}{word}"


def unmarked(word: str) -> tuple[str, str]:
    """(language, word) of a marked word."""
    language, _, rest = word.partition(_BETWEEN)
    return language, rest
