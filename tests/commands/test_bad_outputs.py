"""Full disks and folders that are taken: nothing is lost and nothing half-written."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.refusal import nothing_written, refused

# The disk and the places of results.


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: writing fails as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("size", [0, 2000, 30_000], ids=["nothing fits", "small files fit", "all but weights fit"])
@pytest.mark.parametrize("method", ["finetune", "lora"])
def test_a_full_disk_leaves_no_half_adapted_model(verbs, tmp_path: Path, size: int, method: str):
    with full_disk(size):
        outcome = verbs["adapt"]("--method", method)
    refused(outcome, "cannot be written", "out")
    assert nothing_written(tmp_path)
    assert verbs["adapt"]("--method", method).code == 0, "once there is room it works"


def test_a_full_disk_keeps_the_old_hypotheses(verbs, tmp_path: Path):
    assert verbs["transcribe"]().code == 0
    before = tree(tmp_path)
    with full_disk(10):
        refused(verbs["transcribe"]("--resample"), "cannot be written", str(tmp_path / "out"))
    assert tree(tmp_path) == before


def test_training_goes_on_after_the_disk_was_full(verbs, tmp_path: Path):
    with full_disk(20_000):
        refused(verbs["train"](), "cannot be written", "checkpoints")
    assert not (tmp_path / "out" / "model").exists()
    assert not [path for path in tmp_path.rglob("*.tmp")]
    again = verbs["train"]()
    assert again.code == 0, again.err


def test_merging_on_a_full_disk_leaves_nothing(run, adapter: Path, tmp_path: Path):
    with full_disk(20_000):
        refused(run("merge", "--model", adapter, "--out", tmp_path / "merged"), "cannot be written")
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize("verb", ["train", "adapt"])
def test_what_lies_in_the_output_folder_is_never_touched(verbs, tmp_path: Path, verb: str):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    refused(verbs[verb](), str(tmp_path / "out"), "choose another --out")
    assert tree(tmp_path / "out") == {"thesis.txt": b"years of work"}
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").write_text("a file")
    refused(verbs[verb](), str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "a file"


def test_merging_and_splitting_keep_what_lies_in_the_output_folder(run, adapter: Path, data: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    refused(run("merge", "--model", adapter, "--out", tmp_path / "out"), "exists already")
    refused(
        run("data", "split", data, "--out", tmp_path / "out", "--by", "budget", "--utterances", 1), "exists already"
    )
    assert tree(tmp_path / "out") == {"thesis.txt": b"years of work"}


@pytest.mark.parametrize("verb", ["train", "adapt", "transcribe"])
def test_an_output_below_a_file_is_refused(verbs, tmp_path: Path, verb: str):
    (tmp_path / "marker").write_text("a file")
    refused(verbs[verb]("--out", tmp_path / "marker" / "deep"), "marker")


def test_a_changed_config_does_not_continue_another_experiment(verbs, tmp_path: Path):
    assert verbs["train"]().code == 0
    before = tree(tmp_path / "out")
    refused(verbs["train"]("--set", "train.learning_rate=0.1"), "another config", "learning_rate: 0.1")
    assert tree(tmp_path / "out") == before


def test_a_config_that_failed_can_be_corrected_and_run_into_the_same_folder(verbs, tmp_path: Path):
    refused(verbs["train"]("--set", "data.lexicon=nowhere"), "nowhere")
    assert verbs["train"]().code == 0
