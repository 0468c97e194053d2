"""The encoder-decoder: a pre-norm Transformer (Vaswani et al. 2017) for many languages, with a decoder cache.

Attention is torch's `scaled_dot_product_attention`; source and target embeddings and the output share one matrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.translation.subwords import PAD
from speechnlp_tl.translation.translator import LanguageToken, Translator


class TransformerConfig(StrictModel):
    """Size and shape of a translation model."""

    width: PositiveInt = 256
    heads: PositiveInt = 4
    feedforward: PositiveInt = 1024
    encoder_layers: PositiveInt = 3
    decoder_layers: PositiveInt = 3
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    language_token: LanguageToken = "source"
    language_embedding: bool = False
    """Add an embedding of the wanted language to every input of the decoder."""
    decoders: Literal["shared", "per-language"] = "shared"
    """One decoder for all languages, or one each beside the common encoder (Dong et al. 2015)."""
    remove_residual: PositiveInt | None = None
    """Encoder layer, from 1, without the residual connection around its self-attention (Liu et al. 2021)."""

    @model_validator(mode="after")
    def _fits(self) -> TransformerConfig:
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"'width' has to be even and a multiple of 'heads' ({self.heads}), not {self.width}")
        if self.remove_residual is not None and self.remove_residual > self.encoder_layers:
            raise ValueError(
                f"'remove_residual' names a layer from 1 to {self.encoder_layers}, not {self.remove_residual}"
            )
        return self


@dataclass
class LayerCache:
    """Keys and values of one decoder layer, each (B, heads, positions, width / heads)."""

    own: tuple[Tensor, Tensor] | None = None
    """Of the target positions so far."""
    source: tuple[Tensor, Tensor] | None = None
    """Of each source once, whatever the number of its hypotheses."""


@dataclass
class DecoderCache:
    """What the decoder keeps of the positions it has seen."""

    layers: list[LayerCache] = field(default_factory=list)
    length: int = 0
    """Target positions so far."""

    def select(self, hypotheses: Tensor, sources: Tensor) -> None:
        """Keep these, (N,) and (R,) int64, in this order; a hypothesis may be kept twice, and those of a source stand
        together, as many of each."""
        # index_select copies whole rows, several times as fast as indexing
        for layer in self.layers:
            if layer.own is not None:
                layer.own = (layer.own[0].index_select(0, hypotheses), layer.own[1].index_select(0, hypotheses))
            if layer.source is not None and len(sources) < len(layer.source[0]):
                layer.source = (layer.source[0].index_select(0, sources), layer.source[1].index_select(0, sources))


class Attention(nn.Module):
    """Multi-head attention."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.output = nn.Linear(width, width), nn.Linear(width, width)
        self.keys_values = nn.Linear(width, 2 * width)

    def project(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, heads, positions, width / heads) of states (B, positions, width)."""
        keys, values = self.keys_values(states).chunk(2, dim=-1)
        return self._split(keys), self._split(values)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, causal: bool = False) -> Tensor:
        """(B, T, width); `mask` (B, 1, 1 or T, positions) is True where there is something to look at."""
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(self._split(self.query(x)), keys, values, mask, dropout, causal)
        return self.output(attended.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Sequential):
    """Two linear layers around a ReLU."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, width))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each behind a normalisation; without `residual` the attention's input is not
    added to its output, so that positions are free of the words that stand there (Liu et al. 2021)."""

    def __init__(self, config: TransformerConfig, residual: bool = True) -> None:
        super().__init__()
        self.residual = residual
        self.attention = Attention(config.width, config.heads, config.dropout)
        self.feedforward = FeedForward(config.width, config.feedforward, config.dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(2))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        normed = self.norms[0](x)
        attended = self.dropout(self.attention(normed, *self.attention.project(normed), mask))
        x = x + attended if self.residual else attended
        return x + self.dropout(self.feedforward(self.norms[1](x)))


class DecoderLayer(nn.Module):
    """Self-attention over what stands before, attention to the source, feed-forward; each behind a normalisation."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention = Attention(config.width, config.heads, config.dropout)
        self.source_attention = Attention(config.width, config.heads, config.dropout)
        self.feedforward = FeedForward(config.width, config.feedforward, config.dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(3))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, states: Tensor, source_mask: Tensor, cache: LayerCache | None) -> Tensor:
        """(B, T, width). With a cache x is the one position behind those in it, which is then taken in."""
        normed = self.norms[0](x)
        keys, values = self.attention.project(normed)
        if cache is not None:
            if cache.own is not None:
                keys, values = torch.cat([cache.own[0], keys], 2), torch.cat([cache.own[1], values], 2)
            cache.own = (keys, values)
        x = x + self.dropout(self.attention(normed, keys, values, None, causal=cache is None))
        source = self.source_attention.project(states) if cache is None or cache.source is None else cache.source
        if cache is not None:
            cache.source = source
        # hypotheses of one source are positions of one query: its keys and values are not copied for each
        asking = self.norms[1](x).reshape(len(source[0]), -1, x.shape[-1])
        x = x + self.dropout(self.source_attention(asking, *source, source_mask).view_as(x))
        return x + self.dropout(self.feedforward(self.norms[2](x)))


