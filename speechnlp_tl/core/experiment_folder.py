"""Whose an experiment's folder is: free, this experiment's, or another's. What makes `train` safe to run twice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from speechnlp_tl.core.config import StrictModel, dump_config, load_config
from speechnlp_tl.errors import InputError, Problem

RESOLVED = "experiment.yaml"
DIGEST = "data.sha256"
COURSE_FREE = ("workers", "device", "log_every", "checkpoint_every", "checkpoint_minutes", "tensorboard")
"""Training settings that do not change what comes out."""


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
