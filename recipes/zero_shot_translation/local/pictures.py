"""Pictures of the recipe: where the encoders put a sentence and its translations."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from settings import RecipeConfig
from translate import encodings_file

from data_prep.command import run
from speechnlp_tl.core.config import load_config
from speechnlp_tl.evaluation.plots import save
from speechnlp_tl.evaluation.sentence_plots import Encodings, sentence_clouds

SHOWN = 200
"""Sentences of each language."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True, help="as results call it")
    for name in ("conf", "data", "runs", "translations", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run(lambda: _work(parser.parse_args()))


def _work(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.conf, RecipeConfig)
    arguments.out.mkdir(parents=True, exist_ok=True)
    panels = []
    for system in config.picture:
        folder = config.translations(arguments.translations, arguments.runs, system, arguments.data, 0)
        files = {name: encodings_file(folder, name, config.languages[-1]) for name in config.languages}
        rows = {name: np.load(file, allow_pickle=False)[:SHOWN] for name, file in files.items()}
        panels.append(Encodings(system, rows))
    if panels:
        title = f"Test sentences and their translations, all encoded for '{config.languages[-1]}', pooled (t-SNE)"
        save(sentence_clouds(panels, title=title), arguments.out / f"{arguments.corpus}-interlingua.png")
    print(arguments.out)


if __name__ == "__main__":
    main()
