"""Encoders: features in, one hidden vector per output frame. A TDNN and a Conformer.

Frames beyond an utterance's end are kept at zero in every layer, so that an utterance's output does not depend on what
it was batched with; in training with `norm: batch` it does, through the statistics of the micro-batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.speech.packing import Packing, make_packing

WORTH_PACKING = 0.9
"""On a CPU a batch is packed when that leaves fewer of its frames than this share."""


class EncoderConfig(StrictModel):
    """Shape of the encoder."""

    kind: Literal["tdnn", "conformer"] = "tdnn"
    width: int = Field(384, gt=0)
    layers: int = Field(6, gt=1, description="layers, the subsampling one included")
    kernel: int = Field(3, gt=0, description="frames a layer looks at, odd (Conformer: width of its convolution)")
    dilations: list[PositiveInt] = Field(
        [1], min_length=1, description="dilation of each TDNN layer after the first; the last one repeats"
    )
    subsampling: int = Field(3, gt=0, description="input frames per output frame")
    input_kernel: int = Field(7, gt=0, description="input frames the subsampling layer looks at")
    dropout: float = Field(0.1, ge=0, lt=1)
    norm: Literal["batch", "layer"] = Field("batch", description="batch: statistics over each process' own micro-batch")
    heads: int = Field(4, gt=0, description="attention heads (Conformer)")

    @model_validator(mode="after")
    def _fits(self) -> EncoderConfig:
        if self.kernel % 2 == 0:
            raise ValueError("'kernel' must be odd: a frame and as many on its left as on its right")
        if self.kind == "conformer" and self.width % (2 * self.heads):
            raise ValueError("'width' of a conformer must be a multiple of twice its 'heads'")
        return self


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """(B, T, 1) float: 1 where a frame is real."""
    return (torch.arange(frames, device=lengths.device) < lengths.unsqueeze(1)).unsqueeze(-1).float()


class FrameNorm(nn.Module):
    """Normalisation of (B, T, D): over D in each frame, or over a micro-batch's real frames in each dimension."""

    def __init__(self, width: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.norm = nn.LayerNorm(width) if kind == "layer" else nn.BatchNorm1d(width)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        if self.kind == "layer":
            return self.norm(hidden)  # type: ignore[no-any-return]
        real = mask.squeeze(-1).bool()
        normed = torch.zeros_like(hidden)
        normed[real] = self.norm(hidden[real])
        return normed


class Subsampling(nn.Module):
    """One strided convolution from features to hidden vectors: T frames become ceil(T / stride)."""

    # a positive factor passes through the ReLU and dropout after the normalisation
    hidden_units: ClassVar[dict[str, str]] = {"norm.norm": "output"}

    def __init__(self, input_dim: int, config: EncoderConfig) -> None:
        super().__init__()
        self.stride = config.subsampling
        self.convolution = nn.Conv1d(
            input_dim, config.width, config.input_kernel, stride=config.subsampling, padding=config.input_kernel // 2
        )
        self.norm = FrameNorm(config.width, config.norm)
        self.dropout = nn.Dropout(config.dropout)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        return torch.div(lengths + self.stride - 1, self.stride, rounding_mode="floor")

    def forward(self, features: Tensor, input_mask: Tensor, mask: Tensor) -> Tensor:
        """(B, T, F) features and the masks of input and output frames in, (B, T', D) out."""
        hidden = self.convolution((features * input_mask).transpose(1, 2)).transpose(1, 2)[:, : mask.shape[1]]
        return self.dropout(F.relu(self.norm(hidden, mask))) * mask  # type: ignore[no-any-return]


class TdnnLayer(nn.Module):
    """Dilated convolution over frames with a residual connection (Waibel et al. 1989; Peddinti et al. 2015)."""

    # as in Subsampling: the activation alone, not the residual connection, is the layer's hidden unit
    hidden_units: ClassVar[dict[str, str]] = {"norm.norm": "output"}

    def __init__(self, config: EncoderConfig, dilation: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(
            config.width, config.width, config.kernel, dilation=dilation, padding=dilation * (config.kernel // 2)
        )
        self.norm = FrameNorm(config.width, config.norm)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        convolved = self.convolution(hidden.transpose(1, 2)).transpose(1, 2)
        return (hidden + self.dropout(F.relu(self.norm(convolved, mask)))) * mask


class ConformerLayer(nn.Module):
    """Half feed-forward, self-attention, convolution, half feed-forward (Gulati et al. 2020), pre-norm.

    Positions are rotary (Su et al. 2021) instead of the paper's relative encoding: parameter-free and exact for any
    length. With `norm: layer` the convolution module normalises each frame where the paper uses batch statistics.
    """

    # no factor passes through SiLU; its output, the hidden units' activation, is what the next layer reads. Attention
    # has no activation and so no hidden units.
    hidden_units: ClassVar[dict[str, str]] = {
        "feed_forward.0.4": "input",
        "convolution_output": "input",
        "feed_forward.1.4": "input",
    }

    def __init__(self, config: EncoderConfig, dilation: int = 1) -> None:
        super().__init__()
        width = config.width
        self.attention_heads = config.heads
        self.feed_forward = nn.ModuleList([_feed_forward(width, config.dropout) for _ in range(2)])
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.convolution_norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width)
        self.convolution = nn.Conv1d(width, width, config.kernel, padding=config.kernel // 2, groups=width)
        self.frame_norm = FrameNorm(width, config.norm)
        self.convolution_output = nn.Linear(width, width)
        self.final_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        hidden = hidden + 0.5 * self.feed_forward[0](hidden)
        hidden = hidden + self.dropout(self._attend(self.attention_norm(hidden), mask))
        hidden = hidden + self.dropout(self._convolve(self.convolution_norm(hidden), mask))
        hidden = hidden + 0.5 * self.feed_forward[1](hidden)
        return self.final_norm(hidden) * mask

    def _attend(self, hidden: Tensor, mask: Tensor) -> Tensor:
        rows, frames, width = hidden.shape
        projected = self.query_key_value(hidden).view(rows, frames, 3, self.attention_heads, -1)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        real = mask.squeeze(-1).bool().view(rows, 1, 1, frames)
        attended = F.scaled_dot_product_attention(_rotate(query), _rotate(key), value, attn_mask=real)
        return self.attention_output(attended.transpose(1, 2).reshape(rows, frames, width))  # type: ignore[no-any-return]

    def _convolve(self, hidden: Tensor, mask: Tensor) -> Tensor:
        gated = F.glu(self.gate(hidden), dim=-1) * mask
        convolved = self.convolution(gated.transpose(1, 2)).transpose(1, 2)
        return self.convolution_output(F.silu(self.frame_norm(convolved, mask)))  # type: ignore[no-any-return]


def _feed_forward(width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, 4 * width),
        nn.SiLU(),
        nn.Dropout(dropout),
        nn.Linear(4 * width, width),
        nn.Dropout(dropout),
    )


def _rotate(heads: Tensor) -> Tensor:
    """Rotary position embedding of (B, H, T, D), D even."""
    half = heads.shape[-1] // 2
    frequency = 10000.0 ** (-torch.arange(half, device=heads.device) / half)
    angle = torch.arange(heads.shape[2], device=heads.device).unsqueeze(1) * frequency
    cosine, sine = angle.cos().to(heads.dtype), angle.sin().to(heads.dtype)
    first, second = heads[..., :half], heads[..., half:]
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


class Encoder(nn.Module):
    """A subsampling layer and a stack of TDNN or Conformer layers."""

    def __init__(self, input_dim: int, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.subsampling = Subsampling(input_dim, config)
        layer = TdnnLayer if config.kind == "tdnn" else ConformerLayer
        last = len(config.dilations) - 1
        self.layers = nn.ModuleList(
            [layer(config, config.dilations[min(index, last)]) for index in range(config.layers - 1)]
        )

    def forward(
        self, features: Tensor, lengths: Tensor, lateral: Callable[[int, Tensor], Tensor] | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """(B, T, F) features and (B,) lengths in; every layer's (B, T', D) output, zero in padding, and lengths out.

        `lateral(layer, mask)`, layers counted from 0, is added to the layer's output; zero in padding as well.
        """
        if features.shape[1] == 0:
            # recordings shorter than a window: convolutions need a frame, if only one of padding
            features = F.pad(features, (0, 0, 0, 1))
        output_lengths = self.subsampling.output_lengths(lengths)
        packing = None if lateral is not None else self._packing(features, lengths)
        if packing is not None:
            packed = self._layers(packing.pack(features), packing.input_mask, packing.output_mask)
            return [packing.unpack(hidden) for hidden in packed], output_lengths
        frames = features.shape[1]
        masks = frame_mask(lengths, frames), frame_mask(output_lengths, -(-frames // self.config.subsampling))
        return self._layers(features, *masks, lateral), output_lengths

    def _layers(
        self, features: Tensor, input_mask: Tensor, mask: Tensor, lateral: Callable[[int, Tensor], Tensor] | None = None
    ) -> list[Tensor]:
        outputs = [self.subsampling(features, input_mask, mask)]
        for number, layer in enumerate(self.layers):
            if lateral is not None:
                outputs[-1] = outputs[-1] + lateral(number, mask)
            outputs.append(layer(outputs[-1], mask))
        if lateral is not None:
            outputs[-1] = outputs[-1] + lateral(len(self.layers), mask)
        return outputs

    def _packing(self, features: Tensor, lengths: Tensor) -> Packing | None:
        """One row for all utterances, where that saves time: attention needs rows, and a GPU would be waited for."""
        config = self.config
        if config.kind != "tdnn" or features.device.type != "cpu":
            return None
        rows, frames = features.shape[:2]
        gap = max(1, max(config.dilations) * (config.kernel // 2))
        # about what the row takes: each utterance, its gap and what rounding adds
        taken = int(lengths.sum()) + rows * config.subsampling * (gap + 1)
        if taken >= WORTH_PACKING * rows * frames:
            return None
        return make_packing(lengths, frames, config.subsampling, config.input_kernel // 2, gap)
