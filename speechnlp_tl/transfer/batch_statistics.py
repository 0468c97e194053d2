"""Hold the running statistics of normalisation layers that belong to frozen layers.

A frozen batch normalisation would otherwise go on changing: its running mean and variance follow the data in training
mode, gradients or not. A held layer stays in eval mode whatever `model.train()` says, so it normalises with, and keeps,
the source model's statistics.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase


def hold_statistics(model: nn.Module, names: Iterable[str] | None = None) -> list[str]:
    """Hold the layers of `model` that keep running statistics (those in `names`, or all). Returns the newly held."""
    wanted = None if names is None else set(names)
    held = []
    for name, module in model.named_modules():
        tracks = isinstance(module, _NormBase) and module.track_running_stats
        if tracks and (wanted is None or name in wanted) and not _is_held(module):
            module.register_forward_pre_hook(_stay_in_eval)
            module.eval()
            held.append(name)
    return held


def release_statistics(model: nn.Module, names: Iterable[str]) -> None:
    """Let the named layers follow the model's mode again."""
    for name in names:
        module = model.get_submodule(name)
        remove_hook(module._forward_pre_hooks, _stay_in_eval)
        module.train(model.training)


def remove_hook(hooks: Any, function: object) -> None:
    """Take `function` out of a module's hooks. Handles do not survive a deep copy of the module; this does."""
    for key in [key for key, hook in hooks.items() if hook is function]:
        del hooks[key]


def _is_held(module: nn.Module) -> bool:
    return any(hook is _stay_in_eval for hook in module._forward_pre_hooks.values())


def _stay_in_eval(module: nn.Module, inputs: Any) -> None:
    module.training = False
