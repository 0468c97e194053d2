"""Encoders: what an utterance becomes does not depend on its neighbours, lengths are known, every weight is trained."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from speechnlp_tl.speech import encoder as encoder_module
from speechnlp_tl.speech.encoder import Encoder, EncoderConfig
from speechnlp_tl.speech.packing import make_packing

INPUT_DIM = 6
KINDS = ["tdnn", "conformer"]


def encoder(**settings: Any) -> Encoder:
    torch.manual_seed(3)
    defaults: dict[str, Any] = {"width": 16, "layers": 4, "heads": 2, "dropout": 0.0}
    made = Encoder(INPUT_DIM, EncoderConfig(**(defaults | settings)))
    for module in made.modules():
        if isinstance(module, nn.BatchNorm1d):  # as after some training
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return made


def utterances(lengths: Sequence[int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(length, INPUT_DIM, generator=generator) for length in lengths]


def padded(rows: Sequence[Tensor], extra: int = 0, padding: float = 0.0) -> Tensor:
    frames = max(map(len, rows)) + extra
    batch = torch.full((len(rows), frames, INPUT_DIM), padding)
    for row, values in enumerate(rows):
        batch[row, : len(values)] = values
    return batch


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("norm", "training"), [("layer", False), ("batch", False), ("layer", True)])
@pytest.mark.parametrize("settings", [{}, {"kernel": 5, "dilations": [1, 2, 4], "subsampling": 4, "input_kernel": 6}])
def test_an_utterance_does_not_depend_on_its_batch_or_its_padding(
    kind: str, norm: str, training: bool, settings: dict[str, Any]
) -> None:
    model = encoder(kind=kind, norm=norm, **settings).train(training)
    lengths = [31, 17, 1, 2, 30]
    rows = utterances(lengths)
    together, output_lengths = model(padded(rows), torch.tensor(lengths))
    spacious, _ = model(padded(rows, extra=13, padding=50.0), torch.tensor(lengths))
    for row, values in enumerate(rows):
        alone, (own_length,) = model(values.unsqueeze(0), torch.tensor([len(values)]))
        assert own_length == output_lengths[row]
        for layer, layer_together, layer_spacious in zip(alone, together, spacious, strict=True):
            expected = layer[0, :own_length]
            torch.testing.assert_close(layer_together[row, :own_length], expected, atol=1e-5, rtol=0)
            torch.testing.assert_close(layer_spacious[row, :own_length], expected, atol=1e-5, rtol=0)
            assert not layer_together[row, own_length:].any()
            assert not layer_spacious[row, own_length:].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_an_utterance_without_frames_becomes_nothing_and_disturbs_nobody(kind: str, norm: str) -> None:
    model = encoder(kind=kind, norm=norm).eval()
    rows = utterances([20, 0, 7])
    together, lengths = model(padded(rows), torch.tensor([20, 0, 7]))
    assert lengths.tolist() == [7, 0, 3]
    assert not together[-1][1].any()
    torch.testing.assert_close(together[-1][0], model(rows[0].unsqueeze(0), torch.tensor([20]))[0][-1][0])
    nothing, lengths = model(torch.zeros(2, 0, INPUT_DIM), torch.tensor([0, 0]))
    assert lengths.tolist() == [0, 0]
    assert not any(layer.any() for layer in nothing)


@pytest.mark.parametrize("subsampling", [1, 2, 3, 4])
@pytest.mark.parametrize("input_kernel", [1, 2, 3, 4, 5, 8])
def test_every_input_frame_count_gives_its_share_of_output_frames(subsampling: int, input_kernel: int) -> None:
    model = encoder(subsampling=subsampling, input_kernel=input_kernel, layers=2, width=4).eval()
    counts = torch.arange(1, 14)
    for frames in counts.tolist():
        hidden, lengths = model(torch.randn(1, frames, INPUT_DIM), torch.tensor([frames]))
        assert lengths.tolist() == [-(-frames // subsampling)]
        assert all(layer.shape == (1, -(-frames // subsampling), 4) for layer in hidden)
    assert model.subsampling.output_lengths(counts).tolist() == [
        -(-frames // subsampling) for frames in counts.tolist()
    ]
    assert model.subsampling.output_lengths(torch.tensor([0])).tolist() == [0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_gradients_reach_every_parameter(kind: str, norm: str) -> None:
    model = encoder(kind=kind, norm=norm)
    lengths = [40, 25]
    hidden, _ = model(padded(utterances(lengths)), torch.tensor(lengths))
    assert len(hidden) == 4
    (hidden[-1] * torch.randn(hidden[-1].shape, generator=torch.Generator().manual_seed(5))).sum().backward()
    without = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


def test_a_tdnn_sees_the_frames_its_kernels_and_dilations_reach() -> None:
    model = encoder(norm="layer", layers=4, kernel=3, dilations=[1, 2], subsampling=2, input_kernel=5).eval()
    features = torch.randn(1, 80, INPUT_DIM, requires_grad=True)
    hidden, _ = model(features, torch.tensor([80]))
    for layer, reach in zip(hidden, [0, 1, 1 + 2, 1 + 2 + 2], strict=True):
        (gradient,) = torch.autograd.grad(layer[0, 20].square().sum(), features, retain_graph=True)
        seen = gradient[0].abs().sum(-1).nonzero().flatten().tolist()
        assert (seen[0], seen[-1]) == (2 * (20 - reach) - 2, 2 * (20 + reach) + 2)


def test_a_conformer_sees_the_whole_utterance_and_where_in_it_a_frame_stands() -> None:
    model = encoder(kind="conformer", norm="layer", layers=2, kernel=1, input_kernel=1, subsampling=1).eval()
    features = torch.randn(1, 30, INPUT_DIM, requires_grad=True)
    hidden, _ = model(features, torch.tensor([30]))
    (gradient,) = torch.autograd.grad(hidden[-1][0, 10].square().sum(), features)
    assert gradient[0].abs().sum(-1).gt(0).all()
    order = torch.randperm(29, generator=torch.Generator().manual_seed(0))
    shuffled = torch.cat([features[:, :1], features[:, 1:][:, order]], dim=1)
    other, _ = model(shuffled, torch.tensor([30]))
    assert not torch.allclose(hidden[-1][0, 0], other[-1][0, 0], atol=1e-4)


def test_batch_statistics_count_real_frames_only() -> None:
    model = encoder(norm="batch", layers=2).train()
    twin = encoder(norm="batch", layers=2).train()
    rows = utterances([30, 12])
    model(padded(rows, extra=60), torch.tensor([30, 12]))
    twin(padded(rows), torch.tensor([30, 12]))
    for own, other in zip(model.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(own, other)


@pytest.mark.parametrize("kind", KINDS)
def test_encoders_run_in_bfloat16_autocast(kind: str) -> None:
    model = encoder(kind=kind, norm="batch").eval()
    features, lengths = padded(utterances([30, 12])), torch.tensor([30, 12])
    exact = model(features, lengths)[0][-1]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(features, lengths)[0][-1]
    assert (rounded.float() - exact).abs().mean().item() < 0.05 * exact.abs().mean().item()


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel": 2},
        {"kernel": 4, "kind": "conformer"},
        {"dilations": []},
        {"dilations": [1, 0]},
        {"kind": "conformer", "width": 30, "heads": 4},
        {"kind": "conformer", "width": 12, "heads": 4},
        {"layers": 1},
        {"width": 0},
    ],
)
def test_shapes_that_cannot_be_built_are_refused_when_the_config_is_read(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EncoderConfig(**settings)


@pytest.mark.parametrize("settings", [{}, {"kernel": 1}, {"input_kernel": 4}, {"width": 30, "heads": 4}])
def test_all_other_shapes_work(settings: dict[str, Any]) -> None:
    hidden, lengths = encoder(**settings)(padded(utterances([9, 4])), torch.tensor([9, 4]))
    assert hidden[-1].shape[1] == lengths.max()


SHAPES = [
    {},
    {"kernel": 5, "dilations": [1, 2, 4], "subsampling": 4, "input_kernel": 6},
    {"kernel": 1, "subsampling": 1, "input_kernel": 1},
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_packed_utterances_become_and_teach_the_same(monkeypatch, shape, norm: str) -> None:
    lengths = torch.tensor([40, 3, 0, 17, 1, 29])
    batch = padded(utterances(lengths.tolist()), extra=4, padding=9.0)
    found = {}
    for worth in (0.0, 10.0):  # never, always
        monkeypatch.setattr(encoder_module, "WORTH_PACKING", worth)
        model = encoder(norm=norm, **shape).train()
        features = batch.clone().requires_grad_()
        outputs, output_lengths = model(features, lengths)
        weights = torch.arange(outputs[-1].shape[-1]).cos()
        sum((hidden * weights).sin().sum() for hidden in outputs).backward()
        gradients = [features.grad, *(parameter.grad for parameter in model.parameters())]
        found[worth] = [*outputs, output_lengths, *gradients, *model.buffers()]
    assert len(found[0.0]) == len(found[10.0])
    for plain, packed in zip(found[0.0], found[10.0], strict=True):
        torch.testing.assert_close(packed, plain, atol=2e-5, rtol=1e-4)


def test_a_batch_is_packed_where_that_leaves_a_tenth_less(monkeypatch) -> None:
    packed = []
    monkeypatch.setattr(
        encoder_module, "make_packing", lambda *given: packed.append(make_packing(*given)) or packed[-1]
    )
    model = encoder().eval()
    seen = []
    model.subsampling.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[:2])))
    for lengths in ([300, 300, 290], [300, 30, 30]):
        model(padded(utterances(lengths)), torch.tensor(lengths))
    assert seen[0] == (3, 300)
    assert seen[1] == (1, 3 * int(packed[0].output_mask.shape[1]))
    assert seen[1][1] < 400
    model = encoder(kind="conformer").eval()
    model(padded(utterances([300, 30])), torch.tensor([300, 30]))
    assert len(packed) == 1
