"""A finished translation model: its folder, and lines of text through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from speechnlp_tl.atomic import atomic_directory, write_text
from speechnlp_tl.core.batching import batches_by_cost
from speechnlp_tl.core.checkpoint import load_module, module_tensors
from speechnlp_tl.core.config import StrictModel, dump_config, load_config
from speechnlp_tl.core.evaluation_mode import evaluating
from speechnlp_tl.core.progress import shown
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.transfer.tensor_files import read_tensors, write_tensors
from speechnlp_tl.translation.inputs import decoder_start, encoder_input, padded
from speechnlp_tl.translation.pretrained import FOLDER as PRETRAINED
from speechnlp_tl.translation.pretrained import (
    PretrainedConfig,
    PretrainedTranslator,
    PretrainedVocabulary,
    Shape,
    load_translator,
)
from speechnlp_tl.translation.search import beam_search
from speechnlp_tl.translation.subwords import FILE, PAD, Subwords, Vocabulary, file_name
from speechnlp_tl.translation.transformer import TranslationTransformer
from speechnlp_tl.translation.translator import Translator

CONFIG, WEIGHTS, CARD = "config.yaml", "model.safetensors", "README.md"
COPY_AGAIN = "copy the whole model folder again"
USUAL_LENGTH = 128


class SearchConfig(StrictModel):
    """How translations are searched for."""

    beam: PositiveInt = 4
    """1 is greedy search."""
    length_penalty: float = Field(1.0, ge=0)
    batch_tokens: PositiveInt = 4000
    """Padded source pieces, times the beam, of what is translated together."""


class TranslationModelConfig(StrictModel):
    """config.yaml of a model folder."""

    kind: Literal["translation"] = "translation"
    languages: list[str] = Field(min_length=1)
    model: Shape
    max_length: PositiveInt = USUAL_LENGTH
    """Most pieces of a sentence."""
    trained: list[str] = Field(default_factory=list)
    """Directions with training sentences, `de-en`; every other pair of languages is zero-shot."""
    sentencepiece_sha256: list[str]
    """Of each sentencepiece model, in the order of their pieces; of the vocabulary of a pretrained model."""


@dataclass(frozen=True)
class Translations:
    """Lines and what was done to them."""

    lines: list[str]
    cut: dict[int, int]
    """Number of a line, from 1, -> how many pieces it had, for lines that were too long and were cut."""


@dataclass
class TranslationModel:
    """What it takes to turn lines of one language into lines of another."""

    config: TranslationModelConfig
    subwords: Vocabulary
    transformer: Translator

    def check_languages(self, source: str | None, target: str) -> None:
        """Raise InputError for languages that the model does not know; names those that it does."""
        unknown = [(name, side) for name, side in ((source, "source"), (target, "target"))
                   if name is not None and name not in self.config.languages]  # fmt: skip
        known = f"it knows {', '.join(self.config.languages)}"
        if unknown:
            raise InputError([Problem(f"the model has no {side} language '{name}'", remedy=known)
                              for name, side in unknown])  # fmt: skip

    def translate(
        self,
        lines: Sequence[str],
        target: str,
        search: SearchConfig | None = None,
        source: str | None = None,
        show: bool = False,
    ) -> Translations:
        """One line for each line. A line without text stays empty; one that is too long is cut at the model's limit.

        Args:
            lines: one sentence each.
            target: language wanted.
            source: language of the lines. Checked, and needed where languages have subwords of their own; otherwise the
                model finds out by itself.
            show: progress, on a terminal.

        Raises:
            InputError: a language that the model does not know, or no source where one is needed.
        """
        self.check_languages(source, target)
        search = search or SearchConfig()
        encoded = self.subwords.encode([" ".join(line.split()) for line in lines], source)
        limit = self.config.max_length
        cut = {number: len(pieces) for number, pieces in enumerate(encoded, 1) if len(pieces) > limit}
        where = self.transformer.language_token
        inputs = [encoder_input(pieces[:limit], source, target, self.subwords, where) for pieces in encoded]
        start = decoder_start(target, self.subwords, where)
        device = next(self.transformer.parameters()).device
        filled = [number for number, pieces in enumerate(encoded) if pieces]
        found: list[Sequence[int]] = [()] * len(lines)
        costs = [len(inputs[number]) for number in filled]
        silent = self.subwords.silent(target)
        batches = batches_by_cost(costs, max(search.batch_tokens // search.beam, 1), 0, 0, shuffle=False)
        for batch in shown(batches, f"to {target}", show):
            numbers = [filled[place] for place in batch]
            rows = padded([inputs[number] for number in numbers]).to(device)
            limits = [min(2 * n + 10, limit + 1) for n in (rows != PAD).sum(1).tolist()]
            hypotheses = beam_search(
                self.transformer, rows, start, self.subwords.languages.index(target), search.beam,
                search.length_penalty, limits, silent,
            )  # fmt: skip
            for number, hypothesis in zip(numbers, hypotheses, strict=True):
                found[number] = hypothesis.pieces
        return Translations(self.subwords.decode(found), cut)

    def encode(
        self, lines: Sequence[str], target: str, source: str | None = None, batch_tokens: int = 4000
    ) -> NDArray[np.float32]:
        """(n, width) the encoder's states of each line, averaged over its pieces; zero where a line has none.

        Args:
            lines: one sentence each; one that is too long is cut at the model's limit.
            target: language that they are to be translated into, which the encoder may be told.
            source: of the lines, as `translate` takes it.

        Raises:
            InputError: a language that the model does not know, or no source where one is needed.
        """
        self.check_languages(source, target)
        where = self.transformer.language_token
        pieces = self.subwords.encode([" ".join(line.split()) for line in lines], source)
        encoded = [row[: self.config.max_length] for row in pieces]
        filled = [number for number, pieces in enumerate(encoded) if pieces]
        made = np.zeros((len(lines), self.transformer.width), dtype=np.float32)
        device = next(self.transformer.parameters()).device
        with torch.no_grad(), evaluating(self.transformer):
            for batch in batches_by_cost([len(encoded[n]) for n in filled], batch_tokens, 0, 0, shuffle=False):
                numbers = [filled[place] for place in batch]
                inputs = [encoder_input(encoded[n], source, target, self.subwords, where) for n in numbers]
                rows = padded(inputs).to(device)
                pooled = self.transformer.pool(self.transformer.encode(rows), rows)
                made[numbers] = pooled.float().cpu().numpy()
        return made

    def pivot(
        self,
        lines: Sequence[str],
        via: str,
        target: str,
        search: SearchConfig | None = None,
        source: str | None = None,
        show: bool = False,
    ) -> Translations:
        """Lines to `via`, and what comes out to `target`: the baseline of every direction without training data.

        Raises:
            InputError: a language that the model does not know, or no source where one is needed.
        """
        self.check_languages(source, target)
        first = self.translate(lines, via, search, source, show)
        second = self.translate(first.lines, target, search, via, show)
        return Translations(second.lines, dict(sorted((second.cut | first.cut).items())))

    def save(self, directory: Path, about: str = "") -> None:
        """Write a model folder, whole or not at all. `about` goes into the model card.

        Raises:
            InputError: something else is in the place, or it cannot be written.
        """
        with atomic_directory(directory) as folder:
            if isinstance(self.subwords, Subwords):
                self.subwords.save(folder)
                write_tensors(folder / WEIGHTS, module_tensors(self.transformer))
            elif isinstance(self.subwords, PretrainedVocabulary):
                self.subwords.save_with(cast(PretrainedTranslator, self.transformer), folder)
            write_text(folder / CONFIG, dump_config(self.config))
            write_text(folder / CARD, self._card(about))

    def _card(self, about: str) -> str:
        count = sum(parameter.numel() for parameter in self.transformer.parameters())
        shape = self.config.model
        if isinstance(shape, PretrainedConfig):
            kind = f"fine-tuned from {shape.name}"
        else:
            kind = f"a Transformer, {shape.encoder_layers} + {shape.decoder_layers} layers of {shape.width}"
        return (
            "# Translation model\n\n"
            f"Written by speechnlp_tl: {kind}, {count / 1e6:.2f} M parameters, {len(self.subwords)} "
            f"{'joint ' if self.subwords.joint else ''}subwords. Languages: {', '.join(self.config.languages)}. "
            f"Trained directions: {', '.join(self.config.trained)}; every other pair is "
            + ("as it was before.\n\n" if isinstance(shape, PretrainedConfig) else "zero-shot.\n\n")
            + (f"{about}\n\n" if about else "")
            + f"    speechnlp-tl translate --model THIS_FOLDER --from {self.config.languages[0]} "
            f"--to {self.config.languages[-1]} < in > out\n"
        )


def load_translation_model(directory: str | Path) -> TranslationModel:
    """Read a model folder, or an experiment folder that holds one in `model/`, or take a pretrained model as it is.

    Args:
        directory: the folder, or a YAML file with what stands under `model` where a pretrained model is trained on.

    Raises:
        InputError: files are missing or damaged, or do not belong together.
    """
    folder = Path(directory)
    if folder.is_file():
        return _untrained(load_config(folder, PretrainedConfig))
    if (folder / "model" / CONFIG).is_file():
        folder = folder / "model"
    pretrained = (folder / PRETRAINED).is_dir()
    saved = (folder / CONFIG).is_file() and not (folder / WEIGHTS).is_file() and not pretrained
    if saved and isinstance(load_config(folder / CONFIG, TranslationModelConfig).model, PretrainedConfig):
        raise InputError(Problem(f"has no {PRETRAINED}/, which holds the model", folder, remedy=COPY_AGAIN))
    needed = (CONFIG,) if pretrained else (CONFIG, WEIGHTS, FILE)
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        remedy = "name a folder that 'speechnlp-tl train' wrote from a config with 'task: translation'"
        what = "so it is no translation model"
        raise InputError([Problem(f"has no {name}, {what}", folder, remedy=remedy) for name in missing])
    config = load_config(folder / CONFIG, TranslationModelConfig)
    if isinstance(config.model, PretrainedConfig):
        vocabulary, translator = load_translator(config.model, folder)
        if vocabulary.sha256 != config.sentencepiece_sha256:
            what = "is not the tokenizer that the model was trained with"
            raise InputError(Problem(what, folder / PRETRAINED, remedy=COPY_AGAIN))
        translator.eval()
        return TranslationModel(config, vocabulary, translator)
    subwords = Subwords.load(folder)
    if subwords.sha256 != config.sentencepiece_sha256 or list(subwords.languages) != config.languages:
        pairs = zip_longest(subwords.sha256, config.sentencepiece_sha256)
        wrong = [number for number, (found, wanted) in enumerate(pairs) if found != wanted]
        what = "is not the sentencepiece model that the model was trained with"
        raise InputError([Problem(what, folder / file_name(n), remedy=COPY_AGAIN) for n in wrong or [0]])
    transformer = TranslationTransformer(config.model, len(subwords), len(subwords.languages))
    load_module(transformer, read_tensors(folder / WEIGHTS), folder / WEIGHTS)
    transformer.eval()
    return TranslationModel(config, subwords, transformer)


def _untrained(config: PretrainedConfig) -> TranslationModel:
    """A pretrained model that nothing was added to."""
    vocabulary, translator = load_translator(config)
    translator.eval()
    parts = TranslationModelConfig(
        languages=list(config.languages),
        model=config,
        max_length=min(USUAL_LENGTH, translator.longest or USUAL_LENGTH),
        sentencepiece_sha256=vocabulary.sha256,
    )
    return TranslationModel(parts, vocabulary, translator)
