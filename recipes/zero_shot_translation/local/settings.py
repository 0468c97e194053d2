"""The recipe's own config: which languages, which systems, and what is trained for each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt, ValidationError, model_validator

from recipes.run_records import digest_of, plain
from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.errors import InputError
from speechnlp_tl.translation.experiment import TranslationExperiment
from speechnlp_tl.translation.translation_model import SearchConfig

RECIPE = "zero_shot_translation"
Direction = tuple[str, str]
WRITTEN = ":written"


class SystemConfig(StrictModel):
    """One row of the table."""

    pairs: list[str] | None = Field(
        None,
        description="training sets: de-fr, its first sentences de-fr:1000, all captions de-en:all, or de-fr:written, "
        "the halves with what 'written_by' makes of their English; the halves when not given",
    )
    written_by: str | None = Field(None, description="system whose model of the same seed writes 'de-fr:written'")
    initial_of: str | None = Field(None, description="system whose model of the same seed training starts from")
    initial: dict[str, Any] = Field(
        default_factory=dict, description="what is kept of it, as 'initial' of an experiment"
    )
    settings: dict[str, Any] = Field(default_factory=dict, description="of the experiment, over the common ones")
    model: dict[str, Any] = Field(default_factory=dict, description="of its model, over the common ones")
    train: dict[str, Any] = Field(default_factory=dict, description="of its training, over the common ones")
    pivot_of: list[str] | None = Field(
        None, description="systems that translate by way of the common language: one, or two, of which each does what "
        "it was taught",
        min_length=1, max_length=2,
    )  # fmt: skip
    seeds: PositiveInt | None = Field(None, description="no more than so many")

    @model_validator(mode="after")
    def _means_something(self) -> SystemConfig:
        wanted = any(pair.endswith(WRITTEN) for pair in self.pairs or [])
        if wanted != (self.written_by is not None):
            raise ValueError("'written_by' and a training set like de-fr:written need each other")
        if self.pivot_of is not None and (self.pairs or self.settings or self.model or self.train or self.initial_of):
            raise ValueError("a pivot trains nothing: it has 'pivot_of' and no other setting but 'seeds'")
        if self.initial and self.initial_of is None:
            raise ValueError("'initial' says what is kept of the model that 'initial_of' names")
        wrong = [pair for pair in self.pairs or [] if not _is_set(pair)]
        if wrong:
            raise ValueError(f"training sets are de-fr, de-fr:1000, de-en:all or de-fr:written, not {', '.join(wrong)}")
        return self


class NewLanguageConfig(StrictModel):
    """A language that is added to finished models."""

    name: str
    sentences: PositiveInt = Field(4000, description="with the common language, kept out of everything else")


class RecipeConfig(StrictModel):
    """conf/*.yaml."""

    languages: list[str] = Field(min_length=3, max_length=3, description="left, common, right")
    new_language: NewLanguageConfig | None = None
    seeds: PositiveInt = 1
    experiment: dict[str, Any] = Field(description="of speechnlp-tl train, without task and training text")
    systems: dict[str, SystemConfig] = Field(min_length=1)
    search: SearchConfig = SearchConfig()
    picture: list[str] = Field(default_factory=list, max_length=3, description="systems whose encodings are drawn")

    @model_validator(mode="after")
    def _fit_together(self) -> RecipeConfig:
        named = [name for system in self.systems for name in self._named(system)]
        own = [name for name, system in self.systems.items() if system.pivot_of is None]
        unknown = sorted({name for name in [*named, *self.picture] if name not in own})
        if unknown:
            what = "'pivot_of', 'initial_of', 'written_by' and 'picture' name"
            raise ValueError(f"{what} no trained system: {', '.join(unknown)}")
        lacking = [
            f"{name} ({other})"
            for name in self.systems
            for other in self._named(name)
            if len(self.seeds_of(name)) > len(self.seeds_of(other))
        ]
        if lacking:
            raise ValueError(f"more seeds than the system that it needs: {', '.join(lacking)}")
        circular = [name for name in own if name in self.needed(name)]
        if circular:
            raise ValueError(f"'initial_of' or 'written_by' goes round in a circle: {', '.join(circular)}")
        left, _, right = self.languages
        wrong = {
            pair
            for system in self.systems.values()
            for pair in system.pairs or []
            if pair.endswith(WRITTEN) and pair != f"{left}-{right}{WRITTEN}"
        }
        if wrong:
            raise ValueError(f"what is written is the unseen pair, {left}-{right}{WRITTEN}, not {', '.join(wrong)}")
        self._check_writers()
        return self

    def _check_writers(self) -> None:
        """A writer knows the directions from the common language and has never seen the pair, nor has any model or text
        that it stems from."""
        left, hub, right = self.languages
        for writer in {system.written_by for system in self.systems.values() if system.written_by is not None}:
            stem = [writer, *self.needed(writer)]
            if any(way in self.unseen for name in stem for way in self.trained_in(name)):
                raise ValueError(f"'written_by': {writer} is trained on the pair that it is to write")
            if not {(hub, left), (hub, right)} <= set(self.trained_in(writer)):
                raise ValueError(f"'written_by': {writer} is not trained from {hub} to {left} and {right}")

    def _named(self, system: str) -> list[str]:
        """The systems that one names."""
        own = self.systems[system]
        return [name for name in [*(own.pivot_of or []), own.initial_of, own.written_by] if name is not None]

    def needed(self, system: str) -> set[str]:
        """All systems that are trained before one: those that it starts from, and that write its text."""
        found: set[str] = set()
        left = [system]
        while left:
            new = set(self._named(left.pop())) - found
            found |= new
            left += new
        return found

    def line(self, system: str) -> list[str]:
        """The systems that a system starts from, the first one first, and itself."""
        found = [system]
        while (initial := self.systems[found[0]].initial_of) is not None and len(found) <= len(self.systems):
            found.insert(0, initial)
        return found

    @property
    def trained(self) -> list[str]:
        """Systems with a model of their own; those that others need come first."""
        own = [name for name, system in self.systems.items() if system.pivot_of is None]
        return sorted(own, key=lambda name: len(self.needed(name)))

    @property
    def halves(self) -> list[str]:
        left, hub, right = self.languages
        return [f"{left}-{hub}", f"{hub}-{right}"]

    @property
    def unseen(self) -> list[Direction]:
        """The directions that are the point of it."""
        left, _, right = self.languages
        return [(left, right), (right, left)]

    @property
    def cuts(self) -> dict[str, int]:
        """Shortened training sets: folder -> sentences."""
        named = [pair for system in self.systems.values() for pair in system.pairs or [] if pair[-1].isdigit()]
        return {pair.replace(":", "-"): int(pair.partition(":")[2]) for pair in named}

    def seeds_of(self, system: str) -> range:
        return range(min(self.seeds, self.systems[system].seeds or self.seeds))

    def pairs(self, system: str) -> list[str]:
        return self.systems[system].pairs or self.halves

    def directions(self, system: str) -> list[Direction]:
        """Those that a system is measured in: the unseen ones that it has languages for, a new language's with each,
        and those that it and the systems it starts from were trained in. A pivot's are the unseen ones or, where it
        knows the new language, those of that one with each but the common language."""
        pivots = self.systems[system].pivot_of
        known = set[str]().union(*map(self.known, pivots or [system]))
        new = [self.new_language.name] if self.new_language and self.new_language.name in known else []
        added = [each for name in new for other in self.languages if other in known
                 for each in ((name, other), (other, name))]  # fmt: skip
        if pivots is not None:
            return [each for each in added if self.languages[1] not in each] or self.unseen
        unseen = [each for each in self.unseen if known.issuperset(each)]
        return list(dict.fromkeys([*unseen, *added, *self.trained_in(system)]))

    def known(self, system: str) -> set[str]:
        """The languages of a system's text, and of that of those it starts from."""
        return {language for each in self.line(system) for pair in self.pairs(each) for language in _ends(pair)}

    def trained_in(self, system: str) -> list[Direction]:
        """The directions that a system and those it starts from have true sentences of, its own first."""
        return list(dict.fromkeys(way for each in reversed(self.line(system)) for way in self._taught_in(each)))

    def _taught_in(self, system: str) -> list[Direction]:
        """The directions that a system itself has true sentences of."""
        wanted = self.systems[system].settings.get("data", {}).get("directions")
        given = [pair for pair in self.pairs(system) if not pair.endswith(WRITTEN)]
        both = [way for pair in given for way in (_ends(pair), _ends(pair)[::-1])]
        return [way for way in both if wanted is None or "-".join(way) in wanted]

    def way(self, system: str, direction: Direction) -> list[tuple[str, Direction]]:
        """The trained systems that translate, one after the other, each with its direction."""
        pivots = self.systems[system].pivot_of
        if pivots is None:
            return [(system, direction)]
        hub = self.languages[1]
        steps = [(direction[0], hub), (hub, direction[1])]
        # what a system was taught last is what it knows best: one that has learned a language has forgotten others
        taught = [[name for name in pivots if step in self._taught_in(name)] for step in steps]
        return [((names or pivots)[0], step) for names, step in zip(taught, steps, strict=True)]

    def experiment_of(self, system: str, data: Path, runs: Path, seed: int) -> TranslationExperiment:
        """What `speechnlp-tl train` is given for a system that is trained.

        Raises:
            InputError: settings that do not fit.
        """
        own = self.systems[system]
        content = _merged(self.experiment, own.settings) | {"task": "translation"}
        content["model"] = {**content.get("model", {}), **own.model}
        content["train"] = {**content.get("train", {}), **own.train, "seed": seed}
        if own.initial_of is not None:
            content["initial"] = {"model": str(self.folder(runs, own.initial_of, data, seed)), **own.initial}
            if own.initial.get("ewc") is not None:
                content["initial"]["ewc_text"] = self._train_files(own.initial_of, data, runs, seed)
        text = {"train": self._train_files(system, data, runs, seed), "dev": self._dev_files(system, data)}
        content["data"] = {**content.get("data", {}), **text}
        try:
            return TranslationExperiment.model_validate(content)
        except ValidationError as error:
            raise InputError([f"system '{system}': {each['loc']}: {each['msg']}" for each in error.errors()]) from error

    def folder(self, runs: Path, system: str, data: Path, seed: int) -> Path:
        """Of a training, named after all that it depends on."""
        depends = self.experiment_of(system, data, runs, seed).model_dump(mode="json")
        train, dev = self._train_files(system, data, runs, seed), self._dev_files(system, data)
        text = [text_digest(train), text_digest(dev)]
        return runs / f"{plain(system)}.{seed}-{digest_of([depends, text])}"

    def written(self, system: str, data: Path, runs: Path, seed: int) -> dict[str, Path]:
        """Folders of what another system writes for one: half -> its folder, named after all that it depends on."""
        writer = self.systems[system].written_by
        assert writer is not None
        halves = {half: {name: str(data / "train" / half / f"{name}.txt") for name in _ends(half)}
                  for half in self.halves}  # fmt: skip
        depends = [self.folder(runs, writer, data, seed).name, self.search.model_dump(mode="json")]
        return {
            half: runs / f"written-{half}-by-{plain(writer)}.{seed}-{digest_of([depends, text_digest([files])])}"
            for half, files in halves.items()
        }

    def translations(self, out: Path, runs: Path, system: str, data: Path, seed: int) -> Path:
        """Folder of a system's translations, named after the models that make them."""
        models = [self.folder(runs, name, data, seed).name for name, _ in self.way(system, self.directions(system)[0])]
        files = {language: str(data / "test" / f"{language}.txt") for language in self.all_languages}
        depends = [models, self.search.model_dump(mode="json"), text_digest([files])]
        return out / f"{plain(system)}.{seed}-{digest_of(depends)}"

    def _train_files(self, system: str, data: Path, runs: Path, seed: int) -> list[dict[str, str]]:
        folders = []
        for pair in self.pairs(system):
            if pair.endswith(WRITTEN):
                folders += [(pair, folder) for folder in self.written(system, data, runs, seed).values()]
            else:
                folders.append((pair, data / "train" / pair.replace(":", "-")))
        return [{name: str(folder / f"{name}.txt") for name in _ends(pair)} for pair, folder in folders]

    def _dev_files(self, system: str, data: Path) -> list[dict[str, str]]:
        """Of the directions with sentences alone: the unseen pair chooses nothing."""
        pairs = [pair for pair in self.pairs(system) if not pair.endswith(WRITTEN)]
        return [{name: str(data / "dev" / f"{name}.txt") for name in _ends(pair)} for pair in pairs]

    @property
    def all_languages(self) -> list[str]:
        return [*self.languages, *([self.new_language.name] if self.new_language else [])]


def text_digest(corpora: Sequence[Mapping[str, str]]) -> list[str]:
    """Of what stands in the files; nothing for one that is not there, which is told when it is read."""
    return [_digest(path, path.stat().st_mtime_ns) for each in corpora for path in map(Path, each.values())
            if path.is_file()]  # fmt: skip


@cache
def _digest(path: Path, changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _merged(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A system's settings over the common ones; sections key by key, but for the model, which is one or another."""
    found = {**common, **own}
    for name in common.keys() & own.keys() - {"model"}:
        if isinstance(common[name], Mapping) and isinstance(own[name], Mapping):
            found[name] = {**common[name], **own[name]}
    return found


def _ends(pair: str) -> Direction:
    source, target = pair.partition(":")[0].split("-")
    return source, target


def _is_set(pair: str) -> bool:
    name, _, count = pair.partition(":")
    return len(name.split("-")) == 2 and (
        ":" not in pair or count in ("all", "written") or (count.isdigit() and int(count) > 0)
    )
