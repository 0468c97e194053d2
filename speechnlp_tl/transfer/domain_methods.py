"""The domain adaptation methods by name, as a config gives them: their terms, and what they do to the model.

What a method needs of the model stands in `DomainMethod`: loss terms (`domain_terms`), AutoDIAL layers before training
(`speechnlp_tl.transfer.normalization.use_autodial`), or the target's statistics after it (`adapt_batch_norm`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.core.task import Term
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.transfer.adversarial import DANN, DomainConfusion
from speechnlp_tl.transfer.discrepancy import CORAL, MMD, JointMMD
from speechnlp_tl.transfer.normalization import TargetEntropy
from speechnlp_tl.transfer.separation import DomainSeparation
from speechnlp_tl.transfer.supervised_autoencoder import LabelReconstruction, MeanDivergence

MethodName = Literal["dann", "confusion", "mmd", "mkmmd", "jmmd", "coral", "dsn", "tlda", "adabn", "autodial"]
METHODS: tuple[MethodName, ...] = get_args(MethodName)
USUAL_WEIGHTS: dict[MethodName, float] = {
    "dann": 0.1,  # a constant gradient against the task; more tends to be too much
    "confusion": 1.0,
    "mmd": 1.0,
    "mkmmd": 1.0,
    "jmmd": 1.0,
    "coral": 100.0,  # its value is about 1 / D^2
    "dsn": 1.0,  # of its reconstruction and difference; its DANN has the usual weight, times this
    "tlda": 20.0,  # of the divergence of means, which is small; at 1 the domains stay as easy to tell
    "autodial": 0.1,  # of the entropy of the target's posteriors
}
NEED_BATCH_NORM: tuple[MethodName, ...] = ("adabn", "autodial")
NEED_INPUTS: tuple[MethodName, ...] = ("dsn", "tlda")
"""Those that restore the inputs: `Step.features` must hold them under INPUTS."""
INPUTS = "inputs"
TLDA_RECONSTRUCTION = 1e-3
"""Of TLDA's weight: the error is a sum over all inputs."""
ADVERSARIES: tuple[MethodName, ...] = ("dann", "confusion", "dsn")
COMPARE_SAMPLES: tuple[MethodName, ...] = ("mmd", "mkmmd", "jmmd", "coral")
"""Those that compare samples of two domains: in any number of layers, the model's output among them."""
OUTPUTS = ("logits", "posteriors")
NO_LAYER: tuple[MethodName, ...] = ("adabn", "autodial")


class DomainMethod(StrictModel):
    """One method: `dann`, or `{name: dann, weight: 0.2}`."""

    name: MethodName
    weight: NonNegativeFloat | None = None
    """Of its loss term; None is the one of USUAL_WEIGHTS, 0 a control. AdaBN has none."""
    layers: list[str] | None = Field(None, min_length=1)
    """Those that the term is on, and no others; None is the method's usual choice."""
    max_units: int | None = Field(None, ge=2)
    """Of each domain in a step that mmd, mkmmd, jmmd and coral compare; None is all."""
    rate: PositiveFloat | None = None
    """How many times the model's learning rate a domain classifier takes; None is once."""
    classifier: list[PositiveInt] | None = None
    """Hidden layers of a domain classifier; None is one of 64 units, [] a linear one."""


def read_methods(given: object) -> object:
    """A config's value as pydantic takes it: `none`, one name or `a+b` become lists of `DomainMethod` fields."""
    if given is None or given == "none":
        return []
    items = given.split("+") if isinstance(given, str) else given if isinstance(given, list) else [given]
    return [{"name": item.strip()} if isinstance(item, str) else item for item in items]


def method_problems(methods: Sequence[DomainMethod]) -> list[str]:
    """What is wrong with a list of methods: one that stands twice, a setting that nothing takes, two that exclude."""
    names = [method.name for method in methods]
    problems = [f"method '{name}' stands twice" for name in sorted({name for name in names if names.count(name) > 1})]
    problems += [
        f"{m.name} has no domain classifier, so it takes no rate and no classifier"
        for m in methods
        if m.name not in ADVERSARIES and (m.rate, m.classifier) != (None, None)
    ]
    problems += [
        "adabn has no loss term, so it takes no weight" for m in methods if m.name == "adabn" and m.weight is not None
    ]
    for m in methods:
        if m.layers is not None and m.name in NO_LAYER:
            problems.append(f"{m.name} is about no hidden layer, so it takes no layers")
        elif m.layers is not None and len(m.layers) > 1 and m.name not in COMPARE_SAMPLES:
            problems.append(f"{m.name} looks at one layer, not at {', '.join(m.layers)}")
        if m.max_units is not None and m.name not in COMPARE_SAMPLES:
            problems.append(f"{m.name} compares no samples, so it takes no max_units")
    if set(NEED_BATCH_NORM) <= set(names):
        problems.append("adabn and autodial both replace the statistics of batch normalisation: choose one")
    return problems


