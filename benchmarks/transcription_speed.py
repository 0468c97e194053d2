"""How many times faster than real time `speechnlp-tl transcribe` is on one core, reading and features included.

    python benchmarks/transcription_speed.py [--model EXP] [--data DIR] [--runs 5]

By default the FSDD test strings of all speakers, with the source model of the adaptation benchmark. The whole command
also starts Python, imports PyTorch, loads the model and builds the search graph; a running process has done so.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from _corpora import SPEAKER, source_model
from _harness import CLI, WORK, commit, median, run, store, worker
from _report import COMMAND, IN_PROCESS

from speechnlp_tl.evaluation.results import Record


def measure(model: Path, data: Path, runs: int) -> dict[str, Any]:
    """Seconds of each transcription by a loaded recogniser, and the seconds of speech."""
    from speechnlp_tl.speech.data_dir import DataDir
    from speechnlp_tl.speech.models import load_recogniser

    recogniser, speech = load_recogniser(model), DataDir.read(data)
    utterances = list(speech)
    recogniser.transcribe(utterances[:5])
    seconds = []
    for _ in range(runs):
        begin = time.perf_counter()
        recogniser.transcribe(utterances)
        seconds.append(time.perf_counter() - begin)
    return {"seconds": seconds, "speech": sum(speech.duration(utterance) for utterance in utterances)}


def test_data(fsdd: Path) -> Path:
    """All speakers' test strings in one data directory."""
    from speechnlp_tl.speech.data_dir import DataDir

    out = WORK / "fsdd_test"
    if not (out / "wav.scp").is_file():
        parts = [DataDir.read(fsdd / SPEAKER / "test"), DataDir.read(fsdd / "leave_out" / SPEAKER / "test")]
        DataDir(utterance for part in parts for utterance in part).write(out)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model (default: the adaptation benchmark's source model)")
    parser.add_argument("--data", type=Path, help="data directory (default: FSDD's test strings)")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measure(arguments.model, arguments.data, arguments.runs)))
        return
    model, data, corpus = arguments.model, arguments.data, "given" if arguments.data else "fsdd"
    if model is None or data is None:
        fsdd, made = source_model()
        model, data = model or made, data or test_data(fsdd)
    options = ["--model", model, "--data", data]
    inside = worker(__file__, *options, "--runs", str(arguments.runs), threads=1, one_core=True)
    speech = inside.answer["speech"]
    with tempfile.TemporaryDirectory() as folder:
        command = [*CLI, "transcribe", *options, "--out", Path(folder, "text")]
        whole = [run(command, threads=1, one_core=True) for _ in range(arguments.runs)]
    records = []
    for system, done, seconds in (
        (IN_PROCESS, [inside], inside.answer["seconds"]),
        (COMMAND, whole, [one.wall_s for one in whole]),
    ):
        value, interval = median([speech / one for one in seconds])
        record = Record(
            recipe="transcription_speed",
            corpus=f"{corpus}, {speech / 60:.0f} minutes",
            system=system,
            metric="times real time",
            value=value,
            ci95=interval,
            peak_mb=max(one.peak_mb for one in done),
            commit=commit(),
        )
        records.append(record)
    store("transcription_speed", records)


if __name__ == "__main__":
    main()
