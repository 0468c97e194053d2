"""A pretrained sequence-to-sequence model with language tokens (mBART, M2M-100, NLLB, ...) on our data path and search.

Any model that transformers loads as `AutoModelForSeq2SeqLM` and that says the source language before the sentence and
the wanted one at the decoder's start. Its pieces are renumbered so that padding, unknown, begin and end are 0 to 3 as
everywhere else; weights stay where they are, and a saved model is what transformers wrote.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag
from torch import Tensor

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.core.pretrained import load_pretrained, save_pretrained
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.translation.subwords import BEGIN, END, PAD, UNKNOWN
from speechnlp_tl.translation.transformer import TransformerConfig
from speechnlp_tl.translation.translator import Translator

KINDS = ("m2m_100", "mbart")
"""Of transformers: the source's language stands before the sentence, the wanted one begins the translation."""
FOLDER = "pretrained"
"""Of a model folder, with model and tokenizer."""


class PretrainedConfig(StrictModel):
    """Which pretrained model, and what it calls the languages."""

    kind: Literal["pretrained"] = "pretrained"
    name: str = Field(min_length=1, description="folder, or name on the hub")
    revision: str | None = Field(None, description="commit, tag or branch on the hub")
    languages: dict[str, str] = Field(min_length=1, description="language -> its token: de: de_DE, say")


def _shape_of(given: object) -> str:
    kind = given.get("kind") if isinstance(given, Mapping) else getattr(given, "kind", None)
    return "own" if kind is None else "pretrained"


Shape = Annotated[
    Annotated[TransformerConfig, Tag("own")] | Annotated[PretrainedConfig, Tag("pretrained")], Discriminator(_shape_of)
]
"""A model of our own, or, where a `kind` says so, a pretrained one: a mistake is told of the one that is meant."""


class PretrainedVocabulary:
    """Text to the model's pieces and back, in our numbering.

    Args:
        tokenizer: of transformers.
        config: names the languages' tokens.
        size: of the model's vocabulary, which may be larger than the tokenizer's.

    Raises:
        InputError: the tokenizer lacks a language's token, or padding or an end.
    """

    joint = True

    def __init__(self, tokenizer: Any, config: PretrainedConfig, size: int) -> None:
        self._tokenizer, self._size = tokenizer, size
        # asked one by one: languages' tokens are not always part of what a tokenizer calls its vocabulary
        told = {language: tokenizer.convert_tokens_to_ids(token) for language, token in config.languages.items()}
        problems = [
            Problem(f"the tokenizer has no token '{token}' for language '{language}'", remedy="see its model card")
            for language, token in config.languages.items()
            if told[language] is None or told[language] == tokenizer.unk_token_id
        ]
        special = {"padding": tokenizer.pad_token_id, "end": tokenizer.eos_token_id}
        problems += [Problem(f"the tokenizer has no token for {name}") for name, n in special.items() if n is None]
        most = max([len(tokenizer), *(number + 1 for number in told.values() if number is not None)])
        if most > size:
            problems.append(Problem(f"the tokenizer has {most} tokens, the model {size}"))
        if problems:
            raise InputError(problems)
        unknown, begin = tokenizer.unk_token_id, tokenizer.bos_token_id
        self.theirs = _renumbered(size, {PAD: special["padding"], END: special["end"], UNKNOWN: unknown, BEGIN: begin})
        """(pieces,) the model's own number of each piece."""
        self.ours = np.argsort(self.theirs)
        self.tokens = {language: int(self.ours[number]) for language, number in told.items()}
        self.mask = UNKNOWN if tokenizer.mask_token_id is None else int(self.ours[tokenizer.mask_token_id])
        texts = {number: text for text, number in tokenizer.get_vocab().items()}
        self.begins_word: NDArray[np.bool_] = np.array(
            [texts.get(int(number), "").startswith(("▁", "Ġ")) for number in self.theirs]
        )
        # what a tokenizer calls special never stands in text; models have rows that no token uses
        silent = {*tokenizer.all_special_ids, *self.theirs[self.ours >= len(tokenizer)].tolist()}
        self._silent = {*(int(self.ours[number]) for number in silent), *self.tokens.values()} - {END}

    def __len__(self) -> int:
        return self._size

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.tokens)

    @property
    def sha256(self) -> list[str]:
        """Of the tokenizer's vocabulary."""
        return [hashlib.sha256(json.dumps(sorted(self._tokenizer.get_vocab().items())).encode()).hexdigest()]

    def encode(self, lines: Sequence[str], language: str | None = None) -> list[list[int]]:
        """Pieces of each line, without any special token."""
        if not lines:
            return []
        # text that spells a special token, such as "</s>", is taken as text
        options = {"add_special_tokens": False, "split_special_tokens": True, "return_attention_mask": False}
        found = self._tokenizer(list(lines), **options)["input_ids"]
        return [self.ours[np.asarray(row, dtype=np.int64)].tolist() for row in found]

    def decode(self, pieces: Sequence[Sequence[int]]) -> list[str]:
        """Text of each sequence, on one line."""
        said = [[int(self.theirs[n]) for n in row if n not in self._silent and n != END] for row in pieces]
        return [" ".join(self._tokenizer.decode(row, skip_special_tokens=True).split()) for row in said]

    def silent(self, language: str) -> list[int]:
        """Pieces that no translation has."""
        return sorted(self._silent)

    def save_with(self, translator: PretrainedTranslator, folder: Path) -> None:
        """Write model and tokenizer as transformers does."""
        save_pretrained(translator.model, self._tokenizer, folder / FOLDER)


