"""Stage 5: error rates by language with intervals over speakers, what was gained, forgotten and mistaken for what."""

from __future__ import annotations

import argparse
import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from frames import frames_of, language_accuracy
from heard import Heard
from relative import FEW_ERRORS, Pair, mean_relative
from settings import ALONE, RECIPE, SCRATCH, UNTAUGHT, RecipeConfig, tests

from data_prep.command import run
from recipes.run_records import record_of
from speechnlp_tl.core.config import load_config
from speechnlp_tl.evaluation.results import Record, write_results
from speechnlp_tl.evaluation.significance import compare, wer_interval
from speechnlp_tl.evaluation.wer import Score
from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.models import load_multilingual

WER, CHANGE, RELATIVE, FORGOTTEN = "wer", "wer change", "mean relative change", "wer of old languages"
CHOSEN, PROBE, PARAMETERS, SPEECH = "language chosen", "language probe", "parameters", "minutes of speech"
AGAIN = re.compile(r"-train-[1-9]\d*-")
"""In the name of a string that was put together of single words that other strings have as well."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    for name in ("conf", "data", "runs", "hypotheses", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.conf, RecipeConfig)
    heard = Heard(config, arguments)
    common = {"recipe": RECIPE, "corpus": arguments.corpus}
    records = [*_speech(config, heard.data, common), *_systems(config, heard, common)]
    records += [*_probes(config, heard, common), *_learned(config, heard, common)]
    write_results(arguments.out, records)
    print(f"{arguments.out}: {len(records)} records")


def _is_made(config: RecipeConfig, language: str) -> bool:
    return config.languages[language] is not None


def _speech(config: RecipeConfig, data: Path, common: dict[str, Any]) -> list[Record]:
    """How much speech each language has: minutes to learn from, of which words put together anew count once."""
    found = []
    for language in config.languages:
        train, dev = (DataDir.read(data / language / part) for part in ("train", "dev"))
        once = [each for each in train if not AGAIN.search(each.id)]
        told = [f"{_people(train)}", f"dev {_minutes(dev):.1f} min of {_people(dev)}"]
        for name, path in tests(data, language).items():
            test = DataDir.read(path)
            told.append(f"{name} {sum(len(each.words) for each in test)} words of {_people(test)}")
        facts = common | {"system": "speech", "synthetic": _is_made(config, language), "notes": "; ".join(told)}
        found.append(Record(**facts, target=language, metric=SPEECH, value=_minutes(once), n=len(once)))
    return found


def _minutes(speech: Iterable[Utterance]) -> float:
    return sum(each.duration or 0.0 for each in speech) / 60


def _people(speech: DataDir) -> str:
    count = len(speech.by_speaker())
    return f"{count} speaker{'s' if count > 1 else ''}"


def _systems(config: RecipeConfig, heard: Heard, common: dict[str, Any]) -> list[Record]:
    found = []
    for system, own in config.systems.items():
        seeds = config.seeds_of(own.seeds)
        folders = [config.systems_folders(heard.runs, system, heard.data, seed) for seed in seeds]
        facts = common | {"system": system, "seeds": len(seeds)}
        pairs: dict[bool, dict[str, list[Pair]]] = {False: {}, True: {}}
        for language in config.languages_of(system):
            models, made = [each[language] for each in folders], _is_made(config, language)
            for test in tests(heard.data, language):
                scored = heard.score(models, language, test)
                told = facts | _cost(models) | {"synthetic": made, "target": f"{language}/{test}"}
                found.append(_error_rate(heard, scored, models, language, test, told))
                if system == ALONE:
                    continue
                if not config.is_apart(system):
                    found.append(_chosen(heard, models, language, test, told))
                if ALONE in config.systems:
                    alone = _alone(config, heard, language, test, seeds)
                    found.append(_change(scored, alone, told))
                    pairs[made].setdefault(language, []).append((scored, alone))
        for made, of in pairs.items():
            found += _mean_change(of, facts | {"synthetic": made})
    return found


def _error_rate(
    heard: Heard, scored: Score, models: Sequence[Path], language: str, test: str, facts: dict[str, Any]
) -> Record:
    """WER over all seeds, and how much it differs between them."""
    rates = [heard.score([model], language, test).wer for model in models]
    notes = f"{statistics.stdev(rates):.1f} over seeds" if len(rates) > 1 else None
    return Record(
        **facts,
        metric=WER,
        value=scored.wer,
        ci95=wer_interval(scored).ci95,
        n=scored.counts.words,
        selection="dev",
        notes=notes,
    )


def _alone(config: RecipeConfig, heard: Heard, language: str, test: str, seeds: Sequence[int]) -> Score:
    """The monolingual models of the same seeds."""
    models = [config.systems_folders(heard.runs, ALONE, heard.data, seed)[language] for seed in seeds]
    return heard.score(models, language, test)


def _change(scored: Score, baseline: Score, facts: dict[str, Any]) -> Record:
    """Points that a system is away from a baseline of the same seeds."""
    compared = compare(scored, baseline)
    enough = baseline.counts.errors >= FEW_ERRORS
    relative = f"{100 * (scored.wer - baseline.wer) / baseline.wer:+.1f} % relative, " if enough else ""
    return Record(
        **facts,
        metric=CHANGE,
        value=compared.difference,
        ci95=compared.ci95,
        n=scored.counts.words,
        notes=f"{relative}p {compared.p:.3g}",
    )


def _mean_change(pairs: Mapping[str, Sequence[Pair]], facts: dict[str, Any]) -> list[Record]:
    """None where no baseline makes errors enough."""
    found = mean_relative(pairs)
    if found is None:
        return []
    mean, ends, languages = found
    return [Record(**facts, metric=RELATIVE, value=mean, ci95=ends, notes=", ".join(languages))]


def _chosen(heard: Heard, models: Sequence[Path], language: str, test: str, facts: dict[str, Any]) -> Record:
    named = [
        name for model in models for name in heard.record(model, language)["language"][f"{language}/{test}"].values()
    ]
    right = sum(name == language for name in named)
    return Record(**facts, metric=CHOSEN, value=100 * right / len(named), n=len(named))


def _probes(config: RecipeConfig, heard: Heard, common: dict[str, Any]) -> list[Record]:
    """How well languages can be told apart by frames of the last shared layer, of the first seed's models."""
    found = []
    for system in config.picture:
        languages = config.languages_of(system)
        recognisers = load_multilingual(config.systems_folders(heard.runs, system, heard.data, 0)[languages[0]])
        parts = [frames_of(recognisers, heard.data, languages, part) for part in ("train", "test-")]
        accuracy = language_accuracy(*parts)
        made = any(_is_made(config, name) for name in languages)
        facts = common | {"system": system, "synthetic": made, "seeds": 1}
        found.append(Record(**facts, metric=PROBE, value=accuracy, n=len(parts[1].rows)))
    return found


