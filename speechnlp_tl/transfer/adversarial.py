"""Adversarial adaptation: a domain classifier that the features are trained to mislead (DANN, domain confusion).

Each class is a `Term` that owns its classifier. One backward pass trains both players: the classifier always at its
full rate, the model with the strength lambda = weight * schedule.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechnlp_tl.core.task import Step, Term
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.transfer.domain_units import real_units
from speechnlp_tl.transfer.perceptron import perceptron

_MOST_KEPT = 50
"""Batches whose logits wait to be counted."""


def reverse_gradient(values: Tensor, strength: float = 1.0) -> Tensor:
    """The identity, whose gradient is multiplied by -strength (the gradient reversal layer of Ganin et al. 2016)."""
    same = values.view_as(values)  # the hook is this path's alone
    if same.requires_grad:
        same.register_hook(lambda gradient: -strength * gradient)
    return same


def reversal_schedule(progress: float) -> float:
    """2 / (1 + exp(-10 p)) - 1 at progress p: from 0 to nearly 1 (lambda_p of Ganin et al. 2016, gamma = 10)."""
    return 2 / (1 + math.exp(-10 * progress)) - 1


class AdversarialTerm(Term):
    """Common ground of DANN and domain confusion: the domain classifier, its rate, its accuracy.

    The classifier is a small network over single real units: frames, tokens or documents. Its loss is the
    cross-entropy, averaged within each domain and then over the domains of the batch, so that a domain with more units
    does not win by its size; ln(domains) is the loss of pure guessing. A batch with units of one domain only tells
    nothing about domains: its value is zero, without a gradient.

    The gradient that the model gets is multiplied by lambda = weight * schedule(progress); the classifier's is not. At
    a moment when the schedule is zero the whole term rests.

    Args:
        layer: name of the features that are to forget their domain, (B, T, width) or (B, width).
        width: size of the layer.
        domains: how many; rows have domains 0 to domains - 1, or a negative one when theirs is unknown.
        hidden: sizes of the classifier's hidden layers; () is a linear classifier.
        weight: lambda's final value.
        schedule: progress of the run, 0 to 1, to a factor on lambda; None is constant.
        rate: how many times the run's learning rate the classifier takes. One that lags behind the features is always
            told yesterday's news: they run past the point where the domains are alike, and back (two time scales,
            Heusel et al. 2017). Sparse input makes features fast.
        seed: of the classifier's initial weights.

    Raises:
        InputError: an impossible size or weight; in `forward`, features or domains that do not fit.
    """

    per_unit = False

    def __init__(
        self,
        layer: str,
        width: int,
        domains: int = 2,
        hidden: Sequence[int] = (64,),
        weight: float = 1.0,
        schedule: Callable[[float], float] | None = reversal_schedule,
        rate: float = 1.0,
        seed: int = 0,
    ) -> None:
        if weight < 0 or domains < 2 or min(width, *hidden, 1) < 1 or not 0 < rate < math.inf:
            raise InputError(
                f"{self.name} needs weight >= 0, domains >= 2, a rate above 0 and layers of at least one unit, not "
                f"weight={weight}, domains={domains}, rate={rate}, width={width}, hidden={tuple(hidden)}"
            )
        super().__init__(weight=weight, schedule=schedule)
        self.rate = rate
        self.layer, self.domains = layer, domains
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.classifier = perceptron([width, *hidden, domains])
        self._told: list[tuple[Tensor, Tensor]] = []
        self._counted: Tensor | None = None
        self._recorded = False

    @property
    def strength(self) -> float:
        """Lambda of the present step."""
        return self.weight_at(self.progress)

    def forward(self, step: Step, source: Step | None) -> Tensor:
        units, domain = self._units(step)
        weights = self._weights(domain, units.dtype)
        return units.sum() * 0 if weights is None else self._value(units, domain, weights)

    @abstractmethod
    def _value(self, units: Tensor, domain: Tensor, weights: Tensor) -> Tensor:
        """The term's value on units (N, width) of at least two domains; `weights` (domains,) is what one of a domain's
        counts, so that a weighted mean is the mean over domains of means over units."""

    def metrics(self) -> dict[str, float]:
        """`domain_accuracy`: the classifier's in percent, averaged over domains, on the batches since the last record.

        It was measured on each of this process' batches before the classifier learnt from it. 100 / domains is chance:
        the features have forgotten their domain, or the classifier is too weak to see it. Nothing before the first
        batch; between two batches the same again.
        """
        told = self._count()
        if told is None:
            return {}
        self._recorded = True
        counts = told.sum(1)
        return {"domain_accuracy": 100 * float((told.diagonal()[counts > 0] / counts[counts > 0]).mean())}

    def _count(self) -> Tensor | None:
        """(domains, domains) how often units of one were taken for another since the last record."""
        for logits, domain in self._told:
            cells = domain * self.domains + logits.argmax(-1)
            told = torch.bincount(cells, minlength=self.domains**2).reshape(self.domains, self.domains)
            self._counted = told if self._counted is None else self._counted + told
        self._told = []
        return self._counted

    def _units(self, step: Step) -> tuple[Tensor, Tensor]:
        """Real units (N, width) and their domains (N,)."""
        units, domain = real_units(step, self.layer, self.name)
        width = _width(self.classifier)
        if units.shape[1] != width:
            raise InputError(
                Problem(f"{self.name}: layer '{self.layer}' has {units.shape[1]} units, its classifier was made for "
                        f"{width}", remedy=f"give width={units.shape[1]}")
            )  # fmt: skip
        return units, domain

    def _keep(self, logits: Tensor, domain: Tensor) -> None:
        """Remember what the classifier told until the next record: a count in every step would cost more than it."""
        if self._recorded:
            self._counted, self._recorded = None, False
        self._told.append((logits.detach(), domain))
        if len(self._told) == _MOST_KEPT:
            self._count()

    def _weights(self, domain: Tensor, dtype: torch.dtype) -> Tensor | None:
        """1 / (units of a domain), 0 where there is none; None with less than two domains."""
        counts = torch.bincount(domain, minlength=self.domains).tolist()
        if len(counts) > self.domains:
            raise InputError(
                Problem(f"{self.name}: a row has domain {len(counts) - 1}, its classifier was made for "
                        f"{self.domains} domains, 0 to {self.domains - 1}", remedy="give a larger 'domains'")
            )  # fmt: skip
        if sum(count > 0 for count in counts) < 2:
            return None
        inverse = [1 / count if count else 0.0 for count in counts]
        return torch.tensor(inverse, dtype=dtype, device=domain.device)

    def _at_full_rate(self, loss: Tensor) -> Tensor:
        """`loss` such that lambda times it is whole again, with its gradient at full rate."""
        return loss / (self.strength or 1.0)


class DANN(AdversarialTerm):
    """Domain-adversarial training by gradient reversal (Ganin et al. 2016).

        lambda * value = L_d(classifier(R(f))),    R(f) = f,    dR/df = -lambda,    lambda = weight * schedule(p)

    with the classifier's cross-entropy L_d over the real units f of the layer. The classifier descends dL_d/dtheta, the
    model's layers below f descend -lambda dL_d/df. The logged value is L_d: it falls while the classifier learns and
    comes back to ln(domains) as the features forget their domain. For arguments see `AdversarialTerm`.
    """

    name = "dann"

    def _value(self, units: Tensor, domain: Tensor, weights: Tensor) -> Tensor:
        logits = self.classifier(reverse_gradient(units, self.strength))
        self._keep(logits, domain)
        return self._at_full_rate(F.cross_entropy(logits, domain, weights))


class DomainConfusion(AdversarialTerm):
    """Domain confusion: features for which the classifier's posteriors are uniform (Tzeng et al. 2015).

        lambda * value = L_d(theta; stop(f)) + lambda L_conf(f; stop(theta)),      lambda = weight * schedule(p)
        L_conf = - mean over units of 1/D sum_d log q_d(f)

    The paper alternates between the two; here each player's parameters are held constant in the other's loss, so one
    backward pass gives both gradients. Unlike the reversed gradient, that of L_conf does not fade when the classifier
    is sure. Both losses end at ln(domains) when the features have forgotten their domain. For arguments see
    `AdversarialTerm`.
    """

    name = "domain_confusion"

    def _value(self, units: Tensor, domain: Tensor, weights: Tensor) -> Tensor:
        logits = self.classifier(units.detach())
        self._keep(logits, domain)
        told = F.cross_entropy(logits, domain, weights)
        held = {name: parameter.detach() for name, parameter in self.classifier.named_parameters()}
        confused = F.log_softmax(torch.func.functional_call(self.classifier, held, (units,)), dim=-1)
        present = weights.count_nonzero()
        confusion = -(weights[domain] * confused.mean(-1)).sum() / present
        return self._at_full_rate(told) + confusion


def _width(classifier: nn.Sequential) -> int:
    first = classifier[0]
    assert isinstance(first, nn.Linear)
    return first.in_features
