"""What an adapter method is made of: where it attaches, its parameters, its place in the computation, how it merges.

An adapter's parameters are a child module of the layer it adapts, under the name `adapter_<kind>`, and work through a
hook on that layer. So the base model keeps its modules, attribute paths and state-dict names; deep copies, data
parallelism and checkpoints see ordinary parameters; and taking hook and child away leaves the model as it was.
"""

from __future__ import annotations

import fnmatch
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from speechnlp_tl.errors import InputError, Problem


@dataclass(frozen=True)
class AdapterMethod(ABC):
    """An adapter method and its options. Subclasses are frozen dataclasses whose fields are the options."""

    kind: ClassVar[str]

    modules: tuple[str, ...] = ()
    """Names of the modules to adapt, `*` and `?` allowed; empty is the method's own choice."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "modules", (self.modules,) if isinstance(self.modules, str) else tuple(self.modules))

    @property
    def child(self) -> str:
        """Name of the adapter's module inside the layer that it adapts."""
        return f"adapter_{self.kind}"

    def for_model(self, model: nn.Module) -> AdapterMethod:
        """This method with the options that it leaves to the model filled in, as files keep them."""
        return self

    @abstractmethod
    def sites(self, model: nn.Module) -> list[str]:
        """Names of the modules to adapt ("" is the model itself). Raises InputError when there are none."""

    @abstractmethod
    def insert(self, model: nn.Module, site: str, index: int) -> None:
        """Give the module at `site`, the index-th of the sites, its adapter and hook."""

    @abstractmethod
    def remove(self, layer: nn.Module) -> None:
        """Take adapter and hook away again."""

    @abstractmethod
    def obstacle(self, layer: nn.Module) -> str | None:
        """Why this adapter cannot be folded exactly into the weights of `layer`; None when it can."""

    @abstractmethod
    def fold(self, layer: Any) -> None:
        """Fold the adapter into the weights of `layer`, in place. `remove` is still to be called."""


def hidden_layers(model: nn.Module) -> list[str]:
    """The model's own `adaptable_layers()`, or all its nn.Linear and nn.Conv1d but the last, when it has none."""
    own = getattr(model, "adaptable_layers", None)
    return list(own()) if callable(own) else _linear_layers(model)[:-1]


def match_layers(model: nn.Module, patterns: Sequence[str], norms: bool = False) -> list[str]:
    """Names of the nn.Linear and nn.Conv1d modules that match any of the patterns; no pattern means the hidden ones.

    Args:
        norms: let the patterns match nn.BatchNorm1d and nn.LayerNorm too.

    Raises:
        InputError: a pattern that matches nothing, or no layer at all.
    """
    available = _linear_layers(model, (nn.BatchNorm1d, nn.LayerNorm) if norms else ())
    what = "linear, 1-d convolution or normalisation layer" if norms else "linear or 1-d convolution layer"
    if not patterns:
        chosen = hidden_layers(model)
    else:
        unmatched = [pattern for pattern in patterns if not fnmatch.filter(available, pattern)]
        if unmatched:
            choice = f"choose among {', '.join(available[:12])}{', ...' if len(available) > 12 else ''}"
            raise InputError(
                Problem(f"'{pattern}' matches no {what} that is called as a module", remedy=choice)
                for pattern in unmatched
            )
        chosen = [name for name in available if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    if not chosen:
        raise InputError(
            Problem(f"{type(model).__name__} has no hidden linear or 1-d convolution layer to adapt",
                    remedy="name the layers with modules=...")
        )  # fmt: skip
    return chosen


def _linear_layers(model: nn.Module, others: tuple[type[nn.Module], ...] = ()) -> list[str]:
    """nn.Linear and nn.Conv1d modules, and those of other types.

    Less those whose weights nn.MultiheadAttention reads without calling them.
    """
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv1d, *others))
        and not isinstance(module, NonDynamicallyQuantizableLinear)
    ]


def channel_dim(layer: nn.Module) -> int:
    """Where the features are in a layer's input and output: last, or before the frames of a convolution.

    nn.BatchNorm1d has them second, whether frames follow, (B, C, T), or not, (B, C).
    """
    if isinstance(layer, nn.BatchNorm1d):
        return 1
    return -2 if isinstance(layer, nn.Conv1d) else -1


def first_input(layer: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
    if not inputs or not isinstance(inputs[0], Tensor):
        name = type(layer).__name__
        raise ValueError(f"an adapter on {name} needs the features as the first positional argument of its call")
    return inputs[0]


def trained_dtype(layer: nn.Module) -> torch.dtype:
    """At least float32: small updates vanish in half precision."""
    dtypes = [parameter.dtype for parameter in layer.parameters() if parameter.is_floating_point()]
    return torch.promote_types(dtypes[0], torch.float32) if dtypes else torch.float32


def device_of(layer: nn.Module) -> torch.device:
    return next((parameter.device for parameter in layer.parameters()), torch.device("cpu"))


def fold_into(parameter: nn.Parameter, value: Tensor) -> None:
    """Overwrite a parameter in place: it stays the same object, in the same precision."""
    with torch.no_grad():
        parameter.copy_(value)
