"""Verses of the Bible as documents, labelled with the genre of their book: the same labels in every language.

    python -m data_prep.bible_genres --out data/verses [--corpus-dir FOLDER]

Writes `<language>.jsonl` for English, French, German, Spanish, Italian and Portuguese, one verse a line: `text`,
`label` (law, history, wisdom, prophecy, gospel or epistle), `domain` (the language), `book` and `verse`. Genres are the
usual divisions of the Protestant canon. Acts and Revelation are left out, whose genre is what people differ about: the
one tells history in the New Testament, the other is prophecy among letters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from data_prep import bible
from data_prep.bible_upstream import BOOKS, EDITIONS
from data_prep.command import corpus_parser, run
from data_prep.output import output_folder
from speechnlp_tl.errors import InputError, Problem

_FIRST_BOOKS = {"Gen": "law", "Josh": "history", "Job": "wisdom", "Isa": "prophecy", "Matt": "gospel", "Rom": "epistle"}
"""Book -> the genre that begins with it."""
LEFT_OUT = ("Acts", "Rev")
GENRES = tuple(_FIRST_BOOKS.values())


def genre_of_books() -> dict[str, str]:
    """Book -> genre, in the order of the canon."""
    found: dict[str, str] = {}
    genre = ""
    for book in BOOKS:
        genre = _FIRST_BOOKS.get(book, genre)
        if book not in LEFT_OUT:
            found[book] = genre
    return found


def prepare(corpora: Mapping[str, Path], out: Path) -> dict[str, Path]:
    """Write the documents of every language.

    Args:
        corpora: edition -> the folder that holds it (`bible.editions`); the first one of each language is read.
        out: where to; a folder that this function wrote earlier is replaced.

    Returns:
        Language -> its file.

    Raises:
        InputError: files that are missing or damaged, or `out` holds something else.
    """
    genres, problems = genre_of_books(), list[Problem]()
    editions = {language: names[0] for language, names in EDITIONS.items()}
    verses = {language: bible.read_edition(corpora[name], name, problems) for language, name in editions.items()}
    if problems:
        raise InputError(problems)
    summary: dict[str, dict[str, int]] = {}
    with output_folder(out, "bible-genres", {}, summary) as folder:
        for language, texts in verses.items():
            rows = [
                {"text": text, "label": genres[book], "domain": language, "book": book, "verse": verse}
                for verse, text in texts.items()
                if (book := verse.partition(".")[0]) in genres and text.strip()
            ]
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (folder / f"{language}.jsonl").write_text(lines, encoding="utf-8", newline="\n")
            summary[language] = {"documents": len(rows)}
    return {language: Path(out) / f"{language}.jsonl" for language in summary}


def main() -> None:
    """The command line."""
    arguments = corpus_parser(__doc__).parse_args()
    run(lambda: prepare(bible.editions(arguments.corpus_dir), arguments.out))


if __name__ == "__main__":
    main()