def _learned(config: RecipeConfig, heard: Heard, common: dict[str, Any]) -> list[Record]:
    found = []
    runs: dict[tuple[str, str, float | str], list[int]] = {}
    for method, target, minutes, seed in config.learnings(heard.data):
        runs.setdefault((method, target, minutes), []).append(seed)
    for (method, target, minutes), seeds in runs.items():
        models = [config.learned_folder(heard.runs, method, target, minutes, heard.data, seed) for seed in seeds]
        facts = common | {
            "system": method,
            "budget": minutes,
            "seeds": len(seeds),
            "synthetic": _is_made(config, target),
        }
        facts |= _cost(models)
        for test in tests(heard.data, target):
            scored = heard.score(models, target, test, tuned=True)
            told = facts | {"target": f"{target}/{test}"}
            found.append(
                Record(**told, metric=WER, value=scored.wer, ci95=wer_interval(scored).ci95, n=scored.counts.words,
                       selection="dev")
            )  # fmt: skip
            if method != SCRATCH and set(seeds) <= set(runs.get((SCRATCH, target, minutes), [])):
                scratch = [
                    config.learned_folder(heard.runs, SCRATCH, target, minutes, heard.data, seed) for seed in seeds
                ]
                found.append(_change(scored, heard.score(scratch, target, test, tuned=True), told))
        if method not in UNTAUGHT and config.methods[method].choose:
            for name in (target, *config.others(target)):
                chosen = facts | {"synthetic": _is_made(config, name), "source": target}
                found += [
                    _chosen(heard, models, name, test, chosen | {"target": f"{name}/{test}"})
                    for test in tests(heard.data, name)
                ]
        if method != SCRATCH:
            found += _forgotten(config, heard, method, target, seeds, models, facts)
    return found


def _forgotten(
    config: RecipeConfig,
    heard: Heard,
    method: str,
    target: str,
    seeds: Sequence[int],
    models: Sequence[Path],
    facts: dict[str, Any],
) -> list[Record]:
    """Mean WER of the languages that were there before, after `target` was learned; before in `notes`."""
    sources = [config.source_folder(heard.runs, method, target, heard.data, seed) for seed in seeds]
    mean, earlier = (_mean_of_languages(heard, part, config.others(target)) for part in (models, sources))
    facts = facts | {"synthetic": any(_is_made(config, name) for name in config.others(target))}
    rows = [Record(**facts, target=target, metric=FORGOTTEN, value=mean, notes=f"{earlier:.2f} before")]
    grown, trained = _growth(models[0], sources[0])
    if grown is not None:
        told = f"{trained} trained" if trained else None
        rows.append(Record(**facts, target=target, metric=PARAMETERS, value=float(grown), notes=told))
    return rows


def _growth(model: Path, source: Path) -> tuple[int | None, int | None]:
    """By how many parameters a model is larger than its source, and how many of its own were trained."""
    if record_of(model).is_file():  # of a model that was taught
        sizes = json.loads(record_of(model).read_text(encoding="utf-8"))
        return sizes["grown"] - sizes["parameters"], sizes["trained"]
    runs = [folder / "run.json" for folder in (model, source)]
    if not all(each.is_file() for each in runs):
        return None, None
    own, before = (json.loads(each.read_text(encoding="utf-8"))["parameters"] for each in runs)
    return own - before, own


def _mean_of_languages(heard: Heard, models: Sequence[Path], languages: Sequence[str]) -> float:
    """Mean WER: of a language over its test sets, then of languages."""
    rates = [[heard.score(models, name, test).wer for test in tests(heard.data, name)] for name in languages]
    return statistics.mean(map(statistics.mean, rates))


def _cost(models: Sequence[Path]) -> dict[str, Any]:
    """What a model took to train, on average, and the commit that trained it."""
    costs: list[dict[str, Any]] = []
    for model in dict.fromkeys(models):
        if (model / "run.json").is_file():
            found = json.loads((model / "run.json").read_text(encoding="utf-8"))
            made = json.loads((model / "environment.json").read_text(encoding="utf-8"))
            costs.append({"wall_s": found["wall_s"], "commit": made.get("commit")})
        elif record_of(model).is_file():
            costs.append(json.loads(record_of(model).read_text(encoding="utf-8")))
    if not costs:
        return {}
    wall = sum(each["wall_s"] for each in costs) / len(costs)
    return {"wall_s": wall} | ({"commit": costs[0]["commit"]} if costs[0].get("commit") else {})


if __name__ == "__main__":
    main()
