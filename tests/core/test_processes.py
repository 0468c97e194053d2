"""Two processes that share each step train what one process trains. One launch runs all cases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_task import run_plan

ROOT = Path(__file__).parents[2]
CASES = {
    "plain": {},
    "terms": {"terms": True},
    "accumulated": {"terms": True, "train": {"accumulate": 3}},
    "fewer rows than parts": {"task": {"budget": 9}, "terms": True, "train": {"accumulate": 2}},
    "one row a step": {"task": {"budget": 1}, "terms": True},
    "averaged": {"train": {"average": 0.9, "metric": "loss"}, "directory": "exp"},
    "averaged and prolonged": {"train": {"average": 0.9, "metric": "loss", "epochs": 6}, "directory": "exp"},
    "workers": {"train": {"workers": 1}},
    "bad rows": {"bad": [4], "train": {"epochs": 3}, "directory": "bad rows"},
}


def write_plan(folder: Path) -> Path:
    plan = []
    for name, case in CASES.items():
        train = {"epochs": 4, "learning_rate": 0.02, "clip_norm": 1.0, "tensorboard": False} | case.get("train", {})
        directory = str(folder / case["directory"]) if "directory" in case else None
        weights = str(folder / f"{name}.safetensors")
        plan.append({"task": {}} | case | {"train": train, "directory": directory, "weights": weights})
    path = folder / "plan.json"
    path.write_text(json.dumps(plan), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    run_plan(str(write_plan(one)))
    plan = write_plan(two)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    script = str(Path(__file__).with_name("toy_task.py"))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", script, str(plan)]
    done = subprocess.run(launch, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return one, two


def test_two_processes_with_half_the_batch_are_like_one(folders):
    """One test, because the launch that all cases share is most of the work, and tests may be shared by processes."""
    for case in CASES:
        check_weights(case, folders)
    check_skipped_rows(folders)
    check_generators(folders)


def check_weights(case, folders):
    one, two = (load_file(folder / f"{case}.safetensors") for folder in folders)
    assert one.keys() == two.keys(), case
    for name, tensor in one.items():
        if name != "seen":  # each process' own running statistic
            torch.testing.assert_close(
                two[name], tensor, atol=1e-5, rtol=0, msg=lambda text, name=name: f"{case}, {name}: {text}"
            )
    results = [json.loads((folder / f"{case}.json").read_text(encoding="utf-8")) for folder in folders]
    assert results[0]["steps"] == results[1]["steps"], case
    assert results[0]["skipped"] == results[1]["skipped"], case


def check_skipped_rows(folders):
    """The rows of a skipped step are named from all processes."""
    records = [(folder / "bad rows" / "metrics.jsonl").read_text(encoding="utf-8") for folder in folders]
    for text in records:
        skipped = [json.loads(line) for line in text.splitlines() if '"ids"' in line]
        assert len(skipped) == 3
        assert all("row-4" in record["ids"] for record in skipped)


def check_generators(folders):
    """Checkpoints keep the random generators of every process."""
    (checkpoint,) = (folders[1] / "exp" / "checkpoints").iterdir()
    names = set(load_file(checkpoint / "random.safetensors"))
    assert {"0.torch", "1.torch"} <= names