class Decoder(nn.Module):
    """A stack of decoder layers and the last normalisation."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, states: Tensor, source_mask: Tensor, cache: DecoderCache | None = None) -> Tensor:
        if cache is not None and not cache.layers:
            cache.layers = [LayerCache() for _ in self.layers]
        for number, layer in enumerate(self.layers):
            x = layer(x, states, source_mask, None if cache is None else cache.layers[number])
        return self.norm(x)


class TranslationTransformer(Translator):
    """Source pieces to target pieces, of any language to any.

    Args:
        config: its shape.
        pieces: size of the subword vocabulary.
        languages: how many target languages; they are numbered from 0.
        seed: of the initial weights.
    """

    def __init__(self, config: TransformerConfig, pieces: int, languages: int, seed: int = 0) -> None:
        super().__init__(config.language_token, config.width)
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(pieces, config.width, padding_idx=PAD)
            nn.init.normal_(self.embedding.weight, std=config.width**-0.5)
            self.language = nn.Embedding(languages, config.width) if config.language_embedding else None
            if self.language is not None:
                nn.init.normal_(self.language.weight, std=config.width**-0.5)
            self.encoder = nn.ModuleList(
                EncoderLayer(config, residual=number + 1 != config.remove_residual)
                for number in range(config.encoder_layers)
            )
            self.encoder_norm = nn.LayerNorm(config.width)
            count = languages if config.decoders == "per-language" else 1
            self.decoders = nn.ModuleList(Decoder(config) for _ in range(count))
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.xavier_uniform_(module.weight)
                    nn.init.zeros_(module.bias)
        self.dropout = nn.Dropout(config.dropout)

    def layer_groups(self) -> list[tuple[str, nn.Module]]:
        """Layers that can be copied and frozen, from input to output. The output shares the embedding's matrix."""
        embeddings = [self.embedding, *([self.language] if self.language is not None else [])]
        groups: list[tuple[str, nn.Module]] = [("embedding", nn.ModuleList(embeddings))]
        for number, layer in enumerate(self.encoder, 1):
            last = number == len(self.encoder)
            groups.append((f"encoder.{number}", nn.ModuleList([layer, *([self.encoder_norm] if last else [])])))
        decoders = [cast(Decoder, decoder) for decoder in self.decoders]
        for number in range(self.config.decoder_layers):
            last = number + 1 == self.config.decoder_layers
            of_all = [decoder.layers[number] for decoder in decoders]
            norms = [decoder.norm for decoder in decoders] if last else []
            groups.append((f"decoder.{number + 1}", nn.ModuleList([*of_all, *norms])))
        return groups

    def grown(self, pieces: int, languages: int, seed: int = 0) -> TranslationTransformer:
        """A copy for more pieces and languages, which come behind those that are there. Logits of old pieces stay.

        Raises:
            ValueError: fewer pieces or languages than there are.
        """
        made = TranslationTransformer(self.config, pieces, languages, seed)
        state = made.state_dict()
        with torch.no_grad():
            for name, tensor in self.state_dict().items():
                if any(new < old for new, old in zip(state[name].shape, tensor.shape, strict=True)):
                    raise ValueError(f"{name}: {tuple(tensor.shape)} cannot grow to {tuple(state[name].shape)}")
                state[name][: tensor.shape[0]] = tensor
        return made

    def encode(self, source: Tensor) -> Tensor:
        """(B, S, width) states."""
        mask = (source != PAD)[:, None, None, :]
        x = self._embed(source, 0)
        for layer in self.encoder:
            x = layer(x, mask)
        return self.encoder_norm(x)

    def new_cache(self) -> DecoderCache:
        """An empty cache."""
        return DecoderCache()

    def decode(
        self, states: Tensor, mask: Tensor, target: Tensor, languages: Tensor, cache: DecoderCache | None = None
    ) -> Tensor:
        """(B, T, pieces) logits; with a `cache`, `target` is (N, 1), the position behind those in the cache, of N / B
        hypotheses for each row of `mask`, which stand together."""
        x = self._embed(target, 0 if cache is None else cache.length)
        if self.language is not None:
            x = x + self.language(languages).unsqueeze(1)
        source_mask = mask[:, None, None, :]
        if len(self.decoders) == 1:
            x = self.decoders[0](x, states, source_mask, cache)
        elif cache is not None:
            # a search is for one language at a time, so a cache is of one decoder
            x = self.decoders[int(languages[0])](x, states, source_mask, cache)
        else:
            decoded = x.new_zeros(x.shape)
            for number in languages.unique().tolist():
                rows = (languages == number).nonzero().squeeze(1)
                found = cast(Tensor, self.decoders[number](x[rows], states[rows], source_mask[rows]))
                decoded = decoded.index_copy(0, rows, found.to(decoded.dtype))
            x = decoded
        if cache is not None:
            cache.length += target.shape[1]
        return F.linear(x, self.embedding.weight)

    def _embed(self, pieces: Tensor, first: int) -> Tensor:
        embedded = self.embedding(pieces) * math.sqrt(self.config.width)
        places = torch.arange(first, first + pieces.shape[1], device=pieces.device)
        return self.dropout(embedded + sinusoids(places, self.config.width).to(embedded.dtype))


def sinusoids(places: Tensor, width: int) -> Tensor:
    """(T, width) position encodings of places (T,): sines in the first half, cosines in the second."""
    rates = torch.exp(torch.arange(0, width, 2, device=places.device) * (-math.log(10000.0) / width))
    angles = places.unsqueeze(1) * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
