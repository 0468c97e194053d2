"""Stage 4: the test sets of every language that a model knows, and which language it takes them for."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from settings import JOINT, SCRATCH, RecipeConfig, data_digest, tests

from data_prep.command import run
from recipes.run_records import digest_of, in_parallel, record_of, write_record
from speechnlp_tl.core.config import load_config
from speechnlp_tl.core.device import usual_device
from speechnlp_tl.speech.data_dir import DataDir
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.experiment import TuneConfig, tuned
from speechnlp_tl.speech.language_choice import choose_language
from speechnlp_tl.speech.models import load_multilingual


@dataclass(frozen=True)
class Hearing:
    """One model, and what it is to hear."""

    model: Path
    languages: tuple[str, ...]
    search: str | None = None
    """Search weights to choose from on dev speech of the first language, as JSON; None: the model's own."""
    choose: bool = False
    """Also find out the language."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("conf", "data", "runs", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2, help="models side by side")
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.conf, RecipeConfig)
    work = [(arguments.data, arguments.out, each) for each in hearings(config, arguments.data, arguments.runs)]
    in_parallel(_recognise, [item for item in work if not record_of(place(*item)).is_file()], arguments.jobs)


def hearings(config: RecipeConfig, data: Path, runs: Path) -> list[Hearing]:
    """Every model with its languages, each once."""
    return list(dict.fromkeys(_hearings(config, data, runs)))


def _hearings(config: RecipeConfig, data: Path, runs: Path) -> Iterator[Hearing]:
    for system, own in config.systems.items():
        for seed in config.seeds_of(own.seeds):
            folders = config.systems_folders(runs, system, data, seed)
            if config.is_apart(system):
                yield from (Hearing(folder, (language,)) for language, folder in folders.items())
            else:
                yield Hearing(next(iter(folders.values())), tuple(folders), choose=True)
    for method, target, minutes, seed in config.learnings(data):
        folder = config.learned_folder(runs, method, target, minutes, data, seed)
        others = tuple(config.others(target))
        yield Hearing(config.source_folder(runs, method, target, data, seed), others)
        yield Hearing(folder, (target,), search=config.search.model_dump_json())
        if method != SCRATCH:
            yield Hearing(folder, (target, *others), choose=method != JOINT and config.methods[method].choose)


def place(data: Path, out: Path, hearing: Hearing) -> Path:
    """Of what a model heard."""
    sets = [data_digest(path) for name in hearing.languages for path in tests(data, name).values()]
    return out / f"{hearing.model.name}-{digest_of([hearing.languages, str(hearing.search), hearing.choose, sets])}"


def _recognise(item: tuple[Path, Path, Hearing]) -> str:
    torch.set_num_threads(1)  # models stand side by side
    data, _, hearing = item
    recognisers = load_multilingual(hearing.model)
    recognisers.model.to(usual_device())
    record: dict[str, dict[str, dict[str, str]]] = {"words": {}, "language": {}}
    for language in hearing.languages:
        own = recognisers.language(language)
        if hearing.search and language == hearing.languages[0]:
            dev = SpeechDataset(list(DataDir.read(data / language / "dev")), own.config.features)
            own, _ = tuned(own, dev, TuneConfig.model_validate_json(hearing.search))
        for name, path in tests(data, language).items():
            speech = list(DataDir.read(path))
            found = own.transcribe(speech)
            record["words"][f"{language}/{name}"] = {each: " ".join(one.words) for each, one in found.items()}
            if hearing.choose:
                chosen = choose_language(recognisers, speech)
                record["language"][f"{language}/{name}"] = {each: one.language for each, one in chosen.items()}
    write_record(record_of(place(*item)), record)
    return place(*item).name


if __name__ == "__main__":
    main()
