"""Line-aligned text: one file per language, line n of each says the same. Reading and checking; no subwords."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechnlp_tl.errors import InputError, Problem

SHOWN = 10
"""Lines of one kind of problem that are named one by one; the rest are counted."""
FOREIGN_SHARE = 0.01
"""A script that fewer of a file's letters than this belong to makes its lines worth a warning."""
JAPANESE = {"CJK", "HIRAGANA", "KATAKANA"}
"""Scripts of one language: a short sentence may be in any of them alone."""


@dataclass(frozen=True)
class ParallelText:
    """Sentences of one corpus; a monolingual one has one language."""

    sentences: Mapping[str, Sequence[str]]
    """Language -> its sentences; line n of every language says the same."""
    warnings: tuple[str, ...] = ()
    """What may be wrong and does not keep the text from being used."""

    def __len__(self) -> int:
        return len(next(iter(self.sentences.values())))

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.sentences)


def read_parallel(files: Mapping[str, str | Path]) -> ParallelText:
    """Read and check the files of one corpus.

    Args:
        files: language -> its file, UTF-8, one sentence a line.

    Raises:
        InputError: files that cannot be read, are empty, or differ in length (with the first line that lacks a
            counterpart), and empty lines; lists all.
    """
    problems: list[Problem] = []
    sentences: dict[str, list[str]] = {}
    for language, path in files.items():
        lines = _lines(Path(path), problems)
        if lines is not None:
            sentences[language] = lines
            problems += _empty_lines(Path(path), lines)
    if len(set(map(len, sentences.values()))) > 1:
        shortest = min(map(len, sentences.values()))
        whole = ", ".join(f"{language} {len(lines)}" for language, lines in sentences.items())
        problems += [
            Problem(f"has no counterpart in another language from line {shortest + 1} on; lines: {whole}",
                    Path(files[language]), shortest + 1, "align the files: line n of each must say the same")
            for language, lines in sentences.items()
            if len(lines) > shortest
        ]  # fmt: skip
    if problems:
        raise InputError(problems)
    warnings = [note for language, lines in sentences.items() if (note := mixed_scripts(lines, str(files[language])))]
    return ParallelText(sentences, tuple(warnings))


def mixed_scripts(lines: Sequence[str], name: str) -> str | None:
    """A warning that names the lines with letters of a script that hardly occurs in the text, and those that lack the
    text's own, which most lines have; None without any."""
    of_line = [Counter(_script(letter) for letter in line if _is_letter(letter)) for line in lines]
    total = sum(of_line, Counter[str]())
    letters = sum(total.values())
    spread = Counter(script for scripts in of_line for script in scripts)
    written = sum(map(bool, of_line))
    own = {script for script, count in spread.items() if 2 * count > written}
    own |= JAPANESE if own & JAPANESE else set()
    rare = {script for script, count in total.items() if count < FOREIGN_SHARE * letters} - own
    found = {
        number: scripts.keys() - own
        for number, scripts in enumerate(of_line, 1)
        if rare & scripts.keys() or (own and scripts and not own & scripts.keys())
    }
    if not found:
        return None
    foreign = sorted(set[str]().union(*found.values()))
    what = f"{name}: {len(found)} lines hold letters of another script ({', '.join(foreign)})"
    return f"{what}: {listed(list(found))}"


def listed(numbers: Sequence[int]) -> str:
    """`line 3, 5 and 7 more`."""
    shown = ", ".join(map(str, numbers[:SHOWN]))
    more = len(numbers) - SHOWN
    return f"line {shown}" + (f" and {more} more" if more > 0 else "")


def _is_letter(character: str) -> bool:
    """Signs made of letters, as in 5 µm and the French nº, are of no script."""
    return character.isalpha() and unicodedata.normalize("NFKC", character) == character


def _script(letter: str) -> str:
    return unicodedata.name(letter, "UNKNOWN").split()[0]


def _lines(path: Path, problems: list[Problem]) -> list[str] | None:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        problems.append(Problem(f"cannot be read: {error.strerror or error}", path))
        return None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problems.append(Problem("is not UTF-8 text", path, line))
        return None
    # only the newline ends a line: str.splitlines would also cut at the separators that real text holds
    lines = [line.strip() for line in text.removesuffix("\n").split("\n")] if text else []
    if not lines:
        problems.append(Problem("has no sentences", path, remedy="leave the language out, or give it data"))
        return None
    return lines


def _empty_lines(path: Path, lines: Sequence[str]) -> list[Problem]:
    empty = [number for number, line in enumerate(lines, 1) if not line]
    remedy = "remove the line from the files of all languages"
    problems = [Problem("is empty", path, number, remedy) for number in empty[:SHOWN]]
    if len(empty) > SHOWN:
        problems.append(Problem(f"{len(empty) - SHOWN} more lines are empty", path, remedy=remedy))
    return problems
