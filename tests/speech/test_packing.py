"""Utterances in one row: where their frames stand and that there is silence between them."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechnlp_tl.speech.packing import make_packing


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=6), st.integers(1, 4), st.integers(0, 5), st.integers(1, 5),
    st.integers(0, 3),
)  # fmt: skip
def test_between_utterances_there_are_zeros_enough(
    lengths, stride: int, input_gap: int, output_gap: int, extra: int
) -> None:
    frames = max(*lengths, 1) + extra
    features = torch.arange(1.0, 1 + len(lengths) * frames).view(len(lengths), frames, 1)
    packing = make_packing(torch.tensor(lengths), frames, stride, input_gap, output_gap)
    row = packing.pack(features)
    assert row.shape[1] == stride * packing.output_mask.shape[1]
    assert torch.equal(row != 0, packing.input_mask.bool())
    assert torch.equal(
        row[0, :, 0][packing.places], torch.cat([features[n, :length, 0] for n, length in enumerate(lengths)])
    )
    for mask, gap in ((packing.input_mask, input_gap), (packing.output_mask, output_gap)):
        runs = "".join(str(int(each)) for each in mask.flatten()).split("1")
        inner = [len(run) for run in runs[1:-1] if run]
        assert all(each >= gap for each in inner)
    # an output frame stands where the first of its input frames does, one of no utterance at a zero
    for number, length in enumerate(lengths):
        for frame, place in enumerate(packing.frames[number].tolist()):
            real = frame * stride < length
            assert bool(packing.output_mask[0, place, 0]) == real
            if real:
                assert row[0, place * stride, 0] == features[number, frame * stride, 0]
