"""LHUC's place: the amplitude is on the hidden unit's activation, after normalisations, and merges exactly."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import nn

from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.acoustic_model import DEFAULT_HEAD, AcousticModel
from speechnlp_tl.speech.encoder import ConformerLayer, EncoderConfig, TdnnLayer, frame_mask
from speechnlp_tl.transfer.adapter_files import load_adapter, save_adapter
from speechnlp_tl.transfer.adapters import LHUC, attach, detach, merge

FEATURES = torch.randn(3, 23, 5, generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([23, 17, 8])
ENCODERS = [(kind, norm) for kind in ("tdnn", "conformer") for norm in ("batch", "layer")]


def config(kind="tdnn", norm="batch"):
    return EncoderConfig(kind=kind, width=8, layers=3, heads=2, norm=norm, dropout=0.1)


def disturb(model):
    """Normalisations as training leaves them: all weights, biases and running statistics differ."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.LayerNorm):
                for name, value in module.state_dict().items():
                    if value.is_floating_point():
                        shift = 0.5 if name in ("weight", "running_var") else -0.5
                        value.copy_(torch.rand(value.shape, generator=generator) + shift)
    return model


def acoustic_model(kind, norm):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return disturb(AcousticModel(5, config(kind, norm), {DEFAULT_HEAD: 6})).eval()


def logits(model):
    with torch.no_grad():
        return model.eval()(FEATURES, LENGTHS).logits


def move(model):
    """Give every r another value; returns the amplitudes by site."""
    generator = torch.Generator().manual_seed(2)
    amplitudes = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("adapter_lhuc.r"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
                amplitudes[name.removesuffix(".adapter_lhuc.r")] = 2 / (1 + torch.exp(-parameter))
    return amplitudes


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_in_a_tdnn_layer_the_amplitude_is_on_the_activation_after_relu(norm):
    layer = disturb(TdnnLayer(config(norm=norm), dilation=2)).eval()
    hidden, mask = torch.randn(3, 11, 8), frame_mask(torch.tensor([11, 7, 1]), 11)
    activation = layer(hidden, mask) - hidden * mask
    assert bool((activation > 0).any())
    layer.hidden_unit_layers = lambda: layer.hidden_units
    attach(layer, "lhuc")
    (amplitude,) = move(layer).values()
    torch.testing.assert_close(layer(hidden, mask), hidden * mask + amplitude * activation)


def test_in_a_conformer_layer_the_amplitude_is_on_the_activation_after_silu():
    layer = disturb(ConformerLayer(config("conformer"))).eval()
    layer.hidden_unit_layers = lambda: layer.hidden_units
    attach(layer, "lhuc")
    amplitudes = move(layer)
    hidden, mask = torch.randn(2, 9, 8), torch.ones(2, 9, 1)
    for index in range(2):
        norm, first, _, _, second, _ = layer.feed_forward[index]
        activation = F.silu(first(norm(hidden))) * amplitudes[f"feed_forward.{index}.4"]
        expected = F.linear(activation, second.weight, second.bias)
        torch.testing.assert_close(layer.feed_forward[index](hidden), expected)
    gated = F.glu(layer.gate(hidden), dim=-1).transpose(1, 2)
    activation = F.silu(layer.frame_norm(layer.convolution(gated).transpose(1, 2), mask))
    output = layer.convolution_output
    expected = F.linear(activation * amplitudes["convolution_output"], output.weight, output.bias)
    torch.testing.assert_close(layer._convolve(hidden, mask), expected)


@pytest.mark.parametrize(("kind", "norm"), ENCODERS)
def test_an_encoder_starts_exactly_merges_exactly_and_comes_back_bit_for_bit(kind, norm):
    model = acoustic_model(kind, norm).requires_grad_(False)
    original = copy.deepcopy(model)
    adapter = attach(model, "lhuc")
    assert set(adapter.sites) == set(model.hidden_unit_layers())
    assert torch.equal(logits(model), logits(original))
    amplitudes = move(model)
    assert len(amplitudes) == len(adapter.sites) == (3 if kind == "tdnn" else 7)
    adapted = logits(model)
    assert float((adapted - logits(original)).abs().max()) > 0.05
    merged = copy.deepcopy(model)
    merge(merged)
    torch.testing.assert_close(logits(merged), adapted, rtol=0, atol=1e-5)
    detach(model)
    for there in (model, merged):
        assert list(there.state_dict()) == list(original.state_dict())
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in there.modules())
    assert all(torch.equal(value, original.state_dict()[name]) for name, value in model.state_dict().items())
    assert torch.equal(logits(model), logits(original))


