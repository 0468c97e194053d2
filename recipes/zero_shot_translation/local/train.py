"""Stage 2: a model for each system and seed."""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from settings import RecipeConfig

from data_prep.command import run
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
    trained = [name for name, system in config.systems.items() if system.pivot_of is None]
    work = [
        (config.experiment_of(name, arguments.data, seed), config.folder(arguments.runs, name, arguments.data, seed))
        for seed in range(config.seeds)
        for name in trained
    ]
    with ProcessPoolExecutor(min(max(1, arguments.jobs), len(work)), mp_context=get_context("spawn")) as pool:
        for done, line in enumerate(pool.map(_train, work), start=1):
            print(f"{line} ({done} of {len(work)})", flush=True)


def _train(item: tuple[TranslationExperiment, Path]) -> str:
    experiment, folder = item
    torch.set_num_threads(1)  # trainings stand side by side
    trained = train(experiment, folder, quiet=True)
    told = "finished already" if trained.result is None else f"{trained.result.wall_s:.0f} s"
    return f"{folder.name}: dev loss {trained.metrics['loss']:.3f}, {told}"


if __name__ == "__main__":
    main()
