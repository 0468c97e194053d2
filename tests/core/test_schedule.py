import math

import pytest
import torch

from speechnlp_tl.core.schedule import learning_rate_factor


def test_constant_linear_and_cosine_follow_their_closed_forms():
    total, warmup = 40, 8
    for step in range(total):
        behind = (step - warmup) / (total - warmup)
        rising = (step + 1) / warmup
        expected = {"constant": 1.0, "linear": 1 - behind, "cosine": math.cos(math.pi * behind / 2) ** 2}
        for name, value in expected.items():
            factor = learning_rate_factor(step, total, name, warmup)
            assert factor == pytest.approx(rising if step < warmup else value, abs=1e-12)


def test_cosine_without_warmup_is_pytorchs_cosine_annealing():
    total = 25
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    for step in range(total):
        assert learning_rate_factor(step, total, "cosine") == pytest.approx(oracle.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        oracle.step()


@pytest.mark.parametrize("warmup", [0, 0.2, 10])
def test_onecycle_is_pytorchs(warmup):
    total = 50
    share = {0: 0.3, 0.2: 0.2, 10: 0.2}[warmup]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    oracle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=total, pct_start=share, div_factor=25, final_div_factor=1e4,
        cycle_momentum=False,
    )  # fmt: skip
    for step in range(total):
        factor = learning_rate_factor(step, total, "onecycle", warmup)
        assert factor == pytest.approx(oracle.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        oracle.step()


def test_inverse_square_root_is_that_of_the_transformer():
    total, warmup, width = 200, 16, 64
    for step in range(total):
        number = step + 1
        paper = width**-0.5 * min(number**-0.5, number * warmup**-1.5)
        peak = width**-0.5 * warmup**-0.5
        assert learning_rate_factor(step, total, "inverse-sqrt", warmup) == pytest.approx(paper / peak, abs=1e-12)


def test_a_fraction_of_the_run_warms_up_like_its_steps():
    fraction = [learning_rate_factor(step, 30, "linear", 0.1) for step in range(30)]
    assert fraction == [learning_rate_factor(step, 30, "linear", 3) for step in range(30)]


@pytest.mark.parametrize("name", ["constant", "linear", "cosine", "inverse-sqrt", "onecycle"])
@pytest.mark.parametrize("total", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0, 1, 5, 0.5])
def test_short_runs_have_finite_rates_between_zero_and_the_peak(name, total, warmup):
    rates = [learning_rate_factor(step, total, name, warmup) for step in range(total + 2)]
    assert all(0 <= rate <= 1 for rate in rates)
    assert rates[0] > 0


def test_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="triangle"):
        learning_rate_factor(1, 10, "triangle")
