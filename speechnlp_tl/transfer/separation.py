"""Domain separation: what is private to each domain is encoded apart, so that the shared layer need not hold it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from speechnlp_tl.core.task import Step, Term
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.transfer.domain_units import common_units
from speechnlp_tl.transfer.perceptron import perceptron

SHORTEST = 1e-6
"""Rows are divided by their length, or by this where they are shorter."""


def scale_invariant_error(inputs: Tensor, reconstructed: Tensor) -> Tensor:
    """(N,) scale-invariant mean squared error of each row (Eigen et al. 2014, as in Bousmalis et al. 2016).

        1/k ||x - y||^2 - 1/k^2 (sum_i (x_i - y_i))^2

    Adding one number to a whole row costs nothing, so what counts is the form of a row and not its level.

    Args:
        inputs: (N, k).
        reconstructed: (N, k).
    """
    return (inputs - reconstructed).var(-1, correction=0)


def soft_orthogonality(shared: Tensor, private: Tensor) -> Tensor:
    """How much two representations of the same rows go together (the difference loss of Bousmalis et al. 2016).

        ||1/N H_shared^T H_private||_F^2,    H = columns of zero mean, then rows of unit length

    Between 0 and 1. The paper sums over the rows, which is N^2 times this; the mean does not grow with the batch.

    Args:
        shared: (N, D).
        private: (N, E).
    """
    return (_directions(shared).T @ _directions(private) / len(shared)).square().sum()


def _directions(rows: Tensor) -> Tensor:
    return nn.functional.normalize(rows - rows.mean(0), dim=-1, eps=SHORTEST)


class DomainSeparation(Term):
    """Domain separation networks (Bousmalis, Trigeorgis, Silberman, Krishnan and Erhan, NeurIPS 2016).

    Each domain d has a private encoder of its own beside the shared layer c of the model, and one decoder for all
    must restore the inputs x from both:

        value = sum_d alpha mean_d scale_invariant_error(x, D(c(x) + p_d(x))) + beta soft_orthogonality(c_d, p_d)

    over the domains of the batch, with c_d and p_d the rows of domain d. The private encoders and the decoder are
    trained with the term. The paper's third part, the similarity of the shared layer between domains, is another term
    beside this one: `DANN` (its weight is the paper's gamma) or `MMD`.

    Encoders and decoder are networks over single real units: frames, tokens or documents. The values of both parts in
    the last batch, before alpha and beta, are recorded as `reconstruction` and `difference`.

    Args:
        shared: name of the layer that the domains share, (B, T, shared_width) or (B, shared_width).
        shared_width: its size, and that of the private code.
        inputs: name of the feature to restore, (B, T, inputs_width) or (B, inputs_width).
        inputs_width: its size.
        domains: how many; rows have domains 0 to domains - 1, or a negative one when theirs is unknown.
        hidden: sizes of the hidden layers of each private encoder; the decoder has them in reverse.
        alpha: of the reconstruction.
        beta: of the difference.
        seed: of the initial weights.

    Raises:
        InputError: an impossible size or weight; in `forward`, features or domains that do not fit.
    """

    name = "separation"
    per_unit = False

    def __init__(
        self,
        shared: str,
        shared_width: int,
        inputs: str,
        inputs_width: int,
        domains: int = 2,
        hidden: Sequence[int] = (64,),
        alpha: float = 0.1,
        beta: float = 0.05,
        weight: float = 1.0,
        schedule: Callable[[float], float] | None = None,
        seed: int = 0,
    ) -> None:
        if min(weight, alpha, beta) < 0 or domains < 1 or min(shared_width, inputs_width, *hidden, 1) < 1:
            raise InputError(
                f"{self.name} needs weight, alpha and beta >= 0, domains >= 1 and layers of at least one unit, not "
                f"weight={weight}, alpha={alpha}, beta={beta}, domains={domains}, shared_width={shared_width}, "
                f"inputs_width={inputs_width}, hidden={tuple(hidden)}"
            )
        super().__init__(weight=weight, schedule=schedule)
        self.shared, self.inputs, self.alpha, self.beta = shared, inputs, alpha, beta
        self.widths = shared_width, inputs_width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = [inputs_width, *hidden, shared_width]
            self.private = nn.ModuleList(perceptron(encoder) for _ in range(domains))
            self.decoder = perceptron(encoder[::-1])
        self._parts: Tensor | None = None

    def forward(self, step: Step, source: Step | None) -> Tensor:
        (shared, inputs), domain = common_units(step, [self.shared, self.inputs], self.name)
        self._check(shared, inputs, domain)
        parts = shared.new_zeros(2) + shared.sum() * 0  # of the graph even when there is no unit
        with torch.autocast(shared.device.type, enabled=False):
            for which in domain.unique().tolist():
                rows = domain == which
                parts = parts + self._domain(shared[rows], inputs[rows], self.private[which])
        self._parts = parts.detach()
        return self.alpha * parts[0] + self.beta * parts[1]

    def metrics(self) -> dict[str, float]:
        """`reconstruction` and `difference` of the last batch, summed over domains; nothing before the first."""
        names = ("reconstruction", "difference")
        return {} if self._parts is None else dict(zip(names, self._parts.tolist(), strict=True))

    def _domain(self, shared: Tensor, inputs: Tensor, encoder: nn.Module) -> Tensor:
        """(2,): reconstruction and difference of one domain's units."""
        private = encoder(inputs)
        error = scale_invariant_error(inputs, self.decoder(shared + private)).mean()
        return torch.stack([error, soft_orthogonality(shared, private)])

    def _check(self, shared: Tensor, inputs: Tensor, domain: Tensor) -> None:
        problems = []
        for layer, units, option, width in (
            (self.shared, shared, "shared_width", self.widths[0]),
            (self.inputs, inputs, "inputs_width", self.widths[1]),
        ):
            if units.shape[1] != width:
                what = f"{self.name}: layer '{layer}' has {units.shape[1]} units, the term was made for {width}"
                problems.append(Problem(what, remedy=f"give {option}={units.shape[1]}"))
        if len(domain) and int(domain.max()) >= len(self.private):
            known = f"{len(self.private)} domains, 0 to {len(self.private) - 1}"
            what = f"{self.name}: a row has domain {int(domain.max())}, the term was made for {known}"
            problems.append(Problem(what, remedy="give a larger 'domains'"))
        if problems:
            raise InputError(problems)
