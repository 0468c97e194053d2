"""Hold the running statistics of normalisation layers that belong to frozen layers.

A frozen batch normalisation would otherwise go on changing: its running mean and variance follow the data in training
mode, gradients or not. A held layer stays in eval mode whatever `model.train()` says, so it normalises with, and keeps,
the source model's statistics.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase


@dataclass(frozen=True)
class StayInEval:
    """A forward pre-hook that holds its module for `owner`. Equal by value, so that deep copies know each other."""

    owner: str

    def __call__(self, module: nn.Module, inputs: Any) -> None:
        module.training = False


def hold_statistics(model: nn.Module, names: Iterable[str] | None = None, owner: str = "caller") -> list[str]:
    """Hold the layers of `model` that keep running statistics: those in `names`, or all.

    Owners hold independently: a layer is released when all that held it have let go.

    Returns:
        names of the layers that this owner did not hold before.
    """
    wanted = None if names is None else set(names)
    held = []
    for name, module in model.named_modules():
        tracks = isinstance(module, _NormBase) and module.track_running_stats
        if tracks and (wanted is None or name in wanted) and StayInEval(owner) not in _holds(module):
            module.register_forward_pre_hook(StayInEval(owner))
            module.training = False
            held.append(name)
    return held


def release_statistics(model: nn.Module, names: Iterable[str] | None = None, owner: str = "caller") -> None:
    """Let go of the named layers, or of all that this owner holds. With no owner left they follow the model's mode."""
    wanted = None if names is None else set(names)
    for name, module in model.named_modules():
        if StayInEval(owner) in _holds(module) and (wanted is None or name in wanted):
            remove_hook(module._forward_pre_hooks, StayInEval(owner))
            module.training = model.training and not _holds(module)


def remove_hook(hooks: Any, hook: object) -> None:
    """Take `hook` out of a module's hooks. Handles do not survive a deep copy of the module; this does."""
    for key in [key for key, present in hooks.items() if present == hook]:
        del hooks[key]


def _holds(module: nn.Module) -> list[StayInEval]:
    return [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, StayInEval)]
