"""Stage 3: each language in turn is learned by a model of the others, by every method, from every number of minutes."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from settings import LEARNED, UNTAUGHT, RecipeConfig, data_digest, part

from data_prep.command import run
from recipes.run_records import digest_of, in_parallel, record_of, write_record
from speechnlp_tl.core.config import load_config
from speechnlp_tl.evaluation.environment import environment
from speechnlp_tl.speech.data_dir import DataDir
from speechnlp_tl.speech.experiment import parameter_count
from speechnlp_tl.speech.models import load_multilingual
from speechnlp_tl.speech.new_language_run import NewLanguageRun

Item = tuple[RecipeConfig, Path, Path, str, str, float | str, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("conf", "data", "runs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2, help="learnings side by side")
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.conf, RecipeConfig)
    work: list[Item] = [
        (config, arguments.data, arguments.runs, *each)
        for each in config.learnings(arguments.data)
        if each[0] not in UNTAUGHT
    ]
    for _, data, runs, method, target, _, _ in work:
        if config.hears_old_speech(method):
            folder = old_speech(config, data, runs, target)
            if not folder.is_dir():  # before workers meet there
                DataDir(each for name in config.others(target) for each in DataDir.read(data / name / "dev")).write(
                    folder
                )
    arguments.runs.with_name(LEARNED).mkdir(exist_ok=True)  # stage 4 looks for it, also where nothing is learned
    in_parallel(_learn, [item for item in work if not record_of(_folder(item)).is_file()], arguments.jobs)


def old_speech(config: RecipeConfig, data: Path, runs: Path, target: str) -> Path:
    """What the old languages say, for ewc to weigh parameters by and for languages to be told apart."""
    digests = [data_digest(data / name / "dev") for name in config.others(target)]
    return runs.with_name(LEARNED) / f"old-{target}-{digest_of(digests)}"


def _folder(item: Item) -> Path:
    config, data, runs, method, target, minutes, seed = item
    return config.learned_folder(runs, method, target, minutes, data, seed)


def _learn(item: Item) -> str:
    torch.set_num_threads(1)  # learnings stand side by side
    config, data, runs, method, target, minutes, seed = item
    folder, speech = _folder(item), part(data, target, minutes, seed)
    source = config.source_folder(runs, method, target, data, seed)
    settings = config.method_of(method, data, target, seed)
    old = old_speech(config, data, runs, target) if config.hears_old_speech(method) else None
    run_ = NewLanguageRun.prepare(source, speech, folder, target, settings, source_data=[old] if old else [])
    start = time.perf_counter()
    list(run_.learn())
    learned = run_.learned
    cost = {"wall_s": time.perf_counter() - start, "commit": environment().get("commit")}
    after = learned.recognisers if learned else load_multilingual(folder)  # it was killed before its record
    size = {
        "parameters": parameter_count(run_.source.model),
        "grown": parameter_count(after.model),
        "trained": learned.trained if learned else None,
    }
    write_record(record_of(folder), cost | size)
    return f"{folder.name}: {cost['wall_s']:.0f} s"


if __name__ == "__main__":
    main()