def domain_terms(
    methods: Sequence[DomainMethod],
    layers: Mapping[str, int],
    seed: int = 0,
    domains: int = 2,
    target: int = 1,
    inputs: int | None = None,
    classes: int | None = None,
) -> list[Term]:
    """The loss terms of the methods, on the last hidden layer where there is a choice and `layers` names no other.

    `mmd` has one kernel (DaNN, DDC), `mkmmd` five kernels on every layer and the logits (DAN), `jmmd` joins the last
    layer with the posteriors (JAN), `dsn` is domain separation beside DANN, `tlda` restores the inputs from the
    posteriors and brings mean activations together. `adabn` has no term; `autodial` has the target's entropy.

    Args:
        layers: name -> width of the hidden layers, first to last, as they stand in `Step.features`.
        seed: of the initial weights that terms have.
        domains: how many; rows have domains 0 to domains - 1.
        target: number of the target domain, for AutoDIAL's entropy.
        inputs: width of the inputs in `Step.features`, for `dsn` and `tlda`.
        classes: of the model, for `tlda`.

    Raises:
        InputError: no layers, methods that do not go together, or that name layers or need inputs which are not there.
    """
    problems: list[Problem | str] = [*method_problems(methods)]
    if not layers:
        problems.append(Problem("domain adaptation needs a hidden layer, and the model names none"))
    for method in methods:
        problems += _unknown_layers(method, layers)
        if method.name in NEED_INPUTS and (inputs is None or classes is None):
            what = f"method '{method.name}' restores the inputs, and the number of these or of the classes is not given"
            problems.append(Problem(what, remedy=f"put the inputs among the step's features as '{INPUTS}'"))
    if problems:
        raise InputError(problems)
    made = (_terms_of(method, layers, seed, domains, target, inputs or 0, classes or 0) for method in methods)
    return [term for terms in made for term in terms]


def _unknown_layers(method: DomainMethod, layers: Mapping[str, int]) -> list[Problem]:
    known = [*layers, *(OUTPUTS if method.name in COMPARE_SAMPLES else ())]
    return [
        Problem(f"{method.name}: the model has no layer '{layer}'", remedy=f"it has {', '.join(known)}")
        for layer in method.layers or ()
        if layer not in known
    ]


def _terms_of(
    method: DomainMethod, layers: Mapping[str, int], seed: int, domains: int, target: int, inputs: int, classes: int
) -> list[Term]:
    weight = USUAL_WEIGHTS.get(method.name, 0.0) if method.weight is None else method.weight
    if method.name in COMPARE_SAMPLES:
        return [_comparison(method, layers, weight, seed)]
    if method.name in NO_LAYER:
        return [TargetEntropy(weight, target)] if method.name == "autodial" else []
    layer = method.layers[0] if method.layers else list(layers)[-1]
    width = layers[layer]
    adversary: dict[str, Any] = {"rate": method.rate or 1.0, "seed": seed}
    if method.classifier is not None:
        adversary["hidden"] = tuple(method.classifier)
    if method.name == "dann":
        return [DANN(layer, width, domains, weight=weight, **adversary)]
    if method.name == "confusion":
        return [DomainConfusion(layer, width, domains, weight=weight, **adversary)]
    if method.name == "dsn":
        separation = DomainSeparation(layer, width, INPUTS, inputs, domains, weight=weight, seed=seed)
        return [separation, DANN(layer, width, domains, weight=USUAL_WEIGHTS["dann"] * weight, **adversary)]
    restored = LabelReconstruction(INPUTS, inputs, classes, width, weight=TLDA_RECONSTRUCTION * weight, seed=seed)
    return [MeanDivergence(layer, weight), restored]


def _comparison(method: DomainMethod, layers: Mapping[str, int], weight: float, seed: int) -> Term:
    last, units = list(layers)[-1], method.max_units
    if method.name == "mmd":
        return MMD(method.layers or last, weight, multiples=(1.0,), max_units=units, seed=seed)
    if method.name == "mkmmd":
        return MMD(method.layers or [*layers, "logits"], weight, max_units=units, seed=seed)
    if method.name == "jmmd":
        return JointMMD(method.layers or [last, "posteriors"], weight, max_units=units, seed=seed)
    return CORAL(method.layers or last, weight, max_units=units, seed=seed)
