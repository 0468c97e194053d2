"""The data commands parse, call and print; errors are exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from speechnlp_tl.commands.data import app
from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.data_dir import DataDir, Utterance


def run(*arguments: object) -> Result:
    """Run a command as the program does: an InputError is left for its main function."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def data(tmp_path: Path) -> Path:
    names = [f"{speaker}-{n}" for speaker in ("a", "b", "c") for n in range(4)]
    for name in names:
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * np.random.default_rng(0).standard_normal(8000), 8000)
    DataDir(Utterance(n, n[0], str(tmp_path / f"{n}.wav"), "one two") for n in names).write(tmp_path / "d")
    return tmp_path / "d"


def test_validate_exits_with_two_only_for_errors(data: Path) -> None:
    good = run("validate", data)
    assert good.exit_code == 0
    assert "0 errors, 0 warnings" in good.output
    (data / "text").write_text((data / "text").read_text().replace("a-1 one", "a-1\tone").replace("b-1 one two\n", ""))
    bad = run("validate", data)
    assert bad.exit_code == 2
    assert f"error: {data}/text:2: has tabs" in bad.output
    assert "b-1 has no transcript" in bad.output
    assert "2 errors" in bad.output


def test_fix_tells_what_it_dropped(data: Path, tmp_path: Path) -> None:
    (tmp_path / "a-0.wav").unlink()
    result = run("fix", data, "--out", tmp_path / "mended")
    assert result.exit_code == 0
    assert "kept 11 of 12" in result.output
    assert "dropped a-0" in result.output
    assert run("validate", tmp_path / "mended").exit_code == 0


def test_stats_prints_a_table_and_writes_json(data: Path, tmp_path: Path) -> None:
    result = run("stats", data, "--json", tmp_path / "stats.json")
    assert result.exit_code == 0
    assert "8000 Hz" in result.output
    numbers = json.loads((tmp_path / "stats.json").read_text())
    assert {k: numbers[k] for k in ("utterances", "speakers", "seconds", "words", "vocabulary", "rates")} == {
        "utterances": 12,
        "speakers": 3,
        "seconds": 12.0,
        "words": 24,
        "vocabulary": 2,
        "rates": {"8000": 12},
    }
    assert numbers["duration_percentiles"]["50"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--by", "speaker", "--speakers", "b"], {"rest": 8, "held_out": 4}),
        (["--by", "speaker", "--fraction", "0.6", "--seed", "3"], {"rest": 4, "held_out": 8}),
        (["--by", "budget", "--utterances", "1"], {"adaptation": 3, "rest": 9}),
        (["--by", "budget", "--seconds", "2.5"], {"adaptation": 6, "rest": 6}),
        (["--by", "folds", "--folds", "2"], {"0/rest": 6, "0/fold": 6, "1/rest": 6, "1/fold": 6}),
        (["--by", "speaker-folds", "--folds", "3"], {"0/rest": 8, "2/fold": 4}),
    ],
)
def test_split_writes_valid_directories(
    data: Path, tmp_path: Path, arguments: list[str], parts: dict[str, int]
) -> None:
    assert run("split", data, "--out", tmp_path / "parts", *arguments).exit_code == 0
    assert {name: len(DataDir.read(tmp_path / "parts" / name)) for name in parts} == parts
    with pytest.raises(InputError, match="exists already"):
        run("split", data, "--out", tmp_path / "parts", *arguments)


def test_import_tsv_makes_a_directory(data: Path, tmp_path: Path) -> None:
    rows = ["path\tsentence", *(f"a-{n}.wav\tHello, {n}!" for n in range(3)), "none.wav\tx"]
    (tmp_path / "t.tsv").write_text("\n".join(rows) + "\n")
    with pytest.raises(InputError, match=r"t\.tsv:5"):
        run("import-tsv", tmp_path / "t.tsv", tmp_path / "out", "--speaker", "a")
    options = ["--speaker", "a", "--skip-bad", "--lower", "--strip-punctuation"]
    result = run("import-tsv", tmp_path / "t.tsv", tmp_path / "out", *options)
    assert "3 utterances, 1 speakers, 1 skipped" in result.output
    assert [u.text for u in DataDir.read(tmp_path / "out")] == ["hello 0", "hello 1", "hello 2"]


def test_import_hf_makes_a_directory(data: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    table = {"audio": [str(tmp_path / f"a-{n}.wav") for n in range(2)], "text": ["x", "y"], "speaker": ["a", "a"]}
    datasets.Dataset.from_dict(table).save_to_disk(tmp_path / "set")
    assert run("import-hf", tmp_path / "set", tmp_path / "out").exit_code == 0
    assert run("validate", tmp_path / "out").exit_code == 0


def test_importing_the_commands_is_light() -> None:
    heavy = "torch numpy soundfile soxr datasets rich.table"
    code = f"import sys, speechnlp_tl.commands.data; print([m for m in '{heavy}'.split() if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
