"""Speech data, a model and the verbs on them, for the tests of what users get wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechnlp_tl.speech.data_dir import DataDir, Utterance
from tests.tiny import CONFIG, RATE, TinyCorpus, speak


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four utterances of one speaker; `tmp_path/audio` holds their recordings."""
    generator = np.random.default_rng(0)
    (tmp_path / "audio").mkdir()
    utterances = []
    for number in range(4):
        path = tmp_path / "audio" / f"me-{number}.wav"
        soundfile.write(path, speak(["asi", "mui"], 1.0, 120.0, generator), RATE)
        utterances.append(Utterance(path.stem, "me", str(path), "asi mui"))
    DataDir(utterances).write(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def verbs(run, data: Path, tmp_path: Path, tiny_corpus: TinyCorpus, tiny_experiment: Path) -> dict[str, Callable]:
    """Each verb on `data`, to write into tmp_path/out."""
    config = tmp_path / "config.yaml"
    text = CONFIG.format(root=tiny_corpus.root).replace(f"{tiny_corpus.root}/train", str(data))
    config.write_text(text.replace("epochs: 10", "epochs: 1"), encoding="utf-8")
    model, out = ("--model", tiny_experiment), ("--out", tmp_path / "out")
    return {
        "train": lambda *more: run("train", config, *out, "--quiet", *more),
        "adapt": lambda *more: run("adapt", *model, "--data", data, *out, "--set", "steps=1", *more),
        "transcribe": lambda *more: run("transcribe", *model, "--data", data, *out, *more),
        "validate": lambda *more: run("data", "validate", data, *more),
    }


@pytest.fixture
def model(tmp_path: Path, tiny_experiment: Path) -> Path:
    """A copy of the trained model, to be damaged."""
    return Path(shutil.copytree(tiny_experiment / "model", tmp_path / "model"))


@pytest.fixture
def adapter(run, model: Path, data: Path, tmp_path: Path) -> Path:
    out = tmp_path / "adapter"
    outcome = run("adapt", "--model", model, "--data", data, "--out", out, "--method", "lhuc", "--set", "steps=2")
    assert outcome.code == 0, outcome.err
    return out
