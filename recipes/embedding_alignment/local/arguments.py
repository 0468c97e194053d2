"""The arguments of the stages that run something."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from runs import Runs
from settings import RecipeConfig

from speechnlp_tl.core.config import load_config


@dataclass(frozen=True)
class Arguments:
    """What a stage is told."""

    runs: Runs
    jobs: int


def read_arguments(description: str | None) -> Arguments:
    """--conf, --data, --runs and --jobs."""
    parser = argparse.ArgumentParser(description=description)
    for name in ("conf", "data", "runs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side")
    given = parser.parse_args()
    return Arguments(Runs(load_config(given.conf, RecipeConfig), given.data, given.runs), max(1, given.jobs))
