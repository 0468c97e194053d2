"""What training starts from: nothing, or a model that gets new languages and is held to what it was."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.core.task import Term
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.transfer.conservative import EWC, KLD, L2SP
from speechnlp_tl.transfer.fisher import estimate_fisher
from speechnlp_tl.transfer.layer_plans import LayerPlan, apply_plan
from speechnlp_tl.translation.parallel_text import ParallelText, read_parallel
from speechnlp_tl.translation.pretrained import FOLDER as PRETRAINED
from speechnlp_tl.translation.pretrained import PretrainedConfig, load_translator
from speechnlp_tl.translation.subwords import SubwordConfig, Subwords, Vocabulary
from speechnlp_tl.translation.task import TranslationTask, directions_of
from speechnlp_tl.translation.transformer import TransformerConfig, TranslationTransformer
from speechnlp_tl.translation.translation_model import load_translation_model
from speechnlp_tl.translation.translator import Translator


class InitialConfig(StrictModel):
    """A translation model to start from, and how much of it stays. Languages that it lacks are added to it."""

    model: str
    """Folder of a model or an experiment."""
    layers: str = "all"
    """Those that are copied, others begin anew: all, none, first:N, last:N, or names (embedding, encoder.1, ...)."""
    frozen: str = "none"
    """Those, among the copied ones, that are not trained."""
    kld: float | None = Field(None, ge=0, le=1)
    """rho: share of the initial model's posteriors in the targets, on the text that is trained on (Yu et al. 2013)."""
    l2sp: NonNegativeFloat | None = None
    """Weight of the squared distance from the initial parameters (Li et al. 2018)."""
    ewc: NonNegativeFloat | None = None
    """Weight of that distance by Fisher information (Kirkpatrick et al. 2017), which is measured on `ewc_text`."""
    ewc_text: list[dict[str, str]] = Field(default_factory=list)
    """Corpora of the languages that are not to be forgotten, as under `data.train`."""
    ewc_rows: PositiveInt = 500

    @model_validator(mode="after")
    def _fits(self) -> InitialConfig:
        if (self.ewc is None) == bool(self.ewc_text):
            raise ValueError("'ewc' needs 'ewc_text', text of what is not to be forgotten, and it is for nothing else")
        return self


@dataclass
class Start:
    """What a training begins with."""

    subwords: Vocabulary
    transformer: Translator
    source: TranslationTransformer | None = None
    """The initial model with the new languages, frozen: what is stayed close to."""
    trained: tuple[str, ...] = ()
    """Directions that it was trained in."""
    digest: str = ""
    """Of the initial model and of the text for EWC."""


def from_nothing(
    text: Mapping[str, Sequence[str]], subwords: SubwordConfig, shape: TransformerConfig, seed: int
) -> Start:
    """New subwords and a random model."""
    made = Subwords.train(text, subwords)
    return Start(made, TranslationTransformer(shape, len(made), len(made.languages), seed))


def from_pretrained(shape: PretrainedConfig) -> Start:
    """A pretrained model as it is.

    Raises:
        InputError: as `load_translator`.
    """
    vocabulary, translator = load_translator(shape)
    digest = hashlib.sha256(vocabulary.sha256[0].encode())
    for tensor in translator.state_dict().values():
        digest.update(tensor.detach().cpu().numpy().tobytes())
    return Start(vocabulary, translator, digest=digest.hexdigest())


def from_model(
    config: InitialConfig, text: Mapping[str, Sequence[str]], subwords: SubwordConfig, shape: TransformerConfig,
    seed: int,
) -> Start:  # fmt: skip
    """The initial model, grown by the languages of `text` that it does not know.

    New languages get subwords of their own behind those that are there and random embeddings, so that before training
    the logits of all old pieces are what they were.

    Raises:
        InputError: no such model, another shape, unknown layers, or text that no subwords can be made of.
    """
    initial = load_translation_model(config.model)
    if not isinstance(initial.subwords, Subwords) or not isinstance(initial.transformer, TranslationTransformer):
        remedy = f"name its folder '{PRETRAINED}' under model.name"
        raise InputError(Problem("is a pretrained model, which 'initial' is not for", config.model, remedy=remedy))
    if shape != initial.config.model:
        what = "'model' is not that of the initial model; give the same, dropout included"
        raise InputError(Problem(what, config.model))
    new = {language: lines for language, lines in text.items() if language not in initial.subwords.languages}
    grown = initial.subwords.grown(new, subwords) if new else initial.subwords
    source = initial.transformer.grown(len(grown), len(grown.languages), seed)
    if config.layers == "all" and config.frozen == "none":
        transformer = copy.deepcopy(source)
    else:
        transformer = TranslationTransformer(shape, len(grown), len(grown.languages), seed)
        plan = LayerPlan(copy=config.layers, freeze=config.frozen, reinitialise="none", then_finetune_all=False)
        apply_plan(plan, source, transformer, seed)
    for parameter in source.parameters():
        parameter.requires_grad_(False)
    digest = _digest(initial.subwords, initial.transformer, config)
    return Start(grown, transformer, source, tuple(initial.config.trained), digest)


def conservative_terms(config: InitialConfig, start: Start, seed: int) -> list[Term]:
    """What holds the trained model to the initial one.

    Raises:
        InputError: text for EWC that cannot be read or is in other languages.
    """
    assert start.source is not None
    terms: list[Term] = []
    if config.kld is not None:
        terms.append(KLD(config.kld))
    if config.l2sp is not None:
        terms.append(L2SP(start.transformer, start.source, config.l2sp))
    if config.ewc is not None:
        terms.append(EWC(start.transformer, _fisher(config, start, seed), start.source, config.ewc))
    return terms


def _fisher(config: InitialConfig, start: Start, seed: int) -> dict[str, torch.Tensor]:
    corpora = [read_parallel(files) for files in config.ewc_text]
    unknown = sorted({name for text in corpora for name in text.languages} - set(start.subwords.languages))
    if unknown:
        remedy = f"it knows {', '.join(start.subwords.languages)}"
        raise InputError([Problem(f"'ewc_text' is in '{name}', which the model does not know", remedy=remedy)
                          for name in unknown])  # fmt: skip
    rows = directions_of([_encoded(text, start.subwords) for text in corpora])
    measured = copy.deepcopy(start.source)
    assert measured is not None
    for parameter in measured.parameters():
        parameter.requires_grad_(True)
    task = TranslationTask(measured, start.subwords, rows, seed=seed)
    order = torch.randperm(sum(map(len, rows)), generator=torch.Generator().manual_seed(seed)).tolist()
    batches = (task.load(order[first : first + 10], 0) for first in range(0, min(len(order), config.ewc_rows), 10))
    return estimate_fisher(task, measured, batches, seed=seed)


def _encoded(text: ParallelText, subwords: Vocabulary) -> dict[str, list[list[int]]]:
    return {language: subwords.encode(lines, language) for language, lines in text.sentences.items()}


def _digest(subwords: Subwords, transformer: Translator, config: InitialConfig) -> str:
    digest = hashlib.sha256(" ".join(subwords.sha256).encode())
    for tensor in transformer.state_dict().values():
        digest.update(tensor.detach().cpu().numpy().tobytes())
    for text in map(read_parallel, config.ewc_text):
        digest.update("\n".join(line for lines in text.sentences.values() for line in lines).encode())
    return digest.hexdigest()
