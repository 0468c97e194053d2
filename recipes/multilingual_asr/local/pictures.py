"""Stage 5: error against minutes of a new language, and frames of the last shared layer by language and by phone."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from frames import Frames, frames_of
from score import SPEECH, WER
from settings import ALL, SCRATCH, RecipeConfig

from data_prep.command import run
from speechnlp_tl.core.config import load_config
from speechnlp_tl.evaluation.domain_plots import Cloud, clouds
from speechnlp_tl.evaluation.plots import Series, adaptation_curve, layer_sweep, save, series_from_records
from speechnlp_tl.evaluation.results import Record, read_results
from speechnlp_tl.speech.models import load_multilingual
from speechnlp_tl.speech.topology import SILENCE

LANGUAGES, PHONES, POINTS = 5, 5, 900


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    for name in ("conf", "data", "runs", "results", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.conf, RecipeConfig)
    arguments.out.mkdir(parents=True, exist_ok=True)
    records = read_results(arguments.results)
    _curves(arguments.corpus, records, arguments.out)
    _sweeps(arguments.corpus, records, arguments.out)
    found: dict[str, Frames] = {}
    for system in config.picture:
        folder = next(iter(config.systems_folders(arguments.runs, system, arguments.data, 0).values()))
        languages = config.languages_of(system)[:LANGUAGES]
        found[system] = frames_of(load_multilingual(folder), arguments.data, languages, "test-")
    if found:
        save(_by_language(found), arguments.out / f"{arguments.corpus}-languages.png")
        save(_by_phone(found), arguments.out / f"{arguments.corpus}-phones.png")


def _curves(corpus: str, records: Sequence[Record], out: Path) -> None:
    """A picture for each new language's test set: methods with at least two numbers of minutes; all is as many as there
    are."""
    every = {str(each.target): each.value for each in records if each.metric == SPEECH}
    own = [_in_minutes(each, every) for each in records if each.metric == WER and each.budget is not None]
    for target in dict.fromkeys(str(each.target) for each in own):
        points = Counter(each.system for each in own if each.target == target)
        shown = [each for each in own if each.target == target and points[each.system] > 1]
        shown.sort(key=lambda each: each.system != SCRATCH)
        if not shown:
            continue
        series, _ = series_from_records(shown)
        title = f"{target}: with and without the other languages"
        figure = adaptation_curve(series, unit="minutes", title=title, amount="speech of the new language")
        save(figure, out / f"{corpus}-curve-{target.replace('/', '-')}.png")


def _sweeps(corpus: str, records: Sequence[Record], out: Path) -> None:
    """A picture for each new language's test set: error against how many layers were copied from either end."""
    named = re.compile(r"(first|last) (\d+) layers copied")
    scored = [each for each in records if each.metric == WER and each.budget is not None]
    swept = [each for each in scored if named.fullmatch(each.system)]
    for target in dict.fromkeys(str(each.target) for each in swept):
        sides: dict[str, dict[int, Record]] = {"first": {}, "last": {}}
        for each in swept:
            match = named.fullmatch(each.system)
            if match and each.target == target:
                sides[match[1]][int(match[2])] = each
        lines = [_line(f"the {side} layers", found) for side, found in sides.items()]
        level = {SCRATCH, "all layers copied", "all layers copied, random head"}
        levels = {each.system: each.value for each in scored if each.target == target and each.system in level}
        figure = layer_sweep(*lines, levels, title=f"{target}: layers copied from a model of the other languages")
        save(figure, out / f"{corpus}-layers-{target.replace('/', '-')}.png")


def _line(label: str, found: dict[int, Record]) -> Series:
    counts = sorted(found)
    ends = [found[count].ci95 or (float("nan"), float("nan")) for count in counts]
    low, high = ([pair[side] for pair in ends] for side in (0, 1))
    return Series(label, counts, [found[count].value for count in counts], low, high)


def _in_minutes(record: Record, every: Mapping[str, float]) -> Record:
    language = str(record.target).split("/")[0]
    return record.model_copy(update={"budget": every[language] if record.budget == ALL else record.budget})


def _by_language(found: dict[str, Frames]):  # type: ignore[no-untyped-def]
    panels = [Cloud(name, *_thinned(each)[:2]) for name, each in found.items()]
    return clouds(panels, title="frames of the last shared layer (t-SNE), by language")


def _by_phone(found: dict[str, Frames]):  # type: ignore[no-untyped-def]
    """The phones that most languages share."""
    pairs = [pair for each in found.values() for pair in zip(each.phone, each.language, strict=True)]
    heard = Counter(phone for phone, _ in pairs)
    shared = Counter(phone for phone, _ in set(pairs) if phone != SILENCE)
    common = sorted(shared, key=lambda phone: (-shared[phone], -heard[phone]))[:PHONES]
    panels = []
    for name, each in found.items():
        rows, languages, phones = _thinned(each, common)
        panels.append(Cloud(name, rows, phones, languages))
    return clouds(panels, title="frames of the last shared layer (t-SNE), by phone and language")


def _thinned(frames: Frames, phones: Sequence[str] | None = None) -> tuple[np.ndarray, list[str], list[str]]:
    """Rows, languages and phones of some frames; with `phones` of these alone."""
    places = np.array([n for n, phone in enumerate(frames.phone) if phones is None or phone in phones])
    places = np.random.default_rng(0).permutation(places)[:POINTS]
    return frames.rows[places], [frames.language[n] for n in places], [frames.phone[n] for n in places]


if __name__ == "__main__":
    main()
