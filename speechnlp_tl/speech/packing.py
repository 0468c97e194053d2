"""Utterances one behind the other in a single row, in place of rows that are padded to the longest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where the frames of utterances stand in the row.

    Between two utterances there are zeros, as many as a layer looks at, so that each hears silence around it as it
    does in a row of its own.
    """

    real: Tensor
    """(B, T) bool: the input frames that are no padding."""
    places: Tensor
    """(N,) int64: where each of them stands in the row."""
    frames: Tensor
    """(B, T') int64: where each output frame stands; one of the zeros for those behind an utterance's end."""
    input_mask: Tensor
    """(1, L, 1) float: 1 where an input frame is real."""
    output_mask: Tensor
    """(1, L', 1) float."""

    def pack(self, features: Tensor) -> Tensor:
        """(1, L, F) of (B, T, F)."""
        row = features.new_zeros(1, self.input_mask.shape[1], features.shape[2])
        row[0, self.places] = features[self.real]
        return row

    def unpack(self, hidden: Tensor) -> Tensor:
        """(B, T', D) of (1, L', D), which is zero between utterances."""
        return hidden[0].index_select(0, self.frames.flatten()).unflatten(0, self.frames.shape)


def make_packing(lengths: Tensor, frames: int, stride: int, input_gap: int, output_gap: int) -> Packing:
    """A row for utterances of (B,) `lengths`, in a batch of `frames`.

    Args:
        stride: input frames per output frame.
        input_gap: zero frames that the layer of that stride needs between utterances.
        output_gap: those that the layers behind it need, at least 1.
    """
    output_lengths = (lengths + stride - 1) // stride
    blocks = torch.maximum((lengths + input_gap + stride - 1) // stride, output_lengths + output_gap)
    starts = blocks.cumsum(0) - blocks
    total = int(blocks.sum())
    place = torch.arange(frames)
    real = place < lengths.unsqueeze(1)
    places = (starts.unsqueeze(1) * stride + place)[real]
    place = torch.arange(-(-frames // stride))
    inside = place < output_lengths.unsqueeze(1)
    outputs = torch.where(inside, starts.unsqueeze(1) + place, (starts + output_lengths).unsqueeze(1))
    return Packing(real, places, outputs, _mask(places, total * stride), _mask(outputs[inside], total))


def _mask(places: Tensor, frames: int) -> Tensor:
    mask = torch.zeros(frames)
    mask[places] = 1
    return mask.view(1, frames, 1)
