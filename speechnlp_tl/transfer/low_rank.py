"""LoRA: a low-rank change of a layer's weights (Hu et al. 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.adapter_method import (
    AdapterMethod,
    device_of,
    first_input,
    fold_into,
    match_layers,
    trained_dtype,
)
from speechnlp_tl.transfer.batch_statistics import remove_hook


class LowRank(nn.Module):
    """The change (alpha / r) B A of a layer's weights W (eq. 3), applied to the layer's input.

    A is (r, inputs) for nn.Linear and (r, inputs, kernel) for nn.Conv1d, drawn like a linear layer's weights; B is
    (outputs, r) and zero at the start, so that the change is.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float, seed: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.scale = scale
        self.seed = seed
        self.A = nn.Parameter(torch.empty(rank, *weight.shape[1:], device=weight.device, dtype=dtype))
        self.B = nn.Parameter(torch.empty(weight.shape[0], rank, device=weight.device, dtype=dtype))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        # drawn on the CPU from its own generator: the same on every device, and the global random state is untouched
        drawn = torch.empty(self.A.shape)
        nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=torch.Generator().manual_seed(self.seed))
        self.A.copy_(drawn)
        nn.init.zeros_(self.B)

    def change(self) -> Tensor:
        """(alpha / r) B A, of the shape of W, in float64."""
        return self.scale * torch.einsum("or,r...->o...", self.B.double(), self.A.double())

    def forward(self, layer: Any, inputs: Tensor) -> Tensor:
        inputs = inputs.to(self.A.dtype)
        if isinstance(layer, nn.Conv1d):
            # the layer's own convolution, for its stride, padding, padding mode and dilation
            reduced = layer._conv_forward(inputs, self.A, None)
            return self.scale * F.conv1d(reduced, self.B.unsqueeze(-1))
        return self.scale * F.linear(F.linear(inputs, self.A), self.B)


@dataclass(frozen=True)
class LoRA(AdapterMethod):
    """Low-rank changes of nn.Linear and nn.Conv1d layers: W + (alpha / rank) B A. Merges exactly.

    Args:
        modules: layers to adapt; by default the model's `adaptable_layers()`, else every linear and 1-d convolution
            layer but the last. Grouped convolutions are left out, or refused when named.
        rank: r; a layer of fewer inputs or outputs gets that number as its rank.
        alpha: the numerator of the scale; None is 2 * rank.
        seed: of A's random values.
    """

    kind: ClassVar[str] = "lora"

    rank: int = 4
    alpha: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.rank, int) or self.rank < 1:
            raise InputError(f"lora needs a rank of at least 1, not {self.rank}")
        if not isinstance(self.alpha, float | int | None):
            raise InputError(f"lora needs a number as its alpha, not {self.alpha}")

    def sites(self, model: nn.Module) -> list[str]:
        names = match_layers(model, self.modules)
        grouped = [name for name in names if getattr(model.get_submodule(name), "groups", 1) != 1]
        if grouped and self.modules:
            raise InputError(f"lora: {name} is a grouped convolution, which has no low-rank change" for name in grouped)
        rest = [name for name in names if name not in grouped]
        if not rest:
            raise InputError("lora: every layer to adapt is a grouped convolution, which has no low-rank change")
        return rest

    def insert(self, model: nn.Module, site: str, index: int) -> None:
        layer: Any = model.get_submodule(site)
        rank = min(self.rank, layer.weight.shape[0], layer.weight[0].numel())
        alpha = 2 * self.rank if self.alpha is None else self.alpha
        adapter = LowRank(layer.weight, rank, alpha / self.rank, self.seed + index, trained_dtype(layer))
        layer.add_module(self.child, adapter.to(device_of(layer)))
        # before LHUC, whatever was attached first: amplitudes scale the layer's whole output
        layer.register_forward_hook(_add_change, prepend=True)

    def remove(self, layer: nn.Module) -> None:
        remove_hook(layer._forward_hooks, _add_change)
        delattr(layer, self.child)

    def obstacle(self, layer: nn.Module) -> str | None:
        return None

    def fold(self, layer: Any) -> None:
        fold_into(layer.weight, layer.weight.double() + layer.adapter_lora.change())


def _add_change(layer: Any, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    return output + layer.adapter_lora(layer, first_input(layer, inputs)).to(output.dtype)
