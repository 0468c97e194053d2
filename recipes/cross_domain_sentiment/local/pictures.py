"""Pictures of the recipe: the domain classifier on every pair, and where reviews lie before and after adaptation."""

from __future__ import annotations

import argparse
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from network_systems import parted, train_network
from numpy.typing import NDArray
from pairs import Features, Pair, read_pair
from run_record import runs_on
from run_systems import DENOISERS
from settings import RecipeConfig

from data_prep.amazon import label_names
from data_prep.command import run
from speechnlp_tl.core.config import load_config
from speechnlp_tl.evaluation.domain_plots import Cloud, clouds, domain_accuracy_curves
from speechnlp_tl.evaluation.plots import save
from speechnlp_tl.text.classification import Documents
from speechnlp_tl.text.classifier import DocumentClassifier, hidden_activations

PLAIN, ADVERSARY = "network", "dann"
SHOWN = 500
"""Reviews of each domain in a t-SNE."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    for name in ("conf", "data", "runs", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.conf, RecipeConfig)
    shown = [name for name in (PLAIN, ADVERSARY, "mmd") if name in config.systems]
    if ADVERSARY not in shown or PLAIN not in shown:
        print(f"no pictures: the config has no systems '{PLAIN}' and '{ADVERSARY}'")
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    curves, denoisers = {}, runs_on(arguments.data, arguments.runs) / DENOISERS
    classes = label_names(arguments.data)
    for number, (source, target) in enumerate(permutations(config.domains_in(arguments.data), 2)):
        pair = read_pair(arguments.data, *sorted((source, target)), config, denoisers)
        features = pair.features(config.systems[ADVERSARY], source)
        _, history = _trained(config, ADVERSARY, features)
        curves[f"{source} → {target}"] = [float(record["dann_domain_accuracy"]) for record in history]
        if number == 1:
            labels = [
                classes[label] for name in (source, target) for label in pair.train[name].labels[_some(pair, name)]
            ]
            panels = [_cloud(config, name, features, labels, pair, (source, target)) for name in shown]
            figure = clouds(panels, title=f"Hidden layer, training reviews, {source} → {target} (t-SNE)")
            save(figure, arguments.out / f"{arguments.corpus}-tsne.png")
    figure = domain_accuracy_curves(curves, title="DANN: is the domain classifier misled?", label="pairs of domains")
    save(figure, arguments.out / f"{arguments.corpus}-domain-classifier.png")
    print(arguments.out)


def _trained(config: RecipeConfig, name: str, features: Features) -> tuple[DocumentClassifier, list[dict[str, Any]]]:
    train, validation = parted(features.source, config.held_out, 0)
    watched = config.model_copy(update={"train": config.train.model_copy(update={"evaluate_every": 1})})
    unlabelled = Documents(features.target, None, 1, "target")
    trained = train_network(config.systems[name], watched, train, validation, unlabelled, 0)
    return trained.model, trained.result.history


def _some(pair: Pair, name: str) -> NDArray[np.int64]:
    """Numbers of the reviews that are shown, at random: files may begin with all reviews of one class.

    Their labels choose the markers, nothing else.
    """
    count = len(pair.train[name].labels)
    return np.sort(np.random.default_rng(0).permutation(count)[:SHOWN])


def _cloud(
    config: RecipeConfig, name: str, features: Features, labels: list[str], pair: Pair, names: tuple[str, str]
) -> Cloud:
    model, _ = _trained(config, name, features)
    last = list(model.hidden_layers)[-1]
    rows = [features.source.rows[_some(pair, names[0])], features.target[_some(pair, names[1])]]
    domain = np.repeat(names, [part.shape[0] for part in rows]).tolist()
    points = np.concatenate([hidden_activations(model, part, last) for part in rows])
    return Cloud(name, points, domain, labels)


if __name__ == "__main__":
    main()
