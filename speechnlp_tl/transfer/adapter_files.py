"""Adapters on disk: `adapter.safetensors` and `adapter.yaml`, a few kilobytes that fit one base model only."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from speechnlp_tl.atomic import write_text
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.transfer.adapters import (
    Adapter,
    adapter_state,
    attach,
    attached,
    base_state,
    detach,
    make_method,
)
from speechnlp_tl.transfer.tensor_files import read_tensors, write_tensors

TENSORS = "adapter.safetensors"
CARD = "adapter.yaml"


class AdapterEntry(BaseModel):
    """One adapter: its kind, the options it was made with, and the modules it adapts."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    options: dict[str, Any]
    modules: list[str]


class AdapterCard(BaseModel):
    """Contents of `adapter.yaml`."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1]
    base_hash: str
    """`model_hash` of the base model."""
    tensors_sha256: str
    """Of `adapter.safetensors`."""
    adapters: list[AdapterEntry]
    tensors: dict[str, list[int]]
    """Shapes of the adapters' tensors."""
    buffers: list[str]
    """Buffers of the base model that training changed; their values travel with the adapter."""
    extra: dict[str, Any] = {}


def model_hash(model: nn.Module) -> str:
    """SHA-256 of the base model's tensors: names, types, shapes and bytes, sorted by name.

    Attached adapters, and buffers that changed since the first was attached, do not count.
    """
    digest = hashlib.sha256()
    for name, value in sorted(base_state(model).items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_adapter(
    directory: str | Path, model: nn.Module, base_hash: str | None = None, extra: dict[str, Any] | None = None
) -> AdapterCard:
    """Write all adapters of `model` into `directory`, beside whatever else it holds.

    Args:
        base_hash: the hash that the base model must have; it is computed in any case.
        extra: plain values for the reader (corpus, speaker, method), kept as YAML.

    Raises:
        InputError: no adapter is attached, the base model is not what `base_hash` says, or the disk is full.
    """
    if not attached(model):
        raise InputError("the model has no adapter to save")
    actual = model_hash(model)
    if base_hash not in (None, actual):
        raise InputError(
            Problem(f"the base model was changed: its hash is {actual}, not {base_hash}",
                    remedy="save the whole model; an adapter is only what was trained on an unchanged base")
        )  # fmt: skip
    state, base, adapters = model.state_dict(), base_state(model), adapter_state(model)
    buffers = {name: state[name] for name in base if not torch.equal(state[name].cpu(), base[name].cpu())}
    contents = write_tensors(Path(directory) / TENSORS, {**adapters, **buffers})
    entries = []
    for adapter in attached(model):
        options = {name: value for name, value in asdict(adapter.method).items() if name != "modules"}
        entries.append(AdapterEntry(kind=adapter.kind, options=options, modules=list(adapter.sites)))
    card = AdapterCard(
        format=1,
        base_hash=actual,
        tensors_sha256=hashlib.sha256(contents).hexdigest(),
        adapters=entries,
        tensors={name: list(value.shape) for name, value in adapters.items()},
        buffers=sorted(buffers),
        extra=extra or {},
    )
    write_text(Path(directory) / CARD, yaml.safe_dump(card.model_dump(), sort_keys=False, allow_unicode=True))
    return card


def read_card(directory: str | Path) -> AdapterCard:
    """Read and check `adapter.yaml`. Raises InputError with every problem found."""
    path = Path(directory) / CARD
    try:
        return AdapterCard.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(
            Problem(f"cannot be read: {error.strerror or error}", file=path, remedy="is this an adapter directory?")
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        what = f"is not YAML: {getattr(error, 'problem', None) or error}"
        raise InputError(Problem(what, path, None if mark is None else mark.line + 1, "copy it again")) from error
    except ValidationError as error:
        raise InputError(
            Problem(f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg']}", file=path)
            for item in error.errors()
        ) from error


def load_adapter(directory: str | Path, model: nn.Module) -> list[Adapter]:
    """Attach the adapters saved in `directory` to their base model.

    Raises:
        InputError: damaged files, a model with adapters, or another base model (both hashes named); the model is
            left as it was.
    """
    card, path = read_card(directory), Path(directory) / TENSORS
    if attached(model):
        raise InputError(Problem("the model has adapters already", remedy="detach them before loading others"))
    actual = model_hash(model)
    if actual != card.base_hash:
        raise InputError(
            Problem(f"the adapter belongs to the base model {card.base_hash}, but this one is {actual}",
                    file=directory, remedy="load it on the model that it was trained on")
        )  # fmt: skip
    tensors = read_tensors(path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != card.tensors_sha256:
        raise InputError(Problem(f"is not the file that {CARD} describes", file=path, remedy="copy both files again"))
    try:
        for entry in card.adapters:
            attach(model, make_method(entry.kind, {**entry.options, "modules": tuple(entry.modules)}))
        _fill(model, tensors, card, path)
    except BaseException:
        if attached(model):
            detach(model)
        raise
    return attached(model)


@torch.no_grad()
def _fill(model: nn.Module, tensors: dict[str, Tensor], card: AdapterCard, path: Path) -> None:
    state = model.state_dict()
    wanted = {**adapter_state(model), **{name: state[name] for name in card.buffers if name in state}}
    problems = [Problem(f"lacks '{name}'", file=path) for name in wanted if name not in tensors]
    problems += [
        Problem(f"has '{name}', which the model does not", file=path) for name in tensors if name not in wanted
    ]
    problems += [
        Problem(f"'{name}' has shape {list(tensors[name].shape)}, the model's {list(value.shape)}", file=path)
        for name, value in wanted.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if problems:
        raise InputError(problems)
    for name, value in wanted.items():
        value.copy_(tensors[name])
