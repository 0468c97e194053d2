"""Documents as rows of token ids of different lengths, and batches of them with padding: what a transformer takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass
class TokenBatch:
    """B documents of up to T tokens."""

    ids: Tensor
    """(B, T) int64."""
    mask: Tensor
    """(B, T) bool: True where there is a token and not padding."""
    width: int
    """Size of the tokenizer's vocabulary."""

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device) -> TokenBatch:
        return replace(self, ids=self.ids.to(device), mask=self.mask.to(device))


@dataclass(frozen=True)
class TokenRows:
    """n documents as token ids. Stands where a matrix of features stands; its width is that of the vocabulary."""

    ids: list[NDArray[np.int32]]
    """(tokens,) of each document, one token at least."""
    width: int
    """Size of the tokenizer's vocabulary."""
    padding: int
    """The id that fills up a batch."""

    ndim = 2

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.ids), self.width

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, numbers: Any) -> TokenRows:
        chosen = self.ids[numbers] if isinstance(numbers, slice) else [self.ids[int(number)] for number in numbers]
        return replace(self, ids=chosen)

    def batch(self) -> TokenBatch:
        """All rows, padded to the longest."""
        longest = max(map(len, self.ids), default=0)
        ids = np.full((len(self.ids), longest), self.padding, np.int64)
        mask = np.zeros(ids.shape, bool)
        for number, row in enumerate(self.ids):
            ids[number, : len(row)], mask[number, : len(row)] = row, True
        return TokenBatch(torch.from_numpy(ids), torch.from_numpy(mask), self.width)

    @staticmethod
    def joined(parts: Sequence[TokenRows]) -> TokenRows:
        """One after the other; they are of one tokenizer."""
        return replace(parts[0], ids=[row for part in parts for row in part.ids])
