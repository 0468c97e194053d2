"""Stages 0 and 1: `documents/`, `text/<corpus>/...` and `dictionaries/<shelf>/...` below the data folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from data_prep import bible, bible_genres, made_languages, multi30k, tatoeba, word_dictionaries
from data_prep.command import run
from data_prep.fetch import fetch_all

TEXT = ("multi30k", *(f"tatoeba-{name}" for name in tatoeba.LANGUAGES.values()))
NEEDED = ("bible", "bible-es", *TEXT, word_dictionaries.XLING, word_dictionaries.MUSE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", choices=("bible", "synthetic"), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--download-only", action="store_true")
    arguments = parser.parse_args()
    run(lambda: _work(arguments.corpus, arguments.out, arguments.download_only))


def _work(corpus: str, out: Path, download_only: bool) -> dict[str, Path] | None:
    if corpus == "synthetic":
        return None if download_only else made_languages.prepare(out)
    places = fetch_all(NEEDED)
    if download_only:
        return places
    bible_genres.prepare(bible.editions(), out / "documents")
    tatoeba.prepare(
        {name: places[f"tatoeba-{other}"] for name, other in tatoeba.LANGUAGES.items()}, out / "text/tatoeba"
    )
    multi30k.prepare(places["multi30k"], out / "text" / "multi30k")
    published = {name: places[name] for name in (word_dictionaries.XLING, word_dictionaries.MUSE)}
    word_dictionaries.prepare(published, out / "dictionaries")
    return {name: out / name for name in ("documents", "text", "dictionaries")}


if __name__ == "__main__":
    main()
