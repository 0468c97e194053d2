"""The acoustic model: heads, their running prior, and the names that adapters and layer transfer rely on."""

import pytest
import torch
from torch import nn

from speechnlp_tl.speech.acoustic_model import DEFAULT_HEAD, AcousticModel, StateHead
from speechnlp_tl.speech.encoder import EncoderConfig


def acoustic_model(kind: str = "tdnn") -> AcousticModel:
    torch.manual_seed(0)
    config = EncoderConfig(kind=kind, width=16, layers=3, heads=2, dropout=0.0)  # type: ignore[arg-type]
    return AcousticModel(5, config, {DEFAULT_HEAD: 7, "other": 4})


def test_each_head_has_its_own_states_over_one_encoder() -> None:
    model = acoustic_model().eval()
    features, lengths = torch.randn(2, 20, 5), torch.tensor([20, 11])
    output, other = model(features, lengths), model(features, lengths, head="other")
    assert output.logits.shape == (2, 7, 7)
    assert other.logits.shape == (2, 7, 4)
    assert output.lengths.tolist() == model.output_lengths(lengths).tolist() == [7, 4]
    assert list(output.hidden) == ["layer1", "layer2", "layer3"]
    assert torch.equal(output.hidden["layer3"], other.hidden["layer3"])
    assert torch.equal(output.logits, model.head().linear(output.hidden["layer3"]))
    with pytest.raises(KeyError):
        model(features, lengths, head="none")


def test_the_running_prior_averages_the_posteriors_of_real_frames() -> None:
    head = StateHead(3, 4)
    assert head.prior.tolist() == [0.25] * 4
    generator = torch.Generator().manual_seed(0)
    posteriors = torch.rand(2, 3, 5, 4, generator=generator).softmax(-1)  # micro-batch, row, frame, pdf
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    for part in posteriors:
        head.observe(part.log(), mask)
    observed = head.take_observed()
    assert observed[-1] == 14
    mean = posteriors[:, mask].mean(dim=(0, 1))
    torch.testing.assert_close(observed[:-1], 14 * mean)
    head.update_prior(observed, decay=0.9)
    torch.testing.assert_close(head.prior, 0.9 * torch.full((4,), 0.25) + 0.1 * mean)
    assert head.prior.sum() == pytest.approx(1.0)
    assert not head.take_observed().any(), "what was taken is not taken twice"


def test_a_step_without_frames_or_with_broken_numbers_leaves_the_prior_alone() -> None:
    head = StateHead(3, 2)
    head.update_prior(head.take_observed(), decay=0.5)
    head.update_prior(torch.tensor([float("nan"), 1.0, 2.0]), decay=0.5)
    head.update_prior(torch.tensor([float("inf"), 1.0, 2.0]), decay=0.5)
    assert head.prior.tolist() == [0.5, 0.5]


def test_reset_parameters_forgets_weights_prior_and_what_was_observed() -> None:
    head = StateHead(3, 2)
    weight = head.linear.weight.clone()
    head.update_prior(torch.tensor([9.0, 1.0, 10.0]), decay=0.0)
    head.observe(torch.zeros(1, 1, 2), torch.ones(1, 1))
    head.reset_parameters()
    assert head.prior.tolist() == [0.5, 0.5]
    assert not head.take_observed().any()
    assert not torch.equal(head.linear.weight, weight)


def test_the_prior_is_saved_with_the_weights_and_what_is_pending_is_not() -> None:
    head = StateHead(3, 2)
    head.observe(torch.zeros(1, 1, 2), torch.ones(1, 1))
    assert set(head.state_dict()) == {"linear.weight", "linear.bias", "prior"}
    assert "prior" not in dict(head.named_parameters())


@pytest.mark.parametrize("kind", ["tdnn", "conformer"])
def test_layer_groups_hold_every_parameter_exactly_once(kind: str) -> None:
    model = acoustic_model(kind)
    groups = model.layer_groups()
    assert [name for name, _ in groups] == ["layer1", "layer2", "layer3", "head"]
    grouped = [id(parameter) for _, module in groups for parameter in module.parameters()]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())


@pytest.mark.parametrize("kind", ["tdnn", "conformer"])
def test_names_for_adapters_are_names_of_modules(kind: str) -> None:
    model = acoustic_model(kind)
    modules = dict(model.named_modules())
    assert modules[model.input_layer] is model.encoder.subsampling.convolution
    names = model.adaptable_layers()
    assert len(names) == len(set(names)) >= 3
    assert all(isinstance(modules[name], nn.Linear | nn.Conv1d) for name in names)
    assert not any(name.startswith("heads") for name in names)


@pytest.mark.parametrize("kind", ["tdnn", "conformer"])
def test_gradients_reach_every_parameter_of_the_head_in_use(kind: str) -> None:
    model = acoustic_model(kind)
    output = model(torch.randn(2, 20, 5), torch.tensor([20, 11]))
    output.logits.log_softmax(-1)[..., 0].sum().backward()
    idle = {name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()}
    assert idle == {"heads.other.linear.weight", "heads.other.linear.bias"}
