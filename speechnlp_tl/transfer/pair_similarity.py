"""Alike encodings of what says the same: a sentence and its translation, two views of one thing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from speechnlp_tl.core.task import Step, Term
from speechnlp_tl.errors import InputError, Problem


class PairSimilarity(Term):
    """Pull the two encodings of each row together (Arivazhagan et al. 2019, eq. 3, alignment by cosine distance).

        value = mean over rows of (1 - cos(f_i, g_i))

    A mean over rows, not a sum over the step's units: a sentence has one encoding and a dozen pieces, and divided by
    those the term would be a fraction of the task's loss at any usual weight.

    Args:
        first, second: names of two features of the step, each (B, D).
        weight: of the term.

    Raises:
        InputError: a weight below zero; in `forward`, features that are not there or do not fit each other.
    """

    name = "similarity"
    per_unit = False

    def __init__(self, first: str, second: str, weight: float = 1.0) -> None:
        if weight < 0:
            raise InputError(f"{self.name} needs a weight of 0 or more, not {weight}")
        super().__init__(weight=weight)
        self.first, self.second = first, second

    def forward(self, step: Step, source: Step | None) -> Tensor:
        missing = [name for name in (self.first, self.second) if name not in step.features]
        if missing:
            known = ", ".join(step.features) or "no features"
            raise InputError([Problem(f"{self.name}: the step has no '{name}'", remedy=f"it has {known}")
                              for name in missing])  # fmt: skip
        one, other = step.features[self.first], step.features[self.second]
        if one.ndim != 2 or one.shape != other.shape:
            what = f"'{self.first}' is {tuple(one.shape)} and '{self.second}' {tuple(other.shape)}"
            raise InputError(f"{self.name} compares two (B, D) features of the same size, {what}")
        real = step.mask if step.mask.ndim == 1 else step.mask.any(1)
        wide = torch.promote_types(one.dtype, torch.float32)
        distances = 1 - F.cosine_similarity(one[real].to(wide), other[real].to(wide), dim=-1)
        return distances.sum() / max(len(distances), 1)
