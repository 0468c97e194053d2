"""The domain adaptation methods by name: a term with a gradient for each, and what makes no sense refused."""

from __future__ import annotations

import pytest
import torch
from pydantic import TypeAdapter

from speechnlp_tl.core.task import Step
from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.domain_methods import METHODS, USUAL_WEIGHTS, DomainMethod, domain_terms, read_methods

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


def test_a_domain_classifier_takes_its_own_rate_and_size():
    for name in ("dann", "confusion", "dsn"):
        method = DomainMethod(name=name, rate=7.0, classifier=[])
        term = domain_terms([method], LAYERS, inputs=7, classes=3)[-1]
        assert (term.rate, len(term.classifier)) == (7.0, 1)


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
    ],
)
def test_methods_that_do_not_go_together_are_refused(methods, said):
    with pytest.raises(InputError, match=said):
        domain_terms(LIST.validate_python(read_methods(methods)), LAYERS)


def test_a_model_without_hidden_layers_is_refused():
    with pytest.raises(InputError, match="hidden layer"):
        domain_terms([DomainMethod(name="dann")], {})
