"""The optimiser: which parameters it gets, and with which settings."""

from __future__ import annotations

import torch
from torch import nn

from speechnlp_tl.core.config import TrainConfig
from speechnlp_tl.core.task import Term
from speechnlp_tl.errors import InputError, Problem


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """Parameters with `requires_grad`, each once."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def make_optimizer(module: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019) or SGD over the trainable parameters; 1-d ones without weight decay.

    Each group of parameters says in `rate` how many times the learning rate of the run it takes (`Term.rate`).

    Raises:
        InputError: nothing is trainable.
    """
    parameters = trainable(module)
    if not parameters:
        raise InputError(
            Problem("no parameter is trainable: the whole model is frozen", remedy="unfreeze a layer or add an adapter")
        )
    rates = {id(p): term.rate for term in module.modules() if isinstance(term, Term) for p in term.parameters()}
    kinds: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for p in parameters:
        kinds.setdefault((rates.get(id(p), 1.0), p.ndim <= 1), []).append(p)
    groups = [
        {"params": kinds[rate, vector], "weight_decay": 0.0 if vector else config.weight_decay, "rate": rate}
        for rate, vector in sorted(kinds)
    ]
    fused = all(p.is_floating_point() for p in parameters)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=fused)
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, fused=fused)
