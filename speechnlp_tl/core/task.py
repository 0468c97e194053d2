"""The contract between what is trained and what trains it: Batch, Step, Term and Task.

A `Task` owns the model, turns rows into a `Batch`, a batch into a `Step`, and evaluates itself. A transfer method is a
`Term`: it reads a `Step` (and the frozen source model's `Step` on the same batch) and returns a value that the
`Objective` adds to the task's loss. The trainer owns everything else: device, precision, processes, optimiser,
schedule, checkpoints, logs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

BatchT = TypeVar("BatchT", bound="Batch")


class Batch(Protocol):
    """Rows that travel together. Its other fields are the task's own business."""

    ids: list[str]
    """Names of the rows, for messages."""
    units: float
    """How many loss units (frames, tokens, documents) the rows hold: the denominator of the mean loss.

    0 marks rows that are run only so that all processes do the same: their loss does not count, nor should statistics.
    """

    def to(self: BatchT, device: torch.device) -> BatchT: ...


@dataclass
class Step:
    """One forward pass, as every transfer method sees it. B rows, T positions (frames or tokens; absent for documents).

    `loss` is a SUM over the units of the labelled rows, not a mean: the trainer divides by the units of the whole
    optimiser step, over all processes and micro-batches, so that how a batch was split changes nothing.
    """

    loss: Tensor
    logits: Tensor
    """(B, T, C) or (B, C)."""
    mask: Tensor
    """(B, T) or (B,) bool: True where a position is real and not padding."""
    features: dict[str, Tensor] = field(default_factory=dict)
    """Named hidden activations, each (B, T, D) or (B, D)."""
    domain: Tensor | None = None
    """(B,) int64 domain of each row, when the task knows more than one."""
    labels: Tensor | None = None
    """(B,) or (B, T) int64 class of each row or position, negative where it is unknown or not to be known."""


class Term(nn.Module, ABC):
    """One transfer method's addition to the loss. Its own parameters (a domain classifier, say) are trained with it."""

    name: str = "term"
    per_unit: bool = True
    """True: the value is a sum over units, divided by the units of the step like the task's loss.
    False: the value is a number of the batch or of the parameters (an MMD, a penalty), averaged over micro-batches."""
    needs_source: bool = False
    """True: `forward` gets the frozen source model's Step on the same batch."""
    rate: float = 1.0
    """How many times the run's learning rate the term's own parameters take."""
    progress: float = 1.0
    """Of the run, 0 to 1. The objective sets it before each step."""

    def __init__(self, weight: float = 1.0, task_weight: float = 1.0, schedule: Callable[[float], float] | None = None):
        super().__init__()
        self.weight = weight
        self.task_weight = task_weight
        """What the task's own loss is multiplied with while this term is there: 1 - rho for an interpolation."""
        self.schedule = schedule
        """Maps the progress of training, 0 to 1, to a factor on `weight`."""

    @abstractmethod
    def forward(self, step: Step, source: Step | None) -> Tensor:
        """The term's value, a scalar."""

    def weight_at(self, progress: float) -> float:
        """What the value is multiplied with at `progress`: the weight times the schedule."""
        return self.weight * (1.0 if self.schedule is None else float(self.schedule(progress)))

    def metrics(self) -> dict[str, float]:
        """Named numbers for the run's records, of this process. Asked at each record, which may come twice in a step.

        The main process' are recorded, each as `<name of the term>_<name of the metric>`.
        """
        return {}


class Task(ABC):
    """Something to train: a model, its rows, its loss and its evaluation."""

    model: nn.Module
    progress: float = 1.0
    """Of the run, 0 to 1. The objective sets it before each step."""

    @abstractmethod
    def batches(self, epoch: int) -> list[list[int]]:
        """Row numbers of each optimiser step of `epoch`, a pure function of the task's seed and `epoch`.

        One entry is one whole optimiser step; the trainer splits it over processes and micro-batches.
        """

    @abstractmethod
    def load(self, rows: list[int], epoch: int) -> Batch:
        """Read and collate rows. Random augmentation depends on (seed, epoch, row) only, never on the process."""

    @abstractmethod
    def step(self, model: nn.Module, batch: Any) -> Step:
        """Run `model` (the trained one or a frozen source of the same kind) on a batch."""

    @abstractmethod
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Named dev metrics. `model` is in eval mode, gradients are off, and only the main process calls this."""

    def end_step(self, total: Callable[[Tensor], Tensor]) -> None:  # noqa: B027 - most tasks have nothing to do here
        """Called after each optimiser step. `total` sums a tensor over all processes (a running prior needs it)."""

    def skip_step(self) -> None:  # noqa: B027 - most tasks have nothing to do here
        """Called instead of `end_step` after a step that was skipped: forget what it left."""
