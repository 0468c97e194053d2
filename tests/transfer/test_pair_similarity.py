from __future__ import annotations

import math

import pytest
import torch

from speechnlp_tl.core.task import Step
from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.pair_similarity import PairSimilarity

MASK = torch.tensor([[True, False], [True, True], [False, False]])


def make_step(one, other, mask=MASK):
    return Step(torch.zeros(()), torch.zeros(len(one), 2, 3), mask, {"one": one, "other": other})


def test_the_value_is_the_mean_cosine_distance_of_real_rows():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(3, 5, dtype=torch.float64, generator=generator) for _ in range(2))
    expected = 0.0
    for a, b in zip(one[:2].tolist(), other[:2].tolist(), strict=True):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        expected += 1 - dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    term = PairSimilarity("one", "other")
    assert float(term(make_step(one, other), None)) == pytest.approx(expected / 2, abs=1e-12)
    assert not term.per_unit
    assert float(term(make_step(one, other, torch.zeros(3, 2, dtype=torch.bool)), None)) == 0


def test_the_gradient_is_that_of_finite_differences_and_reaches_both_sides():
    generator = torch.Generator().manual_seed(1)
    sides = [torch.randn(3, 4, dtype=torch.float64, generator=generator, requires_grad=True) for _ in range(2)]
    term = PairSimilarity("one", "other")
    assert torch.autograd.gradcheck(lambda a, b: term(make_step(a, b), None), sides)
    term(make_step(*sides), None).backward()
    assert all(side.grad[:2].abs().sum() > 0 for side in sides)


def test_a_row_of_padding_may_hold_nan():
    one, other = torch.ones(3, 4), torch.ones(3, 4)
    one[2] = torch.nan
    one.requires_grad_()
    value = PairSimilarity("one", "other")(make_step(one, other), None)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(one.grad).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="weight of 0 or more"):
        PairSimilarity("one", "other", -1)
    with pytest.raises(InputError, match="has no 'third'"):
        PairSimilarity("one", "third")(make_step(torch.ones(3, 4), torch.ones(3, 4)), None)
    with pytest.raises(InputError, match="of the same size"):
        PairSimilarity("one", "other")(make_step(torch.ones(3, 4), torch.ones(3, 5)), None)
