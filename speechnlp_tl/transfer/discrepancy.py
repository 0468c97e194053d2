"""Discrepancy terms: pull the domains' feature distributions together (MMD, multi-kernel and joint MMD, CORAL).

First the statistics as plain functions of two samples, then CORAL as pre-processing, in closed form and without a
model, then the `Term`s that apply the statistics to a model's layers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from speechnlp_tl.core.task import Step, Term
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.transfer.domain_units import common_units

ArrayT = TypeVar("ArrayT", np.ndarray, Tensor)
Estimator = Literal["biased", "unbiased", "linear"]
ESTIMATORS: tuple[Estimator, ...] = ("biased", "unbiased", "linear")
MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Bandwidths of the multi-kernel, as multiples of the median."""


def mmd(
    x: Tensor,
    y: Tensor,
    estimator: Estimator = "unbiased",
    multiples: Sequence[float] = MULTIPLES,
    bandwidth: float | None = None,
) -> Tensor:
    """Squared maximum mean discrepancy of two samples (Gretton et al. 2012).

        k(a, b) = 1/U sum_u exp(-||a - b||^2 / (m_u g))
        biased (MMD_b):    mean_ij k(x_i, x_j) + mean_ij k(y_i, y_j) - 2 mean_ij k(x_i, y_j)
        unbiased (MMD_u):  the same without the pairs i = j of one sample; may be negative
        linear (MMD_l):    1/P sum_i k(x_2i, x_2i+1) + k(y_2i, y_2i+1) - k(x_2i, y_2i+1) - k(x_2i+1, y_2i),
                           P = floor(min(N, M) / 2); unbiased for rows in random order

    With several multiples m_u this is the multi-kernel of DAN (Long et al. 2015) with equal coefficients. g is
    `bandwidth`, or the median of the squared distances of the pooled sample (for the linear estimator of the pairs
    that it looks at), through which no gradient flows.

    Args:
        x: (N, D).
        y: (M, D). The linear and unbiased estimators need two rows of each.
    """
    return joint_mmd([x], [y], estimator, multiples, bandwidth)


def joint_mmd(
    xs: Sequence[Tensor],
    ys: Sequence[Tensor],
    estimator: Estimator = "unbiased",
    multiples: Sequence[float] = MULTIPLES,
    bandwidth: float | None = None,
) -> Tensor:
    """Squared joint MMD of several layers (JAN, Long et al. 2017): `mmd` with the product of the layers'
    kernels, each with its own median.

    Args:
        xs: per layer (N, D_layer), the same N units in each.
        ys: per layer (M, D_layer).
    """
    if estimator == "linear":
        return _linear(xs, ys, multiples, bandwidth)
    n, m = len(xs[0]), len(ys[0])
    kernel = xs[0].new_ones(n + m, n + m)
    for x, y in zip(xs, ys, strict=True):
        distances = _squared_distances(torch.cat([x, y]))
        kernel = kernel * _gaussians(distances, bandwidth or _pair_median(distances), multiples)
    own_x, own_y, across = kernel[:n, :n], kernel[n:, n:], kernel[:n, n:].mean()
    if estimator == "biased":
        return own_x.mean() + own_y.mean() - 2 * across
    return _off_diagonal_mean(own_x) + _off_diagonal_mean(own_y) - 2 * across


def _linear(xs: Sequence[Tensor], ys: Sequence[Tensor], multiples: Sequence[float], bandwidth: float | None) -> Tensor:
    pairs = min(len(xs[0]), len(ys[0])) // 2
    kernel = xs[0].new_ones(4, pairs)
    for x, y in zip(xs, ys, strict=True):
        (x1, x2), (y1, y2) = ((z[: 2 * pairs : 2], z[1 : 2 * pairs : 2]) for z in (x, y))
        distances = torch.stack([(a - b).square().sum(-1) for a, b in ((x1, x2), (y1, y2), (x1, y2), (x2, y1))])
        kernel = kernel * _gaussians(distances, bandwidth or _median(distances), multiples)
    signs = kernel.new_tensor([1.0, 1.0, -1.0, -1.0])
    return (signs @ kernel).mean()


