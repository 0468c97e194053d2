"""Runs that are killed, interrupted or find damage continue exactly, or say why they cannot."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_task import FrameTask, run_plan

from speechnlp_tl.core.config import TrainConfig
from speechnlp_tl.core.tracking import read_metrics
from speechnlp_tl.core.trainer import Trainer
from speechnlp_tl.errors import InputError

ROOT = Path(__file__).parents[2]
EVERYTHING = {
    "epochs": 6, "learning_rate": 0.02, "schedule": "cosine", "warmup": 0.1, "clip_norm": 1.0, "accumulate": 2,
    "metric": "loss", "patience": 5, "checkpoint_every": 3, "average": 0.9, "log_every": 2, "tensorboard": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def server():
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(Path(__file__).with_name("toy_task.py")), "--serve"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        process.stdin.close()


def start(server, plan: Path) -> int:
    server.stdin.write(f"{plan}\n")
    server.stdin.flush()
    return int(server.stdout.readline())


def ended(server) -> int:
    return int(server.stdout.readline())


def write_plan(folder: Path, name: str, directory: Path | None, slow: float = 0.0, **changes) -> Path:
    job = {
        "task": {"dropout": 0.3, "slow": slow},
        "train": EVERYTHING | changes,
        "terms": True,
        "directory": None if directory is None else str(directory),
        "weights": str(folder / f"{name}.safetensors"),
    }
    path = folder / f"{name}-plan.json"
    path.write_text(json.dumps([job]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run_plan(str(write_plan(folder, "whole", folder / "exp")))
    return folder


def assert_same_run(whole: Path, other: Path, name: str) -> None:
    expected, got = load_file(whole / "whole.safetensors"), load_file(other / f"{name}.safetensors")
    assert expected.keys() == got.keys()
    for key, tensor in expected.items():
        assert torch.equal(tensor, got[key]), key
    timing = {"units_per_s", "steps_per_s"}
    records = [
        [{k: v for k, v in record.items() if k not in timing} for record in read_metrics(folder / "metrics.jsonl")]
        for folder in (whole / "exp", other / "exp")
    ]
    assert records[0] == records[1]


def newest(folder: Path) -> int:
    return max((int(path.parent.name[5:]) for path in folder.glob("exp/checkpoints/step-*/manifest.json")), default=0)


def test_resume_after_kill_gives_identical_weights(server, uninterrupted, tmp_path):
    moments = random.Random(0)
    plan = write_plan(tmp_path, "killed", tmp_path / "exp", slow=0.01)
    resumed_from = []
    for _ in range(5):
        child, before, limit = start(server, plan), newest(tmp_path), time.monotonic() + 60
        while newest(tmp_path) <= before and time.monotonic() < limit:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.05))  # inside a step, an evaluation or the writing of a checkpoint
        os.kill(child, signal.SIGKILL)
        assert ended(server) == -signal.SIGKILL
        resumed_from.append(newest(tmp_path))
    start(server, plan)
    assert ended(server) == 0
    assert 0 < resumed_from[0] < resumed_from[-1] < 30  # it was killed on the way, and each run went on from the last
    assert_same_run(uninterrupted, tmp_path, "killed")
    assert not list((tmp_path / "exp" / "checkpoints").glob(".step-*"))


def test_ctrl_c_leaves_a_checkpoint_and_says_so(server, uninterrupted, tmp_path):
    plan = write_plan(tmp_path, "stopped", tmp_path / "exp", slow=0.03, checkpoint_every=None)
    child = start(server, plan)
    while not read_metrics(tmp_path / "exp" / "metrics.jsonl"):
        time.sleep(0.01)
    os.kill(child, signal.SIGINT)
    assert ended(server) == 130
    assert list((tmp_path / "exp" / "checkpoints").glob("step-*/manifest.json"))
    run_plan(str(write_plan(tmp_path, "stopped", tmp_path / "exp", checkpoint_every=None)))
    assert_same_run(uninterrupted, tmp_path, "stopped")


def test_a_finished_run_is_not_run_again(uninterrupted):
    task = FrameTask(dropout=0.3)
    from toy_task import Penalty, Small

    terms = [Small(0.1), Penalty(task.model, 0.01)]
    result = Trainer(task, TrainConfig(**EVERYTHING), uninterrupted / "exp", terms, quiet=True).fit()
    assert task.loaded == []
    assert torch.equal(task.model.output.weight, load_file(uninterrupted / "whole.safetensors")["output.weight"])
    stored = json.loads((uninterrupted / "whole.json").read_text(encoding="utf-8"))
    assert (result.steps, result.best, result.history) == (stored["steps"], stored["best"], stored["history"])


def interrupted_run(folder: Path, at: int = 4, **settings) -> FrameTask:
    """A run that a signal stops in the step after its step `at`."""

    class Stopped(FrameTask):
        steps = 0

        def end_step(self, total):
            self.steps += 1
            if self.steps == at:
                os.kill(os.getpid(), signal.SIGTERM)

    task = Stopped()
    with pytest.raises(KeyboardInterrupt, match="run the same command again"):
        Trainer(task, config(**settings), folder, quiet=True).fit()
    return task


def config(**settings) -> TrainConfig:
    return TrainConfig(**{"epochs": 2, "tensorboard": False, "log_every": 1} | settings)


def test_a_resumed_epoch_loads_only_what_is_left(tmp_path):
    interrupted_run(tmp_path, at=3)
    task = FrameTask()
    expected = [rows for epoch in range(2) for rows in task.batches(epoch)]
    Trainer(task, config(evaluate_every=None), tmp_path, quiet=True)
    with pytest.raises(InputError, match="'evaluate_every' was 1 in this run and is None now"):
        Trainer(task, config(evaluate_every=None), tmp_path, quiet=True).fit()
    Trainer(task, config(), tmp_path, quiet=True).fit()
    done = next(int(path.name.split("-")[1]) for path in sorted((tmp_path / "checkpoints").glob("step-*")))
    assert done == len(expected)
    trained = [rows for rows in task.loaded if len(rows) < len(task.inputs)]
    assert trained == expected[4:]


def test_a_damaged_checkpoint_names_the_file_and_the_remedy(tmp_path):
    interrupted_run(tmp_path)
    (checkpoint,) = (tmp_path / "checkpoints").glob("step-*")
    weights = checkpoint / "model.safetensors"
    whole = weights.read_bytes()
    damaged = bytearray(whole)
    damaged[-1] ^= 1
    (checkpoint / "optimizer.json").unlink()
    for content in (bytes(damaged), whole[:-7]):
        weights.write_bytes(content)
        with pytest.raises(InputError) as caught:
            Trainer(FrameTask(), config(), tmp_path, quiet=True).fit()
        assert {problem.file for problem in caught.value.problems} == {weights, checkpoint / "optimizer.json"}
        assert f"remove {checkpoint} to start again" in str(caught.value)


def test_another_model_or_other_data_are_refused(tmp_path):
    interrupted_run(tmp_path, at=2)
    wider = FrameTask()
    wider.model.output = torch.nn.Linear(8, 7)
    with pytest.raises(InputError, match=r"output.weight.*has shape \(4, 8\), the model's has \(7, 8\)"):
        Trainer(wider, config(), tmp_path, quiet=True).fit()
    with pytest.raises(InputError, match="data or the batches have changed"):
        Trainer(FrameTask(rows=90), config(), tmp_path, quiet=True).fit()


def test_a_run_can_be_prolonged(tmp_path):
    Trainer(FrameTask(), config(steps=3, epochs=None), tmp_path, quiet=True).fit()
    longer = FrameTask()
    assert Trainer(longer, config(steps=7, epochs=None), tmp_path, quiet=True).fit().steps == 7
    once = FrameTask()
    Trainer(once, config(steps=7, epochs=None), None).fit()
    assert torch.equal(longer.model.output.weight, once.model.output.weight)
