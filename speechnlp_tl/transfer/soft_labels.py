"""Soft labels: what the source teaches about the likeness of classes, for the few labelled rows of the target."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from speechnlp_tl.core.task import Step, Term
from speechnlp_tl.errors import InputError, Problem


def soft_label_matrix(logits: Tensor, labels: Tensor, classes: int, temperature: float = 2.0) -> Tensor:
    """Soft label of each class: what a model answers on average for the source's rows of it (Tzeng et al. 2015).

        row k = mean over rows with label k of softmax(logits / temperature)

    Args:
        logits: (..., classes) of a model trained on the source, on labelled source rows, such as (N, C) or (B, T, C).
        labels: (...) int64; rows with a negative one take no part.
        classes: how many; each must have a row.
        temperature: above 1 the likeness of classes stands out.

    Returns:
        (classes, classes), each row a distribution; float32 or wider, without a gradient.

    Raises:
        InputError: shapes, labels or a temperature that do not fit, logits that are not finite, a class without rows;
            lists all.
    """
    problems: list[Problem | str] = []
    if temperature <= 0:
        problems.append(f"soft labels need a temperature above 0, not {temperature}")
    if logits.shape[:-1] != labels.shape or logits.shape[-1:] != (classes,):
        problems.append(
            f"soft labels of {classes} classes need logits (..., {classes}) and labels (...), not "
            f"{tuple(logits.shape)} and {tuple(labels.shape)}"
        )
        raise InputError(problems)
    known = labels >= 0
    rows, numbers = logits.detach()[known], labels[known]
    counts = torch.bincount(numbers, minlength=classes)
    if len(counts) > classes:
        problems.append(f"soft labels: labels are numbered 0 to {classes - 1}, found {len(counts) - 1}")
    lacking = (counts[:classes] == 0).nonzero().squeeze(1).tolist()
    if lacking:
        what = f"soft labels: no row has class {', '.join(map(str, lacking))}"
        problems.append(Problem(what, remedy="give labelled source rows of every class"))
    if not torch.isfinite(rows).all():
        problems.append("soft labels: a logit is not finite")
    if problems:
        raise InputError(problems)
    posteriors = (rows.to(torch.promote_types(rows.dtype, torch.float32)) / temperature).softmax(-1)
    sums = posteriors.new_zeros(classes, classes).index_add_(0, numbers, posteriors)
    return sums / counts.unsqueeze(1)


class SoftLabels(Term):
    """Match the source's soft labels on labelled target rows: simultaneous transfer (Tzeng et al. 2015).

        value = - sum over labelled real target units i of sum_k soft_labels[y_i, k] ln p_ik
        p_i = softmax(logits_i / temperature)

    So a few target rows of some classes say something about all. The paper's other half is `DomainConfusion` beside
    this term. Which labels are known says `Step.labels`; the unlabelled target rows take no part. The value is a sum
    over units like the task's loss: with one labelled target row in ten units it weighs a tenth.

    Args:
        soft_labels: (C, C) from `soft_label_matrix`, each row a distribution.
        target: number of the target domain.
        temperature: that of `soft_label_matrix`.

    Raises:
        InputError: not a (C, C) matrix of distributions, an impossible option; in `forward`, a step without labels or
            domains, or labels that do not fit.
    """

    name = "soft_labels"

    def __init__(
        self,
        soft_labels: Tensor,
        weight: float = 1.0,
        target: int = 1,
        temperature: float = 2.0,
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        problems = []
        if weight < 0 or target < 0 or temperature <= 0:
            problems.append(
                f"{self.name} needs weight >= 0, target >= 0 and temperature > 0, not weight={weight}, "
                f"target={target}, temperature={temperature}"
            )
        if soft_labels.ndim != 2 or soft_labels.shape[0] != soft_labels.shape[1]:
            problems.append(f"{self.name} needs a (C, C) matrix, not {tuple(soft_labels.shape)}")
        elif not ((soft_labels >= 0).all() and ((soft_labels.sum(1) - 1).abs() < 1e-3).all()):
            problems.append(f"{self.name} needs a matrix whose rows are distributions, as 'soft_label_matrix' makes it")
        if problems:
            raise InputError(problems)
        super().__init__(weight=weight, schedule=schedule)
        self.target, self.temperature = target, temperature
        self.register_buffer("soft_labels", soft_labels.detach().clone())

    def forward(self, step: Step, source: Step | None) -> Tensor:
        labels, domain = self._checked(step)
        chosen = step.mask & (domain == self.target) & (labels >= 0)
        logits, numbers = step.logits[chosen], labels[chosen]
        soft_labels = self.get_buffer("soft_labels")
        if len(numbers) and int(numbers.max()) >= len(soft_labels):
            raise InputError(f"{self.name}: a row has class {int(numbers.max())}, the soft labels {len(soft_labels)}")
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return -(soft_labels[numbers] * F.log_softmax(wide / self.temperature, dim=-1)).sum()

    def _checked(self, step: Step) -> tuple[Tensor, Tensor]:
        """Labels, and domains spread over positions."""
        problems = []
        if step.labels is None:
            problems.append(Problem(f"{self.name} needs the labels of rows and the task's Step has none",
                                    remedy="set Step.labels to int64 classes, negative where unknown"))  # fmt: skip
        if step.domain is None:
            problems.append(Problem(f"{self.name} needs the domain of each row and the task's Step has none",
                                    remedy="set Step.domain to a (B,) int64 tensor"))  # fmt: skip
        if step.labels is None or step.domain is None:
            raise InputError(problems)
        classes = len(self.get_buffer("soft_labels"))
        if step.logits.shape != (*step.mask.shape, classes) or step.labels.shape != step.mask.shape:
            raise InputError(
                Problem(f"{self.name}: logits are {tuple(step.logits.shape)}, labels {tuple(step.labels.shape)}, the "
                        f"mask {tuple(step.mask.shape)} and the soft labels {classes} classes",
                        remedy="give a label for each position of the logits, and soft labels of the same classes")
            )  # fmt: skip
        domain = step.domain if step.mask.ndim == 1 else step.domain.unsqueeze(1)
        return step.labels, domain