def _squared_distances(units: Tensor) -> Tensor:
    """(N, N). Centred first: the expanded square cancels badly far from the origin."""
    units = units - units.detach().mean(0)
    squares = units.square().sum(-1)
    return (squares.unsqueeze(0) + squares.unsqueeze(1) - 2 * units @ units.T).clamp_min(0)


def _gaussians(distances: Tensor, bandwidth: Tensor | float, multiples: Sequence[float]) -> Tensor:
    kernel = torch.zeros_like(distances)
    for multiple in multiples:  # not stacked: each matrix is large
        kernel = kernel + torch.exp(-distances / (multiple * bandwidth))
    return kernel / len(multiples)


def _pair_median(distances: Tensor) -> Tensor:
    """Median over the distinct pairs of a (N, N) matrix."""
    return _median(distances[torch.ones_like(distances, dtype=torch.bool).triu(1)])


def _median(distances: Tensor) -> Tensor:
    # a collapsed layer, all units alike, has no scale of its own
    return distances.detach().median().clamp_min(torch.finfo(distances.dtype).tiny ** 0.5)


def _off_diagonal_mean(kernel: Tensor) -> Tensor:
    n = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))


def coral(x: Tensor, y: Tensor) -> Tensor:
    """Distance of two samples' covariances (Deep CORAL, Sun & Saenko 2016).

        1 / (4 D^2) * ||C_x - C_y||_F^2,    C = covariance with the denominator N - 1

    Args:
        x: (N, D), two rows at least.
        y: (M, D), two rows at least.
    """
    return (_covariance(x) - _covariance(y)).square().sum() / (4 * x.shape[1] ** 2)


