"""What `speechnlp-tl embed translate` and `embed evaluate` do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.embeddings.dictionary import WordDictionary
from speechnlp_tl.embeddings.inputs import Place, Report, read_languages
from speechnlp_tl.embeddings.retrieval import Method, neighbours
from speechnlp_tl.embeddings.space import Space
from speechnlp_tl.embeddings.vectors import WordVectors
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.word_translation import WordTranslation, by_source, ranks, score, swapped_warning

DEPTH = 10


@dataclass(frozen=True)
class TwoLanguages:
    """Two languages in one space."""

    source: WordVectors
    target: WordVectors
    mapped_source: NDArray[np.float32]
    """(n, k)."""
    mapped_target: NDArray[np.float32]
    """(m, k)."""

    @classmethod
    def read(
        cls, source: Place, target: Place, alignment: Path | None, limit: int | None, report: Report
    ) -> TwoLanguages:
        """Read vectors and map them; without an alignment they are in one space already.

        Raises:
            InputError: all that is wrong with the files, or vectors of other dimensions than were aligned.
        """
        problems: list[Problem] = []
        between = None
        try:
            between = None if alignment is None else Space.load(alignment).between(source.name, target.name)
        except InputError as error:
            problems += error.problems
        vectors: dict[str, WordVectors] = {}
        try:
            vectors = read_languages([source, target], limit, report)
        except InputError as error:
            problems += error.problems
        if problems:
            raise InputError(problems)
        one, other = vectors[source.name], vectors[target.name]
        if between is not None:
            return cls(one, other, between.map_source(one.matrix), between.map_target(other.matrix))
        if one.dimension != other.dimension:
            what = f"vectors have {one.dimension} and {other.dimension} dimensions: they share no space"
            raise InputError(Problem(what, remedy="give --alignment"))
        return cls(one, other, one.matrix, other.matrix)

    def translate(self, words: Sequence[str], count: int = 5, retrieval: Method = "csls") -> list[Translation]:
        """The best translations of words that have a vector, as they are or in lower case; none for the others."""
        index = self.source.index
        rows = [index.get(word, index.get(word.lower(), -1)) for word in words]
        known = [row for row in rows if row >= 0]
        if not known:
            return [Translation(word, []) for word in words]
        count = min(count, len(self.target))
        found = neighbours(
            self.mapped_source[known], self.mapped_target, count, retrieval, sources=self.mapped_source
        )  # fmt: skip
        ranked = iter(zip(found.rows.tolist(), found.scores.tolist(), strict=True))
        translations = []
        for word, row in zip(words, rows, strict=True):
            best: list[tuple[str, float]] = []
            if row >= 0:
                best = [(self.target.words[place], value) for place, value in zip(*next(ranked), strict=True)]
            translations.append(Translation(word, best))
        return translations

    def evaluate(self, dictionary: WordDictionary, retrieval: Method = "csls") -> WordTranslation:
        """Score the translations of the dictionary's source words.

        Raises:
            InputError: no word of the dictionary can be scored, or fewer than 10 target words.
        """
        return self.scored(dictionary, self.ranked(dictionary, retrieval))

    def ranked(self, dictionary: WordDictionary, retrieval: Method) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(source rows, rank of each one's first correct translation among the 10 best, 0 for none)."""
        if len(self.target) < DEPTH:
            raise InputError(Problem(f"P@{DEPTH} needs {DEPTH} target words, there are {len(self.target)}"))
        rows, correct = by_source(dictionary.pairs(self.source, self.target).rows)
        best = neighbours(self.mapped_source[rows], self.mapped_target, DEPTH, retrieval, sources=self.mapped_source)
        return rows, ranks(best.rows, correct)

    def scored(
        self, dictionary: WordDictionary, ranked: tuple[NDArray[np.int64], NDArray[np.int64]]
    ) -> WordTranslation:
        """Rates of what `ranked` found."""
        pairs = dictionary.pairs(self.source, self.target)
        return score(
            ranked[1],
            DEPTH,
            source_rows=ranked[0],
            unknown_sources=len(pairs.unknown_source),
            unknown_translations=len(pairs.untranslatable),
        )

    def hint(self, dictionary: WordDictionary, given: WordTranslation, retrieval: Method = "csls") -> str | None:
        """Whether the dictionary fits better with its columns exchanged."""
        try:
            return swapped_warning(given, self.evaluate(dictionary.swapped(), retrieval))
        except InputError:  # nothing of it is in the vocabularies that way round: it is not swapped
            return None


@dataclass(frozen=True)
class Translation:
    """A word and its best translations with their scores, best first; empty for a word without a vector."""

    word: str
    best: list[tuple[str, float]]


def as_tsv(translations: Sequence[Translation]) -> str:
    """`word`, rank, translation and score, a line each; words without a vector are not there."""
    return "".join(
        f"{found.word}\t{rank}\t{word}\t{value:.4f}\n"
        for found in translations
        for rank, (word, value) in enumerate(found.best, start=1)
    )


def as_json_lines(translations: Sequence[Translation]) -> str:
    """A JSON object a word; words without a vector have no translations."""
    rows = [
        {"word": found.word, "translations": [{"word": word, "score": round(value, 6)} for word, value in found.best]}
        for found in translations
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_words(path: Path) -> list[str]:
    """A word a line.

    Raises:
        InputError: the file cannot be read, is not UTF-8 or empty, or has lines of several words.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror or error}", file=path)) from error
    except UnicodeDecodeError as error:
        raise InputError(Problem(f"is not UTF-8: {error}", file=path, remedy="save it as UTF-8")) from error
    problems = [
        Problem(f"'{line.strip()}' is more than one word", path, number, "give a word a line")
        for number, line in enumerate(lines, start=1)
        if len(line.split()) > 1
    ]
    words = [line.strip() for line in lines if line.strip()]
    if not words:
        problems.append(Problem("holds no words", file=path))
    if problems:
        raise InputError(problems)
    return words


def score_lines(found: WordTranslation) -> list[str]:
    """What `embed evaluate` prints."""

    def shown(rate: Any) -> str:
        return f"{rate.value:5.1f}" + ("" if rate.ci95 is None else f" [{rate.ci95[0]:.1f}, {rate.ci95[1]:.1f}]")

    lines = [
        f"{found.covered.n} of {found.words} source words are scored (coverage {found.coverage:.1f} %): "
        f"{found.unknown_sources} have no vector, of {found.unknown_translations} no translation has one"
    ]
    lines += [f"P@{k:<3} {shown(rate)} %" for k, rate in found.covered.precision.items()]
    lines += [f"MRR   {shown(found.covered.mrr)} %", f"P@1 over all words {shown(found.over_all.precision[1])} %"]
    for band, rates in found.bands.items():
        lines.append(f"P@1 of the words of frequency rank {band} ({rates.n}): {shown(rates.precision[1])} %")
    return [*lines, "[ ]: 95 % bootstrap interval over source words"]


def as_json(found: WordTranslation) -> str:
    """For machines; rates in percent."""
    return json.dumps({**asdict(found), "coverage": found.coverage}, indent=2, ensure_ascii=False) + "\n"
