from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from speechnlp_tl.core.checkpoint import module_tensors
from speechnlp_tl.translation.subwords import BEGIN, END, PAD
from speechnlp_tl.translation.transformer import DecoderCache, TransformerConfig

SOURCE = torch.tensor([[5, 6, 7, 8, END], [7, 5, END, PAD, PAD]])
TARGET = torch.tensor([[BEGIN, 9, 10, 11], [BEGIN, 8, 7, 6]])
LANGUAGES = torch.tensor([0, 2])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"language_token": "target"},
        {"decoders": "per-language"},
        {"language_embedding": True},
        {"remove_residual": 1},
    ],
)
def test_padding_changes_nothing(tiny, settings):
    model = tiny(**settings).eval()
    both = model(SOURCE, TARGET, LANGUAGES)
    alone = model(SOURCE[1:, :3], TARGET[1:], LANGUAGES[1:])
    assert torch.allclose(both.logits[1], alone.logits[0], atol=1e-5)
    assert torch.allclose(both.pooled[1], alone.pooled[0], atol=1e-6)


def test_a_position_sees_nothing_behind_it(tiny):
    model = tiny().eval()
    changed = TARGET.clone()
    changed[:, 3] = 4
    first, second = (model(SOURCE, target, LANGUAGES).logits for target in (TARGET, changed))
    assert torch.allclose(first[:, :3], second[:, :3], atol=1e-6)
    assert not torch.allclose(first[:, 3], second[:, 3], atol=1e-2)


@pytest.mark.parametrize("settings", [{}, {"language_embedding": True}, {"decoders": "per-language"}])
def test_decoding_with_a_cache_gives_the_logits_of_decoding_without(tiny, settings):
    model = tiny(**settings).eval()
    languages = torch.tensor([1, 1])
    whole = model(SOURCE, TARGET, languages).logits
    states, cache = model.encode(SOURCE), DecoderCache()
    steps = [model.decode(states, SOURCE != PAD, TARGET[:, t : t + 1], languages, cache) for t in range(4)]
    assert torch.allclose(torch.cat(steps, 1), whole, atol=1e-5)


def test_a_cache_follows_the_hypotheses_and_sources_that_are_kept(tiny):
    model = tiny().eval()
    states, cache, mask = model.encode(SOURCE), DecoderCache(), SOURCE != PAD
    model.decode(states, mask, TARGET[:, :1], torch.tensor([1, 1]), cache)
    # two hypotheses of each source, then those of the second one alone, in another order
    rows = torch.tensor([0, 0, 1, 1])
    cache.select(rows, torch.tensor([0, 1]))
    second = torch.stack([TARGET[0, 1], TARGET[1, 1], TARGET[1, 1], TARGET[0, 1]]).unsqueeze(1)
    model.decode(states, mask, second, torch.ones(4, dtype=torch.int64), cache)
    cache.select(torch.tensor([3, 2]), torch.tensor([1]))
    third = TARGET[:, 2:3]
    found = model.decode(states, mask[1:], third, torch.tensor([1, 1]), cache)
    so_far = torch.cat([TARGET[[1, 1], :1], second[[3, 2]], third], dim=1)
    expected = model(SOURCE[[1, 1]], so_far, torch.tensor([1, 1])).logits[:, 2]
    assert torch.allclose(found[:, 0], expected, atol=1e-5)


def test_the_target_language_makes_a_difference_only_where_it_is_said(tiny):
    for settings, differs in (({}, False), ({"language_embedding": True}, True), ({"decoders": "per-language"}, True)):
        model = tiny(**settings).eval()
        one, other = (model(SOURCE, TARGET, torch.tensor([number] * 2)).logits for number in (0, 1))
        assert torch.equal(one, other) != differs, settings


def test_a_decoder_per_language_is_trained_by_its_own_rows_only(tiny):
    model = tiny(decoders="per-language")
    model(SOURCE, TARGET, torch.tensor([0, 2])).logits.sum().backward()
    trained = [any(p.grad is not None and p.grad.abs().sum() > 0 for p in d.parameters()) for d in model.decoders]
    assert trained == [True, False, True]


def test_without_its_residual_a_layer_forgets_what_stood_where(tiny):
    """With a value projection of zero, nothing of a word may come through to its place."""
    for removed, gone in ((None, False), (1, True)):
        model = tiny(remove_residual=removed, encoder_layers=1).eval()
        with torch.no_grad():
            model.encoder[0].attention.keys_values.weight.zero_()
        one, other = model.encode(torch.tensor([[5, 6, END]])), model.encode(torch.tensor([[8, 9, END]]))
        assert torch.allclose(one, other, atol=1e-6) == gone


def test_embeddings_and_output_are_one_matrix(tiny, subwords):
    model = tiny()
    assert sum(1 for t in module_tensors(model).values() if len(subwords) in t.shape) == 1


def test_impossible_shapes_are_refused():
    with pytest.raises(ValidationError, match="multiple of 'heads'"):
        TransformerConfig(width=30, heads=4)
    with pytest.raises(ValidationError, match="a layer from 1 to 3"):
        TransformerConfig(remove_residual=4)
