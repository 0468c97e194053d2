"""Conservative training: stay close to the source model, in its outputs (KLD) or in its parameters (L2-SP, EWC).

Each class is a `Term` that is added to the task's loss. The Fisher information that EWC needs is estimated in
`fisher.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechnlp_tl.core.task import Step, Term
from speechnlp_tl.errors import InputError, Problem


class KLD(Term):
    """Stay close to the source model's posteriors: KL-divergence regularised adaptation (Yu et al. 2013).

    With targets interpolated as p' = (1 - rho) p + rho p_source, the cross-entropy to p' is

        (1 - rho) * CE(p, p_target) + rho * CE(p_source, p_target)

    so `task_weight` is 1 - rho, `weight` is rho, and the value is the second cross-entropy less the source's own
    entropy, a constant: the Kullback-Leibler divergence, with the same gradient and zero where both models agree,

        value = t^2 * sum over real units of sum_c q_c (log q_c - log p_c),
                q = softmax(source logits / t), p = softmax(logits / t)

    With the temperature t = 1 that is the paper's. Factor t^2 keeps the gradient's size when t is raised (Hinton et
    al. 2015). A schedule moves rho on the divergence only; the task keeps 1 - rho. Logits are (B, T, C) or (B, C);
    units where the mask is False take no part, whatever they hold.

    Args:
        rho: 0 is plain fine-tuning, 1 ignores the task.
        temperature: above 1, the source's small probabilities count for more.
        outputs: features of the step to compare in place of its logits, such as the outputs of old tasks that the
            rows do not belong to (learning without forgetting, Li & Hoiem 2016); the value is their mean.

    Raises:
        InputError: rho or temperature out of range; in `forward`, when the two models have different outputs.
    """

    name = "kld"
    needs_source = True

    def __init__(
        self,
        rho: float,
        temperature: float = 1.0,
        schedule: Callable[[float], float] | None = None,
        outputs: Sequence[str] = (),
    ) -> None:
        if not 0 <= rho <= 1 or temperature <= 0:
            raise InputError(f"kld needs 0 <= rho <= 1 and temperature > 0, not rho={rho}, temperature={temperature}")
        super().__init__(weight=rho, task_weight=1 - rho, schedule=schedule)
        self.temperature = temperature
        self.outputs = list(outputs)

    def forward(self, step: Step, source: Step | None) -> Tensor:
        if source is None:
            raise ValueError("KLD needs the source model's Step")
        if self.outputs:
            pairs = [(step.features[name], source.features[name]) for name in self.outputs]
            return torch.stack([self._divergence(ours, theirs, step.mask) for ours, theirs in pairs]).mean()
        return self._divergence(step.logits, source.logits, step.mask)

    def _divergence(self, logits: Tensor, of_source: Tensor, mask: Tensor) -> Tensor:
        if of_source.shape != logits.shape:
            theirs, ours = tuple(of_source.shape), tuple(logits.shape)
            raise InputError(
                Problem(f"kld compares outputs of the same shape, but the source's are {theirs}, the model's {ours}",
                        remedy="use l2sp or ewc when the output layer is new")
            )  # fmt: skip
        log_p = self._log_posteriors(logits, mask)
        log_q = self._log_posteriors(of_source.detach(), mask)
        return self.temperature**2 * F.kl_div(log_p, log_q, reduction="sum", log_target=True)

    def _log_posteriors(self, logits: Tensor, mask: Tensor) -> Tensor:
        """(N, C) of the real units: padding is dropped, not multiplied by zero, so that NaN there does no harm."""
        real = logits[mask]
        return F.log_softmax(real.to(torch.promote_types(real.dtype, torch.float32)) / self.temperature, dim=-1)


class ParameterTerm(Term):
    """Common ground of L2-SP and EWC: the trained parameters w beside their reference values w0.

    `shared` are the parameters that the reference has under the same name and with the same shape, `new` all others.
    Parameters are held unregistered, because they belong to the model and must not be optimised twice; reference
    values are non-persistent buffers: they follow the device, are never trained and never saved.
    """

    per_unit = False

    def __init__(
        self,
        model: nn.Module,
        reference: nn.Module | Mapping[str, Tensor],
        weight: float,
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        if weight < 0:
            raise InputError(f"{self.name} needs weight >= 0, not {weight}")
        super().__init__(weight=weight, schedule=schedule)
        state = reference.state_dict() if isinstance(reference, nn.Module) else reference
        parameters = dict(model.named_parameters())
        self.shared = {name: w for name, w in parameters.items() if name in state and state[name].shape == w.shape}
        self.new = {name: w for name, w in parameters.items() if name not in self.shared}
        if not self.shared:
            raise InputError(
                Problem(f"{self.name}: no parameter of the model has a namesake of the same shape in the reference",
                        remedy="give the state of the model that this one was initialised from")
            )  # fmt: skip
        for index, name in enumerate(self.shared):
            self._hold("reference", index, state[name])

    def _hold(self, kind: str, index: int, value: Tensor) -> None:
        dtype = torch.promote_types(value.dtype, torch.float32)
        self.register_buffer(f"{kind}{index}", value.detach().to(dtype).clone(), persistent=False)

    def _held(self, kind: str, index: int, like: Tensor) -> Tensor:
        return self.get_buffer(f"{kind}{index}").to(like.device)

    def _shifts(self) -> list[Tensor]:
        """w - w0 of every shared parameter."""
        return [w - self._held("reference", index, w) for index, w in enumerate(self.shared.values())]


class L2SP(ParameterTerm):
    """Stay close to the starting point: L2-SP (Li, Grandvalet & Davoine 2018, eq. 2).

        weight * value = alpha/2 * ||w_shared - w0||^2 + beta/2 * ||w_new||^2,        weight = alpha

    w_new are the parameters that the source model does not have (a new output layer). A weight of 0 switches the whole
    term off, beta included.

    Args:
        model: the model to be trained.
        source: the source model, or its state.
        weight: alpha.
        beta: ordinary weight decay on the new parameters.

    Raises:
        InputError: weight or beta below 0, or no parameter in common.
    """

    name = "l2sp"

    def __init__(
        self,
        model: nn.Module,
        source: nn.Module | Mapping[str, Tensor],
        weight: float,
        beta: float = 0.01,
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        if beta < 0:
            raise InputError(f"l2sp needs beta >= 0, not {beta}")
        super().__init__(model, source, weight, schedule)
        self.beta = beta

    def forward(self, step: Step, source: Step | None) -> Tensor:
        value = torch.stack([shift.square().sum() for shift in self._shifts()]).sum() / 2
        if self.weight and self.beta:
            for w in self.new.values():
                value = value + self.beta / self.weight * w.square().sum() / 2
        return value


class EWC(ParameterTerm):
    """Stay where the source task's loss is flat: elastic weight consolidation (Kirkpatrick et al. 2017, eq. 3).

        weight * value = lambda * sum_i F_i/2 (w_i - w0_i)^2,        weight = lambda

    F is the diagonal of the source task's Fisher information, per unit, as `estimate_fisher` gives it. Parameters
    without Fisher information (a new output layer) are free.

    Args:
        model: the model to be trained.
        fisher: by parameter name; entries that the model lacks, or has with another shape, are left out.
        reference: the source model, or its state: where F was measured.
        weight: lambda.

    Raises:
        InputError: weight below 0, negative or non-finite F, or no parameter in common.
    """

    name = "ewc"

    def __init__(
        self,
        model: nn.Module,
        fisher: Mapping[str, Tensor],
        reference: nn.Module | Mapping[str, Tensor],
        weight: float,
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        bad = [name for name, value in fisher.items() if not (torch.isfinite(value) & (value >= 0)).all()]
        if bad:
            raise InputError(f"ewc: Fisher information of {name} is negative or not finite" for name in bad)
        state = reference.state_dict() if isinstance(reference, nn.Module) else reference
        measured = {name: state[name] for name in fisher if name in state and state[name].shape == fisher[name].shape}
        super().__init__(model, measured, weight, schedule)
        for index, name in enumerate(self.shared):
            self._hold("fisher", index, fisher[name])

    def forward(self, step: Step, source: Step | None) -> Tensor:
        pulls = [
            (self._held("fisher", index, shift) * shift.square()).sum() for index, shift in enumerate(self._shifts())
        ]
        return torch.stack(pulls).sum() / 2
