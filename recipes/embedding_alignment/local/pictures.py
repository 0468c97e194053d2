"""Pictures of the recipe: words and their translations before and after an alignment; P@1 against dictionary size."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from align import read_language
from corpora import dictionary
from runs import Runs
from settings import RecipeConfig, ends
from tables import Found

from data_prep.command import run
from speechnlp_tl.core.config import load_config
from speechnlp_tl.embeddings.space import Space
from speechnlp_tl.evaluation.plots import Series, adaptation_curve, save
from speechnlp_tl.evaluation.results import read_results
from speechnlp_tl.evaluation.word_plots import WordPairs, joined_pairs

SHOWN, WRITTEN = 250, 25
"""Pairs of words in the t-SNE, and those of them that are written out: the most frequent ones of the test."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    for name in ("conf", "data", "runs", "results", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run(lambda: _work(parser.parse_args()))


def _work(arguments: argparse.Namespace) -> None:
    runs = Runs(load_config(arguments.conf, RecipeConfig), arguments.data, arguments.runs)
    pair = runs.config.picture or runs.config.pairs[0]
    corpus = runs.config.corpus_name(arguments.corpus)
    arguments.out.mkdir(parents=True, exist_ok=True)
    _tsne(runs, pair, arguments.out / f"{corpus}-tsne.png")
    found = Found([record for record in read_results(arguments.results) if record.corpus == corpus])
    _sizes(found, pair, arguments.out / f"{corpus}-dictionary.png")
    print(arguments.out)


def _tsne(runs: Runs, pair: str, path: Path) -> None:
    """Test pairs, before and after the alignment with most dictionary words; no alignment has seen them."""
    source, target = (read_language(runs, language, 0) for language in ends(pair))
    rows = dictionary(runs.data, pair, "test").pairs(source, target).rows
    order = np.argsort(rows.max(axis=1), kind="stable")[:SHOWN]
    rows = rows[order]
    words = [(source.words[one], target.words[other]) for one, other in rows[:WRITTEN]]
    panels = [WordPairs("each language by itself", source.matrix[rows[:, 0]], target.matrix[rows[:, 1]])]
    name = next(name for name, system in runs.config.systems.items() if system.link == "dictionary")
    name = "procrustes" if "procrustes" in runs.config.systems else name
    budget = max(runs.config.budgets_of(name))
    between = Space.load(runs.alignment(name, pair, budget, 0)).between(source.name, target.name)
    mapped = between.map_source(source.matrix[rows[:, 0]]), between.map_target(target.matrix[rows[:, 1]])
    panels.append(WordPairs(f"{name}, {budget} dictionary words", *mapped))
    title = f"Test words of {pair} and their translations (t-SNE)"
    save(joined_pairs(panels, (source.name, target.name), words, title=title), path)


def _sizes(found: Found, pair: str, path: Path) -> None:
    """Only systems with more than one size make a line; those without a dictionary are level with the best of them."""
    budgets = [budget for budget in reversed(found.budgets(pair)) if budget]
    series, without = [], []
    for system in found.systems(pair, joint=False):
        records = [(budget, found.get(f"{system} (csls)", pair, budget)) for budget in budgets]
        there = [(budget, record) for budget, record in records if record is not None]
        if len(there) > 1:
            ends_ = [record.ci95 or (record.value, record.value) for _, record in there]
            x, y = [float(budget) for budget, _ in there], [record.value for _, record in there]
            series.append(Series(system, x, y, [low for low, _ in ends_], [high for _, high in ends_]))
        none = found.get(f"{system} (csls)", pair, 0)
        without += [] if none is None else [none.value]
    names = {"metric": "P@1", "baseline_name": "the best without", "amount": "dictionary"}
    level = max(without) if without else None
    save(adaptation_curve(series, "words", level, f"{pair}, by CSLS", **names), path)


if __name__ == "__main__":
    main()
