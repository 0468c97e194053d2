"""Adaptation through batch normalisation: the target's statistics (AdaBN), or a learnt mixture with them (AutoDIAL)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from speechnlp_tl.core.evaluation_mode import evaluating
from speechnlp_tl.core.task import Step, Task, Term
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.transfer.domain_units import real_units


@dataclass
class PooledMoments:
    """Count, mean and sum of squared deviations of all rows added, exactly (Chan et al. 1979), in float64."""

    count: int = 0
    mean: Tensor | float = 0.0
    squares: Tensor | float = 0.0

    def add(self, rows: Tensor) -> None:
        """Take in (N, C)."""
        if not len(rows):
            return
        rows = rows.detach().to(torch.float64)
        mean, total = rows.mean(0), self.count + len(rows)
        shift = mean - self.mean
        self.squares = self.squares + (rows - mean).square().sum(0) + shift**2 * (self.count * len(rows) / total)
        self.mean, self.count = self.mean + shift * (len(rows) / total), total


def adapt_batch_norm(
    task: Task | Callable[[nn.Module, Any], Any], model: nn.Module, batches: Iterable[Any], source_units: float = 0.0
) -> nn.Module:
    """A copy of the model whose batch normalisations hold the statistics of the target: AdaBN (Li et al. 2018).

    No labels, no gradient: only running means and variances change. Each layer gets the mean and the unbiased variance
    of all that it is fed over all batches, pooled exactly, so how the data are batched changes nothing beyond
    rounding. Layers are measured one after the other, in the order in which the model runs them and with the earlier
    ones adapted already: the statistics are those of the very activations that the adapted model has in eval mode. That
    takes one pass over the batches for each layer.

    What counts is what the model feeds its layers: a model that gives them real positions only keeps padding out.

    With little target data the source's own statistics may count for N units beside the target's n (Schneider et al.
    2020): mean = N/(N+n) source mean + n/(N+n) target mean, and the variance alike.

    Args:
        task: a `Task`, or what runs (model, batch).
        model: left as it is.
        batches: of target data, on the model's device; an iterator is read into memory.
        source_units: N, in units (rows or positions) as the layers are fed them; 0 is the target alone.

    Raises:
        InputError: a negative number of units, no batch normalisation with running statistics, no batches, fewer than
            two units, or values that are not finite.
    """
    if source_units < 0:
        raise InputError(f"adaptation by batch normalisation needs source_units >= 0, not {source_units}")
    run = task.step if isinstance(task, Task) else task
    batches = list(batches) if isinstance(batches, Iterator) else batches
    adapted = copy.deepcopy(model)
    layers = {m: n for n, m in adapted.named_modules() if isinstance(m, _BatchNorm) and m.running_mean is not None}
    if not layers:
        raise InputError("adaptation by batch normalisation: the model has no batch normalisation with statistics")
    with evaluating(adapted), torch.no_grad():
        for layer in _in_order(run, adapted, batches, layers):
            moments = _measure(run, adapted, batches, layer)
            if moments.count < 2:
                raise InputError(f"adaptation by batch normalisation: layer '{layers[layer]}' got fewer than two units")
            assert isinstance(moments.mean, Tensor)
            assert isinstance(moments.squares, Tensor)
            if not (torch.isfinite(moments.mean).all() and torch.isfinite(moments.squares).all()):
                raise InputError(f"adaptation by batch normalisation: layer '{layers[layer]}' got values not finite")
            assert layer.running_mean is not None
            assert layer.running_var is not None
            share = moments.count / (moments.count + source_units)
            layer.running_mean.lerp_(moments.mean.to(layer.running_mean), share)
            layer.running_var.lerp_((moments.squares / (moments.count - 1)).to(layer.running_var), share)
    return adapted


def _in_order(
    run: Callable[[nn.Module, Any], Any], model: nn.Module, batches: Iterable[Any], layers: Iterable[_BatchNorm]
) -> list[_BatchNorm]:
    """The layers that the first batch reaches, in the order of their first use."""
    reached: dict[_BatchNorm, None] = {}
    handles = [layer.register_forward_pre_hook(lambda module, _: reached.setdefault(module)) for layer in layers]
    try:
        for batch in batches:
            run(model, batch)
            return list(reached)
    finally:
        for handle in handles:
            handle.remove()
    raise InputError("adaptation by batch normalisation was given no batches")


def _measure(
    run: Callable[[nn.Module, Any], Any], model: nn.Module, batches: Iterable[Any], layer: nn.Module
) -> PooledMoments:
    moments = PooledMoments()

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        moments.add(_as_rows(inputs[0]))

    handle = layer.register_forward_pre_hook(look)
    try:
        for batch in batches:
            run(model, batch)
    finally:
        handle.remove()
    return moments


def _as_rows(inputs: Tensor) -> Tensor:
    """(N, C) of (N, C) or (N, C, ...)."""
    return inputs.movedim(1, -1).reshape(-1, inputs.shape[1])


class _Within(torch.autograd.Function):
    """Clamps to [low, high]; a gradient that would lead farther out is stopped, one that leads back in is not."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(value)
        ctx.range = low, high
        return value.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (value,), (low, high), (gradient,) = ctx.saved_tensors, ctx.range, gradients
        outward = ((value <= low) & (gradient > 0)) | ((value >= high) & (gradient < 0))
        return gradient.masked_fill(outward, 0), None, None