@pytest.mark.parametrize(("kind", "norm"), ENCODERS)
def test_every_amplitude_of_an_encoder_gets_a_gradient(kind, norm):
    model = acoustic_model(kind, norm)
    attach(model, "lhuc")
    model.train()(FEATURES, LENGTHS).logits.square().sum().backward()
    trained = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all(name.endswith("adapter_lhuc.r") for name in trained)
    assert all(gradient is not None and bool(gradient.any()) for gradient in trained.values())


def test_amplitudes_on_inputs_and_outputs_are_kept_in_files(tmp_path):
    model = acoustic_model("conformer", "batch")
    attach(model, "lhuc")
    move(model)
    save_adapter(tmp_path, model)
    fresh = acoustic_model("conformer", "batch")
    (adapter,) = load_adapter(tmp_path, fresh)
    assert {name: "input" if name in adapter.method.inputs else "output" for name in adapter.sites} == (
        model.hidden_unit_layers()
    )
    assert torch.equal(logits(fresh), logits(model))


@pytest.mark.parametrize("kind", ["tdnn", "conformer"])
def test_a_file_that_knows_outputs_only_still_means_outputs(kind, tmp_path):
    model = acoustic_model(kind, "batch")
    attach(model, LHUC(modules=tuple(model.adaptable_layers())))
    move(model)
    save_adapter(tmp_path, model)
    card = yaml.safe_load((tmp_path / "adapter.yaml").read_text())
    assert card["adapters"][0].pop("options") == {"inputs": []}
    card["adapters"][0]["options"] = {}  # as it was written before there was a choice of sides
    (tmp_path / "adapter.yaml").write_text(yaml.safe_dump(card))
    fresh = acoustic_model(kind, "batch")
    (adapter,) = load_adapter(tmp_path, fresh)
    assert set(adapter.sites) == set(model.adaptable_layers())
    assert torch.equal(logits(fresh), logits(model))
    by_hand = acoustic_model(kind, "batch")
    with torch.no_grad():
        for site in adapter.sites:
            layer, amplitude = by_hand.get_submodule(site), 2 * model.get_submodule(site).adapter_lhuc.r.sigmoid()
            layer.weight.mul_(amplitude.view(-1, *[1] * (layer.weight.dim() - 1)))
            layer.bias.mul_(amplitude)
    torch.testing.assert_close(logits(fresh), logits(by_hand))


