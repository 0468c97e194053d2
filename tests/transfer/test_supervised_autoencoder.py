"""The supervised autoencoder: both parts against loops, gradients by finite differences, and their effect."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechnlp_tl.core.task import Step
from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.supervised_autoencoder import LabelReconstruction, MeanDivergence, mean_divergence
from tests.transfer.domain_shift import WIDTH, ShiftTask, same_weights, told_apart, told_apart_without, train

HIDDEN, INPUTS, CLASSES = 3, 4, 2


def random_step(shape=(6, 4), domains=(0, 1, 1, 2, 0, 2), seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.rand(*shape, HIDDEN, generator=generator, dtype=torch.float64).requires_grad_()
    inputs = torch.randn(*shape, INPUTS, generator=generator, dtype=torch.float64)
    logits = torch.randn(*shape, CLASSES, generator=generator, dtype=torch.float64).requires_grad_()
    mask = torch.rand(shape, generator=generator) < (0.7 if len(shape) == 2 else 2)
    return Step(torch.zeros(()), logits, mask, {"hidden": hidden, "inputs": inputs}, torch.tensor(domains[: shape[0]]))


def make_term(name, **options):
    if name == "divergence":
        return MeanDivergence("hidden", **options).double()
    return LabelReconstruction("inputs", INPUTS, CLASSES, **({"embedding_width": 5} | options)).double()


NAMES = ["divergence", "reconstruction"]


def units_by_hand(step, name, which):
    """Real units of a domain, as lists."""
    values = step.features.get(name, step.logits)
    found = []
    for row, of in enumerate(step.domain.tolist()):
        units = values[row].reshape(-1, values.shape[-1]).tolist()
        found += [u for u, real in zip(units, step.mask[row].view(-1).tolist(), strict=True) if real and of == which]
    return found


def divergence_by_hand(x, y):
    distributions = []
    for sample in (x, y):
        means = [sum(column) / len(sample) + 1e-6 for column in zip(*sample, strict=True)]
        distributions.append([mean / sum(means) for mean in means])
    p, q = distributions
    return sum(a * math.log(a / b) + b * math.log(b / a) for a, b in zip(p, q, strict=True))


def layer_by_hand(layer, unit):
    return [
        sum(w * u for w, u in zip(row, unit, strict=True)) + b
        for row, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
    ]


def reconstruction_by_hand(term, step, domains):
    total = 0.0
    for which in domains:
        errors = []
        for logits, inputs in zip(*(units_by_hand(step, name, which) for name in ("logits", "inputs")), strict=True):
            powers = [math.exp(z) for z in logits]
            embedding = layer_by_hand(term.decoder[0], [power / sum(powers) for power in powers])
            restored = layer_by_hand(term.decoder[2], [1 / (1 + math.exp(-u)) for u in embedding])
            errors.append(sum((x - y) ** 2 for x, y in zip(inputs, restored, strict=True)))
        total += sum(errors) / len(errors)
    return total


def by_hand(name, term, step, domains):
    if name == "reconstruction":
        return reconstruction_by_hand(term, step, domains)
    pairs = [(a, b) for a in domains for b in domains if a < b]
    units = {which: units_by_hand(step, "hidden", which) for which in domains}
    return sum(divergence_by_hand(units[a], units[b]) for a, b in pairs) / len(pairs)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(6, 4), (6,)])
@pytest.mark.parametrize("domains", [(0, 1, 1, 2, 0, 2), (3, 0, 0, 0, -1, 3)])
def test_the_value_is_that_of_the_docstring_unit_by_unit(name, shape, domains):
    step, term = random_step(shape, domains), make_term(name)
    expected = by_hand(name, term, step, sorted(set(domains) - {-1}))
    assert term(step, None).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_the_model_and_of_the_decoder_are_the_slopes(name):
    step, term = random_step(), make_term(name)
    layer = step.features["hidden"] if name == "divergence" else step.logits
    assert torch.autograd.gradcheck(lambda *_: term(step, None), (layer, *term.parameters()))


@given(st.integers(1, 5), st.integers(0, 10**6), st.floats(0.1, 10))
def test_the_divergence_is_symmetric_not_negative_and_blind_to_scale(width, seed, scale):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.rand(n, width, generator=generator, dtype=torch.float64) + 0.01 for n in (3, 5))
    value = mean_divergence(x, y)
    assert value >= 0
    torch.testing.assert_close(mean_divergence(y, x), value)
    torch.testing.assert_close(mean_divergence(scale * x, y), value, rtol=1e-2, atol=1e-4)
    assert mean_divergence(x, x.flip(0)) < 1e-12


def test_a_unit_that_one_domain_never_wakes_is_finitely_far():
    x = torch.tensor([[1.0, 0.0], [3.0, 0.0]], requires_grad=True)
    value = mean_divergence(x, torch.tensor([[1.0, 1.0]]))
    value.backward()
    assert 1 < value < 20
    assert torch.isfinite(x.grad).all()
    silent = mean_divergence(torch.zeros(2, 3), torch.zeros(1, 3))
    assert silent == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -1e30])
def test_padding_has_no_influence(name, garbage):
    step, term = random_step(), make_term(name)
    clean = term(step, None)
    padding = ~step.mask.unsqueeze(-1)
    dirty = {n: v.detach().masked_fill(padding, garbage).requires_grad_() for n, v in step.features.items()}
    logits = step.logits.detach().masked_fill(padding, garbage).requires_grad_()
    value = term(replace(step, features=dirty, logits=logits), None)
    value.backward()
    assert torch.equal(value, clean)
    layer = dirty["hidden"] if name == "divergence" else logits
    assert (layer.grad[~step.mask] == 0).all()
    assert torch.isfinite(layer.grad).all()
    assert (layer.grad != 0).any()


@pytest.mark.parametrize("name", NAMES)
def test_without_units_the_value_is_zero_without_a_gradient(name):
    step, term = random_step(), make_term(name)
    for nothing in (replace(step, domain=torch.full((6,), -1)), replace(step, mask=torch.zeros_like(step.mask))):
        value = term(nothing, None)
        value.backward()
        assert value.item() == 0
        assert all((t.grad is None or (t.grad == 0).all()) for t in (step.features["hidden"], step.logits))


def test_the_decoder_starts_from_its_seed_and_disturbs_nobody():
    before = torch.get_rng_state()
    one, same, other = (make_term("reconstruction", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert same_weights(one, same)
    assert not same_weights(one, other)


def test_what_does_not_fit_is_refused_by_name():
    for wrong in ({"weight": -1.0}, {"max_units": 1}, {"layers": []}):
        with pytest.raises(InputError, match="mean_divergence needs"):
            MeanDivergence(**{"layers": "hidden"} | wrong)
    for wrong in ({"weight": -1.0}, {"classes": 1}, {"inputs_width": 0}, {"embedding_width": 0}):
        with pytest.raises(InputError, match="label_reconstruction needs weight >= 0"):
            LabelReconstruction(**{"inputs": "inputs", "inputs_width": INPUTS, "classes": CLASSES} | wrong)
    step = random_step()
    with pytest.raises(InputError, match="only those of 0 or more make a distribution; take a layer after"):
        MeanDivergence("inputs")(replace(step, features={"inputs": -step.features["inputs"].abs()}), None)
    for name in NAMES:
        with pytest.raises(InputError, match="domain of each row"):
            make_term(name)(replace(step, domain=None), None)
        with pytest.raises(InputError, match="the model has no layer"):
            make_term(name)(replace(step, features={}), None)
    with pytest.raises(InputError, match="give classes=2, inputs_width=4"):
        LabelReconstruction("inputs", 7, 3)(step, None)
    with pytest.raises(InputError, match="do not have the same units"):
        make_term("reconstruction")(replace(step, features={"inputs": torch.zeros(6, INPUTS)}), None)


def reconstruction(weight=1.0):
    return LabelReconstruction("inputs", WIDTH, CLASSES, 16, weight=weight)


def test_means_that_agree_hide_the_domain_and_serve_the_target():
    plain, told_before = told_apart_without()
    adapted, told_after = told_apart(ShiftTask(), [MeanDivergence("hidden", weight=20.0)])
    assert adapted > plain + 0.08
    assert told_after < told_before - 0.08


@pytest.mark.parametrize("seed", [0, 1])
def test_posteriors_that_restore_the_inputs_serve_the_target(seed):
    # what the target's inputs have most in common is then what the posteriors tell: the class, not the shift
    plain, _ = told_apart_without(seed=seed)
    adapted, _ = told_apart(ShiftTask(seed=seed), [reconstruction()])
    assert adapted > plain + 0.08


def test_both_parts_together_are_the_method_of_the_paper():
    plain, told_before = told_apart_without()
    adapted, told_after = told_apart(ShiftTask(), [reconstruction(0.01), MeanDivergence("hidden", weight=20.0)])
    assert adapted > plain + 0.08
    assert told_after < told_before - 0.08


@pytest.mark.parametrize("make", [lambda weight: MeanDivergence("hidden", weight=weight), reconstruction])
def test_weight_zero_is_training_without_the_term(make):
    plain = train(ShiftTask(), epochs=2)
    assert same_weights(plain, train(ShiftTask(), [make(0.0)], epochs=2))
    assert not same_weights(plain, train(ShiftTask(), [make(1.0)], epochs=2))
