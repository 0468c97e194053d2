"""What encoder and decoder take: rows of pieces with the token of the wanted language, padded to one length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from speechnlp_tl.translation.subwords import BEGIN, END, PAD, Subwords


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """(B, longest) int64, PAD behind each row's end."""
    made = np.full((len(rows), max(map(len, rows))), PAD, dtype=np.int64)
    for number, row in enumerate(rows):
        made[number, : len(row)] = row
    return torch.from_numpy(made)


def encoder_input(pieces: Sequence[int], language: str, subwords: Subwords, token_in_source: bool) -> list[int]:
    """A source sentence as the encoder takes it: the wanted language where it is said there, the pieces, the end."""
    return [*([subwords.tokens[language]] if token_in_source else []), *pieces, END]


def decoder_start(language: str, subwords: Subwords, token_in_source: bool) -> int:
    """What the decoder starts from: the wanted language where the source does not say it."""
    return BEGIN if token_in_source else subwords.tokens[language]
