"""LIN: a linear network of the speaker's own in front of the shared one (Neto et al. 1995)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.transfer.adapter_method import (
    AdapterMethod,
    channel_dim,
    device_of,
    first_input,
    fold_into,
    trained_dtype,
)
from speechnlp_tl.transfer.batch_statistics import remove_hook


class InputNetwork(nn.Module):
    """x' = (I + M) x + c for every frame x; with `diagonal`, M is a diagonal matrix.

    M = 0 and c = 0 at the start. The identity is kept apart from M so that the start is exact in any precision, and
    weight decay pulls towards it.
    """

    def __init__(
        self, width: int, dim: int, diagonal: bool, bias: bool, device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.dim = dim
        shape = (width,) if diagonal else (width, width)
        self.M = nn.Parameter(torch.zeros(shape, device=device, dtype=dtype))
        self.c = nn.Parameter(torch.zeros(width, device=device, dtype=dtype)) if bias else None

    def reset_parameters(self) -> None:
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def matrix(self) -> Tensor:
        """I + M, in float64."""
        m = self.M.double()
        return torch.eye(len(m), dtype=m.dtype, device=m.device) + (torch.diag(m) if m.dim() == 1 else m)

    def forward(self, features: Tensor) -> Tensor:
        x = features if self.dim == -1 else features.transpose(-1, -2)
        frames = x.to(self.M.dtype)
        change = frames * self.M if self.M.dim() == 1 else F.linear(frames, self.M)
        change = change if self.c is None else change + self.c
        x = x + change.to(x.dtype)
        return x if self.dim == -1 else x.transpose(-1, -2)


@dataclass(frozen=True)
class LIN(AdapterMethod):
    """One input network in front of a module: of the first layer, or of the whole model.

    Merges exactly into a linear layer, and into a 1-d convolution whose zero padding is not turned into something else
    by a bias. In front of the whole model, features are the first positional argument, (..., D) with D =
    `model.input_dim`, and frames of padding must be masked by the model itself when there is a bias.

    Args:
        modules: the one module to stand in front of; by default what `model.input_layer` names (the linear or 1-d
            convolution layer that receives the features unchanged), else the model.
        diagonal: one scale per feature dimension instead of a full matrix.
        bias: train c. None: yes, except in front of a convolution that pads with zeros: its padding, and the padded
            frames of shorter rows in a batch, would not remain zero.
    """

    kind: ClassVar[str] = "lin"

    diagonal: bool = False
    bias: bool | None = None

    def sites(self, model: nn.Module) -> list[str]:
        if len(self.modules) > 1:
            raise InputError(f"lin stands in front of one module, not of {len(self.modules)}")
        own = getattr(model, "input_layer", "")
        site = self.modules[0] if self.modules else own if isinstance(own, str) else ""
        if site not in dict(model.named_modules()):
            raise InputError(Problem(f"lin: there is no module '{site}'", remedy="name one of model.named_modules()"))
        # a Sequential would run the adapter as one of its layers; what enters it enters its first layer
        while isinstance(model.get_submodule(site), nn.Sequential):
            first = next(iter(dict(model.get_submodule(site).named_children())))
            site = f"{site}.{first}" if site else first
        if _width(model.get_submodule(site)) is None:
            what = f"module '{site}'" if site else type(model).__name__
            raise InputError(
                Problem(f"lin: the feature dimensions of {what} are unknown",
                        remedy="give it an input_dim, or name its first linear or 1-d convolution layer with modules=")
            )  # fmt: skip
        return [site]

    def insert(self, model: nn.Module, site: str, index: int) -> None:
        layer = model.get_submodule(site)
        width = _width(layer)
        assert width is not None
        bias = not _pads_with_zeros(layer) if self.bias is None else self.bias
        network = InputNetwork(width, channel_dim(layer), self.diagonal, bias, device_of(layer), trained_dtype(layer))
        layer.add_module(self.child, network)
        # before LHUC's amplitudes on the same layer's inputs, whatever was attached first
        layer.register_forward_pre_hook(_transform_input, prepend=True)

    def remove(self, layer: nn.Module) -> None:
        remove_hook(layer._forward_pre_hooks, _transform_input)
        delattr(layer, self.child)

    def obstacle(self, layer: nn.Module) -> str | None:
        if not isinstance(layer, nn.Linear | nn.Conv1d):
            return f"it stands in front of a whole {type(layer).__name__}, not of one linear or 1-d convolution layer"
        if getattr(layer, "groups", 1) != 1:
            return "its layer is a grouped convolution"
        bias = layer.get_submodule(self.child).c
        if not isinstance(bias, Tensor) or not bool(bias.any()):
            return None
        if _pads_with_zeros(layer):
            return "its bias would also be added to the zeros that the convolution pads with (use bias=False)"
        return "its bias needs a layer with a bias (use bias=False)" if layer.bias is None else None

    def fold(self, layer: Any) -> None:
        network: InputNetwork = layer.adapter_lin
        weight = layer.weight.double()
        if network.c is not None and layer.bias is not None:
            # every tap of a convolution meets the constant c
            taps = weight.flatten(2).sum(-1) if weight.dim() == 3 else weight
            fold_into(layer.bias, layer.bias.double() + taps @ network.c.double())
        fold_into(layer.weight, torch.einsum("oj...,ji->oi...", weight, network.matrix()))


def _width(module: Any) -> int | None:
    if isinstance(module, nn.Conv1d):
        return module.in_channels
    width = module.in_features if isinstance(module, nn.Linear) else getattr(module, "input_dim", None)
    return width if isinstance(width, int) else None


def _pads_with_zeros(layer: nn.Module) -> bool:
    """Other padding repeats transformed frames, with which an affine transform commutes."""
    return isinstance(layer, nn.Conv1d) and layer.padding_mode == "zeros" and layer.padding not in ((0,), "valid")


def _transform_input(layer: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (layer.adapter_lin(first_input(layer, inputs)), *inputs[1:])
