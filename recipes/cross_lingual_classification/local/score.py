"""Stage 5: accuracies of every system, language by language, with intervals over books and divisions: results.json.
This is the one place where labels of test verses are read."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from runs import Runs
from settings import RecipeConfig

from data_prep.command import run
from recipes.run_records import read_record
from speechnlp_tl.core.config import load_config
from speechnlp_tl.evaluation.accuracy import accuracy
from speechnlp_tl.evaluation.results import Record, environment, write_results
from speechnlp_tl.evaluation.significance import paired_comparison

RECIPE = "cross_lingual_classification"
ACCURACY, MACRO_F1, GAIN, P_VALUE, MEAN = "accuracy", "macro-F1", "accuracy gain", "p-value", "mean"
RESAMPLES = 2000


@dataclass(frozen=True)
class Cell:
    """One system on one language, all divisions."""

    right: list[NDArray[np.bool_]]
    """Of each division, (n,) by test verse."""
    books: list[list[str]]
    """Of the same verses."""
    macro_f1: list[float]
    records: list[dict[str, Any]]

    @property
    def accuracy(self) -> float:
        """The mean over divisions, in percent."""
        return 100 * float(np.mean([own.mean() for own in self.right]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    for name in ("conf", "data", "runs", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run(lambda: _work(parser.parse_args()))


def _work(arguments: argparse.Namespace) -> None:
    runs = Runs(load_config(arguments.conf, RecipeConfig), arguments.data, arguments.runs)
    common = {"recipe": RECIPE, "corpus": arguments.corpus, "synthetic": arguments.corpus == "synthetic"}
    common |= {"commit": environment().get("commit"), "source": runs.config.source, "seeds": runs.config.splits}
    write_results(arguments.out, records(runs, common))
    print(arguments.out)


def read_cell(runs: Runs, system: str, target: str) -> Cell:
    """What a system said of a language's test verses, against their labels.

    Raises:
        InputError: a run is missing or damaged.
    """
    verses = runs.verses(target)
    cell = Cell([], [], [], [])
    for split in range(runs.config.splits):
        record = read_record(runs.predictions(system, target, split), 4)
        numbers = verses.of(runs.division(split).test)
        said, truth = np.array(record["predictions"].split(), dtype=np.int64), verses.labels[numbers]
        cell.right.append(said == truth)
        cell.books.append([verses.books[number] for number in numbers])
        names = [[verses.genres[label] for label in labels.tolist()] for labels in (truth, said)]
        cell.macro_f1.append(accuracy(names[0], names[1]).macro_f1)
        cell.records.append(record)
    return cell


def records(runs: Runs, common: dict[str, Any]) -> Iterator[Record]:
    """Accuracy, macro-F1 and the gain over the baseline, of each system on each language and in the mean."""
    config = runs.config
    cells = {name: {target: read_cell(runs, name, target) for target in config.targets} for name in config.systems}
    baseline = cells[config.baseline]
    for name, found in cells.items():
        first = next(iter(found.values()))
        fixed = {**common, "system": name, "selection": first.records[0]["selection"]}
        resampled = {target: resampled_accuracies(cell) for target, cell in found.items()}
        for target, cell in found.items():
            costs = [record["wall_s"] for record in cell.records]
            cost = {"wall_s": round(float(np.mean(costs)), 2), "peak_mb": max(r["peak_mb"] for r in cell.records)}
            place = {**fixed, "target": target, "n": sum(map(len, cell.right))}
            ends = _ends(resampled[target])
            yield Record(**place, **cost, metric=ACCURACY, value=round(cell.accuracy, 2), ci95=ends)
            yield Record(**place, metric=MACRO_F1, value=round(float(np.mean(cell.macro_f1)), 2))
            if name != config.baseline:
                yield from _gain([cell], [baseline[target]], place, config.baseline)
        place = {**fixed, "target": MEAN, "n": sum(len(own) for cell in found.values() for own in cell.right)}
        mean = float(np.mean([cell.accuracy for cell in found.values()]))
        ends = _ends(np.mean(list(resampled.values()), axis=0))
        yield Record(**place, metric=ACCURACY, value=round(mean, 2), ci95=ends)
        f1 = float(np.mean([np.mean(cell.macro_f1) for cell in found.values()]))
        yield Record(**place, metric=MACRO_F1, value=round(f1, 2))
        if name != config.baseline:
            yield from _gain(list(found.values()), [baseline[target] for target in found], place, config.baseline)


def resampled_accuracies(cell: Cell, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """(resamples,) accuracies in percent, with divisions drawn with replacement and, within each, its test books.

    Verses of one book resemble each other, so books are the units. Every system and language draws alike.
    """
    splits = len(cell.right)
    pairs = enumerate(zip(cell.right, cell.books, strict=True))
    means = np.stack([_resampled_books(right, books, split, resamples) for split, (right, books) in pairs])
    drawn = np.random.default_rng(0).multinomial(splits, np.full(splits, 1 / splits), resamples) / splits
    return 100 * np.einsum("rs,sr->r", drawn, means)


def _resampled_books(right: NDArray[np.bool_], books: list[str], split: int, resamples: int) -> NDArray[np.float64]:
    """(resamples,) shares of right answers over as many test books, drawn with replacement."""
    correct, sizes = by_book(right, books)
    count = len(sizes)
    drawn = np.random.default_rng([1, split]).multinomial(count, np.full(count, 1 / count), resamples)
    return np.asarray((drawn @ correct) / (drawn @ sizes), dtype=np.float64)


def by_book(right: NDArray[np.bool_], books: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(books,) right answers and (books,) verses."""
    _, place = np.unique(books, return_inverse=True)
    return np.bincount(place, weights=right), np.bincount(place).astype(np.float64)


def _gain(found: list[Cell], baseline: list[Cell], place: dict[str, Any], name: str) -> Iterator[Record]:
    """Points gained over the baseline, paired by book: a book is one unit, in whatever language and division."""
    wrong, theirs, books = [], [], []
    for cell, base in zip(found, baseline, strict=True):
        wrong += [~own for own in cell.right]
        theirs += [~own for own in base.right]
        books += [book for own in cell.books for book in own]
    errors, others = np.concatenate(wrong).astype(np.int64), np.concatenate(theirs).astype(np.int64)
    compared = paired_comparison(errors, others, np.ones(len(errors)), books, resamples=RESAMPLES)
    gain = float(np.mean([cell.accuracy - base.accuracy for cell, base in zip(found, baseline, strict=True)]))
    # the comparison counts all verses together, the gain is a mean over divisions and languages
    shift = gain + compared.difference
    ends = round(shift - compared.high, 2), round(shift - compared.low, 2)
    notes = f"paired with '{name}' by book"
    yield Record(**place, metric=GAIN, value=round(gain, 2), ci95=ends, notes=notes)
    yield Record(**place, metric=P_VALUE, value=float(f"{compared.p:.2g}"), notes=notes)


def _ends(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return round(float(low), 2), round(float(high), 2)


if __name__ == "__main__":
    main()
