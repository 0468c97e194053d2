"""What training and search ask of a translation model: our Transformer is one, a pretrained one behaves like one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from speechnlp_tl.translation.subwords import PAD

LanguageToken = Literal["source", "target", "both"]
"""Where languages are said. `source`: the wanted one before the source sentence (Johnson et al. 2016). `target`: the
wanted one as the decoder's start. `both`: that, and the sentence's own language before it (Liu et al. 2020, mBART)."""


@dataclass
class TranslationOutput:
    """One forward pass of B rows, S source and T target positions."""

    logits: Tensor
    """(B, T, pieces)."""
    pooled: Tensor
    """(B, width) mean of the encoder's states over the sentence's own positions."""


class Cache(Protocol):
    """What a decoder has seen of its hypotheses."""

    def select(self, hypotheses: Tensor, sources: Tensor) -> None:
        """Keep these, (N,) and (R,) int64, in this order; a hypothesis may be kept twice, and those of a source stand
        together, as many of each."""


class Translator(nn.Module, ABC):
    """Source pieces to target pieces, of any of its languages to any.

    Args:
        language_token: where languages are said.
        width: of the encoder's states.
    """

    def __init__(self, language_token: LanguageToken, width: int) -> None:
        super().__init__()
        self.language_token, self.width = language_token, width

    def forward(self, source: Tensor, target: Tensor, languages: Tensor) -> TranslationOutput:
        """Logits of the piece behind each of `target`.

        Args:
            source: (B, S) pieces, with a language token where one is said there, PAD behind the end.
            target: (B, T) the decoder's inputs.
            languages: (B,) number of each row's target language.
        """
        states = self.encode(source)
        return TranslationOutput(self.decode(states, source != PAD, target, languages), self.pool(states, source))

    @abstractmethod
    def encode(self, source: Tensor) -> Tensor:
        """(B, S, width) states."""

    @abstractmethod
    def new_cache(self) -> Any:
        """An empty `Cache` of this model's decoder."""

    @abstractmethod
    def decode(self, states: Tensor, mask: Tensor, target: Tensor, languages: Tensor, cache: Any = None) -> Tensor:
        """(B, T, pieces) logits; with a `cache`, `target` is (N, 1), the position behind those in the cache.

        Args:
            states: of the encoder; looked at only once with a cache.
            mask: (B, S) True at the source's real positions. With a cache a row is a source of N / B hypotheses, which
                stand together in `target`.
        """

    def pool(self, states: Tensor, source: Tensor) -> Tensor:
        """(B, width) mean over real positions, without that of a language token."""
        first = 0 if self.language_token == "target" else 1
        real = (source[:, first:] != PAD).unsqueeze(-1)
        return states[:, first:].masked_fill(~real, 0).sum(1) / real.sum(1).clamp(min=1)
