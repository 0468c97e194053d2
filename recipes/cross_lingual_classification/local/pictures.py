"""Pictures of the recipe: verses of two languages before and after their words share a space."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from align import read_space
from numpy.typing import NDArray
from runs import Runs
from settings import RecipeConfig

from data_prep.command import run
from speechnlp_tl.core.config import load_config
from speechnlp_tl.embeddings.vector_files import read_vectors
from speechnlp_tl.evaluation.domain_plots import Cloud, clouds
from speechnlp_tl.evaluation.plots import save
from speechnlp_tl.text.word_vector_features import WordVectorFeatures

SHOWN = 600
"""Verses of each language."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    for name in ("conf", "data", "runs", "results", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run(lambda: _work(parser.parse_args()))


def _work(arguments: argparse.Namespace) -> None:
    runs = Runs(load_config(arguments.conf, RecipeConfig), arguments.data, arguments.runs)
    config, target = runs.config, runs.config.targets[0]
    aligned = [name for name, space in config.spaces.items() if space.method is not None]
    panels = []
    if aligned:
        own = {name: read_vectors(runs.vectors(name, 0), name=name) for name in (config.source, target)}
        panels.append(_cloud(runs, "each language by itself", WordVectorFeatures.of(own), target))
    shown = list(dict.fromkeys([config.picture or next(iter(config.spaces)), list(config.spaces)[-1]]))
    panels += [_cloud(runs, name, read_space(runs, name, target, 0), target) for name in shown]
    arguments.out.mkdir(parents=True, exist_ok=True)
    title = f"Verses of test books, {config.source} and {target}, as means of word vectors (t-SNE)"
    save(clouds(panels, title=title), arguments.out / f"{arguments.corpus}-tsne.png")
    print(arguments.out)


def _cloud(runs: Runs, name: str, features: WordVectorFeatures, target: str) -> Cloud:
    rows, domain, labels = list[NDArray[np.float32]](), list[str](), list[str]()
    for language in (runs.config.source, target):
        verses = runs.verses(language)
        numbers = np.random.default_rng(0).permutation(verses.of(runs.division(0).test))[:SHOWN]
        rows.append(features.rows([verses.texts[number] for number in numbers], [language] * len(numbers)))
        domain += [language] * len(numbers)
        labels += [verses.genres[verses.labels[number]] for number in numbers]
    return Cloud(name, np.concatenate(rows), domain, labels)


if __name__ == "__main__":
    main()
