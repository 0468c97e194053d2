"""Where the results of each step are: a name tells all that it depends on, so what is there is done."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from books import Division, Verses, divide, read_verses
from corpora import text_files
from settings import RecipeConfig

from data_prep.checksums import digest_of_all
from recipes.run_records import digest_of, plain
from speechnlp_tl.core.config import load_config


@dataclass(frozen=True)
class Runs:
    """The runs of a config on prepared data."""

    config: RecipeConfig
    data: Path
    out: Path

    def verses(self, language: str) -> Verses:
        return _verses(self.data, language)

    def division(self, split: int) -> Division:
        """Of the books, the same for every language: drawn from the source's verses."""
        return divide(self.verses(self.config.source), split, self.config.test_share, self.config.held_out_share)

    def vectors(self, language: str, split: int) -> Path:
        """Folder of the vectors of one language."""
        depends = [self.config.training.model_dump(mode="json"), *self._split(split)]
        return self.out / "vectors" / f"{language}.{split}-{digest_of(depends)}"

    def space(self, name: str, target: str, split: int) -> Path:
        """Folder with the words of both languages in one space; its record is `<folder>.json`."""
        own = self.config.spaces[name]
        depends = [own.model_dump(mode="json"), self.config.words, self.vectors(self.config.source, split).name]
        return self.out / "spaces" / target / f"{plain(name)}.{split}-{digest_of(depends)}"

    def predictions(self, system: str, target: str, split: int) -> Path:
        """File of what a system says of the target's test verses."""
        config, own = self.config, self.config.systems[system]
        depends: list[Any] = [own.model_dump(mode="json"), config.linear, config.candidates, *self._split(split)]
        depends += [None if own.space is None else self.space(own.space, target, split).name]
        if own.kind == "word by word" and own.space is None:
            depends += [config.words]
        if own.kind == "network":
            depends += [getattr(config, name).model_dump(mode="json") for name in ("classifier", "train")]
            depends += [config.batch_size]
        return self.out / "predictions" / target / f"{plain(system)}.{split}-{digest_of(depends)}.json"

    def _split(self, split: int) -> list[Any]:
        return [_fingerprint(self.data), split, self.config.test_share, self.config.held_out_share, self.config.source]


@lru_cache(maxsize=8)
def _verses(data: Path, language: str) -> Verses:
    return read_verses(data, language)


@lru_cache(maxsize=1)
def _fingerprint(data: Path) -> str:
    return digest_of_all(data, text_files(data))[:16]


def read_arguments(description: str | None) -> tuple[Runs, int]:
    """--conf, --data, --runs and --jobs."""
    parser = argparse.ArgumentParser(description=description)
    for name in ("conf", "data", "runs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side")
    given = parser.parse_args()
    return Runs(load_config(given.conf, RecipeConfig), given.data, given.runs), max(1, given.jobs)
