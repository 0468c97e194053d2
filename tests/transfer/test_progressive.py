"""Lateral connections of progressive networks: the formula, the start, and that nothing old is reached."""

from __future__ import annotations

import pytest
import torch

from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.progressive import Lateral, Laterals

GENERATOR = torch.Generator().manual_seed(0)


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=GENERATOR)


def test_a_lateral_connection_is_the_formula() -> None:
    lateral = Lateral([3, 5], 4, 2)
    with torch.no_grad():
        lateral.scales.copy_(torch.tensor([0.5, -2.0]))
        lateral.expand.weight.copy_(normal(4, 2))
        lateral.expand.bias.copy_(normal(4))
    first, second = normal(2, 6, 3), normal(2, 6, 5)
    joined = torch.cat([0.5 * first, -2.0 * second], dim=-1)
    hidden = (joined @ lateral.reduce.weight.T + lateral.reduce.bias).clamp_min(0)
    torch.testing.assert_close(lateral([first, second]), hidden @ lateral.expand.weight.T + lateral.expand.bias)


def test_it_begins_as_nothing_and_learns() -> None:
    lateral = Lateral([3], 4, 8)
    below = normal(5, 3)
    assert (lateral([below]) == 0).all()
    lateral([below]).sum().backward()
    assert lateral.expand.weight.grad is not None
    assert lateral.expand.weight.grad.abs().sum() > 0


def test_gradients_reach_earlier_columns_unless_they_are_frozen() -> None:
    for trained in (True, False):
        laterals = Laterals(2, [3], 4, 8)
        below = normal(5, 3).requires_grad_(trained)
        torch.nn.init.ones_(laterals.connections[1].expand.weight)
        laterals(1, [below]).sum().backward()
        assert (below.grad is not None and bool(below.grad.any())) == trained
        assert laterals.connections[1].reduce.weight.grad is not None
        assert laterals.connections[0].reduce.weight.grad is None


def test_impossible_connections_are_told() -> None:
    with pytest.raises(InputError):
        Lateral([], 4, 2)
    with pytest.raises(InputError):
        Lateral([3], 4, 0)
