"""The recipe's own config: which languages, which systems, and what is trained for each."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt, ValidationError, model_validator

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.errors import InputError
from speechnlp_tl.translation.experiment import TranslationExperiment
from speechnlp_tl.translation.translation_model import SearchConfig

RECIPE = "zero_shot_translation"


class SystemConfig(StrictModel):
    """One row of the table."""

    pairs: list[str] | None = Field(None, description="training sets, such as de-fr; the two halves when not given")
    settings: dict[str, Any] = Field(default_factory=dict, description="of the experiment, over the common ones")
    model: dict[str, Any] = Field(default_factory=dict, description="of its model, over the common ones")
    pivot_of: str | None = Field(None, description="system whose model translates by way of the common language")

    @model_validator(mode="after")
    def _means_something(self) -> SystemConfig:
        if self.pivot_of is not None and (self.pairs or self.settings or self.model):
            raise ValueError("a pivot trains nothing, so it has no 'pairs', 'settings' or 'model'")
        return self


class RecipeConfig(StrictModel):
    """conf/*.yaml."""

    languages: list[str] = Field(min_length=3, max_length=3, description="left, common, right")
    seeds: PositiveInt = 1
    experiment: dict[str, Any] = Field(description="of speechnlp-tl train, without task and training text")
    systems: dict[str, SystemConfig] = Field(min_length=1)
    search: SearchConfig = SearchConfig()

    @model_validator(mode="after")
    def _fit_together(self) -> RecipeConfig:
        trained = [name for name, system in self.systems.items() if system.pivot_of is None]
        unknown = [s.pivot_of for s in self.systems.values() if s.pivot_of is not None and s.pivot_of not in trained]
        if unknown:
            raise ValueError(f"pivot_of names no system that is trained: {', '.join(unknown)}")
        return self

    @property
    def halves(self) -> list[str]:
        left, hub, right = self.languages
        return [f"{left}-{hub}", f"{hub}-{right}"]

    @property
    def unseen(self) -> list[tuple[str, str]]:
        """The directions that are the point of it."""
        left, _, right = self.languages
        return [(left, right), (right, left)]

    def pairs(self, system: str) -> list[str]:
        return self.systems[system].pairs or self.halves

    def directions(self, system: str) -> list[tuple[str, str]]:
        """Those that a system is measured in: the unseen ones, and those that it was trained in."""
        if self.systems[system].pivot_of is not None:
            return self.unseen
        own = [tuple(pair.split("-")) for pair in self.pairs(system)]
        return list(dict.fromkeys([*self.unseen, *((s, t) for a, b in own for s, t in ((a, b), (b, a)))]))

    def experiment_of(self, system: str, data: Path, seed: int) -> TranslationExperiment:
        """What `speechnlp-tl train` is given for a system that is trained.

        Raises:
            InputError: settings that do not fit.
        """
        own = self.systems[system]
        content = {**self.experiment, **own.settings, "task": "translation"}
        content["model"] = {**content.get("model", {}), **own.model}
        content["train"] = {**content.get("train", {}), "seed": seed}
        files = [{n: str(data / "train" / p / f"{n}.txt") for n in p.split("-")} for p in self.pairs(system)]
        # dev text in the trained directions only: the unseen pair chooses nothing
        dev = [{n: str(data / "dev" / f"{n}.txt") for n in p.split("-")} for p in self.pairs(system)]
        content["data"] = {**content.get("data", {}), "train": files, "dev": dev}
        try:
            return TranslationExperiment.model_validate(content)
        except ValidationError as error:
            raise InputError([f"system '{system}': {each['loc']}: {each['msg']}" for each in error.errors()]) from error

    def folder(self, runs: Path, system: str, data: Path, seed: int) -> Path:
        """Of a training, named after all that it depends on; a pivot's is that of the system it uses."""
        system = self.systems[system].pivot_of or system
        depends = json.dumps(self.experiment_of(system, data, seed).model_dump(mode="json"), sort_keys=True)
        letters = "".join(letter if letter.isalnum() else "-" for letter in system)
        return runs / f"{letters}.{seed}-{hashlib.sha256(depends.encode()).hexdigest()[:8]}"


def translation_file(out: Path, folder: Path, system: str, config: RecipeConfig, direction: tuple[str, str]) -> Path:
    kind = "pivot" if config.systems[system].pivot_of else "direct"
    return out / folder.name / kind / f"{'-'.join(direction)}.txt"