class PretrainedCache:
    """What the decoder has seen, and the encoder's states, which transformers wants to be given in each step."""

    def __init__(self) -> None:
        self.past: Any = None
        self.states: Tensor | None = None

    def select(self, hypotheses: Tensor, sources: Tensor) -> None:
        """Keep these hypotheses, (N,) int64, in this order; transformers keeps a source for each."""
        if self.past is not None:
            self.past.reorder_cache(hypotheses)
        if self.states is not None:
            self.states = self.states[hypotheses]


class PretrainedTranslator(Translator):
    """The model behind the numbering of `PretrainedVocabulary`.

    Args:
        model: of transformers, with an encoder and a decoder.
        theirs: (pieces,) its own number of each piece.
    """

    theirs: Tensor
    moved: Tensor

    def __init__(self, model: Any, theirs: NDArray[np.int64]) -> None:
        super().__init__("both", int(model.config.d_model))
        self.model = model
        numbers = torch.from_numpy(theirs.astype(np.int64))
        self.register_buffer("theirs", numbers, persistent=False)
        self.register_buffer("moved", (numbers != torch.arange(len(numbers))).nonzero().squeeze(1), persistent=False)
        # its name in transformers 5.24 and later, and before
        names = ("cache", "past_key_values")
        self._cache = next(name for name in names if name in inspect.signature(model.forward).parameters)
        start = model.config.decoder_start_token_id
        self.start = int(model.config.eos_token_id if start is None else start)
        """What the decoder sees before the language."""

    @property
    def longest(self) -> int | None:
        """Pieces of the longest sentence that positions were learned for, beside its language and end; None: any."""
        positions = getattr(self.model.config, "max_position_embeddings", None)
        return None if positions is None else int(positions) - 2

    def encode(self, source: Tensor) -> Tensor:
        """(B, S, width) states."""
        mask = (source != PAD).long()
        states: Tensor = self.model.get_encoder()(input_ids=self.theirs[source], attention_mask=mask).last_hidden_state
        return states

    def new_cache(self) -> PretrainedCache:
        """An empty cache."""
        return PretrainedCache()

    def decode(
        self, states: Tensor, mask: Tensor, target: Tensor, languages: Tensor, cache: PretrainedCache | None = None
    ) -> Tensor:
        """(B, T, pieces) logits; `languages` are known from the start that stands in `target`."""
        from transformers.modeling_outputs import BaseModelOutput

        first = cache is None or cache.past is None
        given = self.theirs[target]
        if first:
            given = torch.cat([given.new_full((len(given), 1), self.start), given], dim=1)
        if cache is not None:
            cache.states = states if first else cache.states
            states = cache.states if cache.states is not None else states
        mask = mask.repeat_interleave(len(given) // len(mask), dim=0)
        past = {self._cache: None if cache is None else cache.past}
        found = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states), attention_mask=mask.long(),
            decoder_input_ids=given, use_cache=cache is not None, **past,
        )  # fmt: skip
        if cache is not None:
            cache.past = getattr(found, self._cache)
        logits: Tensor = found.logits[:, 1:] if first else found.logits
        return logits.index_copy(-1, self.moved, logits.index_select(-1, self.theirs[self.moved]))


def load_translator(
    config: PretrainedConfig, folder: Path | None = None
) -> tuple[PretrainedVocabulary, PretrainedTranslator]:
    """The model that a config names, or the one that a model folder holds.

    Raises:
        InputError: as `load_pretrained`; a model of another kind than `KINDS`; a tokenizer without a token that is
            needed, or that puts the language behind the sentence.
    """
    name, local = (config.name, False) if folder is None else (str(folder / FOLDER), True)
    revision = config.revision if folder is None else None
    model, tokenizer = load_pretrained("AutoModelForSeq2SeqLM", name, revision, local, extra="translation,text")
    kind = str(model.config.model_type)
    # others put the wanted language elsewhere, or none: trained as these are, they would learn it anew
    wrong = None
    if kind not in KINDS:
        wrong = f"is a model of kind {kind}, which is told the languages in another way"
    elif not _says_language_first(tokenizer):
        wrong = "is told the language behind the sentence, not before it"
    if wrong is not None:
        raise InputError(
            Problem(f"'{name}' {wrong}", remedy=f"take one of {' or '.join(KINDS)}: M2M-100, NLLB, mBART-50")
        )
    vocabulary = PretrainedVocabulary(tokenizer, config, int(model.config.vocab_size))
    return vocabulary, PretrainedTranslator(model, vocabulary.theirs)


def _says_language_first(tokenizer: Any) -> bool:
    """Whether nothing stands behind the end of a sentence: that is where mBART-25 has its language."""
    row = tokenizer("a")["input_ids"]
    return tokenizer.eos_token_id not in row or row[-1] == tokenizer.eos_token_id


def _renumbered(size: int, wanted: dict[int, int | None]) -> NDArray[np.int64]:
    """(size,) numbers in order, but for `wanted` places that have the given ones; None wants nothing.

    A number that two places want goes to the first.
    """
    order = np.arange(size, dtype=np.int64)
    placed: set[int] = set()
    for place, number in wanted.items():
        if number is not None and number not in placed:
            at = int(np.flatnonzero(order == number)[0])
            order[[place, at]] = order[[at, place]]
            placed.add(number)
    return order
