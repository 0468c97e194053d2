"""Stage 5: BLEU, chrF and the off-target rate of every system and direction, and how alike translations are encoded."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from settings import RECIPE, Direction, RecipeConfig
from translate import encodings_file, read_test

from data_prep.command import run
from recipes.run_records import record_of
from speechnlp_tl.core.config import load_config
from speechnlp_tl.embeddings.retrieval import neighbours
from speechnlp_tl.evaluation.bleu import compare_scores, corpus_score
from speechnlp_tl.evaluation.language_identification import LanguageIdentifier
from speechnlp_tl.evaluation.results import Record, write_results
from speechnlp_tl.evaluation.significance import mean_interval
from speechnlp_tl.translation.parallel_text import read_parallel

IDENTIFIER = "language identifier"
BLEU, CHRF, OFF_TARGET, CHANGE = "bleu", "chrf", "off-target", "bleu change"
KEPT = "bleu, old directions"
ADDED = "new language"
"""The budget of systems that one was added to: they have a table of their own."""
RETRIEVAL, RETRIEVAL_TRAINED = "retrieval", "retrieval, trained pair"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--named", required=True, help="what results call it: other text or settings are another")
    for name in ("conf", "data", "runs", "translations", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.conf, RecipeConfig)
    test = read_test(arguments.data, config)
    dev = read_parallel({name: arguments.data / "dev" / f"{name}.txt" for name in config.all_languages}).sentences
    identifier = LanguageIdentifier.fit(_training_text(arguments.data, config))
    common: dict[str, Any] = {
        "recipe": RECIPE,
        "corpus": arguments.named,
        "synthetic": arguments.corpus == "synthetic",
        "selection": "fixed",
    }
    held_out = sum(map(len, dev.values()))
    accuracy = identifier.accuracy(dev)
    records = [Record(**common, system=IDENTIFIER, metric="accuracy", value=accuracy, n=held_out)]
    for name in config.systems:
        facts = common | _facts(config, arguments, name)
        for direction in config.directions(name):
            records += _translated(facts, config, arguments, name, direction, test, identifier)
            records += _compared(facts, config, arguments, name, direction, test)
        records += _retrieved(facts, config, arguments, name)
    records += [kept for name in config.systems for kept in _kept(config, records, name)]
    write_results(arguments.out, records)
    for record in records:
        if record.metric == BLEU and (record.source, record.target) in config.unseen:
            print(f"{record.system}: {record.source}-{record.target} BLEU {record.value:.1f}")


def _translated(
    common: dict[str, Any], config: RecipeConfig, arguments: argparse.Namespace, system: str, direction: Direction,
    test: Mapping[str, Sequence[str]], identifier: LanguageIdentifier,
) -> list[Record]:  # fmt: skip
    source, target = direction
    outputs = [_output(folder, direction) for folder in _folders(config, arguments, system)]
    common = common | {"source": source, "target": target, "n": len(test[target])}
    records = []
    for metric in (BLEU, CHRF):
        scores = [corpus_score(lines, test[target], metric) for lines in outputs]  # type: ignore[arg-type]
        value, ci95 = over_seeds([score.value for score in scores], scores[0].ci95)
        records.append(Record(**common, metric=metric, value=value, ci95=ci95, notes=scores[0].signature))
    value, ci95 = over_seeds([identifier.off_target_rate(lines, target) for lines in outputs], None)
    return [*records, Record(**common, metric=OFF_TARGET, value=value, ci95=ci95)]


def _retrieved(
    common: dict[str, Any], config: RecipeConfig, arguments: argparse.Namespace, system: str
) -> list[Record]:
    """In each direction without training sentences: is a sentence encoded nearest its translation in the common
    language, from which the decoder has learned to write? And how is it into that language? Both are encoded for the
    same one, so that what differs is who speaks and not who listens."""
    left, hub, right = config.languages
    records = []
    for metric, one, other, target in (
        (RETRIEVAL, left, hub, right),
        (RETRIEVAL, right, hub, left),
        (RETRIEVAL_TRAINED, left, right, hub),
    ):
        files = [[encodings_file(folder, language, target) for language in (one, other)]
                 for folder in _folders(config, arguments, system)]  # fmt: skip
        if not all(file.is_file() for pair in files for file in pair):
            continue
        shares = [retrieval_accuracy(*(np.load(file, allow_pickle=False) for file in pair)) for pair in files]
        value, ci95 = over_seeds(shares, None)
        n = len(np.load(files[0][0], allow_pickle=False))
        told = {"notes": f"{one} among {other}, for {target}"}
        facts = common | {"source": one, "target": target, "metric": metric}
        records.append(Record(**facts | told, value=value, ci95=ci95, n=n))
    return records


def retrieval_accuracy(source: NDArray[np.float32], target: NDArray[np.float32]) -> float:
    """Percent of rows whose nearest target by cosine is their own."""
    centred = [rows - rows.mean(0) for rows in (source, target)]
    return 100 * float((neighbours(*centred, 1).rows[:, 0] == np.arange(len(source))).mean())


def _kept(config: RecipeConfig, records: Sequence[Record], system: str) -> list[Record]:
    """BLEU of the directions that a system had before a language was added, with what it was in `notes`: of each, those
    without training sentences too, and the mean of the trained ones (without source and target)."""
    line = config.line(system)
    own = {(each.system, each.source, each.target): each for each in records if each.metric == BLEU}
    added = next((each for each in own.values() if each.system == system and each.budget == ADDED), None)
    if added is None or len(line) < 2:
        return []

    def changed(directions: Sequence[Direction], source: str | None, target: str | None) -> Record:
        after, before = (
            sum(own[(name, *each)].value for each in directions) / len(directions) for name in (system, line[-2])
        )
        told = {"value": after, "notes": f"{before:.1f} before", "source": source, "target": target}
        return added.model_copy(update={"metric": KEPT, "ci95": None, **told})

    shown = [each for each in config.directions(line[-2]) if (system, *each) in own]
    return [changed(config.trained_in(line[-2]), None, None), *(changed([each], *each) for each in shown)]


def _compared(
    common: dict[str, Any], config: RecipeConfig, arguments: argparse.Namespace, system: str, direction: Direction,
    test: Mapping[str, Sequence[str]],
) -> list[Record]:  # fmt: skip
    """Points from another system: in a direction without training sentences from the first pivot, in others from the
    first model, which the rest is compared with. Paired bootstrap over sentences, those of all seeds together."""
    pivots = [name for name, own in config.systems.items()
              if own.pivot_of is not None and direction in config.directions(name)]  # fmt: skip
    baseline = next(iter(pivots), None if direction in config.unseen else config.trained[0])
    if baseline is None or system == baseline or direction not in config.directions(baseline):
        return []
    folders = [_folders(config, arguments, name) for name in (system, baseline)]
    seeds = min(map(len, folders))
    ours, theirs = ([line for folder in each[:seeds] for line in _output(folder, direction)] for each in folders)
    found = compare_scores(ours, theirs, [*test[direction[1]]] * seeds)
    facts = common | {"source": direction[0], "target": direction[1], "metric": CHANGE, "seeds": seeds}
    return [Record(**facts, value=found.difference, ci95=found.ci95, notes=f"from {baseline}, p {found.p:.2g}")]


def _output(folder: Path, direction: Direction) -> list[str]:
    return (folder / f"{'-'.join(direction)}.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")


def over_seeds(values: Sequence[float], single: tuple[float, float] | None) -> tuple[float, tuple[float, float] | None]:
    """Mean and t interval over seeds; with one seed its own interval over sentences."""
    if len(values) == 1:
        return values[0], single
    interval = mean_interval(values)
    return interval.mean, interval.ci95


def _folders(config: RecipeConfig, arguments: argparse.Namespace, system: str) -> list[Path]:
    place = arguments.translations, arguments.runs, system, arguments.data
    return [config.translations(*place, seed) for seed in config.seeds_of(system)]


def _facts(config: RecipeConfig, arguments: argparse.Namespace, system: str) -> dict[str, Any]:
    """Name and seeds; costs of a training, and the commit that made it."""
    facts: dict[str, Any] = {"system": system, "seeds": len(config.seeds_of(system))}
    if config.new_language and any(config.new_language.name in each for each in config.directions(system)):
        facts["budget"] = ADDED
    if config.systems[system].pivot_of is not None:
        return facts
    folders = [config.folder(arguments.runs, system, arguments.data, seed) for seed in config.seeds_of(system)]
    costs = [json.loads((folder / "run.json").read_text(encoding="utf-8")) for folder in folders]
    commit = json.loads((folders[0] / "environment.json").read_text(encoding="utf-8")).get("commit")
    # with what it needs: a remedy is not to be had without
    place = arguments.data, arguments.runs
    earlier = [config.folder(arguments.runs, name, arguments.data, seed) / "run.json"
               for name in config.needed(system) for seed in config.seeds_of(system)]  # fmt: skip
    for name in (each for each in [system, *config.needed(system)] if config.systems[each].written_by is not None):
        for seed in config.seeds_of(system):
            earlier += [record_of(folder) for folder in config.written(name, *place, seed).values()]
    costs += [json.loads(file.read_text(encoding="utf-8")) for file in earlier]
    wall = sum(each["wall_s"] for each in costs) / len(folders)
    return facts | {"wall_s": wall, "peak_mb": max(each.get("peak_mb", 0) for each in costs), "commit": commit}


def _training_text(data: Path, config: RecipeConfig) -> dict[str, list[str]]:
    """Sentences of each language in the halves, and those that were kept for a new one."""
    lines: dict[str, list[str]] = {name: [] for name in config.all_languages}
    new = [f"{config.new_language.name}-{config.languages[1]}"] if config.new_language else []
    for pair in [*config.halves, *new]:
        files = {name: data / "train" / pair / f"{name}.txt" for name in pair.split("-")}
        for name, side in read_parallel(files).sentences.items():
            lines[name] += side
    return lines


if __name__ == "__main__":
    main()
