"""The exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Average of the trainable weights over the steps (Polyak and Juditsky 1992, in its exponential form).

    After update t (the first is 1) with decay d: average += (1 - min(d, (1 + t) / (10 + t))) * (weights - average).
    The smaller decay of the first steps keeps a short run from being dominated by where it started. Buffers, such as
    batch-normalisation statistics, are not averaged.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        named = {name: p for name, p in model.named_parameters() if p.requires_grad and p.is_floating_point()}
        self._names = list(named)
        self._weights: list[Tensor] = list(named.values())
        self._averages = [weight.detach().clone() for weight in self._weights]

    @torch.no_grad()
    def update(self) -> None:
        """Take the model's present weights in."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self._averages, self._weights, 1 - decay)

    def tensors(self) -> dict[str, Tensor]:
        return dict(zip(self._names, self._averages, strict=True))

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        for name, average in self.tensors().items():
            average.copy_(tensors[name])
        self.updates = updates

    @torch.no_grad()
    def write(self) -> None:
        """Copy the average into the model."""
        torch._foreach_copy_(self._weights, self._averages)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block the model holds the average, afterwards its own weights again."""
        own = [weight.detach().clone() for weight in self._weights]
        self.write()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._weights, own)
