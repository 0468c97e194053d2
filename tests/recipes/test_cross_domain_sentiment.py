"""The cross-domain sentiment recipe: which labels a system can see, what is run again, what is scored."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from data_prep.made_reviews import prepare
from speechnlp_tl.core.config import load_config
from speechnlp_tl.errors import InputError

ROOT = Path(__file__).parents[2]
LOCAL = ROOT / "recipes" / "cross_domain_sentiment" / "local"
CONF = """
domains: [books, kitchen]
seeds: 1
msda: {layers: 1}
sda: {units: [10], epochs: 1}
classifier: {hidden: [8]}
train: {epochs: 2, metric: source_accuracy, mode: max, device: cpu, tensorboard: false}
source:
  svm: {kind: svm}
  ceiling: {kind: svm, labels: target}
transfer:
  self-trained: {kind: svm, self_training: {}, augmented: true}
  weighted: {kind: svm, reweighted: true}
  msda: {kind: svm, features: msda}
  recoloured: {kind: svm, features: msda, coral: 1}
  shared: {kind: svm, features: msda, fitted_on: everything, weighting: log, chosen: shifted}
  known: {kind: svm, known: 10, augmented: true}
  told: {kind: network, known: 10}
  soft: {kind: network, known: 10, method: confusion, soft_labels: 1}
  sda: {kind: svm, features: sda, tri_training: {}}
  rare: {kind: svm, rare: 0.2}
  resampled: {kind: svm, rare: 0.2, features: msda, resampled: random_over}
  dann: {kind: network, method: dann}
  adabn: {kind: network, norm: batch, method: adabn}
"""

SHARED = """
source:
  svm: {kind: svm}
transfer:
  shared: {kind: svm, features: msda, fitted_on: everything, weighting: log, chosen: shifted}
"""


@pytest.fixture(scope="module")
def settings() -> Iterator[ModuleType]:
    """The recipe's own module of that name; other recipes have one, too."""
    earlier = sys.modules.pop("settings", None)
    sys.path.insert(0, str(LOCAL))
    yield importlib.import_module("settings")
    sys.path.remove(str(LOCAL))
    sys.modules.pop("settings", None)
    if earlier is not None:
        sys.modules["settings"] = earlier


def call(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(LOCAL / script), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )


def sweep(folder: Path, data: Path, conf: str = CONF) -> dict[str, dict]:
    """Runs by pair and system."""
    folder.mkdir(exist_ok=True)
    (folder / "conf.yaml").write_text(conf)
    for part in ("source", "transfer"):
        options = ("--conf", folder / "conf.yaml", "--part", part, "--data", data, "--out", folder / "runs")
        done = call("run_systems.py", *options)
        assert done.returncode == 0, done.stderr
        (folder / f"{part}.txt").write_text(done.stdout)
    runs = [json.loads(path.read_text()) for path in sorted((folder / "runs").rglob("*.json"))]
    return {f"{run['source']} {run['system']}": run for run in runs}


def flip(file: Path) -> None:
    """Every label the other one."""
    swapped = {"positive": "negative", "negative": "positive"}
    file.write_text("".join(f"{swapped[label]}\n" for label in file.read_text().split()))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, dict]]:
    folder = tmp_path_factory.mktemp("sentiment")
    prepare(folder / "data", 60)
    return folder, folder / "data", sweep(folder / "exp", folder / "data")


def test_only_the_ceiling_sees_target_labels_and_nothing_sees_test_labels(made, tmp_path: Path) -> None:
    _, _, runs = made
    prepare(tmp_path / "data", 60)
    for file in ("kitchen/train.labels.txt", "kitchen/test.labels.txt", "books/test.labels.txt"):
        flip(tmp_path / "data" / file)
    lied = sweep(tmp_path / "exp", tmp_path / "data")
    changed = {
        name for name in runs if name.startswith("books") and runs[name]["predictions"] != lied[name]["predictions"]
    }
    assert changed == {"books ceiling", "books known", "books told", "books soft"}
    rules = {name: runs[f"books {name}"]["selection"] for name in ("ceiling", "known", "soft", "shared", "svm", "dann")}
    assert rules == {
        "ceiling": "target validation",
        "known": "source validation, 10 target labels",
        "soft": "source validation, 10 target labels",
        "shared": "shifted source validation",
        "svm": "source validation",
        "dann": "source validation",
    }


def test_other_reviews_are_other_runs_and_other_denoisers(made, tmp_path: Path) -> None:
    """The same settings on another text file: nothing of the earlier one is taken."""
    prepare(tmp_path / "data", 60, seed=5)
    small = CONF[: CONF.index("source:")] + SHARED
    first = sweep(tmp_path / "exp", made[1], small)
    both = sweep(tmp_path / "exp", tmp_path / "data", small)
    assert "0 runs" not in (tmp_path / "exp" / "source.txt").read_text()
    folders = [path for path in (tmp_path / "exp" / "runs").iterdir() if path.is_dir()]
    assert len(folders) == 2
    assert all(len(list((folder / "denoisers").iterdir())) == 1 for folder in folders)
    assert set(first) == set(both)


def test_pairs_whose_names_run_together_have_files_of_their_own() -> None:
    sys.path.insert(0, str(LOCAL))
    try:
        from run_record import RunName
    finally:
        sys.path.remove(str(LOCAL))
    one, other = RunName("svm", "a-b", "c", 0), RunName("svm", "a", "b-c", 0)
    assert one.file(Path("runs")) != other.file(Path("runs"))
    assert RunName("svm", "a/../x", "c", 0).file(Path("runs")).parent.parent == Path("runs")


