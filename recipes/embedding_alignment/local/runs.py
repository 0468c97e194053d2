"""Where a run's files are: a folder or file is named after all that it depends on, so what is there is done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from corpora import dictionary, files_of_pair, fingerprint, text_files
from settings import RecipeConfig

from recipes.run_records import digest_of, plain


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
        return self.out / "vectors" / f"{language}.{seed}-{digest_of(depends)}"

    def joint(self, system: str, pair: str, seed: int) -> Path:
        """Folder with a folder of vectors for each of the two languages."""
        own = self.config.joint[system]
        # what is not asked for says nothing, and leaves runs that did without it as they are
        left_out = {"pairs", "seeds"} if own.spelling else {"pairs", "seeds", "spelling"}
        depends = [own.model_dump(mode="json", exclude=left_out), self._matched(pair), seed]
        return self.out / "joint" / pair / f"{plain(system)}.{seed}-{digest_of(depends)}"

    def alignment(self, system: str, pair: str, budget: int, seed: int) -> Path:
        """Folder of the alignment; its record is `<folder>.json`."""
        own = self.config.systems[system].model_dump(mode="json", include={"method", "link", "settings"})
        names = [self.vectors(language, seed).name for language in pair.split("-")]
        depends = [own, names, self.config.limit, self._words(pair), budget]
        return self.out / "alignments" / pair / f"{plain(system)}.{budget}.{seed}-{digest_of(depends)}"

    def hub(self, kind: str, seed: int) -> Path:
        """Folder of the alignments of all languages with the hub."""
        assert self.config.hub is not None
        names = [self.vectors(language, seed).name for language in self.config.hub.languages]
        depends = [self.config.hub.model_dump(mode="json"), names, self.config.limit]
        return self.out / "alignments" / "hub" / f"{kind}.{seed}-{digest_of(depends)}"

    def translations(self, of: Path, pair: str, retrieval: list[str]) -> Path:
        """File with the translations of a pair's test words under an alignment, or in jointly trained vectors."""
        depends = [self._words(pair), retrieval, self.config.limit]
        return self.out / "translations" / pair / f"{of.parent.name}-{of.name}-{digest_of(depends)}.json"

    def _text(self, languages: Iterable[str]) -> str:
        return _kept(self.data, tuple(file for language in languages for file in text_files(self.data, language)))

    def _matched(self, pair: str) -> str:
        return _kept(self.data, tuple(files_of_pair(self.data, pair)))

    def _words(self, pair: str) -> list[str]:
        """Of the pair's dictionaries, both: words of the test are left out of the training one."""
        return [digest_of(dictionary(self.data, pair, part).entries) for part in ("train", "test")]


_fingerprints: dict[tuple[Path, ...], str] = {}


def _kept(data: Path, files: tuple[Path, ...]) -> str:
    if files not in _fingerprints:
        _fingerprints[files] = fingerprint(data, files)
    return _fingerprints[files]
