"""Translation as a `Task`: many directions in one model, sampled with temperature, and denoising."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt
from torch import Tensor, nn

from speechnlp_tl.core.batching import batches_by_cost, drawn_rows, sampled_counts
from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.core.task import Step, Task
from speechnlp_tl.errors import InputError
from speechnlp_tl.translation.back_translation import back_translated
from speechnlp_tl.translation.inputs import decoder_start, encoder_input, padded
from speechnlp_tl.translation.subwords import END, PAD, Vocabulary
from speechnlp_tl.translation.translator import TranslationOutput, Translator

Kind = Literal["translate", "restore", "back-translate"]
"""Where the source sentences of a direction come from."""
POOLED, POOLED_TARGET = "encoder", "encoder_target"
"""Names among a step's features: pooled encodings of the source sentence, and of its translation."""
ROW_LOSS = "row_loss"
"""And of the (B,) losses of the rows."""
EVALUATE_TOKENS = 4000


class NoiseConfig(StrictModel):
    """What is done to a sentence that is to be restored (Lample et al. 2018), word by word."""

    drop: Annotated[float, Field(ge=0, lt=1)] = 0.1
    mask: Annotated[float, Field(ge=0, lt=1)] = 0.1
    shuffle: NonNegativeInt = 3
    """A word moves by at most this many places; 0 keeps the order."""


@dataclass(frozen=True)
class Direction:
    """Rows of one source and target language."""

    source: str
    target: str
    sources: Sequence[Sequence[int]]
    """Pieces of each row's source sentence, without any token."""
    targets: Sequence[Sequence[int]]
    kind: Kind = "translate"
    """`restore`: the source is the target with noise, drawn anew in each epoch. `back-translate`: the model itself
    writes the source, anew in each step, as its translation of `sources`."""
    written_from: str | None = None
    """Language of `sources` where the model writes the source from them: that of the targets, which they then are, or
    one in which the sentence is known too."""

    @property
    def name(self) -> str:
        return f"{self.source}-{self.target}"

    def __len__(self) -> int:
        return len(self.targets)


@dataclass
class TranslationBatch:
    """B rows, S source and T target positions."""

    ids: list[str]
    units: float
    """Target pieces, the end of the sentence among them."""
    source: Tensor
    """(B, S) int64 pieces."""
    inputs: Tensor
    """(B, T) int64 the decoder's inputs."""
    outputs: Tensor
    """(B, T) int64 what is to come out; PAD behind the end."""
    languages: Tensor
    """(B,) int64 target language."""
    domain: Tensor
    """(B,) int64 source language."""
    translations: Tensor | None = None
    """(B, S') int64 the target sentence as an encoder input, for terms that compare the two."""
    wanted: tuple[str, ...] = ()
    """Target language of each row."""
    written: tuple[str | None, ...] = ()
    """The language in which the model is to write a row's source, which holds what it is written from until then; None
    where the source is given. Empty where all are."""

    def to(self, device: torch.device) -> TranslationBatch:
        moved: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


def add_noise(
    pieces: Sequence[int], begins_word: NDArray[np.bool_], mask: int, config: NoiseConfig, random: np.random.Generator
) -> list[int]:
    """Drop, mask and shuffle words: word i goes where i + uniform(0, shuffle + 1) sorts it. One word at least stays.

    Args:
        pieces: of one sentence.
        begins_word: (vocabulary,) whether a piece starts a word.
        mask: the piece that stands for a masked word.
    """
    words: list[list[int]] = []
    for piece in pieces:
        if begins_word[piece] or not words:
            words.append([])
        words[-1].append(piece)
    kept = [word for word, chance in zip(words, random.random(len(words)), strict=True) if chance >= config.drop]
    kept = kept or words[:1]
    kept = [
        [mask] if chance < config.mask else word for word, chance in zip(kept, random.random(len(kept)), strict=True)
    ]
    if config.shuffle:
        order = np.argsort(np.arange(len(kept)) + random.random(len(kept)) * (config.shuffle + 1), kind="stable")
        kept = [kept[place] for place in order]
    return [piece for word in kept for piece in word]