def test_finished_runs_are_not_run_again_until_their_settings_change(made) -> None:
    folder, data, _ = made
    nothing = "books and kitchen: 0 runs; 1 of 1 done, 0 min left"
    assert len((folder / "exp" / "source.txt").read_text().splitlines()) == 4 + 1
    sweep(folder / "exp", data, CONF.replace("epochs: 2", "epochs: 3"))
    assert (folder / "exp" / "source.txt").read_text().strip() == nothing
    *lines, last = (folder / "exp" / "transfer.txt").read_text().splitlines()
    assert "8 runs" in last
    assert len(lines) == 8
    assert all(any(name in line for name in ("dann", "adabn", "told", "soft")) for line in lines)


def test_a_run_from_before_a_setting_was_thought_of_is_not_run_again(made, tmp_path: Path) -> None:
    folder, data, _ = made
    shutil.copytree(folder / "exp", tmp_path / "exp")
    for file in (tmp_path / "exp" / "runs").rglob("*.json"):
        run = json.loads(file.read_text())
        run["settings"] = {name: value for name, value in run["settings"].items() if value is not None}
        file.write_text(json.dumps(run))
    options = ("--part", "source", "--data", data, "--out", tmp_path / "exp" / "runs")
    done = call("run_systems.py", "--conf", tmp_path / "exp" / "conf.yaml", *options)
    assert "0 runs" in done.stdout


def test_scores_are_those_of_the_predictions(made) -> None:
    folder, data, runs = made
    out = folder / "out"
    out.mkdir()
    options = {"--conf": folder / "exp" / "conf.yaml", "--data": data, "--runs": folder / "exp" / "runs", "--out": out}
    done = call("write_results.py", "--corpus", "synthetic", *(part for pair in options.items() for part in pair))
    assert done.returncode == 0, done.stderr
    records = json.loads((out / "results.json").read_text())
    labels = (data / "kitchen" / "test.labels.txt").read_text().split()
    expected = {}
    for system in ("svm", "ceiling"):
        guesses = runs[f"books {system}"]["predictions"].split()
        right = [(guess == "1") == (label == "positive") for guess, label in zip(guesses, labels, strict=True)]
        expected[system] = 100 * float(np.mean(right))
    found = {(r["system"], r.get("source"), r["metric"]): r for r in records}
    for system, accuracy in expected.items():
        record = found[system, "books", "accuracy"]
        assert record["value"] == pytest.approx(accuracy, abs=0.01)
        assert record["ci95"][0] <= accuracy <= record["ci95"][1]
        assert record["synthetic"]
    gain = found["ceiling", "books", "accuracy gain"]["value"]
    assert gain == pytest.approx(expected["ceiling"] - expected["svm"], abs=0.01)
    text = (out / "RESULTS.md").read_text()
    assert "SYNTHETIC" in text
    assert f"{found['ceiling', None, 'accuracy']['value']:.1f}" in text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{kind: network, method: adabn}", "adabn needs 'norm: batch'"),
        ("{kind: svm, self_trained: {}}", "did you mean 'self_training'"),
        ("{kind: network, features: sda}", "are for svm and logistic"),
        ("{kind: svm, self_training: {}, tri_training: {}}", "take one"),
        ("{kind: svm, reweighted: true, resampled: smote}", "goes with none of"),
        ("{kind: svm, labels: target, rare: 0.1}", "a ceiling trained on the target has none"),
        ("{kind: svm, epochs: 3}", "are for networks"),
        ("{kind: network, weight: 2}", "are those of a 'method'"),
        ("{kind: network, method: mmd, rate: 3}", "no domain classifier"),
        ("{kind: svm, reweighted: true, self_training: {}}", "goes with none of"),
        ("{kind: svm, labels: target, chosen: shifted}", "is for the source"),
        ("{kind: svm, labels: target, coral: 1}", "recolours the source"),
        ("{kind: network, coral: 1}", "are for svm and logistic"),
        ("{kind: network, soft_labels: 1}", "say how many"),
        ("{kind: svm, known: 10, soft_labels: 1}", "are for networks"),
        ("{kind: network, known: 10, scored: true}", "do without"),
        ("{kind: majority, known: 10}", "looks at no features"),
    ],
)
def test_a_system_that_makes_no_sense_is_refused_with_its_line(settings, tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "conf.yaml").write_text(CONF.replace("{kind: svm, reweighted: true}", line))
    with pytest.raises(InputError) as told:
        load_config(tmp_path / "conf.yaml", settings.RecipeConfig)
    problems = [str(problem) for problem in told.value.problems]
    assert any(said in problem and "conf.yaml:" in problem for problem in problems), problems


def test_a_refusal_is_exit_code_2_without_a_traceback(made, tmp_path: Path) -> None:
    (tmp_path / "conf.yaml").write_text(CONF.replace("{kind: svm, reweighted: true}", "{kind: svm, epochs: 3}"))
    options = ("--conf", tmp_path / "conf.yaml", "--part", "source", "--data", made[1], "--out", tmp_path / "runs")
    done = call("run_systems.py", *options)
    assert done.returncode == 2
    assert "are for networks" in done.stderr
    assert "Traceback" not in done.stderr


def test_more_known_target_reviews_than_there_are_is_refused(made, tmp_path: Path) -> None:
    (tmp_path / "conf.yaml").write_text(
        CONF[: CONF.index("transfer:")] + "transfer: {known: {kind: svm, known: 500}}\n"
    )
    options = ("--conf", tmp_path / "conf.yaml", "--part", "transfer", "--data", made[1], "--out", tmp_path / "runs")
    done = call("run_systems.py", *options)
    assert done.returncode == 2
    assert "500 labelled target documents are asked for, of 60" in done.stderr
    assert "Traceback" not in done.stderr
