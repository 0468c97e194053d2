"""A folder with the alignments of two or more languages: what `speechnlp-tl embed align` writes.

    languages.yaml          the hub, the other languages and how they were aligned
    <language>/             of each but the hub: its alignment with the hub, as `Alignment.save` writes it

With it any two of the languages are compared, in either direction: both are mapped into the hub's space.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from speechnlp_tl.atomic import atomic_directory, write_text
from speechnlp_tl.core.config import StrictModel, dump_config, load_config
from speechnlp_tl.embeddings.alignment import Alignment
from speechnlp_tl.errors import InputError, Problem

LANGUAGES = "languages.yaml"


class SpaceFacts(StrictModel):
    """How the languages were aligned: for people, nothing depends on it."""

    method: str
    link: str
    """`dictionary`, `identical strings`, `identical numerals` or `none`."""
    pairs: dict[str, int] = Field(default_factory=dict)
    """Language -> pairs of words that it was aligned with."""
    warnings: list[str] = Field(default_factory=list)


class _Config(StrictModel):
    format: Literal["languages 1"] = "languages 1"
    hub: str
    languages: list[str]
    made: SpaceFacts


@dataclass(frozen=True)
class Space:
    """Languages that can be compared."""

    hub: str
    alignments: dict[str, Alignment]
    """Language -> its alignment with the hub, the hub being the target."""
    made: SpaceFacts = field(default_factory=lambda: SpaceFacts(method="", link=""))

    @property
    def languages(self) -> list[str]:
        return [self.hub, *self.alignments]

    def between(self, source: str, target: str) -> Alignment:
        """The alignment of two of the languages.

        Raises:
            InputError: a language that is not there, or the same one twice.
        """
        unknown = [name for name in (source, target) if name not in self.languages]
        problems = [Problem(f"no language '{name}' was aligned", remedy=self._known()) for name in unknown]
        if source == target and not unknown:
            problems.append(Problem(f"'{source}' is the source and the target", remedy=self._known()))
        if problems:
            raise InputError(problems)
        if target == self.hub:
            return self.alignments[source]
        if source == self.hub:
            return _turned(self.alignments[target])
        one, other = self.alignments[source], self.alignments[target]
        return Alignment(one.source, other.source, one.source_map, other.source_map)

    def save(self, folder: str | Path) -> None:
        """Write the folder, whole or not at all.

        Raises:
            InputError: it exists and is not empty, or cannot be written.
        """
        with atomic_directory(folder) as temporary:
            for name, alignment in self.alignments.items():
                alignment.save(temporary / name)
            config = _Config(hub=self.hub, languages=list(self.alignments), made=self.made)
            write_text(temporary / LANGUAGES, dump_config(config))

    @classmethod
    def load(cls, folder: str | Path) -> Space:
        """What `save` wrote.

        Raises:
            InputError: something is missing or damaged.
        """
        config = load_config(Path(folder) / LANGUAGES, _Config)
        bad = [name for name in [config.hub, *config.languages] if Path(name).name != name or name in (".", "..")]
        if bad or not config.languages:
            raise InputError(Problem(f"names no languages, or paths: {', '.join(bad)}", file=Path(folder) / LANGUAGES))
        alignments, problems = {}, []
        for name in config.languages:
            try:
                alignments[name] = Alignment.load(Path(folder) / name)
            except InputError as error:
                problems += error.problems
        if problems:
            raise InputError(problems)
        return cls(config.hub, alignments, config.made)

    def _known(self) -> str:
        there = ", ".join(self.languages)
        return f"languages are {there}; name a file that has another name: {self.hub}=FILE"


def _turned(alignment: Alignment) -> Alignment:
    """The same alignment in the other direction."""
    target_map = alignment.target_map
    if target_map is None:
        target_map = np.eye(alignment.dimensions, dtype=np.float32)
    return Alignment(alignment.target, alignment.source, target_map, alignment.source_map, alignment.singular_values)
