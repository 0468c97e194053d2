"""Stage 5: from translations to rates, with intervals over source words: results.json. Here the answers are read."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from corpora import dictionary
from numpy.typing import NDArray
from runs import Runs
from settings import RecipeConfig, ends
from translate import DEPTH, Translated, all_runs, languages, refused

from data_prep.command import run
from recipes.run_records import read_record, record_of
from speechnlp_tl.core.config import load_config
from speechnlp_tl.evaluation.results import Record, environment, write_results
from speechnlp_tl.evaluation.word_translation import AT, by_source, ranks

RECIPE = "embedding_alignment"
COVERAGE, TRIPS, CHANCE, WARNED, REFUSED = "coverage", "round trips", "round trips by chance", "warned", "refused"
ALIKE = "spelt alike, found"
RESAMPLES = 2000
BANDS = ((0, 500), (500, 5000), (5000, None))


@dataclass(frozen=True)
class Cell:
    """One system on one pair with one budget: all its seeds."""

    system: str
    pair: str
    budget: int | str
    runs: list[Translated]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    for name in ("conf", "data", "runs", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run(lambda: _work(parser.parse_args()))


def _work(arguments: argparse.Namespace) -> None:
    runs = Runs(load_config(arguments.conf, RecipeConfig), arguments.data, arguments.runs)
    corpus = runs.config.corpus_name(arguments.corpus)
    common = {"recipe": RECIPE, "corpus": corpus, "synthetic": arguments.corpus == "synthetic"}
    common |= {"commit": environment().get("commit")}
    records: list[Record] = []
    for cell in cells(runs):
        records += _records(runs, cell, common)
    # the coverage of a pair's test words is that of its vectors, whatever aligned them
    once = {record.key: record for record in records}
    write_results(arguments.out, once.values())
    print(arguments.out)


def cells(runs: Runs) -> Iterator[Cell]:
    found = sorted(all_runs(runs), key=lambda each: (each.system, each.pair, str(each.budget), each.seed))
    for (system, pair, budget), group in groupby(found, key=lambda each: (each.system, each.pair, each.budget)):
        yield Cell(system, pair, budget, list(group))


def _records(runs: Runs, cell: Cell, common: dict[str, Any]) -> list[Record]:
    source, target = ends(cell.pair)
    place = {**common, "source": source, "target": target, "budget": cell.budget, "seeds": len(cell.runs)}
    place |= {"selection": "training dictionary"}
    costs = [read_record(record_of(each.folder), 3) for each in cell.runs]
    system = runs.config.systems.get(cell.system)
    records = _signs(cell, costs, place, None if system is None else system.fallback)
    if why := refused(cell.runs[0]):
        return [*records, Record(**place, system=cell.system, metric=REFUSED, value=100.0, notes=why)]
    cost = {
        "wall_s": round(float(np.mean([each["wall_s"] for each in costs])), 2),
        "peak_mb": round(max(each["peak_mb"] for each in costs)),
    }
    one, other = languages(runs, cell.runs[0])
    pairs = dictionary(runs.data, cell.pair, "test").pairs(one, other)
    rows, correct = by_source(pairs.rows)
    # of jointly trained vectors the vocabularies are others than those of single languages
    vocabulary = "joint dictionary" if cell.budget == "sentences" else "dictionary"
    covered = {**place, "system": vocabulary, "budget": None, "seeds": None, "n": pairs.source_words}
    records.append(Record(**covered, metric=COVERAGE, value=_round(100 * pairs.coverage)))
    for retrieval in cell.runs[0].retrieval:
        found = np.stack([_ranks(runs, each, retrieval, rows, correct) for each in cell.runs])
        named = {**place, "system": f"{cell.system} ({retrieval})"}
        for metric, values in scores(found).items():
            ends_ = interval(values)
            value = 100 * float(values.mean())
            records.append(Record(**named, **cost, n=len(rows), metric=metric, value=_round(value), ci95=ends_))
        if retrieval == "csls":
            records += _bands(found, rows, named)
    return records


def _signs(cell: Cell, costs: list[dict[str, Any]], place: dict[str, Any], fallback: str | None) -> list[Record]:
    """What an alignment without a dictionary says of itself: means over seeds, and in how many of them it warned."""
    seen = [each for each in costs if "soundness" in each]
    if not seen:
        return []
    named = {**place, "system": cell.system}
    shown = {
        TRIPS: [each["soundness"]["round_trips"] for each in seen],
        CHANCE: [each["soundness"]["by_chance"] for each in seen],
        WARNED: [100.0 * (each["warning"] is not None) for each in seen],
    }
    alike = [found for each in seen if (found := each["soundness"].get("alike")) is not None]
    shown |= {ALIKE: alike} if alike else {}
    return [
        Record(
            **named,
            metric=metric,
            value=_round(float(np.mean(values))),
            notes=fallback if metric == WARNED else None,
        )
        for metric, values in shown.items()
    ]


def _ranks(
    runs: Runs, each: Translated, retrieval: str, rows: NDArray[np.int64], correct: list[NDArray[np.int64]]
) -> NDArray[np.int64]:
    record = read_record(each.file(runs), 4)
    assert record["rows"] == rows.tolist(), f"{each.file(runs)}: other words: run stage 4 again"
    best = np.array([line.split() for line in record["best"][retrieval]], dtype=np.int64)
    assert best.shape == (len(rows), DEPTH)
    return ranks(best, correct)


def scores(found: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Metric -> (seeds, words) what each word counts, of ranks with 0 for none."""
    hits = {f"p@{k}": ((found > 0) & (found <= k)).astype(np.float64) for k in AT}
    return hits | {"mrr": np.where(found > 0, 1 / np.maximum(found, 1), 0.0)}


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % bootstrap interval in percent of the mean, with source words and seeds both drawn with replacement."""
    seeds, count = values.shape
    shares = np.random.default_rng(0).multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds
    drawn = ((drawn_words(count) @ values.T) * shares).sum(axis=1) / count
    low, high = np.quantile(drawn, [0.025, 0.975])
    return _round(100 * float(low)), _round(100 * float(high))


@lru_cache(maxsize=8)
def drawn_words(count: int) -> NDArray[np.float64]:
    """(resamples, count) how often each of the words is drawn: the same for all systems."""
    return np.random.default_rng(1).multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(np.float64)


def _bands(found: NDArray[np.int64], rows: NDArray[np.int64], named: dict[str, Any]) -> list[Record]:
    """P@1 by the rank of the source word in frequency."""
    records = []
    for first, last in BANDS:
        inside = (rows >= first) & (rows < (last or len(rows) + int(rows.max()) + 1))
        if inside.sum() > 1:
            values = scores(found[:, inside])["p@1"]
            metric = f"p@1, rank {first + 1}-{last}" if last else f"p@1, rank above {first}"
            value = _round(100 * float(values.mean()))
            records.append(Record(**named, n=int(inside.sum()), metric=metric, value=value, ci95=interval(values)))
    return records


def _round(value: float) -> float:
    return round(value, 2)


if __name__ == "__main__":
    main()
