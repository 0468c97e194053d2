"""From predictions to accuracies: intervals over documents and seeds, gains over the SVM, means over pairs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from run_record import RunName, read_run, runs_on, settings_of
from run_systems import seeds_of
from settings import RecipeConfig

from data_prep.amazon import read_prepared
from speechnlp_tl.evaluation.results import Record
from speechnlp_tl.evaluation.significance import paired_comparison

BASELINE = "svm"
MEAN = "mean"
ACCURACY, GAIN, P_VALUE, DISTANCE = "accuracy", "accuracy gain", "p-value", "proxy A-distance"
RESAMPLES = 2000
PairName = tuple[str, str]


@dataclass(frozen=True)
class Cell:
    """One system on one pair."""

    correct: NDArray[np.bool_]
    """(seeds, n) by test review."""
    runs: list[dict[str, Any]]

    @property
    def accuracy(self) -> float:
        return 100 * float(self.correct.mean())


def read_cells(config: RecipeConfig, runs: Path, data: Path) -> dict[str, dict[PairName, Cell]]:
    """System -> pair -> cell. This is the one place where labels of test reviews are read.

    Raises:
        InputError: a run is missing, or is of other settings.
    """
    domains, runs = config.domains_in(data), runs_on(data, runs)
    labels = {name: read_prepared(data / name, features=None)["test"].labels for name in domains}
    cells: dict[str, dict[PairName, Cell]] = {}
    for system in config.systems:
        for source, target in permutations(domains, 2):
            seeds = range(seeds_of(config, system))
            settings = settings_of(config, system)
            found = [read_run(RunName(system, source, target, seed).file(runs), settings) for seed in seeds]
            correct = np.stack([run["predictions"] == labels[target] for run in found])
            cells.setdefault(system, {})[source, target] = Cell(correct, found)
    return cells


def resampled_accuracies(
    cells: dict[str, dict[PairName, Cell]], resamples: int = RESAMPLES
) -> dict[str, dict[PairName, NDArray[np.float64]]]:
    """System -> pair -> (resamples,) accuracies in percent, with test reviews and seeds both drawn with replacement.

    All systems and pairs with one target draw the same reviews, and all with as many seeds the same seeds, so that
    means over pairs keep what the pairs share.
    """
    found: dict[str, dict[PairName, NDArray[np.float64]]] = {system: {} for system in cells}
    by_target: dict[str, list[tuple[str, PairName]]] = {}
    for system, pairs in cells.items():
        for pair in pairs:
            by_target.setdefault(pair[1], []).append((system, pair))
    for target, names in by_target.items():
        correct = [cells[system][pair].correct for system, pair in names]
        means = _resampled_means(np.concatenate(correct), target, resamples)
        ends = np.cumsum([len(part) for part in correct])
        for (system, pair), own in zip(names, np.split(means, ends[:-1]), strict=True):
            seeds = len(own)
            drawn = np.random.default_rng(0).multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
            found[system][pair] = 100 * np.einsum("rs,sr->r", drawn, own)
    return found


def _resampled_means(correct: NDArray[np.bool_], target: str, resamples: int) -> NDArray[np.float64]:
    """(rows, resamples) means of the (rows, n) answers over the target's reviews, drawn once for all of them."""
    count = correct.shape[1]
    random_numbers = np.random.default_rng(list(target.encode()))
    answers = correct.T.astype(np.float32)  # sums of ones are exact in it
    sums = []
    for some in np.array_split(np.arange(resamples), -(-resamples // 200)):
        drawn = [np.bincount(random_numbers.integers(0, count, count), minlength=count) for _ in some]
        sums.append(np.stack(drawn).astype(np.float32) @ answers)
    return np.concatenate(sums).T.astype(np.float64) / count


def make_records(cells: dict[str, dict[PairName, Cell]], common: dict[str, Any]) -> list[Record]:
    """Accuracy, gain over the SVM with its p-value and distance, of each system on each pair and in the mean."""
    records: list[Record] = []
    resampled = resampled_accuracies(cells)
    for system, pairs in cells.items():
        first = next(iter(pairs.values()))
        fixed = {**common, "system": system, "seeds": len(first.runs), "selection": first.runs[0]["selection"]}
        for (source, target), cell in pairs.items():
            place = {**fixed, "source": source, "target": target, "n": cell.correct.shape[1]}
            ends = _ends(resampled[system][source, target])
            cost = _cost(cell.runs)
            records.append(Record(**place, **cost, metric=ACCURACY, value=_round(cell.accuracy), ci95=ends))
            if system != BASELINE:
                records += _gain({(source, target): cell}, cells[BASELINE], place)
            records += _distances(cell, place)
        records += _means(pairs, resampled[system], cells[BASELINE], fixed)
    return records


def _means(
    found: dict[PairName, Cell],
    resampled: dict[PairName, NDArray[np.float64]],
    baseline: dict[PairName, Cell],
    fixed: dict[str, Any],
) -> list[Record]:
    # a target's test reviews are judged once for each source, and are still as many reviews as they are
    reviews = sum({target: cell.correct.shape[1] for (_, target), cell in found.items()}.values())
    place = {**fixed, "target": MEAN, "n": reviews}
    ends = _ends(np.mean(list(resampled.values()), axis=0))
    mean = float(np.mean([cell.accuracy for cell in found.values()]))
    cost = _cost([run for cell in found.values() for run in cell.runs])
    records = [Record(**place, **cost, metric=ACCURACY, value=_round(mean), ci95=ends)]
    if fixed["system"] != BASELINE:
        records += _gain(found, baseline, place)
    distances = [record.value for cell in found.values() for record in _distances(cell, place)]
    if len(distances) == len(found):
        records.append(Record(**place, metric=DISTANCE, value=_round(float(np.mean(distances)), 3)))
    return records


def _gain(found: dict[PairName, Cell], baseline: dict[PairName, Cell], place: dict[str, Any]) -> list[Record]:
    """Points gained over the baseline, paired by test review: one review is one unit, whatever was the source.

    An error of one seed counts as one of as many tries. The interval is that of all tries together; with targets of
    unequal size it is moved to the mean over pairs.
    """
    counts: dict[str, NDArray[np.int64]] = {}
    for (source, target), cell in found.items():
        base = baseline[source, target]
        own, their = len(cell.correct), len(base.correct)
        tries = np.full(cell.correct.shape[1], own * their)
        added = np.stack([(~cell.correct).sum(0) * their, (~base.correct).sum(0) * own, tries])
        counts[target] = counts.get(target, 0) + added
    compared = paired_comparison(*np.concatenate(list(counts.values()), axis=1), resamples=RESAMPLES)
    gain = float(np.mean([cell.accuracy - baseline[pair].accuracy for pair, cell in found.items()]))
    shift = gain + compared.difference
    ends = _round(shift - compared.high), _round(shift - compared.low)
    notes = f"paired with '{BASELINE}' by test review; resampled over reviews, not over seeds"
    return [
        Record(**place, metric=GAIN, value=_round(gain), ci95=ends, notes=notes),
        Record(**place, metric=P_VALUE, value=float(f"{compared.p:.2g}"), notes=notes),
    ]


def _distances(cell: Cell, place: dict[str, Any]) -> list[Record]:
    found = [run["distance"] for run in cell.runs if run["distance"]]
    if not found:
        return []
    ends = {"ci95": tuple(_round(end, 3) for end in found[0]["ci95"])} if len(found) == 1 else {}
    value = float(np.mean([distance["value"] for distance in found]))
    return [Record(**{**place, "n": found[0]["n"]}, metric=DISTANCE, value=_round(value, 3), **ends)]


def _cost(runs: list[dict[str, Any]]) -> dict[str, float]:
    """The mean time of a run and the most memory of any."""
    return {
        "wall_s": round(float(np.mean([run["wall_s"] for run in runs])), 2),
        "peak_mb": round(max(run["peak_mb"] for run in runs)),
    }


def _ends(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return _round(float(low)), _round(float(high))


def _round(value: float, decimals: int = 2) -> float:
    return round(value, decimals)
