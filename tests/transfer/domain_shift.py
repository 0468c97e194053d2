"""A planted domain shift small enough to train on in a second, and what a domain term should do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechnlp_tl.core.config import TrainConfig
from speechnlp_tl.core.task import Step, Task, Term
from speechnlp_tl.core.trainer import Trainer

WIDTH, HIDDEN, ROWS, HALF_BATCH = 10, 16, 400, 32


@dataclass
class Points:
    ids: list[str]
    units: float
    inputs: Tensor
    labels: Tensor
    domain: Tensor

    def to(self, device: torch.device) -> Points:
        return replace(self, **{name: getattr(self, name).to(device) for name in ("inputs", "labels", "domain")})


class Network(nn.Module):
    """(B, WIDTH) to hidden (B, HIDDEN) and logits (B, 2); with `norm`, a batch normalisation before the activation."""

    def __init__(self, norm: bool = False, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.input = nn.Linear(WIDTH, HIDDEN)
            self.norm = nn.BatchNorm1d(HIDDEN) if norm else nn.Identity()
            self.output = nn.Linear(HIDDEN, 2)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.relu(self.norm(self.input(inputs)))
        return hidden, self.output(hidden)


def planted_rows(shift: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """(N, WIDTH) rows, labels and domains: the first half source, the second target.

    Dimensions 0 to 4 tell the class a little, in both domains. Dimensions 5 to 9 tell it well in the source; in the
    target they are moved along the direction of the class (`shift="mean"`), or blown up and without the class
    (`shift="scale"`).
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (2 * ROWS,), generator=generator)
    domain = torch.arange(2).repeat_interleave(ROWS)
    side = (2.0 * labels - 1).unsqueeze(1)
    noise = torch.randn(2 * ROWS, WIDTH, generator=generator)
    stable, fickle = 0.7 * side + noise[:, :5], 1.5 * side + noise[:, 5:]
    target = fickle + 2.0 if shift == "mean" else 6 * noise[:, 5:]
    return torch.cat([stable, torch.where(domain.unsqueeze(1) == 1, target, fickle)], 1), labels, domain


class ShiftTask(Task):
    """Labelled source rows and target rows, half of each batch of each; of `known` target rows the terms see labels."""

    def __init__(self, shift: str = "mean", norm: bool = False, seed: int = 0, known: int = 0) -> None:
        self.inputs, self.labels, self.domain = planted_rows(shift, seed)
        self.unseen = planted_rows(shift, seed + 1000)
        self.model: nn.Module = Network(norm, seed)
        self.seed = seed
        self.told = torch.where(torch.arange(len(self.labels)) < ROWS + known, self.labels, -1)

    def batches(self, epoch: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(self.seed + 1000 * epoch)
        source, target = (torch.randperm(ROWS, generator=generator) + start for start in (0, ROWS))
        pieces = zip(source.split(HALF_BATCH), target.split(HALF_BATCH), strict=True)
        return [torch.cat(pair).tolist() for pair in pieces]

    def load(self, rows: list[int], epoch: int) -> Points:
        domain = self.domain[rows]
        return Points(
            [str(row) for row in rows], float((domain == 0).sum()), self.inputs[rows], self.told[rows], domain
        )

    def step(self, model: nn.Module, batch: Points) -> Step:
        hidden, logits = model(batch.inputs)
        known = batch.domain == 0
        loss = F.cross_entropy(logits[known], batch.labels[known], reduction="sum")
        features = {"hidden": hidden, "inputs": batch.inputs}
        return Step(loss, logits, torch.ones_like(known), features, batch.domain, batch.labels)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {}


def train(task: ShiftTask, terms: Sequence[Term] = (), epochs: int = 30, directory: Path | None = None) -> nn.Module:
    # two players with momentum overshoot each other and go round in circles
    config = TrainConfig(epochs=epochs, learning_rate=5e-3, betas=(0.0, 0.99), device="cpu", tensorboard=False)
    Trainer(task, config, directory, terms, quiet=True).fit()
    return task.model


def told_apart(task: ShiftTask, terms: Sequence[Term] = ()) -> tuple[float, float]:
    """Train; accuracy on unseen target rows, and of a fresh domain classifier."""
    model = train(task, terms)
    return target_accuracy(task, model), domain_accuracy(task, model)


@lru_cache
def told_apart_without(shift: str = "mean", seed: int = 0) -> tuple[float, float]:
    """`told_apart` of a network trained without a term."""
    return told_apart(ShiftTask(shift, seed=seed))


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


@torch.no_grad()
def target_accuracy(task: ShiftTask, model: nn.Module) -> float:
    inputs, labels, domain = task.unseen
    right = model.eval()(inputs)[1].argmax(-1) == labels
    return float(right[domain == 1].float().mean())


@torch.no_grad()
def domain_accuracy(task: ShiftTask, model: nn.Module) -> float:
    """Of a fresh linear classifier (ridge regression) on the model's hidden features, on rows that it has not seen."""

    def features(inputs: Tensor) -> Tensor:
        hidden = model.eval()(inputs)[0].double()
        return torch.cat([hidden, torch.ones(len(hidden), 1, dtype=torch.float64)], 1)

    seen, sides = features(task.inputs), 2.0 * task.domain.double() - 1
    weights = torch.linalg.solve(seen.T @ seen + 1e-3 * torch.eye(seen.shape[1], dtype=torch.float64), seen.T @ sides)
    inputs, _, domain = task.unseen
    return float(((features(inputs) @ weights > 0) == (domain == 1)).float().mean())
