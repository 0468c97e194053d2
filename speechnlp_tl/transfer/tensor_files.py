"""Named tensors on disk: safetensors files that appear whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from speechnlp_tl.atomic import atomic_file
from speechnlp_tl.errors import InputError, Problem


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor]) -> bytes:
    """Write `tensors` to `path` and return the file's contents.

    Raises:
        InputError: the file cannot be written; what was there before is kept.
    """
    # cloned because safetensors refuses tensors that share memory, as tied weights do
    contents = safetensors.torch.save({name: value.detach().cpu().clone() for name, value in tensors.items()})
    with atomic_file(path) as temporary:
        temporary.write_bytes(contents)
    return contents


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of `path`, on the CPU.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        return safetensors.torch.load(Path(path).read_bytes())
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror or error}", file=path)) from error
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise InputError(
            Problem(f"is damaged or no safetensors file: {error}", file=path, remedy="make or download it again")
        ) from error