def _covariance(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    return centred.T @ centred / (len(x) - 1)


def coral_transform(source: ArrayT, target: ArrayT, regularization: float = 1.0, center: bool = False) -> ArrayT:
    """Source rows whitened, then recoloured as the target's (Sun, Feng & Saenko 2016, algorithm 1).

        C = covariance + regularization * I,      source* = source C_source^(-1/2) C_target^(1/2)

    A classifier is then trained on source* with the source's labels and applied to the target as it is. The paper
    normalises all features to zero mean first; with `center` the source's mean is taken off before and the target's
    put on after, which is the same on such data and also aligns the means of others.

    Args:
        source: (N, D), two rows at least.
        target: (M, D), two rows at least.
        regularization: 1 in the paper; 0 matches the covariances exactly, if the source's has full rank.

    Returns:
        (N, D) of the kind and type of `source`; computed in float64. Time and memory grow with the lesser of rows and
        features: of 2000 rows and many features only the 2000 directions are turned that the rows lie in.

    Raises:
        InputError: shapes that do not fit, values that are not finite, or a singular covariance without regularisation.
    """
    x, y = (torch.as_tensor(rows).to(torch.float64) for rows in (source, target))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2 or regularization < 0:
        raise InputError(
            f"coral_transform needs (N, D) and (M, D) with N, M >= 2 and regularization >= 0, not {tuple(x.shape)}, "
            f"{tuple(y.shape)}, {regularization}"
        )
    if not (torch.isfinite(x).all() and torch.isfinite(y).all()):
        raise InputError("coral_transform: a value is not finite")
    whitened = _powered(x - x.mean(0) if center else x, x, regularization, -0.5)
    coloured = _powered(whitened, y, regularization, 0.5) + (y.mean(0) if center else 0.0)
    if isinstance(source, Tensor):
        return coloured.to(source.dtype)
    return coloured.numpy().astype(source.dtype if source.dtype.kind == "f" else np.float64)


def _powered(rows: Tensor, sample: Tensor, regularization: float, exponent: float) -> Tensor:
    """(K, D) `rows` times the regularised covariance of `sample` to a power.

    (V diag(v) V^T + r I)^e = V diag((v + r)^e - r^e) V^T + r^e I,      V: the axes that `sample` varies along
    """
    values, axes = _principal_axes(sample)
    complete = len(values) == sample.shape[1]
    if exponent < 0 and regularization == 0 and not complete:
        raise InputError(
            Problem("coral_transform: the source's covariance is singular", remedy="give a regularization above 0")
        )
    rest = 0.0 if complete else regularization**exponent
    return (rows @ axes * ((values + regularization) ** exponent - rest)) @ axes.T + rest * rows


def _principal_axes(sample: Tensor) -> tuple[Tensor, Tensor]:
    """(k,) variances above zero along (D, k) orthonormal axes: the covariance of `sample` is V diag(v) V^T."""
    centred = sample - sample.mean(0)
    tall = len(sample) > sample.shape[1]
    # the covariance and the rows' inner products have the same eigenvalues: the smaller matrix will do
    products = centred.T @ centred if tall else centred @ centred.T
    values, vectors = torch.linalg.eigh(products / (len(sample) - 1))
    kept = values > 1e-12 * values[-1]
    values, vectors = values[kept], vectors[:, kept]
    return values, vectors if tall else centred.T @ (vectors / (values * (len(sample) - 1)).sqrt())


class DiscrepancyTerm(Term):
    """Common ground of MMD, joint MMD and CORAL: a distance between the units of each pair of domains in the batch.

        value = sum over groups of layers of the mean over pairs of domains of distance(units of one, of the other)

    The units are the real frames, tokens or documents. A pair with too few units is left out; with no pair left (one
    domain only) the value is zero, without a gradient. The distances are computed in float32 or wider.

    `max_units` bounds memory and time: of a domain with more units so many are drawn in each step. The draw is a
    function of the seed and of a counter that checkpoints keep, so a resumed run repeats none and skips none.
    """

    per_unit = False
    fewest = 2
    """Units that each domain of a pair must have."""

    def __init__(
        self,
        layers: str | Sequence[str],
        weight: float = 1.0,
        max_units: int | None = None,
        seed: int = 0,
        schedule: Callable[[float], float] | None = None,
        *,
        shuffled: bool = False,
    ) -> None:
        self_layers = [layers] if isinstance(layers, str) else list(layers)
        problems = []
        if weight < 0:
            problems.append(f"{self.name} needs weight >= 0, not {weight}")
        if not self_layers:
            problems.append(f"{self.name} needs the name of at least one layer")
        if max_units is not None and max_units < 2:
            problems.append(f"{self.name} needs max_units >= 2, not {max_units}")
        if problems:
            raise InputError(problems)
        super().__init__(weight=weight, schedule=schedule)
        self.layers, self.max_units, self.seed, self.shuffled = self_layers, max_units, seed, shuffled
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))

    @abstractmethod
    def distance(self, xs: Sequence[Tensor], ys: Sequence[Tensor]) -> Tensor:
        """Distance of two domains' units, given per layer of the group."""

    def groups(self) -> list[list[str]]:
        """Layers that are looked at together: each alone."""
        return [[layer] for layer in self.layers]

    def forward(self, step: Step, source: Step | None) -> Tensor:
        with torch.autocast(step.logits.device.type, enabled=False):
            value = torch.stack([self._group(step, layers) for layers in self.groups()]).sum()
        if self.shuffled or self.max_units is not None:
            self.get_buffer("draws").add_(1)
        return value

    def _group(self, step: Step, layers: list[str]) -> Tensor:
        units, domain = common_units(step, layers, self.name)
        rows = [self._rows(domain, int(which)) for which in domain.unique()]
        rows = [chosen for chosen in rows if len(chosen) >= self.fewest]
        distances = [
            self.distance([x[one] for x in units], [x[other] for x in units]) for one, other in combinations(rows, 2)
        ]
        return torch.stack(distances).mean() if distances else torch.stack([x.sum() for x in units]).sum() * 0

    def _rows(self, domain: Tensor, which: int) -> Tensor:
        """Numbers of the units of one domain that take part."""
        rows = (domain == which).nonzero().squeeze(1)
        if not self.shuffled and (self.max_units is None or len(rows) <= self.max_units):
            return rows
        random_numbers = np.random.default_rng([self.seed, int(self.get_buffer("draws")), which])
        order = random_numbers.permutation(len(rows))[: self.max_units]
        return rows[torch.from_numpy(order).to(rows.device)]


