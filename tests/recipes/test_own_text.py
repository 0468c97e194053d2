"""The cross-domain sentiment recipe on a user's own text, and the transformer config beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.amazon import read_prepared
from data_prep.text_split import split_of
from tests.tiny_text import make_transformer, reviews, write_lines

RECIPE = Path(__file__).parents[2] / "recipes" / "cross_domain_sentiment"
CONF = """
seeds: 1
msda: {layers: 1}
classifier: {hidden: [8]}
train: {epochs: 2, metric: source_accuracy, mode: max, device: cpu, tensorboard: false}
source:
  svm: {kind: svm}
transfer:
  dann: {kind: network, method: dann}
"""


def recipe(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(RECIPE / "run.sh"), *arguments, "--exp", "exp", "--data", "data"],
        env=os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        cwd=folder, capture_output=True, text=True, timeout=900,
    )  # fmt: skip


def test_own_text_goes_through_the_whole_recipe(tmp_path: Path) -> None:
    stars = {"positive": 5, "negative": 1}
    records = [
        {"text": one["text"], "label": stars[one["label"]], "domain": one["domain"]}
        for product in ("books", "kitchen")
        for one in reviews(product, 80)
    ]
    write_lines(tmp_path / "my.jsonl", records)
    (tmp_path / "own.yaml").write_text(CONF)
    done = recipe(tmp_path, "--corpus", "text", "--text-file", "my.jsonl", "--conf", "own.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (tmp_path / "exp" / "cross_domain_sentiment").iterdir()
    found = json.loads((folder / "results.json").read_text())
    assert {(r["source"], r["target"]) for r in found if r.get("source")} == {
        ("books", "kitchen"), ("kitchen", "books")
    }  # fmt: skip
    assert not any(record.get("synthetic") for record in found)
    (data,) = (tmp_path / "data" / "cross_domain_sentiment").iterdir()
    kitchen = read_prepared(data / "kitchen", features=None)
    expected = [
        stars["positive"] == r["label"] for r in records if r["domain"] == "kitchen" and split_of(r["text"]) == "test"
    ]
    assert kitchen["test"].labels.tolist() == [int(positive) for positive in expected]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": None}, "my.jsonl:1: has no label; label it or leave it out"),
        ({"label": "mixed"}, "two classes, this has 3; 'speechnlp-tl train' takes any number"),
        ({"domain": "../x"}, "domains become folders, and '../x' is no name for one"),
        ({"domain": "new"}, "part of domain 'new' has"),
        ({"text": ""}, "my.jsonl:1: field 'text' is empty"),
    ],
)
def test_own_text_that_the_recipe_cannot_compare_is_refused(tmp_path: Path, change: dict[str, str], said: str) -> None:
    one, *rest = [*reviews("books", 60), *reviews("kitchen", 60)]
    path = write_lines(tmp_path / "my.jsonl", [one | change, *rest])
    script, out = RECIPE / "local" / "prepare.py", tmp_path / "out"
    done = subprocess.run(
        [sys.executable, str(script), "--corpus", "text", "--text-file", str(path), "--out", str(out)],
        env=os.environ | {"PYTHONPATH": str(RECIPE.parents[1])}, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_the_transformer_config_trains_with_a_tiny_model(run, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    bert = make_transformer(tmp_path / "bert")
    train = write_lines(tmp_path / "train.jsonl", [*reviews("books", 40), *reviews("kitchen", 40)])
    overrides = (
        f"data.train={train}", f"features.model={bert}", "features.max_tokens=48", "train.epochs=1", "train.device=cpu"
    )  # fmt: skip
    options = [part for override in overrides for part in ("--set", override)]
    done = run("train", RECIPE / "conf" / "text-encoder.yaml", "--out", tmp_path / "exp", "--quiet", *options)
    assert done.code == 0, done.err
    done = run("classify", "--model", tmp_path / "exp", "--input", train, "--score")
    assert done.code == 0, done.err
    assert "kitchen: accuracy" in done.out
