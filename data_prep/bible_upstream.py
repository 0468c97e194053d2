"""What the upstream repositories of Bibles hold, and how their JSON becomes `<edition>.tsv`, a verse a line."""

from __future__ import annotations

import json
from pathlib import Path

from speechnlp_tl.errors import InputError, Problem

EDITIONS = {
    "en": ("en_web", "en_kjv", "en_asv"),
    "fr": ("fr_lsg", "fr_martin1744", "fr_darby-fr"),
    "de": ("de_luth1912", "de_elb1905"),
    "es": ("es_rv1909",),
    "it": ("it_riveduta", "it_diodati"),
    "pt": ("pt_almeida-livre",),
}
"""Language -> its editions. The first of each is the one nearest to how the language is written today."""
SPANISH = "es_rv1909"
BOOKS = (
    *("Gen", "Exod", "Lev", "Num", "Deut", "Josh", "Judg", "Ruth", "1Sam", "2Sam", "1Kgs", "2Kgs", "1Chr", "2Chr"),
    *("Ezra", "Neh", "Esth", "Job", "Ps", "Prov", "Eccl", "Song", "Isa", "Jer", "Lam", "Ezek", "Dan", "Hos", "Joel"),
    *("Amos", "Obad", "Jonah", "Mic", "Nah", "Hab", "Zeph", "Hag", "Zech", "Mal", "Matt", "Mark", "Luke", "John"),
    *("Acts", "Rom", "1Cor", "2Cor", "Gal", "Eph", "Phil", "Col", "1Thess", "2Thess", "1Tim", "2Tim", "Titus"),
    *("Phlm", "Heb", "Jas", "1Pet", "2Pet", "1John", "2John", "3John", "Jude", "Rev"),
)


def extract_editions(upstream: Path, out: Path) -> None:
    """Write the `<edition>.tsv` of each JSON edition that is unpacked below `upstream`.

    Raises:
        InputError: none of them is there, or one is not what it should be.
    """
    written = 0
    wanted = [name for names in EDITIONS.values() for name in names]
    for path in sorted([*upstream.glob("*/versions/*/*/books"), *upstream.glob("*/json/es_rvr.json")]):
        try:
            if path.is_dir():
                edition, rows = f"{path.parts[-3]}_{path.parts[-2]}", _rows_by_book(path)
            else:
                edition, rows = SPANISH, _rows_of_one_file(path)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(Problem(f"is not a Bible in JSON: {error!r}", file=path.name)) from error
        if edition in wanted:
            (out / f"{edition}.tsv").write_text("".join(rows), encoding="utf-8", newline="\n")
            written += 1
    if not written:
        raise InputError(Problem("holds no edition of the Bible", file=upstream))


def _rows_by_book(folder: Path) -> list[str]:
    """Rows of an edition with a file for each book."""
    rows = []
    for book in BOOKS:
        content = json.loads((folder / f"{book}.json").read_text(encoding="utf-8"))
        for chapter in content["chapters"]:
            for verse in chapter["verses"]:
                rows.append(f"{book}.{chapter['chapter']}.{verse['number']}\t{' '.join(verse['text'].split())}\n")
    return rows


def _rows_of_one_file(path: Path) -> list[str]:
    """Rows of an edition in one file: the books in order, with chapters and verses without numbers."""
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    return [
        f"{book}.{chapter_number}.{number}\t{' '.join(text.split())}\n"
        for book, part in zip(BOOKS, content, strict=True)
        for chapter_number, chapter in enumerate(part["chapters"], start=1)
        for number, text in enumerate(chapter, start=1)
    ]
