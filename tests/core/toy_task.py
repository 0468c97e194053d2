"""A task small enough to train in milliseconds, with all that makes training hard to resume and to split: sequences
of unequal length, padding, dropout, a running buffer. As a script it trains as a JSON file says, for the tests that
kill it or start several."""

from __future__ import annotations

import json
import os
import random
import sys
import time
import traceback
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from speechnlp_tl.core.batching import batches_by_cost
from speechnlp_tl.core.config import TrainConfig
from speechnlp_tl.core.task import Step, Task, Term
from speechnlp_tl.core.trainer import Trainer

CLASSES, WIDTH = 4, 5


@dataclass
class Frames:
    ids: list[str]
    units: float
    inputs: Tensor
    labels: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> Frames:
        moved = {name: getattr(self, name).to(device) for name in ("inputs", "labels", "mask")}
        return replace(self, **moved)


class Tagger(nn.Module):
    """Frames (B, T, WIDTH) to logits (B, T, CLASSES), with a normalisation-free hidden layer."""

    def __init__(self, dropout: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.hidden = nn.Linear(WIDTH, 8)
            self.output = nn.Linear(8, CLASSES)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        if self.training:
            self.seen += inputs.abs().mean().detach()
        hidden = self.dropout(torch.tanh(self.hidden(inputs)))
        return hidden, self.output(hidden)


class FrameTask(Task):
    """Rows of 1 to 9 frames; `bad` rows have a loss that is not finite."""

    def __init__(
        self, rows: int = 23, dropout: float = 0.0, budget: float = 30, seed: int = 3, slow: float = 0
    ) -> None:
        random_numbers = np.random.default_rng(seed)
        lengths = random_numbers.integers(1, 10, rows)
        self.inputs = [torch.from_numpy(random_numbers.normal(size=(n, WIDTH)).astype(np.float32)) for n in lengths]
        self.labels = [x[:, :CLASSES].argmax(-1) for x in self.inputs]
        self.lengths = lengths.tolist()
        self.model: nn.Module = Tagger(dropout, seed)
        self.bad: set[int] = set()
        self.budget, self.seed, self.slow = budget, seed, slow
        self.loaded: list[list[int]] = []
        self.evaluations = 0

    def batches(self, epoch: int) -> list[list[int]]:
        return batches_by_cost(self.lengths, self.budget, self.seed, epoch)

    def load(self, rows: list[int], epoch: int) -> Frames:
        self.loaded.append(rows)
        pad = torch.nn.utils.rnn.pad_sequence
        mask = pad([torch.ones(self.lengths[row], dtype=torch.bool) for row in rows], batch_first=True)
        inputs = pad([self.inputs[row] for row in rows], batch_first=True)
        for index, row in enumerate(rows):
            if row in self.bad:
                inputs[index] = float("nan")
        labels = pad([self.labels[row] for row in rows], batch_first=True)
        return Frames([f"row-{row}" for row in rows], float(mask.sum()), inputs, labels, mask)

    def step(self, model: nn.Module, batch: Frames) -> Step:
        if self.slow:
            time.sleep(self.slow)
        hidden, logits = model(batch.inputs)
        losses = nn.functional.cross_entropy(logits.transpose(1, 2), batch.labels, reduction="none")
        return Step((losses * batch.mask).sum(), logits, batch.mask, {"hidden": hidden})

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        # an evaluation that draws from every generator must not change what training draws next
        torch.rand(3), np.random.rand(), random.random()
        assert not model.training
        assert not torch.is_grad_enabled()
        self.evaluations += 1
        batch = self.load(list(range(len(self.inputs))), 0)
        _, logits = model(batch.inputs)
        wrong = (logits.argmax(-1) != batch.labels) & batch.mask
        loss = nn.functional.cross_entropy(logits[batch.mask], batch.labels[batch.mask])
        return {"error": float(wrong.sum() / batch.mask.sum() * 100), "loss": float(loss)}


class Small(Term):
    """Mean square of the hidden activations over real positions, as a sum."""

    name = "small"

    def forward(self, step: Step, source: Step | None) -> Tensor:
        return (step.features["hidden"].square().mean(-1) * step.mask).sum()


class Close(Term):
    """Squared distance of the logits to the source model's, as a sum over positions."""

    name = "close"
    needs_source = True

    def forward(self, step: Step, source: Step | None) -> Tensor:
        assert source is not None
        assert not source.logits.requires_grad
        return ((step.logits - source.logits).square().sum(-1) * step.mask).sum()


class Penalty(Term):
    """A number of the parameters with a trained one of its own, the same for any batch."""

    name = "penalty"
    per_unit = False

    def __init__(self, model: nn.Module, weight: float = 1.0) -> None:
        super().__init__(weight)
        self.target = nn.Parameter(torch.full((1,), 0.5))
        self._model = (model,)

    def forward(self, step: Step, source: Step | None) -> Tensor:
        return (self._model[0].output.weight - self.target).square().sum()


def run_plan(path: str) -> None:
    """Train as each job of the JSON file at `path` says; the first process writes the weights."""
    torch.set_num_threads(1)
    for job in json.loads(Path(path).read_text(encoding="utf-8")):
        task = FrameTask(**job["task"])
        task.bad = set(job.get("bad", ()))
        terms = [Small(0.1), Penalty(task.model, 0.01)] if job.get("terms") else []
        result = Trainer(task, TrainConfig(**job["train"]), job.get("directory"), terms, quiet=True).fit()
        if os.environ.get("RANK", "0") == "0":
            weights = dict(task.model.state_dict())
            weights |= {f"term.{name}": p.detach() for term in terms for name, p in term.named_parameters()}
            save_file(weights, job["weights"])
            Path(job["weights"]).with_suffix(".json").write_text(json.dumps(asdict(result)), encoding="utf-8")


def serve() -> None:
    """For each path on standard input run that plan in a forked process, and print its process id and its end.

    PyTorch is imported once, so that the tests can start and kill many runs quickly.
    """
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                run_plan(line.strip())
                os._exit(0)
            except KeyboardInterrupt as stop:
                print(f"interrupted: {stop}", file=sys.stderr, flush=True)
                os._exit(130)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve() if sys.argv[1] == "--serve" else run_plan(sys.argv[1])
