"""The Bible in English, French, German, Spanish, Italian and Portuguese, verse by verse (public domain).

    python -m data_prep.bible --out data/bible [--all-editions] [--corpus-dir FOLDER]

Writes for each language the words of its verses, `<language>.txt`, and beside it, line by line, which verse each is,
`<language>.verses.txt` (`Gen.1.1`, OSIS names of the books); and for each two languages the verses that both have, in
`<first>-<second>/`. A language's first edition of EDITIONS is taken; with --all-editions all of them, the n-th of one
language matched with the n-th of the other. Editions number a few hundred verses differently, mostly in the Psalms;
those do not match.

English, French, German, Italian and Portuguese come from one repository, Spanish from another.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from data_prep.bible_upstream import BOOKS, EDITIONS, SPANISH
from data_prep.checksums import find_listed, open_listed
from data_prep.command import corpus_parser, run
from data_prep.fetch import CORPORA, fetch
from data_prep.output import output_folder
from data_prep.sentence_files import word_lines, write_pairs, write_sentences
from speechnlp_tl.errors import InputError, Problem

_MOST_LISTED = 20
Verses = dict[str, str]
"""Verse -> its text, or its words parted by blanks."""


def prepare(corpora: Mapping[str, Path], out: Path, all_editions: bool = False) -> dict[str, Path]:
    """Write the verses.

    Args:
        corpora: edition -> the folder that holds `<edition>.tsv`, as it is or compressed.
        out: where to; a folder that this function wrote earlier is replaced.
        all_editions: take every edition of `EDITIONS`, not only the first of each language.

    Returns:
        Language, or `<first>-<second>`, -> its file or folder.

    Raises:
        InputError: a file that is missing or has lines that are not `<book>.<chapter>.<verse><tab><text>`, or that
            `out` holds something else.
    """
    problems: list[Problem] = []
    verses = {
        language: [
            _in_words(read_edition(corpora[name], name, problems), language)
            for name in names[: None if all_editions else 1]
        ]
        for language, names in EDITIONS.items()
    }
    if problems:
        raise InputError(problems)
    summary: dict[str, dict[str, int]] = {}
    with output_folder(out, "bible", {"all_editions": all_editions}, summary) as folder:
        for language, editions in verses.items():
            lines = [line for edition in editions for line in edition.values()]
            names = [verse for edition in editions for verse, line in edition.items() if line]
            summary[language] = {"sentences": write_sentences(folder, language, lines)}
            (folder / f"{language}.verses.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        for first, second in combinations(verses, 2):
            count = max(len(verses[first]), len(verses[second]))
            matched = [
                (line, other[verse])
                for number in range(count)
                for other in [verses[second][number % len(verses[second])]]
                for verse, line in verses[first][number % len(verses[first])].items()
                if verse in other
            ]
            summary[f"{first}-{second}"] = {"pairs": write_pairs(folder, (first, second), matched)}
    return {name: Path(out) / (name if "-" in name else f"{name}.txt") for name in summary}


def editions(corpus_dir: Path | None = None) -> dict[str, Path]:
    """Edition -> the folder that holds it, found, or downloaded, as `fetch` does.

    Raises:
        InputError: they are not to be had.
    """
    main_part, spanish = (fetch(CORPORA[name], corpus_dir) for name in ("bible", "bible-es"))
    return {name: spanish if name == SPANISH else main_part for names in EDITIONS.values() for name in names}


def read_edition(corpus: Path, edition: str, problems: list[Problem]) -> Verses:
    """The text of the verses of one edition; what is wrong is added to `problems`."""
    name = f"{edition}.tsv"
    if find_listed(corpus, name) is None:
        problems.append(Problem("file is missing", file=corpus / name))
        return {}
    found, verses = [], {}
    try:
        with open_listed(corpus, name) as file:
            for number, line in enumerate(file.read().decode("utf-8").split("\n")[:-1], start=1):
                verse, tab, text = line.partition("\t")
                if not tab or verse.count(".") != 2 or verse.partition(".")[0] not in BOOKS:
                    found.append(Problem("is not <book>.<chapter>.<verse><tab><text>", corpus / name, number))
                verses[verse] = text
    except (OSError, UnicodeDecodeError) as error:
        found.append(Problem(f"cannot be read: {error}", file=corpus / name))
    problems += found[:_MOST_LISTED]
    return verses


def _in_words(verses: Verses, language: str) -> Verses:
    return dict(zip(verses, word_lines(verses.values(), language), strict=True))


def main() -> None:
    """The command line."""
    parser = corpus_parser(__doc__)
    parser.add_argument("--all-editions", action="store_true", help="every edition, not only the first of a language")
    arguments = parser.parse_args()

    run(lambda: prepare(editions(arguments.corpus_dir), arguments.out, arguments.all_editions))


if __name__ == "__main__":
    main()