def single(layer, *shape):
    """The layer as a model, disturbed, and an input for it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return disturb(nn.Sequential(layer)).double().eval(), torch.randn(shape, dtype=torch.float64)


@pytest.mark.parametrize(
    ("layer", "shape", "units"),
    [
        (nn.BatchNorm1d(6), (7, 6), (1, 6)),
        (nn.BatchNorm1d(6), (6, 6), (1, 6)),
        (nn.BatchNorm1d(6), (7, 6, 4), (1, 6, 1)),
        (nn.BatchNorm1d(6), (6, 6, 6), (1, 6, 1)),
        (nn.LayerNorm(6), (7, 4, 6), (1, 1, 6)),
        (nn.LayerNorm(6, bias=False), (7, 6), (1, 6)),
        (nn.LayerNorm((4, 6)), (7, 4, 6), (1, 4, 6)),
        (nn.Conv1d(3, 6, 3, padding=1), (7, 3, 6), (1, 6, 1)),
        (nn.Conv1d(3, 6, 3, padding=1), (3, 6), (6, 1)),
        (nn.Linear(3, 6, bias=False), (6, 6, 3), (1, 1, 6)),
    ],
)
def test_outputs_are_scaled_in_the_units_own_dimension(layer, shape, units):
    model, x = single(copy.deepcopy(layer), *shape)
    plain = model(x)
    attach(model, LHUC(modules=("0",)))
    (amplitude,) = move(model).values()
    torch.testing.assert_close(model(x), plain * amplitude.reshape(units))
    merge(model)
    torch.testing.assert_close(model(x), plain * amplitude.reshape(units))


@pytest.mark.parametrize(
    ("layer", "shape", "units"),
    [
        (nn.Linear(6, 3), (7, 4, 6), (1, 1, 6)),
        (nn.Conv1d(6, 4, 3, padding=1), (7, 6, 6), (1, 6, 1)),
        (nn.Conv1d(6, 4, 3, padding=1, groups=2), (7, 6, 9), (1, 6, 1)),
        (nn.Conv1d(6, 6, 3, padding=1, groups=6, padding_mode="reflect"), (7, 6, 9), (1, 6, 1)),
    ],
)
def test_inputs_are_scaled_in_the_units_own_dimension(layer, shape, units):
    model, x = single(copy.deepcopy(layer), *shape)
    plain = copy.deepcopy(model)
    attach(model, LHUC(inputs=("0",)))
    (amplitude,) = move(model).values()
    expected = plain(x * amplitude.reshape(units))
    torch.testing.assert_close(model(x), expected)
    merge(model)
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("kinds", [["lhuc", "lin", "lora"], ["lora", "lin", "lhuc"]])
def test_amplitudes_on_the_inputs_come_after_lin_and_before_lora(kinds):
    options = {"lhuc": {"inputs": "0"}, "lin": {"modules": "0"}, "lora": {"modules": "0", "rank": 2}}
    model, x = single(nn.Linear(6, 3), 5, 6)
    plain = copy.deepcopy(model[0])
    for kind in kinds:
        attach(model, kind, **options[kind])
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in (model[0].adapter_lora.B, model[0].adapter_lin.M, model[0].adapter_lin.c):
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    (amplitude,) = move(model).values()
    entering = (x + F.linear(x, model[0].adapter_lin.M, model[0].adapter_lin.c)) * amplitude
    expected = F.linear(entering, plain.weight + model[0].adapter_lora.change(), plain.bias)
    torch.testing.assert_close(model(x), expected)
    merge(model)
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(4, affine=False), nn.LayerNorm(4, elementwise_affine=False)])
def test_a_normalisation_without_weights_takes_amplitudes_but_cannot_be_merged(norm):
    model = nn.Sequential(nn.Linear(4, 4), copy.deepcopy(norm), nn.ReLU()).double().eval()
    x = torch.randn(5, 4, dtype=torch.float64)
    plain = model(x)
    attach(model, LHUC(modules=("1",)))
    (amplitude,) = move(model).values()
    assert amplitude.dtype == torch.float64
    torch.testing.assert_close(model(x), plain * amplitude)
    with pytest.raises(InputError, match="no weights that could take"):
        merge(model)
    torch.testing.assert_close(model(x), plain * amplitude)


def test_the_choice_of_places_is_the_models_then_the_callers():
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.SiLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))

    def chosen(**options):
        adapter = attach(model, "lhuc", **options)
        detach(model)
        return adapter.sites, adapter.method.inputs

    assert chosen() == (("0", "3"), ())
    assert chosen(modules="*") == (("0", "1", "3", "5"), ())
    assert chosen(inputs="3") == (("3",), ("3",))
    assert chosen(modules=["1", "3"], inputs=["3", "5"]) == (("1", "3", "5"), ("3", "5"))
    model.hidden_unit_layers = lambda: {"1": "output", "5": "input"}
    assert chosen() == (("1", "5"), ("5",))
    assert chosen(modules="0") == (("0",), ())
    assert attach(model, "lora").sites == ("0", "3")
    detach(model)
    for options in ({"inputs": "1"}, {"modules": "2"}, {"modules": "nope"}):
        with pytest.raises(InputError, match="matches no"):
            attach(model, "lhuc", **options)
