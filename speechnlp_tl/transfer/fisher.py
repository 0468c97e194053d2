"""The diagonal of the Fisher information, which EWC needs: estimated row by row, saved and loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechnlp_tl.core.evaluation_mode import evaluating
from speechnlp_tl.core.task import Step, Task
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.transfer.tensor_files import read_tensors, write_tensors


def estimate_fisher(
    task: Task | Callable[[nn.Module, Any], Step],
    model: nn.Module,
    batches: Iterable[Any],
    samples: Literal["model", "labels"] = "model",
    draws: int = 1,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Diagonal Fisher information of a mean unit, by name of each trainable parameter.

        F_i = 1/U * sum over rows and draws of (d/dw_i sum over the row's real units of log p(y_u | x))^2 / draws

    U is the number of real units (frames, tokens, documents). With `samples="model"` every y_u is drawn from the
    model's own posteriors, which makes F the Fisher information itself (Martens 2014): draws of different
    units are independent and the score has mean zero, so the square of a row's sum is an unbiased estimate of the sum
    of its units' squares. With `samples="labels"` the row's task loss takes the place of the log-likelihood: the
    empirical Fisher. Gradients are exact gradients of single rows, never of a batch's mean, whose square would be too
    small by the batch size. The model is in eval mode meanwhile.

    Args:
        task: a `Task`, or what makes a `Step` of (model, batch).
        batches: batches on the model's device; with `samples="labels"` of one row each (`single_rows`).
        draws: how many times labels are drawn for each row.

    Raises:
        InputError: no rows, several rows in a batch of labels, or a gradient that is not finite.
    """
    step = task.step if isinstance(task, Task) else task
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    fisher = {
        name: torch.zeros_like(w, dtype=torch.promote_types(w.dtype, torch.float32)) for name, w in weights.items()
    }
    generator = torch.Generator().manual_seed(seed)
    units = 0.0
    with evaluating(model), torch.enable_grad():
        for batch in batches:
            result = step(model, batch)
            units += float(result.mask.sum())
            losses = [result.loss] if samples == "labels" else _drawn_losses(result, draws, generator)
            if samples == "labels" and len(result.mask) != 1:
                raise InputError(
                    Problem("the empirical Fisher information needs batches of one row",
                            remedy="make them with single_rows(task, rows)")
                )  # fmt: skip
            for loss in losses:
                gradients = torch.autograd.grad(loss, list(weights.values()), retain_graph=True, allow_unused=True)
                for name, gradient in zip(weights, gradients, strict=True):
                    if gradient is not None:
                        fisher[name] += gradient.detach().to(fisher[name].dtype).square()
    if not units:
        raise InputError("the Fisher information of no rows was asked for")
    bad = [name for name, value in fisher.items() if not torch.isfinite(value).all()]
    if bad:
        raise InputError(f"the gradient of {name} is not finite: no Fisher information" for name in bad)
    return {name: value / (units * (draws if samples == "model" else 1)) for name, value in fisher.items()}


def _drawn_losses(step: Step, draws: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Log-likelihood of each row, for each draw of labels from the posteriors. Drawn on the CPU: one seed, one draw."""
    log_posteriors = F.log_softmax(step.logits.float() if step.logits.dtype.itemsize < 4 else step.logits, dim=-1)
    for row, real in zip(log_posteriors, step.mask, strict=True):
        units = row[real].reshape(-1, row.shape[-1])
        if not len(units):
            continue
        labels = torch.multinomial(units.detach().exp().cpu(), draws, replacement=True, generator=generator)
        for drawn in labels.T.to(units.device):
            yield units.gather(1, drawn.unsqueeze(1)).sum()


def single_rows(task: Task, rows: Iterable[int], device: torch.device | None = None) -> Iterator[Any]:
    """Batches of one row each, as epoch 0 of the task has them."""
    for row in rows:
        batch = task.load([row], 0)
        yield batch if device is None else batch.to(device)


def save_fisher(path: str | Path, fisher: dict[str, Tensor]) -> None:
    """Write Fisher information as safetensors, whole or not at all."""
    write_tensors(path, fisher)


def load_fisher(path: str | Path) -> dict[str, Tensor]:
    """Read what `save_fisher` wrote. Raises InputError for a missing or damaged file."""
    return read_tensors(path)
