"""A multilingual model that begins where another ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.initial_model import begin_from
from speechnlp_tl.speech.lexicon import Lexicon
from speechnlp_tl.speech.multilingual import SHARED_HEAD
from tests.speech.test_multilingual import outputs
from tests.speech.two_languages import recognisers, words

PLACE = Path("exp/old")


def test_languages_that_both_know_have_the_same_outputs_and_others_begin_afresh(lexicon: Lexicon) -> None:
    initial = recognisers(lexicon, ("xa", "xb"), seed=1)
    with torch.no_grad():
        initial.model.heads["xb"].prior.copy_(torch.rand_like(initial.model.heads["xb"].prior))
    made, untouched = (recognisers(lexicon, ("xb", "xc"), seed=2) for _ in range(2))
    assert begin_from(made, initial, PLACE) == ["xc"]
    assert torch.equal(outputs(made.model, "xb"), outputs(initial.model, "xb"))
    assert torch.equal(made.model.heads["xb"].prior, initial.model.heads["xb"].prior)
    assert torch.equal(made.model.heads["xc"].linear.weight, untouched.model.heads["xc"].linear.weight)
    assert not torch.equal(outputs(made.model, "xc"), outputs(untouched.model, "xc"))


def test_dropout_may_change(lexicon: Lexicon) -> None:
    made = recognisers(lexicon, ("xa",), dropout=0.3)
    initial = recognisers(lexicon, ("xa", "xb"), seed=1)
    assert begin_from(made, initial, PLACE) == []
    assert torch.equal(outputs(made.model, "xa"), outputs(initial.model, "xa"))


def test_a_shared_head_goes_on(lexicon: Lexicon) -> None:
    initial, made = (recognisers(lexicon, ("xa", "xb"), "shared", seed=seed) for seed in (1, 2))
    assert begin_from(made, initial, PLACE) == []
    assert torch.equal(outputs(made.model, SHARED_HEAD), outputs(initial.model, SHARED_HEAD))


def test_what_does_not_fit_is_told_all_at_once_and_changes_nothing(lexicon: Lexicon) -> None:
    initial = recognisers(lexicon, ("xa", "xb"), seed=1)
    made = recognisers(lexicon, ("xa",), width=32)
    phones = [*made.config.languages["xa"].phones, "zz"]
    told_of = {"xa": made.config.languages["xa"].model_copy(update={"phones": phones})}
    hmm = made.config.hmm.model_copy(update={"states_per_phone": 3, "prior_scale": 0.1})
    other = replace(made, config=made.config.model_copy(update={"languages": told_of, "hmm": hmm}))
    before = {name: value.clone() for name, value in other.model.state_dict().items()}
    with pytest.raises(InputError) as caught:
        begin_from(other, initial, PLACE)
    told = str(caught.value)
    assert "encoder: width 24 and not 32" in told
    assert "hmm: states_per_phone 2 and not 3;" in told
    assert "head xa has other phones than in 'initial': zz" in told
    assert all(torch.equal(value, before[name]) for name, value in other.model.state_dict().items())


def test_columns_of_a_progressive_network_are_refused(lexicon: Lexicon) -> None:
    initial = recognisers(lexicon, ("xa", "xb")).with_language("xc", words(lexicon, "xc"), column=8)
    with pytest.raises(InputError, match=r"columns of a progressive network \(xc\)"):
        begin_from(recognisers(lexicon, ("xa",)), initial, PLACE)
