"""The domain adaptation methods by name: each does what it is for with its usual settings and nothing at weight 0, and
what makes no sense is refused."""

from __future__ import annotations

import pytest
import torch
from pydantic import TypeAdapter

from speechnlp_tl.core.task import Step
from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.domain_methods import (
    METHODS,
    NO_LAYER,
    USUAL_WEIGHTS,
    DomainMethod,
    domain_terms,
    read_methods,
)
from tests.transfer.domain_shift import HIDDEN, WIDTH, ShiftTask, told_apart, told_apart_without

LAYERS = {"hidden.0": 6, "hidden.1": 4}
LIST = TypeAdapter(list[DomainMethod])


def step() -> tuple[Step, torch.Tensor]:
    first = torch.randn(20, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    second = first[:, :4] * torch.arange(1.0, 5.0)
    domain = torch.arange(20) % 2
    features = {"hidden.0": first, "hidden.1": second.exp() + domain.unsqueeze(1), "inputs": torch.ones(20, 7)}
    return Step(first.sum(), second[:, :3], torch.ones(20, dtype=torch.bool), features, domain), first


@pytest.mark.parametrize("name", [name for name in METHODS if name != "adabn"])
def test_every_method_with_a_loss_has_terms_that_move_the_features(name):
    terms = domain_terms([DomainMethod(name=name)], LAYERS, inputs=7, classes=3)
    assert USUAL_WEIGHTS[name] in [term.weight for term in terms]
    for term in terms:
        term.progress = 0.5
        given, features = step()
        (gradient,) = torch.autograd.grad(term(given, None), features)
        assert gradient.abs().sum() > 0


SHIFTS = {name: "scale" if name == "coral" else "mean" for name in METHODS if name not in NO_LAYER}
"""What each method with a term on a layer makes alike. CORAL does not see means."""


def usual_terms(name, **options):
    return domain_terms([DomainMethod(name=name, **options)], {"hidden": HIDDEN}, inputs=WIDTH, classes=2)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", SHIFTS)
def test_with_its_usual_settings_a_method_hides_the_domain_and_serves_the_target(name, seed):
    plain, told_before = told_apart_without(SHIFTS[name], seed)
    adapted, told_after = told_apart(ShiftTask(SHIFTS[name], seed=seed), usual_terms(name))
    assert adapted > plain + 0.08
    assert told_after < told_before - 0.05


@pytest.mark.parametrize("name", SHIFTS)
def test_with_weight_0_a_method_does_neither(name):
    found = told_apart(ShiftTask(SHIFTS[name]), usual_terms(name, weight=0.0))
    assert found == told_apart_without(SHIFTS[name])


def test_a_domain_classifier_takes_its_own_rate_and_size():
    for name in ("dann", "confusion", "dsn"):
        method = DomainMethod(name=name, rate=7.0, classifier=[])
        term = domain_terms([method], LAYERS, inputs=7, classes=3)[-1]
        assert (term.rate, len(term.classifier)) == (7.0, 1)


@pytest.mark.parametrize("name", ["mmd", "mkmmd", "jmmd", "coral"])
def test_a_comparison_is_on_the_named_layers_alone_and_on_so_many_units(name):
    (term,) = domain_terms([DomainMethod(name=name, layers=["hidden.0", "posteriors"], max_units=5)], LAYERS)
    assert (term.layers, term.max_units) == (["hidden.0", "posteriors"], 5)
    (usual,) = domain_terms([DomainMethod(name=name)], LAYERS)
    assert usual.max_units is None
    given, _ = step()
    assert term(given, None) != usual(given, None)


@pytest.mark.parametrize("name", ["dann", "confusion", "dsn", "tlda"])
def test_a_term_on_the_first_layer_has_no_gradient_beyond_it(name):
    term = domain_terms([DomainMethod(name=name, layers=["hidden.0"])], LAYERS, inputs=7, classes=3)[0]
    term.progress = 0.5
    given, features = step()
    layers = [features.exp(), given.features["hidden.1"]]  # TLDA wants no negative means
    given.features["hidden.0"] = layers[0]
    first, second = torch.autograd.grad(term(given, None), layers, allow_unused=True)
    assert first.abs().sum() > 0
    assert second is None


def test_layers_that_the_model_has_not_are_all_named_at_once():
    methods = [DomainMethod(name="coral", layers=["hidden.7", "logits"]), DomainMethod(name="dann", layers=["logits"])]
    with pytest.raises(InputError) as error:
        domain_terms(methods, LAYERS)
    assert [problem.what for problem in error.value.problems] == [
        "coral: the model has no layer 'hidden.7'",
        "dann: the model has no layer 'logits'",
    ]


def test_a_config_may_name_methods_in_any_of_four_ways():
    assert LIST.validate_python(read_methods("none")) == []
    assert LIST.validate_python(read_methods("dann+coral")) == LIST.validate_python(read_methods(["dann", "coral"]))
    (one,) = LIST.validate_python(read_methods({"name": "coral", "weight": 3.0}))
    assert domain_terms([one], LAYERS)[0].weight == 3.0
    assert domain_terms([DomainMethod(name="adabn")], LAYERS) == []


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ("dann+dann", "stands twice"),
        ([{"name": "adabn", "weight": 1.0}], "takes no weight"),
        ("adabn+autodial", "choose one"),
        ([{"name": "coral", "rate": 3.0}], "no domain classifier"),
        ("dsn+tlda", "'tlda' restores the inputs"),
        ([{"name": "dann", "layers": ["hidden.0", "hidden.1"]}], "dann looks at one layer"),
        ([{"name": "autodial", "layers": ["hidden.0"]}], "takes no layers"),
        ([{"name": "dann", "max_units": 50}], "takes no max_units"),
        ([{"name": "adabn", "weight": 0.0}], "takes no weight"),
    ],
)
def test_methods_that_do_not_go_together_are_refused(methods, said):
    with pytest.raises(InputError, match=said):
        domain_terms(LIST.validate_python(read_methods(methods)), LAYERS)


def test_a_model_without_hidden_layers_is_refused():
    with pytest.raises(InputError, match="hidden layer"):
        domain_terms([DomainMethod(name="dann")], {})
