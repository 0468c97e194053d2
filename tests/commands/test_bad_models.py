"""Damaged models, adapters, checkpoints and downloads: exit code 2, an error for each problem, nothing half-written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.refusal import refused, truncate

ROOT = Path(__file__).parents[2]


# Models, adapters and checkpoints.


def scramble(path: Path) -> None:
    path.write_bytes(bytes(range(128, 256)) * 2)


DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "truncated weights": ("model.safetensors", truncate, "model.safetensors: is damaged"),
    "weights that are none": ("model.safetensors", scramble, "model.safetensors: is damaged"),
    "missing weights": ("model.safetensors", Path.unlink, "has no model.safetensors"),
    "missing lexicon": ("lexicon.txt", Path.unlink, "has no lexicon.txt"),
    "scrambled lexicon": ("lexicon.txt", scramble, "lexicon.txt: is not UTF-8"),
    "lexicon of another model": ("lexicon.txt", lambda path: path.write_text("yes Y EH S\n"), "lexicon.txt"),
    "scrambled config": ("config.yaml", scramble, "config.yaml: is not UTF-8"),
    "truncated config": ("config.yaml", truncate, "config.yaml"),
    "config of another size": (
        "config.yaml",
        lambda path: path.write_text(path.read_text().replace("width: 32", "width: 48")),
        "model.safetensors: tensor",
    ),
    "tokens of another model": (
        "tokens.txt",
        lambda path: path.write_text("SIL\t0\t0\n"),
        "tokens.txt: does not match",
    ),
    "scrambled tokens": ("tokens.txt", scramble, "tokens.txt"),
    "truncated language model": ("lm.arpa", truncate, "lm.arpa"),
    "scrambled language model": ("lm.arpa", scramble, "lm.arpa"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_model_is_named(run, model: Path, data: Path, tmp_path: Path, kind: str):
    name, spoil, said = DAMAGE[kind]
    spoil(model / name)
    refused(run("transcribe", "--model", model, "--data", data), said)
    refused(run("adapt", "--model", model, "--data", data, "--out", tmp_path / "out"), said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["adapt", "transcribe", "merge"])
def test_a_folder_that_is_no_model_is_named(run, data: Path, tmp_path: Path, verb: str):
    more = ("--out", tmp_path / "out") if verb == "merge" else ("--data", data, "--out", tmp_path / "out")
    refused(run(verb, "--model", tmp_path / "nowhere", *more), "nowhere: there is no such model folder")
    refused(run(verb, "--model", data, *more), f"{data}: has no config.yaml, so it is no model")
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "experiment.yaml").write_text("kind: asr\n")
    refused(run(verb, "--model", unfinished, *more), "training has not finished")
    assert not (tmp_path / "out").exists()


def test_an_adapter_and_a_model_that_do_not_belong_together_are_told_apart(
    run, adapter: Path, model: Path, data: Path, tmp_path: Path
):
    merged = tmp_path / "merged"
    assert run("merge", "--model", adapter, "--out", merged).code == 0
    hashes = "the adapter belongs to the base model "
    for verb in (("transcribe", "--data", data), ("merge", "--out", tmp_path / "out")):
        refused(run(*verb, "--model", adapter, "--base", merged), str(adapter), hashes, "but this one is")
        refused(run(*verb, "--model", adapter, "--base", adapter), "is an adapter, not a base model")
        refused(run(*verb, "--model", model, "--base", merged), "is no adapter")
    refused(run("merge", "--model", model, "--out", tmp_path / "out"), "no adapter to merge")
    refused(run("adapt", "--model", adapter, "--data", data, "--out", tmp_path / "out"), "is an adapter")
    model.rename(tmp_path / "moved")
    refused(run("transcribe", "--model", adapter, "--data", data), str(model), "--base")
    assert run("transcribe", "--model", adapter, "--data", data, "--base", tmp_path / "moved").code == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["adapter.safetensors", "adapter.yaml"])
def test_a_damaged_adapter_is_named(run, adapter: Path, data: Path, name: str):
    for spoil in (truncate, scramble):
        spoil(adapter / name)
        refused(run("transcribe", "--model", adapter, "--data", data), name)


def test_training_does_not_resume_from_a_damaged_checkpoint(verbs, tmp_path: Path):
    out = tmp_path / "out"
    assert verbs["train"]("--set", "train.epochs=2", "--set", "train.checkpoint_every=1").code == 0
    shutil.rmtree(out / "model")
    *_, last = sorted((out / "checkpoints").iterdir())
    truncate(last / "model.safetensors")
    again = verbs["train"]("--set", "train.epochs=2", "--set", "train.checkpoint_every=1")
    refused(again, str(last), "model.safetensors", f"remove {last}")
    shutil.rmtree(last)
    mended = verbs["train"]("--set", "train.epochs=2", "--set", "train.checkpoint_every=1")
    assert mended.code == 0, mended.err
    assert (out / "model" / "config.yaml").is_file()


# Corpora.


def evil_archive(path: Path) -> None:
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../../climbed"))


def half_archive(path: Path) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for number in range(20):
            (path.parent / "noise").write_bytes(np.random.default_rng(number).bytes(5000))
            tar.add(path.parent / "noise", f"an4/file{number}")
        (path.parent / "noise").unlink()
    truncate(path)


@pytest.mark.parametrize(("make", "said"), [(evil_archive, "climbs out"), (half_archive, "damaged")])
def test_a_damaged_or_evil_download_leaves_nothing(tmp_path: Path, make: Callable[[Path], None], said: str):
    archive = tmp_path / "an4_sphere.tar.gz"
    make(archive)
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "deep" / "cache"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "data_prep.an4", "--corpus-dir", str(archive), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert f"error: {archive}" in done.stderr
    assert said in done.stderr
    assert archive.is_file(), "the user's own file is never removed"
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()} - {archive.name}
    assert all(name.endswith(".lock") for name in left), left
