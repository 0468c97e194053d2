"""The processes and the device of a run, through accelerate: one CPU, one GPU, `torchrun`, `accelerate launch`.

Precision is not here: accelerate keeps it once per Python process, while a sweep trains many models with different
ones in one process. The trainer therefore uses `torch.autocast` itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import lru_cache
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils.operations import broadcast_object_list, gather_object
from torch import Tensor, nn

from speechnlp_tl.errors import InputError, Problem

EVALUATION_LIMIT = timedelta(hours=6)
"""How long the other processes wait for the main one, which evaluates alone."""


@lru_cache
def _accelerator(cpu: bool) -> Accelerator:
    accelerator = Accelerator(
        cpu=cpu,
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=EVALUATION_LIMIT),
            # a part of a step need not touch every parameter: several heads, a term whose weight is zero now
            DistributedDataParallelKwargs(find_unused_parameters=True),
        ],
    )
    accelerator.native_amp = False
    return accelerator


class Processes:
    """Where a run computes and how its processes talk. With one process every method is free.

    Raises:
        InputError: `device` is `cuda` and there is none, or it contradicts how the processes were launched.
    """

    def __init__(self, device: str = "auto") -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise InputError(Problem("device 'cuda' was asked for and no CUDA device is visible", remedy="use 'auto'"))
        self._accelerator: Accelerator | None = None
        self.world_size, self.rank = 1, 0
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            self._accelerator = _accelerator(device == "cpu" or not torch.cuda.is_available())
            self.world_size, self.rank = self._accelerator.num_processes, self._accelerator.process_index
            self.device = self._accelerator.device
            if device != "auto" and self.device.type != device:
                raise InputError(
                    Problem(f"device '{device}' was asked for, but the processes run on {self.device.type}")
                )
        else:
            self.device = torch.device("cpu" if device == "cpu" or not torch.cuda.is_available() else "cuda:0")

    @property
    def main(self) -> bool:
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """`module` on the device and, with several processes, in DistributedDataParallel."""
        if self._accelerator is None:
            return module.to(self.device)
        return self._accelerator.prepare_model(module)

    def release(self) -> None:
        """Forget wrapped modules, so that their memory can be reused."""
        if self._accelerator is not None:
            self._accelerator.free_memory()

    @contextmanager
    def accumulating(self, wrapped: nn.Module, more: bool) -> Iterator[None]:
        """Leave gradients on their process while `more` micro-batches of the step follow."""
        quiet = self._accelerator.no_sync(wrapped) if more and self._accelerator is not None else nullcontext()
        with quiet:
            yield

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of `tensor` over all processes, on the tensor's own device."""
        if self.world_size == 1:
            return tensor
        summed = tensor.detach().to(self.device, copy=True)
        torch.distributed.all_reduce(summed)
        return summed.to(tensor.device)

    def total_number(self, number: float) -> Tensor | float:
        """The sum of a positive number over all processes (a tensor on the device, not waited for); 1 for none."""
        if self.world_size == 1:
            return number or 1.0
        total = self.total(torch.tensor(number, dtype=torch.float32, device=self.device))
        return torch.where(total > 0, total, 1.0)

    def gather(self, items: list[Any]) -> list[Any]:
        """The items of all processes in the order of their ranks."""
        return items if self.world_size == 1 else gather_object(items)

    def from_main(self, value: Any) -> Any:
        """The main process' `value`."""
        return value if self.world_size == 1 else broadcast_object_list([value], from_process=0)[0]

    def wait(self) -> None:
        """Return when every process is here."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()
