"""Corpora and models that several benchmarks need, made once below `exp/benchmarks` and found there the next time."""

from __future__ import annotations

import sys
from pathlib import Path

from _harness import CLI, WORK, Finished, run, skip

from data_prep.fetch import CORPORA, is_available
from speechnlp_tl.atomic import write_text

SPEAKER = "theo"
"""The FSDD speaker that the source model has not heard."""

SOURCE_MODEL = """\
data: {{train: {data}/leave_out/{speaker}/train, dev: {data}/leave_out/{speaker}/dev, lexicon: {data}/lexicon.txt}}
features: {{rate: 8000, bins: 40}}
augment: {{speeds: [0.9, 1.0, 1.1], warps: [0.9, 0.95, 1.0, 1.05, 1.1], time_masks: 1, frequency_masks: 1}}
encoder: {{width: 128, layers: 4, dilations: [1, 2]}}
hmm: {{states_per_phone: 1}}
batch_seconds: 20
train: {{epochs: 10, learning_rate: 2e-3, schedule: onecycle, clip_norm: 5.0, metric: wer}}
"""


def prepared(name: str) -> Path:
    """A corpus as its module writes it; ends the benchmark when neither the corpus nor its address is in reach."""
    out = WORK / name
    if not (out / "prepared.json").is_file():
        if not is_available(CORPORA[name]):
            print(f"{name} is not on this machine; trying its address")
        _make([sys.executable, "-m", f"data_prep.{name}", "--out", out], f"{name} is not to be had")
    return out


def speech_of_an4() -> tuple[str, Path]:
    """(name, data directory beside its lexicon.txt): AN4's training speech, else made speech."""
    if is_available(CORPORA["an4"]):
        return "an4", prepared("an4") / "train"
    out = WORK / "synthetic"
    if not (out / "lexicon.txt").is_file():
        _make([sys.executable, "-m", "data_prep.synthetic", "--out", out], "neither AN4 nor espeak-ng is here")
    return "synthetic", out / "train"


def source_model() -> tuple[Path, Path]:
    """(FSDD's data directories, a small model trained on all speakers but one)."""
    data = prepared("fsdd")
    model = WORK / "fsdd_source"
    if not (model / "model" / "config.yaml").is_file():
        print("training the source model (a minute or two)")
        write_text(WORK / "fsdd_source.yaml", SOURCE_MODEL.format(data=data, speaker=SPEAKER))
        run([*CLI, "train", WORK / "fsdd_source.yaml", "--out", model, "--quiet"])
    return data, model


def _make(command: list[str | Path], reason: str) -> Finished | None:
    try:
        return run(command)
    except SystemExit as error:
        skip(f"{reason}: {error}")
        return None
