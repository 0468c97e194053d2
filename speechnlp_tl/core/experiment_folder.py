"""Whose an experiment's folder is: free, this experiment's, or another's; and what a training writes there before its
first step and after its last. What makes `train` safe to run twice."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from speechnlp_tl.atomic import write_text
from speechnlp_tl.core.config import StrictModel, dump_config, load_config
from speechnlp_tl.core.processes import Processes
from speechnlp_tl.core.trainer import TrainResult
from speechnlp_tl.errors import InputError, Problem

RESOLVED = "experiment.yaml"
DIGEST = "data.sha256"
COURSE_FREE = ("workers", "device", "log_every", "checkpoint_every", "checkpoint_minutes", "tensorboard")
"""Training settings that do not change what comes out."""


class ExperimentFolder:
    """Where one training writes: `claim`, `begin` before the first step, `finish` after the last.

    Args:
        path: the experiment's folder; nothing is written before `begin`.
        config: the experiment.
        processes: those that train; only the main one writes.

    Raises:
        InputError: the folder holds files of something else, or of an experiment with another config.
    """

    def __init__(self, path: str | Path, config: StrictModel, processes: Processes) -> None:
        self.path, self.config, self.processes = Path(path), config, processes
        self.model_dir = self.path / "model"
        self.known = is_claimed(self.path, config)
        """Whether the experiment was begun here already."""
        self._digest: str | None = None

    def claim(self, digest: str) -> bool:
        """Say what the experiment is given, and learn whether it is finished.

        Raises:
            InputError: it was begun with other data.
        """
        self._digest = digest
        if self.known:
            check_same_data(self.path, digest)
        return (self.model_dir / "config.yaml").is_file()

    def begin(self) -> None:
        """Make the folder this experiment's, now that data and config have proved usable."""
        self.processes.wait()  # every process must have looked into the folder before one writes there
        if self.processes.main and not self.known:
            assert self._digest is not None, "claim comes before begin"
            write_text(self.path / DIGEST, self._digest + "\n")
            write_text(self.path / RESOLVED, dump_config(self.config))

    def finish(
        self, passes: Sequence[TrainResult], environment: Mapping[str, Any], dev: Mapping[str, Any] | None, **facts: int
    ) -> None:
        """What the passes over the data cost together, where they ran, and what was measured on dev data: for the main
        process to say."""
        cost = {
            "steps": sum(one.steps for one in passes),
            "wall_s": sum(one.wall_s for one in passes),
            "peak_mb": max(one.peak_mb for one in passes),
            "skipped": sum(one.skipped for one in passes),
        }
        write_text(self.path / "run.json", json.dumps(cost | facts))
        write_text(self.path / "environment.json", json.dumps(environment, indent=2))
        if dev is not None:
            write_text(self.path / "dev.json", json.dumps(dev))


def digest_of_files(paths: Iterable[Path | None]) -> str:
    """SHA-256 of the names and contents of files, and of the files of folders; None is passed over."""
    digest = hashlib.sha256()
    for path in paths:
        if path is None:
            continue
        for file in sorted(path.glob("*")) if path.is_dir() else [path]:
            if file.is_file():
                digest.update(f"{file.name}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def is_claimed(out: Path, config: StrictModel) -> bool:
    """Whether `out` is this experiment's folder already; if not, it is free.

    Raises:
        InputError: the folder holds files of something else, or of an experiment with another config.
    """
    resolved = dump_config(config)
    saved = out / RESOLVED
    if saved.is_file():
        before = saved.read_text(encoding="utf-8")
        if before != resolved and _course(load_config(saved, type(config))) != _course(config):
            changed = sorted(set(resolved.splitlines()) ^ set(before.splitlines()))
            remedy = "choose another --out, or restore the config: " + "; ".join(line.strip() for line in changed[:6])
            raise InputError(Problem("holds an experiment with another config", saved, remedy=remedy))
        return True
    if out.exists() and (not out.is_dir() or any(not _is_beginning(path.name) for path in out.iterdir())):
        raise InputError(Problem("holds something else", out, remedy="choose another --out"))
    return False


def check_same_data(out: Path, digest: str) -> None:
    """Raise InputError when the experiment in `out` was begun with other data or another pretrained model."""
    saved = out / DIGEST
    if saved.is_file() and saved.read_text(encoding="utf-8").strip() != digest:
        remedy = "choose another --out, or bring the old files back"
        what = "this experiment was begun with other data, or another pretrained model, at the same paths"
        raise InputError(Problem(what, saved, remedy=remedy))


def _course(config: StrictModel) -> dict[str, Any]:
    """What decides the result; the rest may change when an experiment is continued."""
    settings = config.model_dump(mode="json")
    for name in COURSE_FREE:
        settings.get("train", {}).pop(name, None)
    return settings


def _is_beginning(name: str) -> bool:
    """Whether that file is what a run leaves that was killed before it had written its config."""
    return name in (".done", DIGEST) or re.fullmatch(r"\..*\.tmp", name) is not None
