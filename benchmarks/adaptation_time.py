"""Seconds to adapt a recogniser to one FSDD speaker with ten utterances: the whole command, and the adaptation alone.

    python benchmarks/adaptation_time.py [--model EXP] [--runs 5]

The source model has never heard the speaker; without --model a small one is trained once. The method is the default.
The error rates before and after on the speaker's test strings say that something was learnt in that time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from _corpora import SPEAKER, source_model
from _harness import CLI, WORK, Finished, commit, median, run, store, worker
from _report import COMMAND, IN_PROCESS

from speechnlp_tl.evaluation.results import Record

UTTERANCES = 10


def measure(model: Path, data: Path, runs: int) -> dict[str, Any]:
    """Seconds of each adaptation, in a process that has loaded the model and the data."""
    from speechnlp_tl.speech.adaptation import AdaptConfig, adapt
    from speechnlp_tl.speech.data_dir import DataDir
    from speechnlp_tl.speech.models import load_recogniser

    recogniser, utterances = load_recogniser(model), list(DataDir.read(data))
    seconds = []
    for _ in range(runs + 1):
        begin = time.perf_counter()
        adapt(recogniser, utterances, AdaptConfig())
        seconds.append(time.perf_counter() - begin)
    return {"seconds": seconds[1:]}


def adaptation_data(fsdd: Path) -> Path:
    """Ten strings of the speaker's pool."""
    out = WORK / "adaptation"
    if not (out / "adaptation" / "wav.scp").is_file():
        budget = ["--by", "budget", "--utterances", str(UTTERANCES)]
        run([*CLI, "data", "split", fsdd / SPEAKER / "pool", "--out", out, *budget])
    return out / "adaptation"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="source model (default: a small one, trained on the other speakers)")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measure(arguments.model, arguments.data, arguments.runs)))
        return
    fsdd, made = source_model()
    model = arguments.model or made
    data = adaptation_data(fsdd)
    inside = worker(__file__, "--model", model, "--data", data, "--runs", str(arguments.runs))
    commands: list[Finished] = []
    with tempfile.TemporaryDirectory() as folder:
        adapt = [*CLI, "adapt", "--model", model, "--data", data]
        commands += [run([*adapt, "--out", Path(folder, str(number))]) for number in range(arguments.runs)]
        run([*adapt, "--out", Path(folder, "scored"), "--test-data", fsdd / SPEAKER / "test"])
        scores = json.loads(Path(folder, "scored", "scores.json").read_text(encoding="utf-8"))["the new speaker"]
    common = {"recipe": "adaptation_time", "corpus": "fsdd", "budget": UTTERANCES, "commit": commit()}
    whole, whole_interval = median([command.wall_s for command in commands])
    alone, alone_interval = median(inside.answer["seconds"])
    peak = max(command.peak_mb for command in commands)
    store(
        "adaptation_time",
        [
            Record(**common, system=COMMAND, metric="seconds", value=whole, ci95=whole_interval, peak_mb=peak),
            Record(**common, system=IN_PROCESS, metric="seconds", value=alone, ci95=alone_interval),
            Record(**common, system=COMMAND, metric="wer before", value=scores["baseline"]["wer"]),
            Record(**common, system=COMMAND, metric="wer after", value=scores["wer"]),
        ],
    )


if __name__ == "__main__":
    main()
