"""One optimiser step: forward and backward over its parts, then the update, unless something is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn

from speechnlp_tl.core.config import TrainConfig
from speechnlp_tl.core.loading import Part
from speechnlp_tl.core.objective import TASK, Objective
from speechnlp_tl.core.optimizer import make_optimizer, trainable
from speechnlp_tl.core.processes import Processes

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Outcome:
    """What one optimiser step gave; the same on every process."""

    means: dict[str, float]
    """The task's loss and each term's value, weighted, averaged over the whole step."""
    norm: float
    """Norm of the whole gradient before clipping."""
    norms: dict[str, float]
    """Gradient norm of each value alone on the model's parameters; empty when not measured."""
    units: float
    updated: bool
    """False: something was not finite and the weights are as before."""
    overflow: bool
    """True: not updated because fp16 gradients overflowed, which the loss scaling mends by itself."""
    bad_ids: list[str]
    """Rows of the parts that were not finite, of all processes."""
    flags: tuple[bool, ...]
    """The flags, each True when it was on any process."""

    @property
    def loss(self) -> float:
        return sum(self.means.values())

    @property
    def reason(self) -> str:
        infinite = [name for name, value in self.means.items() if not math.isfinite(value)]
        return f"{' and '.join(infinite)} is not finite" if infinite else "the gradient is not finite"


