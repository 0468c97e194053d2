"""Stage 2: a model for each system and seed, and the text that one writes for another."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from settings import RecipeConfig
from translate import loaded

from data_prep.command import run
from recipes.run_records import in_parallel, record_of, write_record
from speechnlp_tl.atomic import write_text
from speechnlp_tl.core.config import load_config
from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.environment import peak_mb
from speechnlp_tl.translation.experiment import TranslationExperiment, train
from speechnlp_tl.translation.parallel_text import read_parallel


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
    # first the models that others need; those of all seeds together, so that one waits for few
    for depth in sorted({len(config.needed(name)) for name in config.trained}):
        level = [name for name in config.trained if len(config.needed(name)) == depth]
        members = [(name, seed) for seed in range(config.seeds) for name in level if seed in config.seeds_of(name)]
        texts = {folder: (config, name, *place, seed, half, folder)
                 for name, seed in members if config.systems[name].written_by is not None
                 for half, folder in config.written(name, *place, seed).items()}  # fmt: skip
        lacking = [item for folder, item in texts.items() if not record_of(folder).is_file()]
        if lacking:
            in_parallel(_write, lacking, arguments.jobs)
        # trainings are named after their text, so it has to be there now
        work = [
            (config.experiment_of(name, *place, seed), config.folder(arguments.runs, name, arguments.data, seed))
            for name, seed in members
        ]
        in_parallel(_train, work, arguments.jobs)


def _write(item: tuple[RecipeConfig, str, Path, Path, int, str, Path]) -> str:
    """One half of the unseen pair: the sentences of a half, beside what the writer makes of their English in the
    language that the half lacks."""
    torch.set_num_threads(1)
    config, system, data, runs, seed, half, folder = item
    left, hub, right = config.languages
    own, other = (left, right) if half == config.halves[0] else (right, left)
    text = read_parallel({name: data / "train" / half / f"{name}.txt" for name in (own, hub)}).sentences
    writer = config.systems[system].written_by
    assert writer is not None
    started = time.monotonic()
    model = loaded(config.folder(runs, writer, data, seed))
    made = model.translate(text[hub], other, config.search, hub)
    # a translation of half a sentence would stand beside a whole one
    rows = [(line, said) for number, (line, said) in enumerate(zip(text[own], made.lines, strict=True), 1)
            if said and number not in made.cut]  # fmt: skip
    if not rows:
        raise InputError(f"{writer}, seed {seed}, writes nothing in {other}: train it for longer")
    for name, lines in zip((own, other), zip(*rows, strict=True), strict=True):
        write_text(folder / f"{name}.txt", "".join(f"{line}\n" for line in lines))
    cost = {"wall_s": time.monotonic() - started, "peak_mb": peak_mb()}
    write_record(record_of(folder), cost | {"rows": len(rows)})
    return f"{half}, {other} by {writer}, seed {seed}: {len(rows)} of {len(made.lines)} sentences"


def _train(item: tuple[TranslationExperiment, Path]) -> str:
    experiment, folder = item
    torch.set_num_threads(1)  # trainings stand side by side
    trained = train(experiment, folder, quiet=True)
    told = "finished already" if trained.result is None else f"{trained.result.wall_s:.0f} s"
    return f"{folder.name}: dev loss {trained.metrics['loss']:.3f}, {told}"


if __name__ == "__main__":
    main()
