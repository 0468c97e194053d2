"""Reading the parts of each optimiser step that one process works on, ahead of time when there are workers."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from speechnlp_tl.core.batching import split_rows
from speechnlp_tl.core.config import TrainConfig
from speechnlp_tl.core.processes import Processes
from speechnlp_tl.core.task import Batch, Task


@dataclass(frozen=True)
class Part:
    """One micro-batch of a step on one process."""

    batch: Batch
    empty: bool
    """True: there was no row left for this process; `batch` is a row of another one, to be weighted with zero."""


def load_steps(
    task: Task, steps: Sequence[list[int]], epoch: int, processes: Processes, config: TrainConfig
) -> Iterator[list[Part]]:
    """The parts of each step that this process runs, at most `config.accumulate` a step, one list per step.

    Micro-batch m of process r is part m * world size + r of the step, so every process makes the same number of them.
    """
    world = processes.world_size
    wanted: list[tuple[list[int], bool]] = []
    counts: list[int] = []
    for rows in steps:
        counts.append(min(config.accumulate, -(-len(rows) // world)))
        for micro_batch in range(counts[-1]):
            own = split_rows(rows, world * config.accumulate, micro_batch * world + processes.rank)
            wanted.append((own or rows[:1], not own))
    parts = zip(_batches(task, [rows for rows, _ in wanted], epoch, config.workers), wanted, strict=True)
    for count in counts:
        yield [_part(batch, empty) for batch, (_, empty) in islice(parts, count)]


def _part(batch: Batch, empty: bool) -> Part:
    if empty:
        batch.units = 0.0  # for tasks that gather statistics of what they see
    return Part(batch, empty)


def _batches(task: Task, parts: list[list[int]], epoch: int, workers: int) -> Iterator[Batch]:
    if workers == 0:
        return (task.load(rows, epoch) for rows in parts)
    return iter(
        DataLoader(
            _Parts(task, parts, epoch),
            batch_size=None,
            shuffle=False,
            num_workers=workers,
            collate_fn=_unchanged,
            worker_init_fn=_ignore_interrupt,
            pin_memory=torch.cuda.is_available(),
            # the loader draws its workers' seed; from a generator of its own, training's stays as it is
            generator=torch.Generator().manual_seed(epoch),
        )
    )


class _Parts(Dataset[Any]):
    def __init__(self, task: Task, parts: list[list[int]], epoch: int) -> None:
        self._task, self._parts, self._epoch = task, parts, epoch

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int) -> Any:
        return self._task.load(self._parts[index], self._epoch)


def _unchanged(batch: Any) -> Any:
    return batch


def _ignore_interrupt(worker: int) -> None:
    # Ctrl-C reaches the whole process group; the main process finishes its step and then ends the workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
