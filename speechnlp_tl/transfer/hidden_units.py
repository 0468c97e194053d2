"""LHUC: learn an amplitude for each hidden unit (Swietojanski & Renals 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from speechnlp_tl.transfer.adapter_method import (
    AdapterMethod,
    channel_dim,
    device_of,
    first_input,
    fold_into,
    match_layers,
    trained_dtype,
)
from speechnlp_tl.transfer.batch_statistics import remove_hook


class Amplitudes(nn.Module):
    """h' = 2 sigmoid(r) * h for each unit. r = 0 at the start, which multiplies by exactly 1.

    Args:
        units: number of hidden units, as the shape of r.
        dim: the units' dimension in the hidden activations, the last of them where there are several.
        of_inputs: the units are the layer's inputs, not its outputs.
    """

    def __init__(
        self, units: Sequence[int], dim: int, of_inputs: bool, device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.dim = dim
        self.of_inputs = of_inputs
        self.r = nn.Parameter(torch.zeros(tuple(units), device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.r)

    def amplitude(self) -> Tensor:
        return 2 * torch.sigmoid(self.r)

    def forward(self, hidden: Tensor) -> Tensor:
        amplitude = self.amplitude().to(hidden.dtype)
        frame_dims = hidden.dim() - 1 - self.dim if self.dim >= 0 else -1 - self.dim
        return hidden * amplitude.reshape(*amplitude.shape, *[1] * frame_dims)


@dataclass(frozen=True)
class LHUC(AdapterMethod):
    """Amplitudes on the outputs, or the inputs, of linear, 1-d convolution and normalisation layers.

    The paper's amplitude is on the unit's activation. For ReLU, that is on the output of the layer just before it (of
    the normalisation, where there is one), since a positive factor passes through ReLU. For other activations it is on
    the input of the layer that reads them. Merges exactly: outputs into the rows of the layer's weights and its bias,
    inputs into the columns. A normalisation without weights has nothing to merge into.

    Args:
        modules: layers whose output is scaled; patterns match normalisations too. With neither `modules` nor `inputs`,
            what the model's `hidden_unit_layers()` says ("output" or "input" by name), else its `adaptable_layers()`,
            else every linear and 1-d convolution layer but the last.
        inputs: linear and 1-d convolution layers whose input is scaled, and not the output, whether or not `modules`
            names them too.
    """

    kind: ClassVar[str] = "lhuc"

    inputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "inputs", (self.inputs,) if isinstance(self.inputs, str) else tuple(self.inputs))

    def for_model(self, model: nn.Module) -> LHUC:
        own = getattr(model, "hidden_unit_layers", None)
        units = own() if callable(own) and not self.modules and not self.inputs else {}
        if units:
            return LHUC(tuple(units), tuple(name for name, side in units.items() if side == "input")).for_model(model)
        inputs = match_layers(model, self.inputs) if self.inputs else []
        outputs = match_layers(model, self.modules, norms=True) if self.modules or not inputs else []
        return LHUC(tuple(dict.fromkeys([*outputs, *inputs])), tuple(inputs))

    def sites(self, model: nn.Module) -> list[str]:
        return list(self.for_model(model).modules)

    def insert(self, model: nn.Module, site: str, index: int) -> None:
        layer = model.get_submodule(site)
        # a normalisation without weights is where, and as precise as, the rest of the model
        like = layer if next(layer.parameters(), None) is not None else model
        of_inputs = site in self.inputs
        amplitudes = Amplitudes(
            _units(layer, of_inputs), channel_dim(layer), of_inputs, device_of(like), trained_dtype(like)
        )
        layer.add_module(self.child, amplitudes)
        if of_inputs:
            layer.register_forward_pre_hook(_scale_input)
        else:
            layer.register_forward_hook(_scale_output)

    def remove(self, layer: nn.Module) -> None:
        remove_hook(layer._forward_pre_hooks, _scale_input)
        remove_hook(layer._forward_hooks, _scale_output)
        delattr(layer, self.child)

    def obstacle(self, layer: nn.Module) -> str | None:
        return "its normalisation has no weights that could take the amplitudes" if layer.weight is None else None

    def fold(self, layer: Any) -> None:
        amplitude = layer.adapter_lhuc.amplitude().double()
        weight = layer.weight.double()
        if layer.adapter_lhuc.of_inputs:
            # an output channel of a grouped convolution has columns for the inputs of its own group only
            groups = getattr(layer, "groups", 1)
            columns = amplitude.reshape(groups, -1).repeat_interleave(len(weight) // groups, dim=0)
            fold_into(layer.weight, weight * columns.reshape(*columns.shape, *[1] * (weight.dim() - 2)))
            return
        fold_into(layer.weight, weight * amplitude.reshape(*amplitude.shape, *[1] * (weight.dim() - amplitude.dim())))
        if layer.bias is not None:
            fold_into(layer.bias, layer.bias.double() * amplitude)


def _units(layer: Any, of_inputs: bool) -> Sequence[int]:
    if isinstance(layer, nn.Conv1d):
        return [layer.in_channels if of_inputs else layer.out_channels]
    if isinstance(layer, nn.Linear):
        return [layer.in_features if of_inputs else layer.out_features]
    return [layer.num_features] if isinstance(layer, nn.BatchNorm1d) else layer.normalized_shape


def _scale_input(layer: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (layer.adapter_lhuc(first_input(layer, inputs)), *inputs[1:])


def _scale_output(layer: Any, inputs: Any, output: Tensor) -> Tensor:
    return layer.adapter_lhuc(output)  # type: ignore[no-any-return]