class TranslationTask(Task):
    """Train one model on many directions.

    An epoch has as many translated rows as the data, and besides `denoising` times as many rows to restore and
    `back_translation` times as many whose source the model writes itself. The directions of a kind share its rows by
    temperature, and each shows a row a second time only after all others. Steps hold rows of all directions and at most
    `batch_tokens` pieces, each row counted like the longest, source and target together: where long sources meet long
    targets, which are padded apart, up to twice as many. What an epoch holds depends on (seed, epoch) alone, noise
    on (seed, epoch, row).

    The loss is label-smoothed cross-entropy, summed over target pieces. Features of the step: `encoder`, the pooled
    (B, width) encodings, with the source language as domain and the target language as label, and, with
    `encode_translations`, `encoder_target`, those of the target sentences under the same language token.

    Args:
        model: trained in place.
        subwords: of all directions.
        directions: rows to train on.
        dev: name -> held-out rows of one direction that `evaluate` measures.

    Raises:
        InputError: no rows, an impossible size or temperature.
    """

    model: nn.Module

    def __init__(
        self,
        model: Translator,
        subwords: Vocabulary,
        directions: Sequence[Direction],
        dev: Sequence[Direction] = (),
        noise: NoiseConfig | None = None,
        denoising: NonNegativeFloat = 0.0,
        back_translation: NonNegativeFloat = 0.0,
        temperature: float = 1.0,
        label_smoothing: float = 0.1,
        batch_tokens: int = 4000,
        encode_translations: bool = False,
        seed: int = 0,
    ) -> None:
        self.model, self.subwords, self.dev = model, subwords, list(dev)
        self.shares = {"translate": 1.0, "restore": denoising, "back-translate": back_translation}
        """Rows of a kind in an epoch, per translated row."""
        self.directions = [each for each in directions if len(each) and self.shares[each.kind]]
        if not any(each.kind == "translate" for each in self.directions):
            raise InputError("translation needs at least one direction with sentences")
        if temperature < 1 or batch_tokens < 1 or not 0 <= label_smoothing < 1 or min(self.shares.values()) < 0:
            what = f"temperature={temperature}, batch_tokens={batch_tokens}, label_smoothing={label_smoothing}"
            raise InputError(f"impossible settings: {what}, {denoising=}, {back_translation=}")
        self.noise, self.temperature = noise or NoiseConfig(), temperature
        self.label_smoothing, self.batch_tokens = label_smoothing, batch_tokens
        self.encode_translations, self.seed = encode_translations, seed
        self.number = {language: number for number, language in enumerate(subwords.languages)}
        self.language_token = model.language_token
        self._offsets = np.cumsum([0, *(len(each) for each in self.directions)])
        # 3: the language token, the start of the target and an end
        self._costs = np.array(
            [len(s) + len(t) + 3 for each in self.directions for s, t in zip(each.sources, each.targets, strict=True)]
        )
        self._targets = np.array([len(target) + 1 for each in self.directions for target in each.targets])

    def batches(self, epoch: int) -> list[list[int]]:
        random = np.random.default_rng([self.seed, epoch, 1])
        drawn: list[int] = []
        translated = sum(len(each) for each in self.directions if each.kind == "translate")
        for kind, share in self.shares.items():
            members = [number for number, each in enumerate(self.directions) if each.kind == kind]
            total = round(translated * share)
            if not members or not total:
                continue
            sizes = [len(self.directions[number]) for number in members]
            for number, size, wanted in zip(
                members, sizes, sampled_counts(sizes, self.temperature, total), strict=True
            ):
                drawn += (self._offsets[number] + drawn_rows(size, wanted, random)).tolist()
        steps = batches_by_cost(
            self._costs[drawn].tolist(), self.batch_tokens, self.seed, epoch, parts=self._targets[drawn].tolist()
        )
        return [[drawn[place] for place in step] for step in steps]

    def load(self, rows: list[int], epoch: int) -> TranslationBatch:
        found = []
        for row in rows:
            direction, place = self._place(row)
            source = direction.sources[place]
            if direction.kind == "restore":
                random = np.random.default_rng([self.seed, epoch, row])
                source = add_noise(source, self.subwords.begins_word, self.subwords.mask, self.noise, random)
            found.append((direction, place, source))
        return self._batch(found)

    def step(self, model: nn.Module, batch: TranslationBatch) -> Step:
        source = batch.source
        if batch.written:
            translator = cast(Translator, model)
            source = back_translated(translator, source, batch.written, batch.wanted, self.subwords)
        output = cast(TranslationOutput, model(source, batch.inputs, batch.languages))
        losses = F.cross_entropy(
            output.logits.float().flatten(0, 1),
            batch.outputs.flatten(),
            reduction="none",
            ignore_index=PAD,
            label_smoothing=self.label_smoothing,
        ).view_as(batch.outputs)
        features = {POOLED: output.pooled, ROW_LOSS: losses.sum(1)}
        if batch.translations is not None:
            translator = cast(Translator, model)
            features[POOLED_TARGET] = translator.pool(translator.encode(batch.translations), batch.translations)
        return Step(losses.sum(), output.logits, batch.outputs != PAD, features, batch.domain, batch.languages)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """`<direction>_loss`, nats a piece without smoothing, of each dev direction, and their mean `loss`."""
        found: dict[str, float] = {}
        device = next(model.parameters()).device
        for direction in self.dev:
            costs = [len(s) + len(t) + 3 for s, t in zip(direction.sources, direction.targets, strict=True)]
            total = units = 0.0
            targets = [len(target) for target in direction.targets]
            for places in batches_by_cost(costs, EVALUATE_TOKENS, 0, 0, shuffle=False, parts=targets):
                batch = self._batch([(direction, place, direction.sources[place]) for place in places]).to(device)
                logits = cast(TranslationOutput, model(batch.source, batch.inputs, batch.languages)).logits
                flat = logits.float().flatten(0, 1)
                total += float(F.cross_entropy(flat, batch.outputs.flatten(), reduction="sum", ignore_index=PAD))
                units += batch.units
            found[f"{direction.name}_loss"] = total / units
        return found | ({"loss": float(np.mean(list(found.values())))} if found else {})

    def _place(self, row: int) -> tuple[Direction, int]:
        number = int(np.searchsorted(self._offsets, row, side="right")) - 1
        return self.directions[number], row - int(self._offsets[number])

    def _batch(self, rows: Sequence[tuple[Direction, int, Sequence[int]]]) -> TranslationBatch:
        targets = [direction.targets[place] for direction, place, _ in rows]
        written = tuple(each.source if each.kind == "back-translate" else None for each, _, _ in rows)
        # until the model has written a row's source there stands what it is written from, to be translated into it
        asked = [
            (each.written_from or each.target, each.source) if each.kind == "back-translate"
            else (each.source, each.target)
            for each, _, _ in rows
        ]  # fmt: skip
        wanted = [direction.target for direction, _, _ in rows]
        starts = [decoder_start(language, self.subwords, self.language_token) for language in wanted]
        translations = None
        if self.encode_translations:
            sides = zip(targets, wanted, strict=True)
            translations = padded([self._source(target, language, language) for target, language in sides])
        return TranslationBatch(
            ids=[f"{direction.name}:{place + 1}" for direction, place, _ in rows],
            units=float(sum(len(target) + 1 for target in targets)),
            source=padded([self._source(row[2], *said) for row, said in zip(rows, asked, strict=True)]),
            inputs=padded([[start, *target] for start, target in zip(starts, targets, strict=True)]),
            outputs=padded([[*target, END] for target in targets]),
            languages=torch.tensor([self.number[language] for language in wanted]),
            domain=torch.tensor([self.number[direction.source] for direction, _, _ in rows]),
            translations=translations,
            wanted=tuple(wanted),
            written=written if any(written) else (),
        )

    def _source(self, pieces: Sequence[int], source: str, target: str) -> list[int]:
        return encoder_input(pieces, source, target, self.subwords, self.language_token)


