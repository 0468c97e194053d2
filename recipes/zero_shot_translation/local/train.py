"""Stage 2: a model for each system and seed."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from settings import RecipeConfig

from data_prep.command import run
from recipes.run_records import in_parallel
from speechnlp_tl.core.config import load_config
from speechnlp_tl.translation.experiment import TranslationExperiment, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("conf", "data", "runs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2, help="trainings side by side")
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.conf, RecipeConfig)
    place = arguments.data, arguments.runs
    # seed by seed, so that a table is there early; first the models that others start from
    for seed in range(config.seeds):
        named = [name for name in config.trained if seed in config.seeds_of(name)]
        for depth in sorted({len(config.line(name)) for name in named}):
            work = [
                (config.experiment_of(name, *place, seed), config.folder(arguments.runs, name, arguments.data, seed))
                for name in named
                if len(config.line(name)) == depth
            ]
            in_parallel(_train, work, arguments.jobs)


def _train(item: tuple[TranslationExperiment, Path]) -> str:
    experiment, folder = item
    torch.set_num_threads(1)  # trainings stand side by side
    trained = train(experiment, folder, quiet=True)
    told = "finished already" if trained.result is None else f"{trained.result.wall_s:.0f} s"
    return f"{folder.name}: dev loss {trained.metrics['loss']:.3f}, {told}"


if __name__ == "__main__":
    main()
