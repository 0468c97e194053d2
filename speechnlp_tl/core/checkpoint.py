"""Checkpoints on disk: directories that appear whole or not at all, verified when read, never a pickle.

A checkpoint is named groups of tensors (`model.safetensors`, `optimizer.safetensors`, ...), JSON documents
(`state.json`, ...) and `manifest.json` with the size and SHA-256 of each. What goes into them is the trainer's
business.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from speechnlp_tl.atomic import atomic_directory
from speechnlp_tl.errors import InputError, Problem

MANIFEST = "manifest.json"
TENSORS = ".safetensors"


@dataclass(frozen=True)
class Contents:
    """What one checkpoint holds."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    """Groups of named tensors; each becomes one safetensors file."""
    documents: Mapping[str, Any]
    """What is not a tensor; each becomes one JSON file."""


class Checkpoints:
    """The checkpoints of one run, `step-00000120` and so on, in one directory."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)

    def path(self, step: int) -> Path:
        return self.directory / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, in order."""
        found = []
        for path in self.directory.glob("step-*"):
            match = re.fullmatch(r"step-(\d+)", path.name)
            if match and (path / MANIFEST).is_file():
                found.append(int(match[1]))
        return sorted(found)

    def latest(self) -> int | None:
        """Step of the newest complete checkpoint."""
        return max(self.steps(), default=None)

    def clean(self) -> None:
        """Remove what killed writes and deletions left behind."""
        for leftover in self.directory.glob(".step-*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)

    def save(self, step: int, contents: Contents) -> Path:
        """Write a checkpoint, whole or not at all.

        Raises:
            InputError: the disk is full or the folder cannot be written.
        """
        target = self.path(step)
        with atomic_directory(target) as temporary:
            for name, tensors in contents.tensors.items():
                stored = {key: tensor.detach().to("cpu").contiguous() for key, tensor in tensors.items()}
                _save_tensors(stored, temporary / f"{name}{TENSORS}")
            for name, document in contents.documents.items():
                (temporary / f"{name}.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
            files = {
                path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)}
                for path in sorted(temporary.iterdir())
            }
            (temporary / MANIFEST).write_text(json.dumps({"files": files}, indent=1), encoding="utf-8")
        return target

    def load(self, step: int) -> Contents:
        """Read and verify a checkpoint.

        Raises:
            InputError: a file is missing or is not what was written; names each and says how to go on.
        """
        directory = self.path(step)
        older = [other for other in self.steps() if other < step]
        remedy = f"remove {directory} to " + (f"go on from step {older[-1]}" if older else "start again from step 0")
        try:
            manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))["files"]
            problems = [
                Problem(f"checkpoint file is damaged: {what}", file=directory / name, remedy=remedy)
                for name, expected in manifest.items()
                if (what := _damage(directory / name, expected))
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                Problem("checkpoint file is damaged: no readable manifest", file=directory / MANIFEST, remedy=remedy)
            ) from error
        if problems:
            raise InputError(problems)
        paths = [directory / name for name in manifest]
        try:
            return Contents(
                {path.stem: load_file(path) for path in paths if path.suffix == TENSORS},
                {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths if path.suffix == ".json"},
            )
        except (SafetensorError, ValueError) as error:
            raise InputError(Problem(f"checkpoint is damaged: {error}", file=directory, remedy=remedy)) from error

    def keep(self, steps: Collection[int]) -> None:
        """Delete all checkpoints but those of `steps`."""
        for step in self.steps():
            if step not in steps:
                # renamed first: a deletion that is killed half-way leaves nothing that looks like a checkpoint
                doomed = self.directory / f".step-{step:08d}.removed.{os.getpid()}.tmp"
                self.path(step).rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)


def module_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and saved buffers by name; a tensor that has several names (tied weights) stands under the first."""
    named: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in module.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            named[name] = tensor
    return named


def load_module(module: nn.Module, tensors: Mapping[str, Tensor], where: Path | str = "checkpoint") -> None:
    """Copy stored tensors into `module`.

    Raises:
        InputError: names or shapes differ: the checkpoint belongs to another model.
    """
    own = module_tensors(module)
    wrong = [f"tensor '{name}' is not in the model" for name in tensors if name not in own]
    wrong += [f"tensor '{name}' is missing" for name in own if name not in tensors]
    wrong += [
        f"tensor '{name}' has shape {tuple(tensors[name].shape)}, the model's has {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    if wrong:
        remedy = "it belongs to another model or other terms: use their configuration, or another folder"
        raise InputError([Problem(what, file=where, remedy=remedy) for what in wrong])
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def optimizer_contents(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state as tensors named `parameter.key` and a JSON document with the rest."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for index, values in state["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{key}"] = value
            else:
                plain[f"{index}.{key}"] = value
    return tensors, {"state": plain, "groups": state["param_groups"]}


def load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], document: Mapping[str, Any]
) -> None:
    """Give an optimiser over the same parameters the state that `optimizer_contents` returned."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in [*document["state"].items(), *tensors.items()]:
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": document["groups"]})


def _save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        # safetensors hides the operating system's error, which is what names a full disk
        raise OSError(str(error)) from error


def _damage(path: Path, expected: Mapping[str, Any]) -> str | None:
    if not path.is_file():
        return "it is missing"
    if path.stat().st_size != expected["bytes"]:
        return f"{path.stat().st_size} bytes instead of {expected['bytes']}"
    return None if _sha256(path) == expected["sha256"] else "its SHA-256 is not the one that was written"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
