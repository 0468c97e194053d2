"""Bad configurations, options and interruptions: exit code 2, an error for each problem, nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.refusal import nothing_written, refused

ROOT = Path(__file__).parents[2]


# Configurations and arguments.

BAD_CONFIGS = {
    "unknown key": ("encoder: {widht: 3}", (":1: ", "unknown key 'encoder.widht'", "did you mean 'width'?")),
    "unknown section": ("trian: {epochs: 1}", (":1: ", "unknown key 'trian'", "did you mean 'train'?")),
    "wrong value": ("batch_seconds: -3", (":1: ", "batch_seconds", "got -3")),
    "wrong type": ("cache_mb: [much]", ("cache_mb",)),
    "missing keys": ("kind: asr", ("key 'data' is missing", "key 'train' is missing")),
    "not YAML": ("train: {epochs: 1", ("is not valid YAML",)),
    "a list": ("- train", ("must hold 'key: value' lines",)),
    "twice the same key": ("kind: asr\nkind: asr", (":2: ", "stands twice")),
    "code": ("kind: !!python/object/apply:os.system [true]", ("is not valid YAML",)),
}


@pytest.mark.parametrize("kind", BAD_CONFIGS)
def test_a_bad_training_config_is_explained(run, tmp_path: Path, kind: str):
    text, said = BAD_CONFIGS[kind]
    (tmp_path / "bad.yaml").write_text(text)
    refused(run("train", tmp_path / "bad.yaml", "--out", tmp_path / "out"), str(tmp_path / "bad.yaml"), *said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.learning_rat=1", "did you mean 'learning_rate'?"),
        ("train.epochs", "not of the form key=value"),
        ("train.epochs=many", "train.epochs"),
        ("train.steps=3", "exactly one of 'epochs' and 'steps'"),
        ("data.arpa=nowhere.arpa", "nowhere.arpa"),
        ("data.dev=nowhere", "nowhere"),
        ("train.metric=accuracy", "did you mean 'wer'?"),
    ],
)
def test_a_bad_override_is_explained(verbs, override: str, said: str):
    refused(verbs["train"]("--set", override), said)


def test_a_missing_config_is_named(run, tmp_path: Path):
    refused(run("train", tmp_path / "none.yaml", "--out", tmp_path / "out"), "none.yaml: cannot be read")


BAD_METHODS = {
    "a misspelt method": (("--method", "finetun"), "did you mean 'finetune'?"),
    "a misspelt part": (("--method", "layers+kdl"), "did you mean 'kld'?"),
    "nothing near": (("--method", "magic"), "known are auto, finetune, layers, lhuc, lin, lora, kld, l2sp, ewc"),
    "two ways of training": (("--method", "lora+lhuc"), "lora and lhuc cannot be combined"),
    "a part twice": (("--method", "kld+kld"), "named twice"),
    "ewc without source data": (("--method", "ewc"), "--source-data"),
    "ewc on an adapter": (("--method", "lora+ewc"), "take kld or l2sp"),
    "dann without source data": (("--method", "dann"), "dann compares the audio with transcribed source speech"),
    "two terms of one kind": (("--method", "dann+mmd"), "dann and mmd cannot be combined"),
    "transcripts and audio alone": (("--method", "adabn+kld"), "take adabn alone"),
    "hypotheses and audio alone": (("--method", "adabn", "--unsupervised"), "leave --unsupervised or the method out"),
    "selecting without looking at words": (("--method", "adabn", "--select"), "leave --select out"),
    "a misspelt domain setting": (("--set", "domain.wieght=1"), "did you mean 'weight'?"),
    "a misspelt setting": (("--set", "kdl=0.5"), "did you mean 'kld'?"),
    "a setting out of range": (("--set", "kld=1.5"), "less than or equal to 1"),
    "a misspelt layer setting": (("--set", "layers.cpoy=first:1"), "did you mean 'copy'?"),
    "layers that there are not": (("--method", "layers", "--set", "layers.copy=first:99"), "from 0 to"),
    "an unknown layer": (("--method", "layers", "--set", "layers.copy=layer9"), "no layer 'layer9'"),
    "nothing left to train": (("--method", "layers", "--set", "layers.copy=all"), "nothing is left to train"),
    "a missing config": (("--config", "none.yaml"), "none.yaml: cannot be read"),
    "selecting without transcripts": (("--select", "--unsupervised"), "leave --select out"),
}


@pytest.mark.parametrize("kind", BAD_METHODS)
def test_a_bad_adaptation_is_explained(verbs, tmp_path: Path, kind: str):
    arguments, said = BAD_METHODS[kind]
    refused(verbs["adapt"](*arguments), said)
    assert nothing_written(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("adapt", "--methd", "kld"), "--methd"),
        (("trian", "x.yaml"), "trian"),
        (("train",), "argument 'config'"),
        (("transcribe",), "--model"),
    ],
)
def test_unknown_options_and_verbs_are_usage_errors(run, arguments: tuple[str, ...], said: str):
    outcome = run(*arguments)
    assert outcome.code == 2
    assert said in outcome.err
    assert "Traceback" not in outcome.err


def test_transcribe_wants_one_kind_of_input(run, data: Path, tiny_experiment: Path):
    refused(run("transcribe", "--model", tiny_experiment), "either recordings or --data")
    refused(run("transcribe", "--model", tiny_experiment, "a.wav", "--data", data), "either recordings or --data")


# The process.


def shell(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "speechnlp_tl.cli", *(str(argument) for argument in arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def test_the_shell_sees_exit_code_two_and_one_line(tmp_path: Path):
    done = shell("data", "validate", tmp_path / "none")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == f"error: {tmp_path / 'none'}: data directory does not exist; check the path"
    assert done.stdout == ""


def test_debug_shows_where_an_error_was_raised(tmp_path: Path):
    done = shell("--debug", "data", "validate", tmp_path / "none")
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "InputError" in done.stderr


def test_an_interruption_says_how_to_go_on(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from speechnlp_tl.speech import experiment

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "load_experiment", interrupted)
    (tmp_path / "x.yaml").write_text("data: {}\n")
    outcome = run("train", tmp_path / "x.yaml", "--out", tmp_path / "out")
    assert outcome.code == 130
    assert outcome.err.strip() == "interrupted; run the same command again to go on where it stopped"


def test_confidences_do_not_become_words_of_a_text_file(verbs, tmp_path: Path):
    refused(verbs["transcribe"]("--confidence"), "--confidence", "--out")
    assert not (tmp_path / "out").exists()
