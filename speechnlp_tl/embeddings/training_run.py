"""What `speechnlp-tl embed train` does: vectors of one language, or of several from matched sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from speechnlp_tl.embeddings.inputs import Place, Report
from speechnlp_tl.embeddings.matched_sentences import MatchedSentences
from speechnlp_tl.embeddings.training import TrainingSettings
from speechnlp_tl.embeddings.vector_files import Format, write_vectors
from speechnlp_tl.embeddings.vectors import WordVectors
from speechnlp_tl.errors import InputError, Problem

JointMethod = Literal["merged", "sentence-ids", "random"]
_FORMATS: dict[str, Format] = {".vec": "text", ".txt": "text", ".bin": "binary"}


def training_settings(method: str, **given: Any) -> TrainingSettings:
    """The settings that are given, None being none.

    Raises:
        InputError: all that are wrong.
    """
    method = {"skipgram": "skip-gram"}.get(method, method)
    wanted = {"method": method} | {name: value for name, value in given.items() if value is not None}
    try:
        return TrainingSettings.model_validate(wanted)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_url=False)]
        raise InputError(problems) from error


def train_files(texts: Sequence[Path], out: Path, settings: TrainingSettings) -> Iterator[str]:
    """Train on text files and write the vectors: `.vec` and `.txt` as text, `.bin` as binary, else a folder.

    Raises:
        InputError: files that are missing (all of them) or cannot be read, no word that is frequent enough, a folder
            that exists.
    """
    from speechnlp_tl.embeddings.training import train_vectors

    _refuse_taken(out)
    vectors = train_vectors(list(texts), settings, name=out.stem)
    write_vectors(vectors, out, _FORMATS.get(out.suffix, "folder"))
    yield f"{out}: {len(vectors)} words, {vectors.dimension} dimensions"


def train_pairs(
    pairs: Sequence[str],
    out: Path,
    settings: TrainingSettings,
    method: JointMethod = "merged",
    fold_in: bool = False,
    report: Report | None = None,
) -> Iterator[str]:
    """Train on files of matched sentences and write `out/<language>` for each language, all in one space.

    Args:
        pairs: `en=FILE,fr=FILE` with line n of one file the translation of line n of the other; more than two
            languages, and several such groups of files, are possible.
        method: merged sentences and word2vec, words by the sentences that they stand in, or a random direction for each
            word, which only `fold_in` gives a meaning.
        fold_in: move each word towards those that it is aligned with in the sentences.

    Raises:
        InputError: everything wrong with the files, a folder that exists.
    """
    from speechnlp_tl.embeddings import joint_training

    if method == "random" and not fold_in:
        raise InputError(Problem("random directions mean nothing", remedy="add --fold-in, or take another --joint"))
    _refuse_taken(out)
    corpora, problems = [], []
    for group in pairs:
        try:
            corpora.append(_read_group(group, report))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    if method == "merged":
        found = joint_training.train_jointly(corpora, settings)
    else:
        made = joint_training.random_vectors if method == "random" else joint_training.sentence_id_vectors
        found = made(corpora, settings.dimension, settings.min_count, settings.seed)
    if fold_in:
        found = joint_training.fold_in_translations(found, corpora)
    yield from _write(found, out)


def _write(found: dict[str, WordVectors], out: Path) -> Iterator[str]:
    from speechnlp_tl.atomic import atomic_directory

    with atomic_directory(out) as folder:
        for language, vectors in found.items():
            write_vectors(vectors, folder / language)
    for language, vectors in found.items():
        yield f"{out / language}: {len(vectors)} words, {vectors.dimension} dimensions"


def _read_group(group: str, report: Report | None) -> MatchedSentences:
    """`en=FILE,fr=FILE` as sentences; pairs of which a side is empty are left out and counted."""
    places = [Place.of(part) for part in re.split(r",(?=[\w.+-]+=)", group)]
    problems = [Problem("is no file", file=place.path) for place in places if not place.path.is_file()]
    names = [place.name for place in places]
    if len(set(names)) < max(2, len(names)):
        problems.append(Problem(f"'{group}' names no two languages", remedy="write en=FILE,fr=FILE"))
    if problems:
        raise InputError(problems)
    sides = [[line.split() for line in _lines(place.path)] for place in places]
    counts = {name: len(side) for name, side in zip(names, sides, strict=True)}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{place.path} has {len(side)}" for place, side in zip(places, sides, strict=True))
        raise InputError(Problem(f"files of different numbers of lines: {shown}", remedy="line n translates line n"))
    full = [sentences for sentences in zip(*sides, strict=True) if all(sentences)]
    if report is not None and len(full) < len(sides[0]):
        report(f"{group}: {len(sides[0]) - len(full)} lines are left out: a side is empty")
    if not full:
        raise InputError(Problem(f"'{group}' holds no matched sentences"))
    return MatchedSentences(dict(zip(names, zip(*full, strict=True), strict=True)))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Problem(f"cannot be read as UTF-8 text: {error}", file=path)) from error


def _refuse_taken(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()):
        raise InputError(Problem("exists already", file=out, remedy="choose another folder or remove this one"))
