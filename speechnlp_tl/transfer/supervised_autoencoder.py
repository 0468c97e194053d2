"""The supervised autoencoder (TLDA): inputs restored from class posteriors, mean activations that agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from speechnlp_tl.core.task import Step, Term
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.transfer.discrepancy import DiscrepancyTerm
from speechnlp_tl.transfer.domain_units import POSTERIORS, common_units

FLOOR = 1e-6
"""Added to each mean activation, so that a unit that one domain never wakes is not infinitely far."""


def mean_divergence(x: Tensor, y: Tensor) -> Tensor:
    """Symmetrised KL divergence of two samples' mean activations (Zhuang et al. 2015).

        KL(P || Q) + KL(Q || P) = sum_j (P_j - Q_j) (ln P_j - ln Q_j),    P_j = mean x_j / sum_k mean x_k,  Q so of y

    in nats, with 1e-6 added to each mean.

    Args:
        x: (N, D), whose means are 0 or more, as after a sigmoid or a ReLU.
        y: (M, D) likewise.

    Raises:
        InputError: a mean below 0.
    """
    p, q = _distribution(x), _distribution(y)
    return ((p - q) * (p.log() - q.log())).sum()


def _distribution(rows: Tensor) -> Tensor:
    means = rows.mean(0)
    if (means < 0).any():
        raise InputError(
            Problem(f"a mean activation is {float(means.min()):.3g}: only those of 0 or more make a distribution",
                    remedy="take a layer after a sigmoid, a ReLU or a softmax")
        )  # fmt: skip
    raised = means + FLOOR
    return raised / raised.sum()


class MeanDivergence(DiscrepancyTerm):
    """Mean activations that agree between domains: the embedding layer's part of TLDA (Zhuang et al. 2015).

        value = sum over layers of mean_divergence(units of one domain, units of the other)

    It compares means only, and only in proportion to each other: activations that are all twice as large in one domain
    are no difference. With more than two domains, the mean over their pairs.

    Args:
        layers: one name or several, of activations that are 0 or more; "posteriors" is the model's output.
        max_units: of each domain.
        seed: of the draw of `max_units`.

    Raises:
        InputError: an impossible option; in `forward`, layers or domains that do not fit.
    """

    name = "mean_divergence"
    fewest = 1

    def distance(self, xs: Sequence[Tensor], ys: Sequence[Tensor]) -> Tensor:
        return mean_divergence(xs[0], ys[0])


class LabelReconstruction(Term):
    """Inputs restored from the label layer: the autoencoder of TLDA (Zhuang, Cheng, Luo, Pan and He, IJCAI 2015).

        value = sum over domains of the mean over their units of ||x - D(z)||^2,    D(z) = V sigmoid(U z + a) + b

    with the model's class posteriors z = softmax(logits) of a unit and its inputs x. The decoder D mirrors the model:
    from the posteriors back to an embedding, from there to the inputs. It is trained with the term. Its last layer is
    linear, for inputs of any range, where the paper's is a sigmoid, for inputs between 0 and 1.

    The model's own loss is the paper's softmax regression, `MeanDivergence` on the embedding layer its divergence, and
    weight decay its penalty.

    Args:
        inputs: name of the feature to restore, (B, T, inputs_width) or (B, inputs_width).
        inputs_width: its size.
        classes: of the model.
        embedding_width: units of the restored embedding.
        seed: of the decoder's initial weights.

    Raises:
        InputError: an impossible size or weight; in `forward`, features or domains that do not fit.
    """

    name = "label_reconstruction"
    per_unit = False

    def __init__(
        self,
        inputs: str,
        inputs_width: int,
        classes: int,
        embedding_width: int = 50,
        weight: float = 1.0,
        schedule: Callable[[float], float] | None = None,
        seed: int = 0,
    ) -> None:
        if weight < 0 or classes < 2 or min(inputs_width, embedding_width) < 1:
            raise InputError(
                f"{self.name} needs weight >= 0, two classes or more and layers of at least one unit, not "
                f"weight={weight}, classes={classes}, inputs_width={inputs_width}, embedding_width={embedding_width}"
            )
        super().__init__(weight=weight, schedule=schedule)
        self.inputs, self.widths = inputs, (classes, inputs_width)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.decoder = nn.Sequential(
                nn.Linear(classes, embedding_width), nn.Sigmoid(), nn.Linear(embedding_width, inputs_width)
            )

    def forward(self, step: Step, source: Step | None) -> Tensor:
        (posteriors, inputs), domain = common_units(step, [POSTERIORS, self.inputs], self.name)
        found = posteriors.shape[1], inputs.shape[1]
        if found != self.widths:
            raise InputError(
                Problem(f"{self.name}: {found[0]} classes and '{self.inputs}' of {found[1]} units, the term was made "
                        f"for {self.widths[0]} and {self.widths[1]}",
                        remedy=f"give classes={found[0]}, inputs_width={found[1]}")
            )  # fmt: skip
        errors = (inputs - self.decoder(posteriors)).square().sum(-1)
        means = [errors[domain == which].mean() for which in domain.unique()]
        return torch.stack(means).sum() if means else errors.sum()
