"""One run: a system on a pair of domains with a seed. What it predicted, what it cost, where it is kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from settings import RecipeConfig

from data_prep.checksums import digest_of_all
from speechnlp_tl.atomic import write_text
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.domain_distance import ProxyADistance


@dataclass(frozen=True)
class Outcome:
    """What a system gave on a pair."""

    predictions: NDArray[np.int64]
    """(n,) of the target's test reviews."""
    selection: str
    """The rule that chose the model."""
    validation_accuracy: float | None = None
    distance: ProxyADistance | None = None
    strength: float | None = None
    scores: dict[str, float] | None = None
    """What a model could be chosen by without target labels, by the rule's name: the more the better."""


@dataclass(frozen=True)
class RunName:
    """Which run."""

    system: str
    source: str
    target: str
    seed: int

    def file(self, folder: Path) -> Path:
        # names of systems hold commas and blanks; the digest keeps them apart when these are gone
        plain = "".join(letter if letter.isalnum() else "-" for letter in self.system)
        digest = hashlib.sha256(self.system.encode()).hexdigest()[:6]
        pair = ",".join(quote(name, safe="") for name in (self.source, self.target))
        return folder / pair / f"{plain}-{digest}.{self.seed}.json"


def runs_on(data: Path, folder: Path) -> Path:
    """The folder of the runs on these prepared reviews: other reviews, other runs."""
    files = sorted(path for path in data.rglob("*") if path.is_file() and path.suffix in (".npz", ".txt"))
    return folder / digest_of_all(data, files)[:12]


def settings_of(config: RecipeConfig, system: str) -> dict[str, Any]:
    """What a run depends on: with anything of it changed, the run is another."""
    own = config.systems[system]
    shared = {"held_out": config.held_out}
    if own.features != "counts":
        shared |= {own.features: getattr(config, own.features).model_dump(mode="json")}
    if own.fitted_on != "pair":
        shared |= {"domains": config.domains}
    if own.kind == "network":
        shared |= {name: getattr(config, name).model_dump(mode="json") for name in ("classifier", "train")}
        shared |= {"batch_size": config.batch_size}
    return own.model_dump(mode="json") | {"shared": shared}


def is_done(file: Path, settings: dict[str, Any]) -> bool:
    """Whether the file holds a run with these settings."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["settings"]
        return _stated(found) == _stated(settings)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _stated(settings: dict[str, Any]) -> dict[str, Any]:
    """Without the settings that say nothing, so that a new one leaves the runs that do without it as they are."""
    return {name: value for name, value in settings.items() if value is not None}


def write_run(
    file: Path, name: RunName, settings: dict[str, Any], outcome: Outcome, wall_s: float, peak: float
) -> None:
    """Write one run as JSON."""
    distance = outcome.distance
    record = {
        **vars(name),
        "settings": settings,
        "selection": outcome.selection,
        "validation_accuracy": outcome.validation_accuracy,
        "strength": outcome.strength,
        "distance": None if distance is None else {"value": distance.distance, "ci95": distance.ci95, "n": distance.n},
        "scores": outcome.scores,
        "wall_s": round(wall_s, 3),
        "peak_mb": round(peak, 1),
        "predictions": " ".join(map(str, outcome.predictions.tolist())),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(record, indent=1) + "\n")


def read_run(file: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """A run's record, its predictions as (n,) numbers.

    Raises:
        InputError: the file is missing, damaged, or of a run with other settings.
    """
    remedy = "run stages 2 and 3 again"
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        record["predictions"] = np.array(record["predictions"].split(), dtype=np.int64)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise InputError(Problem("is missing or damaged", file=file, remedy=remedy)) from error
    if _stated(record["settings"]) != _stated(settings):
        raise InputError(Problem("is a run with other settings", file=file, remedy=remedy))
    return record
