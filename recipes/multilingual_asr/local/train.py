"""Stage 2: a model for each system and seed, one of all other languages for each that will be learned as new, and those
of a new language's minutes alone or with the others' speech."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from settings import SCRATCH, UNTAUGHT, RecipeConfig

from data_prep.command import run
from recipes.run_records import in_parallel
from speechnlp_tl.core.config import load_config
from speechnlp_tl.speech.multilingual_experiment import MultilingualExperiment, train

Work = tuple[MultilingualExperiment, Path]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("conf", "data", "runs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2, help="trainings side by side")
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.conf, RecipeConfig)
    # seed by seed, so that a table is there early
    for seed in range(config.seeds):
        work = list(trainings(config, arguments.data, arguments.runs, seed).items())
        for later in (False, True):  # what others begin from comes first
            now = [item for item in work if (item[1].initial is not None) is later]
            in_parallel(_train, now, arguments.jobs)


def trainings(config: RecipeConfig, data: Path, runs: Path, seed: int) -> dict[Path, MultilingualExperiment]:
    """Every training of a seed, by its folder."""
    found: dict[Path, MultilingualExperiment] = {}
    for system, own in config.systems.items():
        if seed not in config.seeds_of(own.seeds):
            continue
        found |= config.trainings_of(runs, system, data, seed)
    for method, target, minutes, of_seed in config.learnings(data):
        if of_seed != seed:
            continue
        source = "others" if method in UNTAUGHT else config.methods[method].source
        settings = {} if source == "others" else config.systems[source].settings
        folder = config.source_folder(runs, method, target, data, seed)
        # also where nothing is taught: its search weights are those of all methods
        found[folder] = config.experiment_of(config.others(target), data, seed, settings)
        if method in UNTAUGHT:
            folder = config.learned_folder(runs, method, target, minutes, data, seed)
            made = config.scratch_of if method == SCRATCH else config.joint_of
            found[folder] = made(target, data, minutes, seed)
    return found


def _train(item: tuple[Path, MultilingualExperiment]) -> str:
    folder, experiment = item
    torch.set_num_threads(1)  # trainings stand side by side
    trained = train(experiment, folder, quiet=True)
    wers = ", ".join(f"{name} {wer:.1f}" for name, wer in trained.dev_wer.items())
    told = "finished already" if trained.result is None else f"{trained.result.wall_s:.0f} s"
    return f"{folder.name}: dev WER {wers or 'not measured'}, {told}"


if __name__ == "__main__":
    main()
