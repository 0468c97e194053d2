"""The domain adaptation methods by name, as a config gives them: their terms, and what they do to the model.

What a method needs of the model stands in `DomainMethod`: loss terms (`domain_terms`), AutoDIAL layers before training
(`speechnlp_tl.transfer.normalization.use_autodial`), or the target's statistics after it (`adapt_batch_norm`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from pydantic import PositiveFloat

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.core.task import Term
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.transfer.adversarial import DANN, DomainConfusion
from speechnlp_tl.transfer.discrepancy import CORAL, MMD, JointMMD
from speechnlp_tl.transfer.normalization import TargetEntropy

MethodName = Literal["dann", "confusion", "mmd", "mkmmd", "jmmd", "coral", "adabn", "autodial"]
METHODS: tuple[MethodName, ...] = get_args(MethodName)
USUAL_WEIGHTS: dict[MethodName, float] = {
    "dann": 0.1,  # a constant gradient against the task; more tends to be too much
    "confusion": 1.0,
    "mmd": 1.0,
    "mkmmd": 1.0,
    "jmmd": 1.0,
    "coral": 100.0,  # its value is about 1 / D^2
    "autodial": 0.1,  # of the entropy of the target's posteriors
}
NEED_BATCH_NORM: tuple[MethodName, ...] = ("adabn", "autodial")


class DomainMethod(StrictModel):
    """One method: `dann`, or `{name: dann, weight: 0.2}`."""

    name: MethodName
    weight: PositiveFloat | None = None
    """Of its loss term; None is the one of USUAL_WEIGHTS. AdaBN has none."""


def read_methods(given: object) -> object:
    """A config's value as pydantic takes it: `none`, one name or `a+b` become lists of `DomainMethod` fields."""
    if given is None or given == "none":
        return []
    items = given.split("+") if isinstance(given, str) else given if isinstance(given, list) else [given]
    return [{"name": item.strip()} if isinstance(item, str) else item for item in items]


def method_problems(methods: Sequence[DomainMethod]) -> list[str]:
    """What is wrong with a list of methods: one that stands twice, a weight that nothing takes, two that exclude."""
    names = [method.name for method in methods]
    problems = [f"method '{name}' stands twice" for name in sorted({name for name in names if names.count(name) > 1})]
    problems += ["adabn has no loss term, so it takes no weight" for m in methods if m.name == "adabn" and m.weight]
    if set(NEED_BATCH_NORM) <= set(names):
        problems.append("adabn and autodial both replace the statistics of batch normalisation: choose one")
    return problems


def domain_terms(
    methods: Sequence[DomainMethod], layers: Mapping[str, int], seed: int = 0, domains: int = 2, target: int = 1
) -> list[Term]:
    """The loss terms of the methods, on the last hidden layer where there is a choice.

    `mmd` has one kernel (DaNN, DDC), `mkmmd` five kernels on every layer and the logits (DAN), `jmmd` joins the last
    layer with the posteriors (JAN). `adabn` has no term; `autodial` has the target's entropy.

    Args:
        layers: name -> width of the hidden layers, first to last, as they stand in `Step.features`.
        seed: of the domain classifiers' initial weights.
        domains: how many; rows have domains 0 to domains - 1.
        target: number of the target domain, for AutoDIAL's entropy.

    Raises:
        InputError: no layers, or methods that do not go together.
    """
    problems: list[Problem | str] = [*method_problems(methods)]
    if not layers:
        problems.append(Problem("domain adaptation needs a hidden layer, and the model names none"))
    if problems:
        raise InputError(problems)
    last, width = list(layers.items())[-1]
    terms: list[Term] = []
    for method in methods:
        if method.name == "adabn":
            continue
        weight = USUAL_WEIGHTS[method.name] if method.weight is None else method.weight
        if method.name == "dann":
            terms.append(DANN(last, width, domains, weight=weight, seed=seed))
        elif method.name == "confusion":
            terms.append(DomainConfusion(last, width, domains, weight=weight, seed=seed))
        elif method.name == "mmd":
            terms.append(MMD(last, weight, multiples=(1.0,), seed=seed))
        elif method.name == "mkmmd":
            terms.append(MMD([*layers, "logits"], weight, seed=seed))
        elif method.name == "jmmd":
            terms.append(JointMMD([last, "posteriors"], weight, seed=seed))
        elif method.name == "coral":
            terms.append(CORAL(last, weight, seed=seed))
        else:
            terms.append(TargetEntropy(weight, target))
    return terms
