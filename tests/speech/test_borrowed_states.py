"""A new head begins as the mean of the same states of other heads, and leaves those as they are."""

from __future__ import annotations

import copy

import pytest
import torch

from speechnlp_tl.speech.acoustic_model import AcousticModel
from speechnlp_tl.speech.borrowed_states import borrow_states
from speechnlp_tl.speech.encoder import EncoderConfig
from speechnlp_tl.speech.topology import SILENCE, Topology

XA, XB, XC = Topology(("a", "m")), Topology(("m", "s")), Topology(("m", "q", "r"))


@pytest.fixture
def model() -> AcousticModel:
    torch.manual_seed(0)
    return AcousticModel(3, EncoderConfig(width=8, layers=2), {"xa": XA.num_pdfs, "xb": XB.num_pdfs, "xc": XC.num_pdfs})


def state(model: AcousticModel, head: str, topology: Topology, phone: str, number: int = 0) -> torch.Tensor:
    """Weights and bias of one state."""
    linear, pdf = model.head(head).linear, topology.pdfs(phone)[number]
    return torch.cat([linear.weight[pdf], linear.bias[pdf : pdf + 1]]).detach()


def test_states_are_the_means_of_the_same_states(model: AcousticModel) -> None:
    assert borrow_states(model, "xc", XC, {"xa": XA, "xb": XB}) == ["m"]
    silence = (state(model, "xa", XA, SILENCE) + state(model, "xb", XB, SILENCE)) / 2
    torch.testing.assert_close(state(model, "xc", XC, SILENCE), silence)
    for number in (0, 1):
        both = (state(model, "xa", XA, "m", number) + state(model, "xb", XB, "m", number)) / 2
        torch.testing.assert_close(state(model, "xc", XC, "m", number), both)


def test_a_phone_that_no_other_has_is_average_speech_and_like_no_other(model: AcousticModel) -> None:
    before = copy.deepcopy(model)
    borrow_states(model, "xc", XC, {"xa": XA, "xb": XB})
    speech = torch.stack(
        [
            state(model, head, own, phone, n)
            for head, own in (("xa", XA), ("xb", XB))
            for phone in own.phones
            for n in (0, 1)
        ]
    ).mean(dim=0)
    for phone in ("q", "r"):
        own, fresh = state(model, "xc", XC, phone), state(before, "xc", XC, phone)
        torch.testing.assert_close(own[:-1], speech[:-1] + fresh[:-1])
        torch.testing.assert_close(own[-1], speech[-1])
    assert not torch.equal(state(model, "xc", XC, "q"), state(model, "xc", XC, "r"))


def test_other_heads_stay(model: AcousticModel) -> None:
    before = copy.deepcopy(model.state_dict())
    borrow_states(model, "xc", XC, {"xa": XA, "xb": XB})
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"heads.xc.linear.weight", "heads.xc.linear.bias"}


def test_without_other_heads_nothing_is_borrowed(model: AcousticModel) -> None:
    before = copy.deepcopy(model.state_dict())
    assert borrow_states(model, "xc", XC, {}) == []
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
