"""Stage 4: the test sentences in every direction of every system."""

from __future__ import annotations

import argparse
from pathlib import Path

from settings import RecipeConfig, translation_file

from data_prep.command import run
from speechnlp_tl.atomic import write_text
from speechnlp_tl.core.config import load_config
from speechnlp_tl.translation.parallel_text import read_parallel
from speechnlp_tl.translation.translation_model import load_translation_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("conf", "data", "runs", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.conf, RecipeConfig)
    test = read_parallel({name: arguments.data / "test" / f"{name}.txt" for name in config.languages}).sentences
    hub = config.languages[1]
    for seed in range(config.seeds):
        for name, system in config.systems.items():
            folder = config.folder(arguments.runs, name, arguments.data, seed)
            model = load_translation_model(folder)
            for source, target in config.directions(name):
                if system.pivot_of is None:
                    found = model.translate(test[source], target, config.search, source)
                else:
                    found = model.pivot(test[source], hub, target, config.search)
                file = translation_file(arguments.out, folder, name, config, (source, target))
                write_text(file, "".join(f"{line}\n" for line in found.lines))
            print(f"{name}, seed {seed}: {len(config.directions(name))} directions", flush=True)


if __name__ == "__main__":
    main()