def directions_of(
    corpora: Sequence[Mapping[str, Sequence[Sequence[int]]]], wanted: Sequence[str] | None = None
) -> list[Direction]:
    """The directions of aligned corpora, those of one name joined; `wanted` names (`de-en`) choose among them."""
    rows: dict[tuple[str, str], tuple[list[Sequence[int]], list[Sequence[int]]]] = {}
    for corpus in corpora:
        for source in corpus:
            for target in corpus:
                if source != target and (wanted is None or f"{source}-{target}" in wanted):
                    sides = rows.setdefault((source, target), ([], []))
                    sides[0].extend(corpus[source])
                    sides[1].extend(corpus[target])
    return [Direction(*names, *sides) for names, sides in rows.items()]


def denoising_directions(corpora: Sequence[Mapping[str, Sequence[Sequence[int]]]]) -> list[Direction]:
    """Every language of the corpora to itself, its sentences as they are: noise is added when they are loaded."""
    rows: dict[str, list[Sequence[int]]] = {}
    for corpus in corpora:
        for language, sentences in corpus.items():
            rows.setdefault(language, []).extend(sentences)
    return [Direction(language, language, sentences, sentences, "restore") for language, sentences in rows.items()]


def back_directions(
    corpora: Sequence[Mapping[str, Sequence[Sequence[int]]]], wanted: Sequence[str], through: str | None = None
) -> list[Direction]:
    """Each of `wanted` (`de-fr`) with all sentences of its target language, whose sources the model writes itself.

    Args:
        corpora: aligned, or of one language.
        wanted: names of directions.
        through: write the source from the sentence in this language instead of the target's; corpora without it are
            left out then.
    """
    found = []
    for source, target in (name.split("-") for name in wanted):
        given = through or target
        held = [corpus for corpus in corpora if target in corpus and given in corpus]
        sources = [row for corpus in held for row in corpus[given]]
        targets = [row for corpus in held for row in corpus[target]]
        found.append(Direction(source, target, sources, targets, "back-translate", given))
    return found
