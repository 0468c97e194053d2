"""Stages 0 and 1: `text/<corpus>/...` and `dictionaries/<shelf>/...` below the data folder."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from derived import derive
from settings import RecipeConfig

from data_prep import bible, made_languages, multi30k, tatoeba, word_dictionaries
from data_prep.bible_upstream import EDITIONS, SPANISH
from data_prep.command import run
from data_prep.fetch import fetch_all
from speechnlp_tl.core.config import load_config

NEEDED = (
    "bible",
    "bible-es",
    "multi30k",
    "tatoeba-fra",
    "tatoeba-deu",
    "tatoeba-spa",
    "xling-eval",
    "muse-dictionaries",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", choices=("real", "synthetic"), required=True)
    for name in ("conf", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--download-only", action="store_true")
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> dict[str, Path] | None:
    config = load_config(arguments.conf, RecipeConfig)
    if arguments.corpus == "synthetic":
        return None if arguments.download_only else made_languages.prepare(arguments.out)
    places = fetch_all(NEEDED)
    if arguments.download_only:
        return places
    text = arguments.out / "text"
    editions = {
        name: places["bible-es" if name == SPANISH else "bible"] for names in EDITIONS.values() for name in names
    }
    bible.prepare(editions, text / "bible", config.all_editions)
    pairs = {language: places[f"tatoeba-{name}"] for language, name in tatoeba.LANGUAGES.items()}
    tatoeba.prepare(pairs, text / "tatoeba")
    multi30k.prepare(places["multi30k"], text / "multi30k")
    dictionaries = arguments.out / "dictionaries"
    published = {name: places[name] for name in (word_dictionaries.XLING, word_dictionaries.MUSE)}
    word_dictionaries.prepare(published, dictionaries / "published")
    for shelf in ("xling", "muse"):
        shutil.copytree(dictionaries / "published" / shelf, dictionaries / shelf, dirs_exist_ok=True)
    for line in derive(arguments.out, config.derived):
        print(line, flush=True)
    return {"text": text, "dictionaries": dictionaries}


if __name__ == "__main__":
    main()
