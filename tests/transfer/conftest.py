"""A small planted adaptation problem: many speakers to train on, and one noisy sample of a new one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechnlp_tl.core.task import Step, Term

WIDTH, CLASSES = 8, 4


def make_step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Step:
    features, labels = batch
    logits = model(features)
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return Step(loss, logits, torch.ones(len(labels), dtype=torch.bool))


@dataclass
class Planted:
    """A source model of many speakers, their data, and one sample of a new speaker."""

    source: nn.Module
    speakers: tuple[Tensor, Tensor]
    sample: tuple[Tensor, Tensor]

    def adapt(self, make_term: Callable[[nn.Module], Term] | None = None, steps: int = 40) -> nn.Module:
        """Fine-tune a copy on the one sample, with the term if there is one: 40 steps of plain gradient descent."""
        model = copy.deepcopy(self.source)
        term = make_term(model) if make_term else None
        optimiser = torch.optim.SGD(model.parameters(), lr=0.2)
        for _ in range(steps):
            step = make_step(model, self.sample)
            units = float(step.mask.sum())
            loss = step.loss / units
            if term is not None:
                with torch.no_grad():
                    source = make_step(self.source, self.sample)
                value = term(step, source) / (units if term.per_unit else 1.0)
                loss = term.task_weight * loss + term.weight * value
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return model

    def drift(self, model: nn.Module) -> float:
        """Mean KL divergence of the adapted from the source posteriors, on the source speakers."""
        with torch.no_grad():
            p, q = (F.log_softmax(m(self.speakers[0]), -1) for m in (model, self.source))
        return float(F.kl_div(p, q, reduction="batchmean", log_target=True))


@pytest.fixture(scope="session")
def planted() -> Planted:
    generator = torch.Generator().manual_seed(3)
    means = 2 * torch.randn(CLASSES, WIDTH, generator=generator)

    def sample(offset: Tensor, labels: Tensor, noise: float) -> Tensor:
        return means[labels] + offset + noise * torch.randn(len(labels), WIDTH, generator=generator)

    labels = torch.arange(CLASSES).repeat(10)
    offsets = torch.randn(30, WIDTH, generator=generator)
    features = torch.cat([sample(offset, labels, 0.5) for offset in offsets])
    speakers = (features, labels.repeat(30))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        source = nn.Sequential(nn.Linear(WIDTH, 16), nn.Tanh(), nn.Linear(16, CLASSES))
    optimiser = torch.optim.Adam(source.parameters(), lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        (make_step(source, speakers).loss / len(features)).backward()
        optimiser.step()
    wrong = torch.tensor([0])
    return Planted(source, speakers, (sample(2 * torch.randn(WIDTH, generator=generator), wrong + 1, 2.0), wrong))


@pytest.fixture(scope="session")
def planted_step() -> Callable[[nn.Module, tuple[Tensor, Tensor]], Step]:
    return make_step
