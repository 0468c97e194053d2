"""Every recipe runs end to end on made data, without network: tests/recipes.tsv says how and what it must leave behind.

recipes.tsv holds tab-separated columns: the recipe's folder, the arguments of its small run, the files (below the
run's own folder, separated by spaces) that must exist afterwards, and where small runs are large enough to show
something, `metric|system|least mean of its records`, separated by spaces around a semicolon.
"""

from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
with (ROOT / "tests" / "recipes.tsv").open(encoding="utf-8", newline="") as table:
    ROWS = list(csv.DictReader(table, delimiter="\t"))
SECONDS = 900
"""A recipe promises two minutes on two free cores; the machine that runs the tests may be busy."""


def environment() -> dict[str, str]:
    """No corpora and no way out: a made corpus needs neither."""
    closed = "http://127.0.0.1:9"  # the discard port: nothing listens there
    return {key: value for key, value in os.environ.items() if key != "SPEECHNLP_DATA"} | {
        "PYTHON": sys.executable,
        "HTTP_PROXY": closed,
        "HTTPS_PROXY": closed,
        "http_proxy": closed,
        "https_proxy": closed,
        "HF_HUB_OFFLINE": "1",
    }


def run(row: dict[str, str], folder: Path, name: str = "run.sh") -> subprocess.CompletedProcess[str]:
    script = ROOT / "recipes" / row["recipe"] / name
    places = ["--exp", str(folder / "exp"), "--data", str(folder / "data")]
    return subprocess.run(
        [str(script), *(shlex.split(row["arguments"]) if name == "run.sh" else []), *places],
        cwd=folder,
        env=environment() | {"XDG_CACHE_HOME": str(folder / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )


def test_every_recipe_is_listed_once() -> None:
    folders = sorted(script.parent.name for script in ROOT.glob("recipes/*/run.sh"))
    assert folders == sorted({row["recipe"] for row in ROWS}), "recipes/*/run.sh and tests/recipes.tsv differ"
    runs = [(row["recipe"], row["arguments"]) for row in ROWS]
    assert len(runs) == len(set(runs))
    assert all(row["files"].split() for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["recipe"])
def test_help_needs_nothing(row: dict[str, str], tmp_path: Path) -> None:
    script = ROOT / "recipes" / row["recipe"] / "run.sh"
    done = subprocess.run([str(script), "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "--corpus" in done.stdout


@pytest.mark.parametrize(
    ("recipe", "arguments", "inputs", "named"),
    [
        ("multilingual_asr", "", "speech", "--corpus real"),
        ("multilingual_asr", "--conf conf/longer.yaml", "speech", "--corpus real-longer"),
        ("multilingual_asr", "--corpus made --conf conf/made-gpu.yaml", "speech", "--corpus made-made-gpu"),
        ("zero_shot_translation", "", "text-leaky-false", "--corpus multi30k --named multi30k"),
        ("zero_shot_translation", "--leaky", "text-leaky-true", "--corpus multi30k --named multi30k-leaky"),
        ("zero_shot_translation", "--conf conf/czech.yaml", "text-leaky-false", "--named multi30k-czech"),
        ("zero_shot_translation", "--leaky --conf conf/small.yaml", "text-leaky-true", "--named multi30k-leaky-small"),
    ],
)  # fmt: skip
def test_results_of_other_settings_have_a_name_of_their_own(
    recipe: str, arguments: str, inputs: str, named: str, tmp_path: Path
) -> None:
    """Publishing replaces what stands under a name: one table must not take another's place."""
    for folder in ("exp/runs", "exp/hypotheses", "exp/translations", f"data/{inputs}"):
        top, _, below = folder.partition("/")
        (tmp_path / top / recipe / "one" / below).mkdir(parents=True)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncase $1 in local/*) exit;; esac\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    done = subprocess.run(
        [str(ROOT / "recipes" / recipe / "run.sh"), *shlex.split(arguments), "--name", "one", "--stage", "5",
         "--stop-stage", "5", "--exp", str(tmp_path / "exp"), "--data", str(tmp_path / "data")],
        env=environment() | {"PYTHON": str(python)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    (command,) = [line for line in done.stdout.splitlines() if "local/score.py" in line]
    assert f" {named} " in command, done.stderr


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['recipe']} {row['arguments']}")
def test_recipe_runs_end_to_end_and_then_has_nothing_left_to_do(row: dict[str, str], tmp_path: Path) -> None:
    done = run(row, tmp_path)
    assert done.returncode == 0, done.stdout[-5000:]
    if "synthetic" in row["arguments"]:
        assert "note: --corpus synthetic is made data" in done.stdout
    (folder,) = [path for path in (tmp_path / "exp" / row["recipe"]).iterdir() if path.is_dir()]
    missing = [name for name in row["files"].split() if not (folder / name).is_file()]
    assert not missing, f"{missing} missing among {sorted(str(p.relative_to(folder)) for p in folder.rglob('*'))}"
    if (folder / "results.json").is_file():
        records = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        assert records
        made = {bool(record.get("synthetic")) for record in records}
        assert made == {"synthetic" in row["arguments"]}, "results.json must say which numbers come from made data"
        for claim in filter(None, (row["least"] or "").split(" ; ")):
            metric, system, least = claim.split("|")
            values = [each["value"] for each in records if (each["metric"], each["system"]) == (metric, system)]
            assert values, claim
            assert sum(values) / len(values) >= float(least), (claim, values)

    again = run(row, tmp_path)
    assert again.returncode == 0, again.stdout[-5000:]
    repeated = [line for line in again.stdout.splitlines() if line.startswith("stage ") and "done already" not in line]
    assert not repeated, repeated

    if "--conf" not in row["arguments"] and (ROOT / "recipes" / row["recipe"] / "demo.sh").is_file():
        demo = run(row, tmp_path, "demo.sh")
        assert demo.returncode == 0, demo.stdout[-5000:]
        assert "demo: FSDD is not here and could not be downloaded: this is SYNTHETIC speech" in demo.stdout
        *_, tables, report = demo.stdout.splitlines()
        assert "| unadapted |" in demo.stdout, "the table stands at the end, also when nothing was left to do"
        assert Path(tables.split()[-1]).is_file()
        assert Path(report.split()[-1]).is_file()
