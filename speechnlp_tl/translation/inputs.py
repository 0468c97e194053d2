"""What encoder and decoder take: rows of pieces with the token of the wanted language, padded to one length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.translation.subwords import BEGIN, END, PAD, Vocabulary
from speechnlp_tl.translation.translator import LanguageToken


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """(B, longest) int64, PAD behind each row's end."""
    made = np.full((len(rows), max(map(len, rows))), PAD, dtype=np.int64)
    for number, row in enumerate(rows):
        made[number, : len(row)] = row
    return torch.from_numpy(made)


def encoder_input(
    pieces: Sequence[int], source: str | None, target: str, subwords: Vocabulary, where: LanguageToken
) -> list[int]:
    """A source sentence as the encoder takes it: a language where one is said there, the pieces, the end.

    Raises:
        InputError: the sentence's own language is to be said and is not given.
    """
    said = {"source": target, "target": None, "both": source}[where]
    if where == "both" and source is None:
        what = "the language of the lines is needed: the encoder is told of it"
        raise InputError(Problem(what, remedy=f"it is one of {', '.join(subwords.languages)}"))
    return [*([subwords.tokens[said]] if said is not None else []), *pieces, END]


def decoder_start(target: str, subwords: Vocabulary, where: LanguageToken) -> int:
    """What the decoder starts from: the wanted language where the source does not say it."""
    return BEGIN if where == "source" else subwords.tokens[target]
