"""Feature makers on disk: a safetensors file of weights, the settings as JSON in its header; nothing is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from speechnlp_tl.atomic import atomic_file
from speechnlp_tl.errors import InputError, Problem


def write_features(path: str | Path, kind: str, settings: Mapping[str, Any], tensors: dict[str, NDArray[Any]]) -> None:
    """Write `tensors` and `settings` under the name `kind`, which tells one sort of file from another."""
    metadata = {"format": kind, "settings": json.dumps(dict(settings))}
    with atomic_file(path) as temporary:
        safetensors.numpy.save_file(tensors, temporary, metadata)


def read_features(path: str | Path, kind: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The settings and tensors that `write_features` wrote.

    Raises:
        InputError: the file is missing, damaged, or of another kind.
    """
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror or error}", file=path)) from error
    except safetensors.SafetensorError as error:
        raise damaged(path, kind) from error
    try:
        if metadata.get("format") != kind:
            raise ValueError(metadata.get("format"))
        settings = json.loads(metadata["settings"])
        if not isinstance(settings, dict):
            raise ValueError(type(settings))
    except (KeyError, ValueError) as error:
        raise damaged(path, kind) from error
    return settings, tensors


def damaged(path: str | Path, kind: str) -> InputError:
    """For the reader of settings and tensors that do not fit together."""
    what = f"is damaged or no saved {kind.rstrip(' 0123456789')}"
    return InputError(Problem(what, file=path, remedy="fit and save it again"))