class MMD(DiscrepancyTerm):
    """Maximum mean discrepancy in hidden layers.

        value = sum over layers of mmd(units of one domain, units of the other)

    One layer and one kernel, `multiples=(1.0,)`, is the method of DaNN (Ghifary et al. 2014) and DDC (Tzeng et al.
    2014); several layers and the default five kernels that of DAN (Long et al. 2015) with equal kernel coefficients,
    which the paper learns. With more than two domains, the mean over their pairs.

    Args:
        layers: one name or several; "logits" and "posteriors" are the model's output.
        multiples: of the median squared distance, one for each kernel.
        estimator: see `mmd`. "linear" takes time and memory linear in the units, at more variance; units are put in
            random order for it.
        bandwidth: a fixed one instead of each batch's median.
        max_units: of each domain, for the quadratic estimators' memory.
        seed: of draws and orders.

    Raises:
        InputError: an impossible option; in `forward`, layers or domains that do not fit.
    """

    name = "mmd"

    def __init__(
        self,
        layers: str | Sequence[str],
        weight: float = 1.0,
        multiples: Sequence[float] = MULTIPLES,
        estimator: Estimator = "unbiased",
        bandwidth: float | None = None,
        max_units: int | None = None,
        seed: int = 0,
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        problems = []
        if estimator not in ESTIMATORS:
            problems.append(f"{self.name} knows the estimators {', '.join(ESTIMATORS)}, not {estimator!r}")
        if not multiples or min(multiples) <= 0 or (bandwidth is not None and bandwidth <= 0):
            problems.append(
                f"{self.name} needs positive bandwidths, not multiples={tuple(multiples)}, bandwidth={bandwidth}"
            )
        if problems:
            raise InputError(problems)
        super().__init__(layers, weight, max_units, seed, schedule, shuffled=estimator == "linear")
        self.multiples, self.estimator, self.bandwidth = tuple(multiples), estimator, bandwidth

    def distance(self, xs: Sequence[Tensor], ys: Sequence[Tensor]) -> Tensor:
        return joint_mmd(xs, ys, self.estimator, self.multiples, self.bandwidth)


class JointMMD(MMD):
    """Joint maximum mean discrepancy (JAN, Long et al. 2017): the layers' kernels are multiplied.

    So what is aligned is the joint distribution of their activations:

        value = joint_mmd(units of one domain, units of the other, over all layers)

    The paper's layers are the last hidden ones and "posteriors". All must have the same units. For arguments see
    `MMD`.
    """

    name = "joint_mmd"

    def groups(self) -> list[list[str]]:
        return [self.layers]


class CORAL(DiscrepancyTerm):
    """Correlation alignment in hidden layers (Deep CORAL, Sun & Saenko 2016).

        value = sum over layers of 1 / (4 D^2) * ||C_one domain - C_other||_F^2

    It compares second moments only: a pure shift of a linear layer's mean is invisible to it. With more than two
    domains, the mean over their pairs. The value is small, about 1 / D^2; weights of 10 to 1000 are usual.

    Args:
        layers: one name or several; "logits" and "posteriors" are the model's output.
        max_units: of each domain.
        seed: of the draw of `max_units`.

    Raises:
        InputError: an impossible option; in `forward`, layers or domains that do not fit.
    """

    name = "coral"

    def distance(self, xs: Sequence[Tensor], ys: Sequence[Tensor]) -> Tensor:
        return coral(xs[0], ys[0])
