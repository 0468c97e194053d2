"""LHUC: learn an amplitude for each hidden unit (Swietojanski & Renals 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from speechnlp_tl.transfer.adapter_method import (
    AdapterMethod,
    channel_dim,
    device_of,
    fold_into,
    match_layers,
    trained_dtype,
)
from speechnlp_tl.transfer.batch_statistics import remove_hook


class Amplitudes(nn.Module):
    """h' = 2 sigmoid(r) * h for each unit. r = 0 at the start, which multiplies by exactly 1.

    Args:
        units: number of hidden units.
        dim: the units' dimension in the hidden activations.
    """

    def __init__(self, units: int, dim: int, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.dim = dim
        self.r = nn.Parameter(torch.zeros(units, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.r)

    def amplitude(self) -> Tensor:
        return 2 * torch.sigmoid(self.r)

    def forward(self, hidden: Tensor) -> Tensor:
        amplitude = self.amplitude().to(hidden.dtype)
        return hidden * (amplitude if self.dim == -1 else amplitude.unsqueeze(-1))


@dataclass(frozen=True)
class LHUC(AdapterMethod):
    """Amplitudes on the outputs of linear and 1-d convolution layers.

    The layer's output is scaled before whatever follows it. For ReLU that is the paper's amplitude on the unit's
    activation, since a positive factor passes through ReLU; before a normalisation of single frames (LayerNorm)
    only the units' ratios count. Merges exactly, into the rows of the layer's weights and its bias.

    Args:
        modules: layers to adapt; by default the model's `adaptable_layers()`, else every linear and 1-d convolution
            layer but the last.
    """

    kind: ClassVar[str] = "lhuc"

    def sites(self, model: nn.Module) -> list[str]:
        return match_layers(model, self.modules)

    def insert(self, model: nn.Module, site: str, index: int) -> None:
        layer = model.get_submodule(site)
        units = layer.out_channels if isinstance(layer, nn.Conv1d) else layer.out_features
        amplitudes = Amplitudes(units, channel_dim(layer), device_of(layer), trained_dtype(layer))  # type: ignore[arg-type]
        layer.add_module(self.child, amplitudes)
        layer.register_forward_hook(_scale_output)

    def remove(self, layer: nn.Module) -> None:
        remove_hook(layer._forward_hooks, _scale_output)
        delattr(layer, self.child)

    def obstacle(self, layer: nn.Module) -> str | None:
        return None

    def fold(self, layer: Any) -> None:
        amplitude = layer.adapter_lhuc.amplitude().double()
        rows = amplitude.reshape(-1, *[1] * (layer.weight.dim() - 1))
        fold_into(layer.weight, layer.weight.double() * rows)
        if layer.bias is not None:
            fold_into(layer.bias, layer.bias.double() * amplitude)


def _scale_output(layer: Any, inputs: Any, output: Tensor) -> Tensor:
    return layer.adapter_lhuc(output)  # type: ignore[no-any-return]