class Update:
    """Runs optimiser steps of an objective.

    Raises:
        InputError: nothing is trainable.
    """

    def __init__(self, objective: Objective, processes: Processes, config: TrainConfig) -> None:
        self.objective, self.processes, self.config = objective, processes, config
        self.device = processes.device
        self.optimizer = make_optimizer(objective, config)
        self.scaler = torch.amp.GradScaler(self.device.type) if config.precision == "fp16" else None
        self.wrapped: nn.Module = objective
        self._parameters = trainable(objective)
        self._model_parameters = trainable(objective.model)
        of_model = {id(parameter) for parameter in self._model_parameters}
        self._term_parameters = [parameter for parameter in self._parameters if id(parameter) not in of_model]
        self._names = [TASK, *objective.names]

    def run(
        self, parts: list[Part], rows: int, progress: float, rate: float, measure: bool, flags: Callable[[], list[bool]]
    ) -> Outcome:
        """Run one step.

        Args:
            parts: this process' micro-batches.
            rows: rows of the whole step, over all processes.
            progress: of the run, 0 to 1.
            rate: learning rate of this step.
            measure: whether to measure the gradient norm of each value alone (one more backward pass for each).
            flags: asked once the backward pass is done; travel with the numbers that all processes exchange anyway.
        """
        # batch statistics and running priors that a bad batch would have poisoned
        buffers = [(buffer, buffer.clone()) for buffer in self.objective.model.buffers()]
        units = self.processes.total_number(sum(part.batch.units for part in parts if not part.empty))
        part_means, norms = self._backward(parts, units, self._filled(rows), progress, measure)

        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        norm = self._clip()
        means_sum = part_means[0] if len(part_means) == 1 else torch.stack(part_means).sum(0)
        shared = torch.cat([means_sum, norms, torch.tensor(flags(), dtype=torch.float32, device=self.device)])
        *numbers, total_norm = torch.cat([self.processes.total(shared), norm.reshape(1)]).tolist()
        count = len(self._names)
        means, measured, raised = numbers[:count], numbers[count : 2 * count], numbers[2 * count :]
        lossy = not all(math.isfinite(mean) for mean in means)
        finite = not lossy and math.isfinite(total_norm)
        overflow = not finite and not lossy and self.scaler is not None and self.scaler.get_scale() > 1
        if finite:
            self._apply(rate)
        else:
            self._undo(buffers)
        for parameter in self._parameters:
            parameter.grad = None
        return Outcome(
            means=dict(zip(self._names, means, strict=True)),
            norm=total_norm,
            norms=dict(zip(self._names, measured, strict=True)) if measure else {},
            units=float(units),
            updated=finite,
            overflow=overflow,
            bad_ids=[] if finite or overflow else self._bad_ids(parts, part_means),
            flags=tuple(flag > 0 for flag in raised),
        )

    def _filled(self, rows: int) -> int:
        """How many parts of the step have rows, over all processes."""
        return min(rows, self.processes.world_size * self.config.accumulate)

    def _backward(
        self, parts: list[Part], units: Tensor | float, filled: int, progress: float, measure: bool
    ) -> tuple[list[Tensor], Tensor]:
        """Accumulate gradients; returns each part's share of the means, and the gradient norms of the first part."""
        part_means: list[Tensor] = []
        norms = torch.zeros(len(self._names), device=self.device)
        nothing = torch.zeros((), device=self.device)
        for index, part in enumerate(parts):
            with self.processes.accumulating(self.wrapped, more=index + 1 < len(parts)):
                batch = part.batch.to(self.device)
                with self._autocast():
                    values = self.wrapped(batch, progress)
                means = self.objective.means(values, units, filled)
                if measure and index == 0 and not part.empty:
                    norms = self._norms(means) * filled / min(filled, self.processes.world_size)
                # an empty part takes part in the processes' exchange of gradients, with none of its own; and data
                # parallelism averages gradients over processes where ours are shares of a mean already
                count = 0.0 if part.empty else float(self.processes.world_size)
                loss = reduce(torch.add, means.values())
                loss = loss if count == 1 else loss * count
                (loss if self.scaler is None else self.scaler.scale(loss)).backward()
                own = torch.stack([means[name].detach() if name in means else nothing for name in self._names])
                part_means.append(own * 0.0 if part.empty else own)
        return part_means, norms

    def _norms(self, means: dict[str, Tensor]) -> Tensor:
        """Gradient norm of each value alone on the model's trainable parameters.

        On the model's, not the term's own: a domain classifier may learn while no gradient reaches the model.
        """
        scale = 1.0 if self.scaler is None else self.scaler.get_scale()
        norms = []
        for name in self._names:
            gradients: list[Tensor] = []
            if name in means and means[name].requires_grad and self._model_parameters:
                found = torch.autograd.grad(
                    means[name] * scale, self._model_parameters, retain_graph=True, allow_unused=True
                )
                gradients = [gradient for gradient in found if gradient is not None]
            norm = torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())
            norms.append(norm.float().to(self.device) / scale)
        return torch.stack(norms)

    def _clip(self) -> Tensor:
        """The whole gradient's norm; clips that of the model and that of the terms' own parameters, each by itself, so
        that a domain classifier which is far off does not hold up the model, nor the model the classifier."""
        norms = []
        for parameters in (self._model_parameters, self._term_parameters):
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            if self.config.clip_norm is not None:
                torch.nn.utils.clip_grads_with_norm_(parameters, self.config.clip_norm, norm)
            norms.append(norm.float().to(self.device))
        return torch.linalg.vector_norm(torch.stack(norms))

    def _apply(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("rate", 1.0)  # absent in older checkpoints
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()

    @torch.no_grad()
    def _undo(self, buffers: list[tuple[Tensor, Tensor]]) -> None:
        for buffer, before in buffers:
            buffer.copy_(before)
        if self.scaler is not None:
            self.scaler.update()

    def _bad_ids(self, parts: list[Part], part_means: list[Tensor]) -> list[str]:
        mine = [part for part in parts if not part.empty]
        bad = [part for part, means in zip(parts, part_means, strict=True) if not torch.isfinite(means).all()]
        found = self.processes.gather([row for part in bad for row in part.batch.ids])
        return found or self.processes.gather([row for part in mine for row in part.batch.ids])

    def _autocast(self) -> AbstractContextManager[None]:
        if self.config.precision == "no":
            return nullcontext()
        return torch.autocast(self.device.type, PRECISIONS[self.config.precision])
