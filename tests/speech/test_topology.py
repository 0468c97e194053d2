"""The topology against what its docstring promises."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechnlp_tl.speech.topology import SILENCE, Topology

topologies = st.builds(
    Topology,
    phones=st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6).map(tuple),
    states_per_phone=st.integers(1, 4),
    silence_states=st.integers(1, 4),
    self_loop=st.floats(0.05, 0.95),
    silence_probability=st.floats(0.05, 0.95),
)


@given(topologies)
def test_every_pdf_belongs_to_exactly_one_state_and_silence_owns_the_first(topology: Topology) -> None:
    pdfs = [pdf for phone in (SILENCE, *topology.phones) for pdf in topology.pdfs(phone)]
    assert sorted(pdfs) == list(range(topology.num_pdfs))
    assert topology.pdfs(SILENCE) == list(range(topology.silence_states))
    assert all(len(topology.pdfs(phone)) == topology.states_per_phone for phone in topology.phones)


@given(topologies)
def test_alternatives_share_a_probability_of_one(topology: Topology) -> None:
    assert math.exp(topology.log_stay) == pytest.approx(topology.self_loop)
    assert math.exp(topology.log_stay) + math.exp(topology.log_leave) == pytest.approx(1.0)
    assert math.exp(topology.log_silence) == pytest.approx(topology.silence_probability)
    assert math.exp(topology.log_silence) + math.exp(topology.log_no_silence) == pytest.approx(1.0)


def test_a_phone_the_topology_lacks_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="x"):
        Topology(("a", "b")).pdfs("x")
