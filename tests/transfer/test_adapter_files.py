"""Adapters on disk: kilobytes, exact, and only on the base model they were trained on."""

from __future__ import annotations

import pytest
import torch
import yaml
from torch import nn

from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.adapter_files import load_adapter, model_hash, read_card, save_adapter
from speechnlp_tl.transfer.adapters import attach, attached, detach

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


class Network(nn.Module):
    input_dim = 6

    def __init__(self, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(nn.Linear(6, 300), nn.ReLU(), nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 2))
        self.register_buffer("prior", torch.zeros(2))

    def forward(self, x):
        return self.layers(x) - self.prior


def adapted(*kinds):
    model = Network()
    for kind in kinds:
        attach(model, kind)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
        model.prior.fill_(0.25)
    return model


@pytest.mark.parametrize("kinds", [["lhuc"], ["lora"], ["lin"], ["lin", "lhuc", "lora"]])
def test_a_loaded_adapter_computes_what_the_saved_one_did_and_is_small(kinds, tmp_path):
    model = adapted(*kinds)
    save_adapter(tmp_path, model, extra={"speaker": "george", "utterances": 10})
    fresh = Network()
    plain = fresh(X)
    adapters = load_adapter(tmp_path, fresh)
    assert [adapter.kind for adapter in adapters] == kinds
    assert torch.equal(fresh(X), model(X))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 30_000
    assert read_card(tmp_path).extra == {"speaker": "george", "utterances": 10}
    detach(fresh)
    assert torch.equal(fresh(X), plain)


def test_another_base_model_is_refused_with_both_hashes(tmp_path):
    save_adapter(tmp_path, adapted("lhuc"))
    other = Network(seed=1)
    with pytest.raises(InputError) as raised:
        load_adapter(tmp_path, other)
    assert model_hash(other) in str(raised.value)
    assert model_hash(Network()) in str(raised.value)
    assert attached(other) == []


def test_the_hash_is_of_names_types_shapes_and_bytes_of_the_base_alone():
    model = Network()
    base = model_hash(model)
    assert base == model_hash(Network())
    assert base == model_hash(adapted("lora", "lin"))
    assert base != model_hash(Network().double())
    with torch.no_grad():
        model.layers[0].bias[0] += 1e-6
    assert base != model_hash(model)
    ours, theirs = nn.ParameterDict({"a": torch.zeros(2, 3)}), nn.ParameterDict({"a": torch.zeros(3, 2)})
    assert model_hash(ours) != model_hash(theirs)
    assert model_hash(nn.Linear(2, 1).bfloat16())


def test_a_base_that_was_trained_along_is_not_saved_as_an_adapter(tmp_path):
    base = model_hash(Network())
    model = adapted("lhuc")
    with torch.no_grad():
        model.layers[0].weight.add_(1.0)
    with pytest.raises(InputError, match="base model was changed"):
        save_adapter(tmp_path, model, base_hash=base)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="no adapter"):
        save_adapter(tmp_path, Network())


def edit(directory, **changes):
    path = directory / "adapter.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "damage", ["cut", "swapped", "missing tensors", "missing card", "no yaml", "python tag", "keys"]
)
def test_damaged_adapters_are_refused_and_the_model_is_left_alone(damage, tmp_path):
    save_adapter(tmp_path, adapted("lhuc"))
    tensors, card = tmp_path / "adapter.safetensors", tmp_path / "adapter.yaml"
    if damage == "cut":
        tensors.write_bytes(tensors.read_bytes()[:-40])
    elif damage == "swapped":
        save_adapter(tmp_path / "other", adapted("lora"))
        tensors.write_bytes((tmp_path / "other" / "adapter.safetensors").read_bytes())
    elif damage == "missing tensors":
        tensors.unlink()
    elif damage == "missing card":
        card.unlink()
    elif damage == "no yaml":
        card.write_text("a: [")
    elif damage == "python tag":
        card.write_text("!!python/object/apply:os.getcwd []")
    else:
        edit(tmp_path, colour="red", format=2)
    model = Network()
    before = set(model.__dict__)
    with pytest.raises(InputError) as raised:
        load_adapter(tmp_path, model)
    assert "adapter." in str(raised.value)
    if damage == "keys":
        assert len(raised.value.problems) == 2
    assert set(model.__dict__) == before
    assert torch.equal(model(X), Network()(X))


def test_a_card_that_does_not_fit_its_tensors_is_refused_and_the_adapter_taken_off_again(tmp_path):
    save_adapter(tmp_path, adapted("lhuc"))
    edit(tmp_path, adapters=[{"kind": "lora", "options": {"rank": 1}, "modules": ["layers.0"]}])
    model = Network()
    with pytest.raises(InputError, match=r"lacks 'layers\.0\.adapter_lora"):
        load_adapter(tmp_path, model)
    assert attached(model) == []
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_loading_on_top_of_another_adapter_is_refused(tmp_path):
    save_adapter(tmp_path, adapted("lhuc"))
    model = Network()
    attach(model, "lora")
    with pytest.raises(InputError, match="adapters already"):
        load_adapter(tmp_path, model)
