"""Domain separation: both losses unit by unit, gradients by finite differences, and its effect beside CORAL."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from speechnlp_tl.core.config import TrainConfig
from speechnlp_tl.core.task import Step
from speechnlp_tl.core.tracking import read_metrics
from speechnlp_tl.core.trainer import Trainer
from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.discrepancy import CORAL
from speechnlp_tl.transfer.separation import DomainSeparation, scale_invariant_error, soft_orthogonality
from tests.transfer.domain_shift import HIDDEN, WIDTH, ShiftTask, same_weights, told_apart, told_apart_without, train

SHARED, INPUTS = 3, 4


def random_step(shape=(6, 4), domains=(0, 1, 1, 2, 0, 2), seed=0):
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(*shape, SHARED, generator=generator, dtype=torch.float64).requires_grad_()
    inputs = torch.randn(*shape, INPUTS, generator=generator, dtype=torch.float64)
    mask = torch.rand(shape, generator=generator) < (0.7 if len(shape) == 2 else 2)
    features = {"hidden": shared, "inputs": inputs}
    return Step(torch.zeros(()), torch.zeros(*shape, 2), mask, features, torch.tensor(domains[: shape[0]]))


def make_term(**options):
    settings = {"domains": 3, "hidden": (5,), "alpha": 0.7, "beta": 0.3} | options
    return DomainSeparation("hidden", SHARED, "inputs", INPUTS, **settings).double()


def run_by_hand(network, unit):
    for layer in network:
        if isinstance(layer, nn.Linear):
            weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
            unit = [sum(w * u for w, u in zip(row, unit, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
        else:
            unit = [max(u, 0.0) for u in unit]
    return unit


def error_by_hand(x, y):
    differences = [a - b for a, b in zip(x, y, strict=True)]
    k = len(differences)
    return sum(d * d for d in differences) / k - sum(differences) ** 2 / k**2


def directions_by_hand(rows):
    means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    centred = [[value - mean for value, mean in zip(row, means, strict=True)] for row in rows]
    lengths = [math.sqrt(sum(value * value for value in row)) for row in centred]
    return [[value / length for value in row] for row, length in zip(centred, lengths, strict=True)]


def orthogonality_by_hand(shared, private):
    shared, private = directions_by_hand(shared), directions_by_hand(private)
    total = 0.0
    for i in range(len(shared[0])):
        for j in range(len(private[0])):
            total += (sum(s[i] * p[j] for s, p in zip(shared, private, strict=True)) / len(shared)) ** 2
    return total


def parts_by_hand(term, step, present):
    """Reconstruction and difference, unit by unit, straight from the docstrings."""
    reconstruction = difference = 0.0
    for which in present:
        shared, inputs = [], []
        for row, of in enumerate(step.domain.tolist()):
            mask = step.mask[row].view(-1).tolist()
            for position, real in enumerate(mask):
                if of == which and real:
                    shared.append(step.features["hidden"][row].reshape(-1, SHARED)[position].tolist())
                    inputs.append(step.features["inputs"][row].reshape(-1, INPUTS)[position].tolist())
        private = [run_by_hand(term.private[which], x) for x in inputs]
        restored = [
            run_by_hand(term.decoder, [a + b for a, b in zip(c, p, strict=True)])
            for c, p in zip(shared, private, strict=True)
        ]
        reconstruction += sum(map(error_by_hand, inputs, restored)) / len(inputs)
        difference += orthogonality_by_hand(shared, private)
    return reconstruction, difference


@pytest.mark.parametrize("shape", [(6, 4), (6,)])
def test_the_value_is_the_two_losses_of_the_docstring_unit_by_unit(shape):
    step, term = random_step(shape), make_term()
    assert term.metrics() == {}
    value = term(step, None).item()
    reconstruction, difference = parts_by_hand(term, step, [0, 1, 2])
    assert value == pytest.approx(0.7 * reconstruction + 0.3 * difference, rel=1e-9)
    assert term.metrics() == pytest.approx({"reconstruction": reconstruction, "difference": difference}, rel=1e-9)


def test_gradients_of_the_layer_the_encoders_and_the_decoder_are_the_slopes():
    step, term = random_step(), make_term(hidden=())
    parameters = list(term.parameters())
    assert len(parameters) == 2 * (3 + 1)
    assert torch.autograd.gradcheck(lambda *_: term(step, None), (step.features["hidden"], *parameters))


@given(st.integers(2, 8), st.integers(1, 5), st.integers(0, 10**6))
def test_the_level_of_a_row_costs_nothing_and_its_form_does(n, k, seed):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(n, k, generator=generator, dtype=torch.float64) for _ in range(2))
    errors = scale_invariant_error(x, y)
    np.testing.assert_allclose(
        errors, [error_by_hand(*rows) for rows in zip(x.tolist(), y.tolist(), strict=True)], atol=1e-12
    )
    torch.testing.assert_close(scale_invariant_error(x, y + torch.randn(n, 1, generator=generator).double()), errors)
    assert (scale_invariant_error(x, x + 3.0) < 1e-12).all()


@given(st.integers(2, 8), st.integers(1, 5), st.integers(1, 5), st.integers(0, 10**6))
def test_soft_orthogonality_lies_between_nothing_and_everything_in_common(n, d, e, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    y = torch.randn(n, e, generator=generator, dtype=torch.float64)
    value = soft_orthogonality(x, y)
    assert 0 <= value <= 1 + 1e-12
    torch.testing.assert_close(soft_orthogonality(3 * x + 1, y - 2), value)
    line = torch.linspace(-1, 1, 4, dtype=torch.float64).unsqueeze(1)
    assert soft_orthogonality(line, line).item() == pytest.approx(1)
    assert soft_orthogonality(line, line.abs()).item() == pytest.approx(0)


def test_a_layer_that_is_the_same_for_all_units_gives_numbers():
    shared = torch.zeros(4, SHARED, requires_grad=True)
    private = torch.randn(4, SHARED)
    value = soft_orthogonality(shared + 2.0, private)
    value.backward()
    assert value.item() == 0
    assert torch.isfinite(shared.grad).all()


@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), 1e30])
def test_padding_has_no_influence(garbage):
    step, term = random_step(), make_term()
    clean = term(step, None)
    dirty = {
        name: value.detach().masked_fill(~step.mask.unsqueeze(-1), garbage).requires_grad_()
        for name, value in step.features.items()
    }
    value = term(replace(step, features=dirty), None)
    value.backward()
    assert torch.equal(value, clean)
    for features in dirty.values():
        assert torch.isfinite(features.grad).all()
        assert (features.grad[~step.mask] == 0).all()
        assert (features.grad != 0).any()


def test_domains_that_a_batch_lacks_and_rows_of_none_take_no_part():
    step, term = random_step(domains=(0, 2, 2, 0, -1, -1)), make_term()
    reconstruction, difference = parts_by_hand(term, step, [0, 2])
    assert term(step, None).item() == pytest.approx(0.7 * reconstruction + 0.3 * difference, rel=1e-9)
    for nothing in (replace(step, domain=torch.full((6,), -1)), replace(step, mask=torch.zeros_like(step.mask))):
        value = term(nothing, None)
        value.backward()
        assert value.item() == 0
        assert (step.features["hidden"].grad == 0).all()


def test_low_precision_does_not_reach_the_losses():
    step = random_step()
    step.features = {name: value.detach().float() for name, value in step.features.items()}
    term = make_term().float()
    whole = term(step, None)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(term(step, None), whole)


def test_the_networks_start_from_their_seed_and_disturb_nobody():
    before = torch.get_rng_state()
    one, same, other = make_term(seed=1), make_term(seed=1), make_term(seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert same_weights(one, same)
    assert not same_weights(one, other)
    assert not same_weights(one.private[0], one.private[1])


def test_what_does_not_fit_is_refused_by_name():
    for wrong in ({"weight": -1.0}, {"alpha": -1.0}, {"beta": -1.0}, {"domains": 0}, {"hidden": (0,)}):
        with pytest.raises(InputError, match="separation needs weight, alpha and beta >= 0"):
            make_term(**wrong)
    for widths in ((0, 4), (3, 0)):
        with pytest.raises(InputError, match="layers of at least one unit"):
            DomainSeparation("hidden", widths[0], "inputs", widths[1])
    step = random_step()
    with pytest.raises(InputError, match="no layer 'hiden'; it has: hidden, inputs, logits, posteriors"):
        DomainSeparation("hiden", SHARED, "inputs", INPUTS)(step, None)
    with pytest.raises(InputError, match=r"give shared_width=3(?s:.)*give inputs_width=4"):
        DomainSeparation("hidden", 7, "inputs", 8, domains=3)(step, None)
    with pytest.raises(InputError, match="domain 2, the term was made for 2 domains, 0 to 1; give a larger"):
        make_term(domains=2)(step, None)
    with pytest.raises(InputError, match="domain of each row"):
        make_term()(replace(step, domain=None), None)
    with pytest.raises(InputError, match="do not have the same units"):
        make_term()(replace(step, features=step.features | {"inputs": torch.zeros(6, INPUTS)}), None)


def separation(**options):
    # private encoders without a hidden layer: they take away what is blown up in the target, and little else
    return DomainSeparation("hidden", HIDDEN, "inputs", WIDTH, hidden=(), **({"alpha": 0.3, "beta": 0.3} | options))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_shared_layer_forgets_its_domain_and_serves_the_target_better(seed):
    plain, told_before = told_apart_without("scale", seed)
    alone, told_alone = told_apart(ShiftTask("scale", seed=seed), [separation()])
    assert alone > plain + 0.02
    assert told_alone < told_before - 0.04
    aligned, told_aligned = told_apart(ShiftTask("scale", seed=seed), [CORAL("hidden", weight=30.0)])
    both, told_both = told_apart(ShiftTask("scale", seed=seed), [separation(), CORAL("hidden", weight=30.0)])
    assert both > plain + 0.08
    assert both > aligned + 0.01
    assert told_both < told_aligned - 0.02


def test_each_weight_lowers_its_own_loss():
    found = {}
    for alpha, beta in ((0.3, 0.0), (0.0, 0.3), (0.3, 0.3)):
        term = separation(alpha=alpha, beta=beta)
        train(ShiftTask("scale"), [term], epochs=10)
        found[alpha, beta] = term.metrics()
    assert found[0.3, 0.3]["reconstruction"] < 0.5 * found[0.0, 0.3]["reconstruction"]
    assert found[0.3, 0.3]["difference"] < 0.75 * found[0.3, 0.0]["difference"]


def test_weight_zero_is_training_without_the_term():
    plain = train(ShiftTask(), epochs=2)
    assert same_weights(plain, train(ShiftTask(), [separation(weight=0.0)], epochs=2))
    assert not same_weights(plain, train(ShiftTask(), [separation()], epochs=2))


def test_both_losses_are_recorded(tmp_path):
    config = TrainConfig(epochs=1, log_every=5, device="cpu", tensorboard=False, evaluate_every=None)
    Trainer(ShiftTask(), config, tmp_path, [separation()], quiet=True).fit()
    records = read_metrics(tmp_path / "metrics.jsonl")
    assert len(records) == 3
    for record in records:
        total = 0.3 * record["separation_reconstruction"] + 0.3 * record["separation_difference"]
        assert record["values"]["separation"]["value"] == pytest.approx(total, rel=1e-5)
