"""Where a run's files are: a folder or file is named after all that it depends on, so what is there is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from corpora import dictionary, files_of_pair, fingerprint, text_files
from settings import RecipeConfig

from speechnlp_tl.atomic import write_text
from speechnlp_tl.errors import InputError, Problem


@dataclass(frozen=True)
class Runs:
    """The runs of a config on prepared data."""

    config: RecipeConfig
    data: Path
    out: Path

    def vectors(self, language: str, seed: int) -> Path:
        """Vectors of one language."""
        settings = [each.model_dump(mode="json") for each in self.config.trainings]
        depends = [settings, self._text((language,)), seed]
        return self.out / "vectors" / f"{language}.{seed}-{_digest(depends)}"

    def joint(self, system: str, pair: str, seed: int) -> Path:
        """Folder with a folder of vectors for each of the two languages."""
        own = self.config.joint[system]
        # what is not asked for says nothing, and leaves runs that did without it as they are
        left_out = {"pairs"} if own.spelling else {"pairs", "spelling"}
        depends = [own.model_dump(mode="json", exclude=left_out), self._matched(pair), seed]
        return self.out / "joint" / pair / f"{plain(system)}.{seed}-{_digest(depends)}"

    def alignment(self, system: str, pair: str, budget: int, seed: int) -> Path:
        """Folder of the alignment; its record is `<folder>.json`."""
        own = self.config.systems[system].model_dump(mode="json", include={"method", "link", "settings"})
        names = [self.vectors(language, seed).name for language in pair.split("-")]
        depends = [own, names, self.config.limit, self._words(pair), budget]
        return self.out / "alignments" / pair / f"{plain(system)}.{budget}.{seed}-{_digest(depends)}"

    def hub(self, kind: str, seed: int) -> Path:
        """Folder of the alignments of all languages with the hub."""
        assert self.config.hub is not None
        names = [self.vectors(language, seed).name for language in self.config.hub.languages]
        depends = [self.config.hub.model_dump(mode="json"), names, self.config.limit]
        return self.out / "alignments" / "hub" / f"{kind}.{seed}-{_digest(depends)}"

    def translations(self, of: Path, pair: str, retrieval: list[str]) -> Path:
        """File with the translations of a pair's test words under an alignment, or in jointly trained vectors."""
        depends = [self._words(pair), retrieval, self.config.limit]
        return self.out / "translations" / pair / f"{of.parent.name}-{of.name}-{_digest(depends)}.json"

    def _text(self, languages: Iterable[str]) -> str:
        return _kept(self.data, tuple(file for language in languages for file in text_files(self.data, language)))

    def _matched(self, pair: str) -> str:
        return _kept(self.data, tuple(files_of_pair(self.data, pair)))

    def _words(self, pair: str) -> list[str]:
        """Of the pair's dictionaries, both: words of the test are left out of the training one."""
        return [_digest(dictionary(self.data, pair, part).entries) for part in ("train", "test")]


_fingerprints: dict[tuple[Path, ...], str] = {}


def _kept(data: Path, files: tuple[Path, ...]) -> str:
    if files not in _fingerprints:
        _fingerprints[files] = fingerprint(data, files)
    return _fingerprints[files]


def plain(name: str) -> str:
    """A name for a file: names of systems hold commas and blanks, and stay different without."""
    letters = "".join(letter if letter.isalnum() else "-" for letter in name)
    return f"{letters}-{hashlib.sha256(name.encode()).hexdigest()[:4]}"


def _digest(depends: Any) -> str:
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:10]


def write_record(file: Path, record: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def read_record(file: Path, stage: int) -> dict[str, Any]:
    """A record that `write_record` wrote.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(Problem("is missing or damaged", file=file, remedy=f"run stage {stage} again")) from error
    return found


def in_parallel(work: Callable[[Any], str], items: list[Any], jobs: int) -> None:
    """Do the work of all items, `jobs` at a time, and print what each gives."""
    if not items:
        print("all done already")
        return
    if min(jobs, len(items)) == 1:
        for done, item in enumerate(items, start=1):
            print(f"{work(item)} ({done} of {len(items)})", flush=True)
        return
    with ProcessPoolExecutor(min(jobs, len(items)), mp_context=get_context("spawn")) as pool:
        for done, line in enumerate(pool.map(work, items), start=1):
            print(f"{line} ({done} of {len(items)})", flush=True)
