"""Stage 5: BLEU, chrF and the off-target rate of every system and direction."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from settings import RECIPE, RecipeConfig, translation_file

from data_prep.command import run
from speechnlp_tl.core.config import load_config
from speechnlp_tl.evaluation.bleu import corpus_score
from speechnlp_tl.evaluation.language_identification import LanguageIdentifier
from speechnlp_tl.evaluation.results import Record, write_results
from speechnlp_tl.evaluation.significance import mean_interval
from speechnlp_tl.translation.parallel_text import read_parallel

IDENTIFIER = "language identifier"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--leaky", choices=("true", "false"), required=True)
    for name in ("conf", "data", "runs", "translations", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.conf, RecipeConfig)
    text = {part: _text(arguments.data, part, config) for part in ("dev", "test")}
    identifier = LanguageIdentifier.fit(_training_text(arguments.data, config))
    leaky = arguments.leaky == "true"
    common: dict[str, Any] = {
        "recipe": RECIPE,
        "corpus": f"{arguments.corpus}, leaky" if leaky else arguments.corpus,
        "synthetic": arguments.corpus == "synthetic",
    }
    held_out = sum(map(len, text["dev"].values()))
    records = [
        Record(**common, system=IDENTIFIER, metric="accuracy", value=identifier.accuracy(text["dev"]), n=held_out,
               selection="fixed")
    ]  # fmt: skip
    for name in config.systems:
        facts = _facts(config, arguments, name)
        for direction in config.directions(name):
            records += _records(common | facts, config, arguments, name, direction, text["test"], identifier)
    write_results(arguments.out, records)
    for record in records:
        if record.metric == "bleu" and (record.source, record.target) in config.unseen:
            print(f"{record.system}: {record.source}-{record.target} BLEU {record.value:.1f}")


def _records(
    common: dict[str, Any], config: RecipeConfig, arguments: argparse.Namespace, system: str,
    direction: tuple[str, str], test: Mapping[str, Sequence[str]], identifier: LanguageIdentifier,
) -> list[Record]:  # fmt: skip
    source, target = direction
    outputs = []
    for seed in range(config.seeds):
        folder = config.folder(arguments.runs, system, arguments.data, seed)
        file = translation_file(arguments.translations, folder, system, config, direction)
        outputs.append(file.read_text(encoding="utf-8").removesuffix("\n").split("\n"))
    common = common | {"system": system, "source": source, "target": target, "n": len(test[target]),
                       "seeds": config.seeds, "selection": "fixed"}  # fmt: skip
    records = []
    for metric in ("bleu", "chrf"):
        scores = [corpus_score(lines, test[target], metric) for lines in outputs]
        value, ci95 = _over_seeds([score.value for score in scores], scores[0].ci95)
        records.append(Record(**common, metric=metric, value=value, ci95=ci95, notes=scores[0].signature))
    rates = [identifier.off_target_rate(lines, target) for lines in outputs]
    value, ci95 = _over_seeds(rates, None)
    return [*records, Record(**common, metric="off-target", value=value, ci95=ci95)]


def _over_seeds(
    values: Sequence[float], single: tuple[float, float] | None
) -> tuple[float, tuple[float, float] | None]:
    """Mean and t interval over seeds; with one seed its own interval over sentences."""
    if len(values) == 1:
        return values[0], single
    interval = mean_interval(values)
    return interval.mean, interval.ci95


def _facts(config: RecipeConfig, arguments: argparse.Namespace, system: str) -> dict[str, Any]:
    """Costs of a training, and the commit that made it."""
    folder = config.folder(arguments.runs, system, arguments.data, 0)
    commit = json.loads((folder / "environment.json").read_text(encoding="utf-8")).get("commit")
    if config.systems[system].pivot_of is not None:
        return {"commit": commit}
    run_facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return {"wall_s": run_facts["wall_s"], "peak_mb": run_facts["peak_mb"], "commit": commit}


def _text(data: Path, part: str, config: RecipeConfig) -> Mapping[str, Sequence[str]]:
    return read_parallel({name: data / part / f"{name}.txt" for name in config.languages}).sentences


def _training_text(data: Path, config: RecipeConfig) -> dict[str, list[str]]:
    """Sentences of each language in the halves."""
    lines: dict[str, list[str]] = {name: [] for name in config.languages}
    for pair in config.halves:
        files = {name: data / "train" / pair / f"{name}.txt" for name in pair.split("-")}
        for name, side in read_parallel(files).sentences.items():
            lines[name] += side
    return lines


if __name__ == "__main__":
    main()