class AutoDIAL(nn.Module):
    """Batch normalisation with a learnt share of the other domain's statistics (Carlucci et al. 2017).

        source rows: (x - mean_st) / sqrt(var_st + eps) * weight + bias,     q_st = alpha q_s + (1 - alpha) q_t
        target rows: the same with                                           q_ts = alpha q_t + (1 - alpha) q_s

    mean and var are those of the mixture q of both domains' batch distributions,

        mean_st = alpha mean_s + (1 - alpha) mean_t
        var_st  = alpha var_s + (1 - alpha) var_t + alpha (1 - alpha) (mean_s - mean_t)^2

    alpha is learnt in [0.5, 1]: 1 normalises each domain by itself, 0.5 both alike. weight and bias are shared. In eval
    mode running statistics of each domain take the place of the batch's. A domain that the batch lacks leaves the
    other its own statistics.

    Takes the place of nn.BatchNorm1d: (N, C) or (N, C, T). Which row is of which domain is told by
    `domains_of_rows`; without it, rows in eval mode are the target's, and training is refused.

    Args:
        features: C.
        alpha: where it starts.
        target: number of the target domain; all others are the source.
        momentum: of the running statistics, as in nn.BatchNorm1d.

    Raises:
        InputError: alpha out of range; in `forward`, rows without a domain in training, or domains that do not fit.
    """

    def __init__(
        self, features: int, alpha: float = 0.75, target: int = 1, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        if not 0.5 <= alpha <= 1:
            raise InputError(f"AutoDIAL needs 0.5 <= alpha <= 1, not {alpha}")
        super().__init__()
        self.features, self.target, self.eps, self.momentum = features, target, eps, momentum
        self.alpha = nn.Parameter(torch.tensor(float(alpha)))
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(2, features))
        self.register_buffer("running_var", torch.ones(2, features))
        self.rows: tuple[Tensor, Tensor | None] | None = None
        """Domain of each row and mask, set by `domains_of_rows`."""

    @classmethod
    def of(cls, layer: nn.BatchNorm1d, alpha: float = 0.75, target: int = 1) -> AutoDIAL:
        """With the weights of `layer`, and its running statistics for both domains."""
        momentum = 0.1 if layer.momentum is None else layer.momentum
        made = cls(layer.num_features, alpha, target, layer.eps, momentum)
        with torch.no_grad():
            if layer.weight is not None and layer.bias is not None:
                made.weight.copy_(layer.weight)
                made.bias.copy_(layer.bias)
            if layer.running_mean is not None and layer.running_var is not None:
                made.running_mean.copy_(layer.running_mean)
                made.running_var.copy_(layer.running_var)
        like = layer.running_mean if layer.weight is None else layer.weight
        return (made if like is None else made.to(like)).train(layer.training)

    def forward(self, inputs: Tensor) -> Tensor:
        of_target, real = self._split(inputs)
        rows = _as_rows(inputs)
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        if real is not None:
            rows = rows.where(real.unsqueeze(1), 0.0)  # padding may hold anything
        if self.training:
            means, variances = self._of_batch(rows, of_target, real)
        else:
            means, variances = self.running_mean, self.running_var
        mean, variance = self._mix(means, variances)
        which = of_target.long()
        normed = (rows - mean[which]) * (variance + self.eps).rsqrt()[which] * self.weight + self.bias
        if real is not None:
            normed = normed * real.unsqueeze(1)
        shape = inputs.movedim(1, -1).shape
        return normed.reshape(shape).movedim(-1, 1).to(inputs.dtype)

    def share(self) -> Tensor:
        """alpha, within [0.5, 1]."""
        return _Within.apply(self.alpha, 0.5, 1.0)  # type: ignore[no-any-return, no-untyped-call]

    def _mix(self, means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
        """(2, C) statistics of the mixtures for source and target rows, from the domains' own."""
        alpha = self.share()
        spread = alpha * (1 - alpha) * (means[0] - means[1]).square()
        return (
            alpha * means + (1 - alpha) * means.flip(0),
            alpha * variances + (1 - alpha) * variances.flip(0) + spread,
        )

    def _of_batch(self, rows: Tensor, of_target: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
        """(2, C) means and variances of source and target rows; updates the running ones."""
        found: list[tuple[Tensor, Tensor] | None] = []
        for index in (0, 1):
            mine = rows[(of_target == bool(index)) & (True if real is None else real)]
            if not len(mine):
                found.append(None)
                continue
            mean, variance = mine.mean(0), mine.var(0, correction=0)
            found.append((mean, variance))
            with torch.no_grad():
                self.running_mean[index].lerp_(mean.to(self.running_mean), self.momentum)
                unbiased = variance * (len(mine) / max(len(mine) - 1, 1))
                self.running_var[index].lerp_(unbiased.to(self.running_var), self.momentum)
        present = [statistics for statistics in found if statistics is not None]
        if not present:
            return self.running_mean.clone(), self.running_var.clone()
        both = [statistics or present[0] for statistics in found]
        return torch.stack([mean for mean, _ in both]), torch.stack([variance for _, variance in both])

    def _split(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """(N * T,) bool: of the target, and real or None when all are."""
        positions = inputs.shape[2] if inputs.ndim == 3 else 1
        count = len(inputs) * positions
        if self.rows is None:
            if self.training:
                raise InputError(
                    Problem("AutoDIAL trains on rows whose domain it is not told",
                            remedy="run the model inside 'with domains_of_rows(model, domain):'")
                )  # fmt: skip
            return torch.ones(count, dtype=torch.bool, device=inputs.device), None
        domain, mask = self.rows
        of_target = (domain == self.target).to(inputs.device)
        if mask is not None:
            mask = mask.to(inputs.device)
            spread = of_target.unsqueeze(1).expand(mask.shape)
            if inputs.ndim == 3 and mask.shape == (len(inputs), positions):
                return spread.flatten(), mask.flatten()
            if inputs.ndim == 2 and len(inputs) == int(mask.sum()):
                return spread[mask], None
        if len(domain) == len(inputs):
            return of_target.repeat_interleave(positions), None
        raise InputError(
            f"AutoDIAL was told the domains of {len(domain)} rows"
            + ("" if mask is None else f" with {int(mask.sum())} real positions")
            + f" and is fed {tuple(inputs.shape)}"
        )


@contextmanager
def domains_of_rows(model: nn.Module, domain: Tensor, mask: Tensor | None = None) -> Iterator[None]:
    """Tell the AutoDIAL layers of `model` the domain of each row that they are about to normalise.

    Args:
        domain: (B,) int64.
        mask: (B, T) bool, for layers that are fed (B, C, T) with padding, which then takes no part and leaves as zero,
            or the real positions alone, (mask.sum(), C).
    """
    layers = [module for module in model.modules() if isinstance(module, AutoDIAL)]
    before = [layer.rows for layer in layers]
    for layer in layers:
        layer.rows = (domain, mask)
    try:
        yield
    finally:
        for layer, rows in zip(layers, before, strict=True):
            layer.rows = rows


def use_autodial(model: nn.Module, alpha: float = 0.75, target: int = 1) -> list[str]:
    """Put an AutoDIAL layer in the place of every nn.BatchNorm1d of `model`; returns their names.

    Raises:
        InputError: alpha out of range, or there is none.
    """
    found = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm1d)]
    if not found or "" in found:
        raise InputError("AutoDIAL takes the place of nn.BatchNorm1d layers, and the model has none inside")
    for name in found:
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.BatchNorm1d)
        model.set_submodule(name, AutoDIAL.of(layer, alpha, target))
    return found


class TargetEntropy(Term):
    """Be sure on the target: the other half of AutoDIAL's objective (Carlucci et al. 2017).

        value = - mean over real target units of sum_c p_c log p_c

    Zero, without a gradient, in a batch without target rows.

    Args:
        weight: lambda.
        target: number of the target domain.
    """

    name = "target_entropy"
    per_unit = False

    def __init__(self, weight: float = 0.1, target: int = 1, schedule: Callable[[float], float] | None = None) -> None:
        if weight < 0:
            raise InputError(f"{self.name} needs weight >= 0, not {weight}")
        super().__init__(weight=weight, schedule=schedule)
        self.target = target

    def forward(self, step: Step, source: Step | None) -> Tensor:
        logits, domain = real_units(step, "logits", self.name)
        log_p = F.log_softmax(logits[domain == self.target], dim=-1)
        return -(log_p.exp() * log_p).sum() / max(len(log_p), 1)
