"""What is minimised: the task's loss plus every transfer term, each with its weight and schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from speechnlp_tl.core.task import Step, Task, Term
from speechnlp_tl.errors import InputError, Problem

TASK = "task"
"""Name of the task's own loss among an objective's values."""


class Objective(nn.Module):
    """A task's model and its terms as one module, so that data parallelism and checkpoints see all that is trained.

    With task weights a_k, term weights w_k, their schedules s_k and the progress p of the run (0 to 1) the objective
    of a batch is

        prod_k a_k * task loss + sum_k w_k s_k(p) * term_k

    Args:
        task: gives the model and its `step`.
        terms: transfer terms; their own parameters are trained with the model.
        source: frozen model for the terms that need one. Neither trained nor saved; run in eval mode without
            gradients, only when a term with a weight needs it.

    Raises:
        InputError: a term needs a source model and there is none, or the source is the trained model itself.
    """

    def __init__(self, task: Task, terms: Iterable[Term] = (), source: nn.Module | None = None) -> None:
        super().__init__()
        self.model = task.model
        self.terms = nn.ModuleList(terms)
        # a tuple keeps nn.Module from registering them: the source is neither trained, moved by DDP nor saved
        self._outside = (task, source)
        self.names = _distinct([term.name for term in self._terms()])
        """Name of each term's value; a second term of one name gets a number."""
        lacking = [name for name, term in zip(self.names, self._terms(), strict=True) if term.needs_source]
        if lacking and source is None:
            raise InputError([Problem(f"term '{name}' needs a source model and none was given") for name in lacking])
        if source is task.model:
            raise InputError(Problem("the frozen source is the trained model itself", remedy="pass a copy of it"))
        if source is not None:
            source.eval()

    @property
    def task(self) -> Task:
        return self._outside[0]

    @property
    def source(self) -> nn.Module | None:
        return self._outside[1]

    def forward(self, batch: Any, progress: float) -> dict[str, Tensor]:
        """The weighted task loss under `TASK` and each term's weighted value under its name, not divided by counts.

        A term whose weight is zero now is not run and not listed.
        """
        for term in self._terms():
            term.progress = progress
        self.task.progress = progress
        step = self.task.step(self.model, batch)
        weights = self.weights(progress)
        active = [(name, term) for name, term in zip(self.names, self._terms(), strict=True) if weights[name] != 0]
        source = self._source_step(batch) if any(term.needs_source for _, term in active) else None
        share = math.prod(term.task_weight for term in self._terms())
        loss = step.loss.float()
        values = {TASK: loss if share == 1 else loss * share}
        for name, term in active:
            values[name] = term(step, source).float() * weights[name]
        return values

    def weights(self, progress: float) -> dict[str, float]:
        """Each term's weight times its schedule at `progress`."""
        return {name: term.weight_at(progress) for name, term in zip(self.names, self._terms(), strict=True)}

    def metrics(self) -> dict[str, float]:
        """What the terms want recorded, as `<name of the term>_<name of the metric>`."""
        named = zip(self.names, self._terms(), strict=True)
        return {f"{name}_{metric}": value for name, term in named for metric, value in term.metrics().items()}

    def means(self, values: dict[str, Tensor], units: Tensor | float, parts: int) -> dict[str, Tensor]:
        """This part's share of each value's mean over the whole optimiser step.

        Args:
            values: what `forward` returned for one part of the step.
            units: loss units of the whole step, over all processes and micro-batches.
            parts: how many parts with rows the step has, over all processes and micro-batches.
        """
        per_unit = {TASK: True} | dict(zip(self.names, (term.per_unit for term in self._terms()), strict=True))
        shares = {name: value / units if per_unit[name] else value for name, value in values.items()}
        if parts == 1:
            return shares
        return {name: share if per_unit[name] else share / parts for name, share in shares.items()}

    def _source_step(self, batch: Any) -> Step:
        assert self.source is not None
        with torch.no_grad():
            return self.task.step(self.source, batch)

    def _terms(self) -> list[Term]:
        return list(self.terms)  # type: ignore[arg-type]


def _distinct(names: list[str]) -> list[str]:
    counts: dict[str, int] = {TASK: 1}
    distinct = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        distinct.append(name if counts[name] == 1 else f"{name}.{counts[name]}")
    return distinct
