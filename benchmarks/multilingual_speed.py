"""What a language costs in multilingual training: the ninth beside eight, and heads that a step does not use.

    python benchmarks/multilingual_speed.py [--minutes 9.6] [--rounds 21] [--threads 2]

An epoch through `MultilingualTask` and `Trainer` of the same made speech, shared by eight languages or by nine, each
with a head of as many phones; and an epoch of one of them alone, in a model that has its head only and in one of nine.
All sides take as many steps, each of as many seconds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from _harness import WORK, commit, interleaved, median, ratio, store, worker
from _report import (
    LANGUAGES_ABSENT,
    LANGUAGES_ABSENT_RATIO,
    LANGUAGES_EIGHT,
    LANGUAGES_NINE,
    LANGUAGES_ONE,
    LANGUAGES_RATIO,
    LANGUAGES_SECONDS,
)

from speechnlp_tl.evaluation.results import Record

ENCODER = {"width": 256, "layers": 6, "dilations": [1, 2]}
PHONES, WORDS, SPOKEN, UTTERANCE_SECONDS = 40, 200, 3, 2
BATCH_SECONDS = 144
"""Nine utterances of each of eight languages, or eight of each of nine."""
RATE = 8000


def make_speech(folder: Path, minutes: float) -> list[Path]:
    """Utterances of noise: what is said does not matter to the clock."""
    import numpy as np
    import soundfile

    count = round(60 * minutes / UTTERANCE_SECONDS)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04d}.wav" for number in range(count)]
    generator = np.random.default_rng(0)
    for path in paths:
        samples = generator.standard_normal(RATE * UTTERANCE_SECONDS) * 0.1
        soundfile.write(path, samples, RATE)
    return paths


def make_task(paths: list[Path], languages: int, spoken: int) -> Any:
    """A model of `languages` heads, and a task whose utterances are in the first `spoken` of them, in turn."""
    import random

    import torch

    from speechnlp_tl.speech.data_dir import Utterance
    from speechnlp_tl.speech.dataset import SpeechDataset
    from speechnlp_tl.speech.encoder import EncoderConfig
    from speechnlp_tl.speech.features import FeatureConfig
    from speechnlp_tl.speech.lexicon import Lexicon
    from speechnlp_tl.speech.multilingual import MultilingualRecogniser, Words
    from speechnlp_tl.speech.multilingual_task import MultilingualTask
    from speechnlp_tl.speech.ngram import estimate
    from speechnlp_tl.speech.recogniser import HmmConfig

    names = [f"l{number}" for number in range(languages)]
    chance = random.Random(0)
    phones = [f"p{number:02d}" for number in range(PHONES)]
    entries = {f"w{number}": [tuple(chance.choices(phones, k=5))] for number in range(WORDS)}
    entries["all"] = [tuple(phones)]
    lexicon = Lexicon(entries)
    words = Words(lexicon, estimate([[word] for word in lexicon], 1, lexicon.words))
    features = FeatureConfig(rate=RATE)
    torch.manual_seed(0)
    encoder = EncoderConfig(**ENCODER)
    made = MultilingualRecogniser.create(features, encoder, HmmConfig(), dict.fromkeys(names, words))
    said = [f"w{number}" for number in range(WORDS)]
    utterances = [
        Utterance(
            path.stem,
            f"s{number % 20}",
            str(path),
            " ".join(chance.choices(said, k=SPOKEN)),
            language=names[number % spoken],
        )
        for number, path in enumerate(paths)
    ]
    dataset = SpeechDataset(utterances, features)
    return MultilingualTask(made, dataset, batch_seconds=BATCH_SECONDS, temperature=1000)


def epoch(task: Any) -> None:
    from speechnlp_tl.core.config import TrainConfig
    from speechnlp_tl.core.trainer import Trainer

    config = TrainConfig(epochs=1, learning_rate=1e-3, clip_norm=5.0, evaluate_every=None, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        Trainer(task, config, folder, quiet=True).fit()


def measure(folder: Path, minutes: float, rounds: int) -> dict[str, Any]:
    """Seconds of an epoch of each side, of how much speech, in how many steps."""
    paths = make_speech(folder, minutes)
    tasks = {
        LANGUAGES_EIGHT: make_task(paths, 8, 8),
        LANGUAGES_NINE: make_task(paths, 9, 9),
        LANGUAGES_ONE: make_task(paths, 1, 1),
        LANGUAGES_ABSENT: make_task(paths, 9, 1),
    }
    for task in tasks.values():  # features of every row are in memory before time is taken
        for rows in task.batches(0):
            task.load(rows, 0)
    timings = interleaved({name: (lambda task=task: epoch(task)) for name, task in tasks.items()}, rounds)
    steps = {name: task.batches(0) for name, task in tasks.items()}
    speech = {
        name: 0.01 * sum(task.train.frames[row] for rows in steps[name] for row in rows) for name, task in tasks.items()
    }
    return {"wall": timings.wall, "speech": speech, "steps": {name: len(own) for name, own in steps.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.6, help="of speech in an epoch")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measure(Path(arguments.folder), arguments.minutes, arguments.rounds)))
        return
    sizes = [f"--{name}={getattr(arguments, name)}" for name in ("minutes", "rounds")]
    folder = f"--folder={WORK / 'multilingual'}"
    finished = worker(__file__, *sizes, folder, threads=arguments.threads)
    wall, speech, steps = (finished.answer[name] for name in ("wall", "speech", "steps"))
    if len(set(steps.values())) > 1:
        raise SystemExit(f"sides take different numbers of steps, which cannot be compared: {steps}")
    budget = f"{arguments.minutes:g} minutes, {arguments.threads} threads"
    common = {
        "recipe": "multilingual_speed",
        "corpus": "noise",
        "synthetic": True,
        "commit": commit(),
        "budget": budget,
    }
    records = []
    for name, seconds in wall.items():
        value, interval = median(seconds)
        peak = finished.peak_mb if name == LANGUAGES_NINE else None
        records.append(
            Record(**common, system=name, metric=LANGUAGES_SECONDS, value=value, ci95=interval, peak_mb=peak)
        )
    # languages share an epoch to the utterance: what differs in seconds of speech is taken out
    for metric, ours, theirs in (
        (LANGUAGES_RATIO, LANGUAGES_NINE, LANGUAGES_EIGHT),
        (LANGUAGES_ABSENT_RATIO, LANGUAGES_ABSENT, LANGUAGES_ONE),
    ):
        value, (low, high) = ratio(wall[ours], wall[theirs])
        same = speech[theirs] / speech[ours]
        records.append(Record(**common, system=ours, metric=metric, value=value * same, ci95=(low * same, high * same)))
    store("multilingual_speed", records)


if __name__ == "__main__":
    main()
