"""The real units of a `Step`'s hidden layers, each with its domain: what every domain adaptation term starts from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from speechnlp_tl.core.task import Step
from speechnlp_tl.errors import InputError, Problem

LOGITS, POSTERIORS = "logits", "posteriors"
"""Layers that every step has: the model's output before and after the softmax."""


def real_units(step: Step, layer: str, term: str) -> tuple[Tensor, Tensor]:
    """(N, D) activations of the real units of a layer, in float32 or wider, and (N,) the domain of each.

    Padding is dropped, not multiplied by zero, so that NaN there does no harm. Of a layer (B, T, D) the units are the
    positions of `step.mask` (B, T); of a layer (B, D) they are the rows, those without a real position left out. Rows
    of a negative domain (unknown) take no part.

    Args:
        layer: a name in `step.features`, or "logits" or "posteriors" for the model's output.
        term: name of the term that asks, for messages.

    Raises:
        InputError: the step has no domains or no such layer, or the layer does not fit the mask.
    """
    problems = []
    activations = _layer(step, layer)
    if step.domain is None:
        problems.append(Problem(f"{term} needs the domain of each row and the task's Step has none",
                                remedy="set Step.domain to a (B,) int64 tensor"))  # fmt: skip
    if activations is None:
        known = ", ".join([*step.features, LOGITS, POSTERIORS])
        problems.append(Problem(f"{term}: the model has no layer '{layer}'", remedy=f"it has: {known}"))
    if step.domain is None or activations is None:
        raise InputError(problems)
    mask = step.mask
    if activations.ndim == 2 and mask.ndim == 2:
        mask = mask.any(1)
    if mask.shape != activations.shape[:-1]:
        raise InputError(
            Problem(f"{term}: layer '{layer}' is {tuple(activations.shape)} but the mask {tuple(step.mask.shape)}",
                    remedy="give a layer of as many positions as the mask, or pool it to (B, D)")
        )  # fmt: skip
    domain = step.domain if mask.ndim == 1 else step.domain.unsqueeze(1).expand(mask.shape)
    real = mask & (domain >= 0)
    if real.ndim > 1 or not real.all():  # a choice of all rows costs more than most terms
        activations, domain = activations[real], domain[real]
    units = activations.to(torch.promote_types(activations.dtype, torch.float32))
    # the softmax of the real units only: through that of NaN padding, even a gradient of zero comes back as NaN
    return units.softmax(-1) if layer == POSTERIORS and layer not in step.features else units, domain


def common_units(step: Step, layers: Sequence[str], term: str) -> tuple[list[Tensor], Tensor]:
    """`real_units` of several layers at once: (N, D_layer) of each, and (N,) the domain of each unit.

    Raises:
        InputError: as `real_units`, or the layers do not have the same units: some (B, T, D), some (B, D).
    """
    found = [real_units(step, layer, term) for layer in layers]
    domain = found[0][1]
    if any(len(other) != len(domain) for _, other in found):
        raise InputError(
            Problem(f"{term}: the layers {', '.join(layers)} do not have the same units",
                    remedy="give layers that are all (B, T, D) or all (B, D)")
        )  # fmt: skip
    return [activations for activations, _ in found], domain


def _layer(step: Step, name: str) -> Tensor | None:
    """The activations, of posteriors those before the softmax."""
    if name in step.features:
        return step.features[name]
    return step.logits if name in (LOGITS, POSTERIORS) else None
