from __future__ import annotations

import json
from pathlib import Path

import pytest

from speechnlp_tl.core.config import StrictModel, TrainConfig
from speechnlp_tl.core.experiment_folder import ExperimentFolder, digest_of_files
from speechnlp_tl.core.processes import Processes
from speechnlp_tl.core.state import TrainResult
from speechnlp_tl.errors import InputError


class Config(StrictModel):
    width: int = 1
    train: TrainConfig = TrainConfig(steps=1)


def folder_of(path: Path, width: int = 1, **train: object) -> ExperimentFolder:
    settings = TrainConfig.model_validate({"steps": 1, **train})
    return ExperimentFolder(path, Config(width=width, train=settings), Processes("cpu"))


def test_nothing_is_written_before_the_experiment_begins(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "out")
    assert not folder.claim("abc")
    assert not (tmp_path / "out").exists()
    folder.begin()
    again = folder_of(tmp_path / "out", workers=2)  # does not change what comes out
    assert (folder.known, again.known) == (False, True)
    assert not again.claim("abc")


def test_another_config_and_other_data_are_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "out")
    folder.claim("abc")
    folder.begin()
    with pytest.raises(InputError, match=r"another config(.|\n)*width: 2"):
        folder_of(tmp_path / "out", width=2)
    with pytest.raises(InputError, match="other data"):
        folder_of(tmp_path / "out").claim("abd")


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="something else"):
        folder_of(tmp_path)


def test_it_is_finished_when_the_model_is_there(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "out")
    folder.claim("abc")
    folder.begin()
    folder.model_dir.mkdir()
    (folder.model_dir / "config.yaml").write_text("")
    assert folder_of(tmp_path / "out").claim("abc")


def test_passes_are_counted_together(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "out")
    folder.claim("abc")
    folder.begin()
    rest = {"epochs": 1, "metric": None, "best": None, "history": [], "stopped": "steps"}
    passes = [
        TrainResult(steps=3, wall_s=1.5, peak_mb=7, skipped=1, **rest),
        TrainResult(steps=4, wall_s=2.0, peak_mb=5, skipped=0, **rest),
    ]
    folder.finish(passes, {"commit": "c"}, {"wer": 1.0}, parameters=9)
    said = {name: json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in ("run", "environment", "dev")}
    assert said == {
        "run": {"steps": 7, "wall_s": 3.5, "peak_mb": 7, "skipped": 1, "parameters": 9},
        "environment": {"commit": "c"},
        "dev": {"wer": 1.0},
    }


def test_a_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    for name, content in (("a", "1"), ("b", "2")):
        (tmp_path / name).write_text(content)
    both = digest_of_files([tmp_path])
    assert both == digest_of_files([tmp_path / "a", None, tmp_path / "b"])
    assert both != digest_of_files([tmp_path / "b", tmp_path / "a"])
    (tmp_path / "b").rename(tmp_path / "c")
    assert both != digest_of_files([tmp_path])
