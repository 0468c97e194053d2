"""What training starts from: nothing, or a model that gets new languages and is held to what it was."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator
from torch import Tensor

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.core.task import Step, Term
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.transfer.conservative import EWC, KLD, L2SP
from speechnlp_tl.transfer.fisher import estimate_fisher
from speechnlp_tl.transfer.layer_plans import LayerPlan, apply_plan
from speechnlp_tl.transfer.layers import TransferReport
from speechnlp_tl.translation.parallel_text import ParallelText, read_parallel
from speechnlp_tl.translation.pretrained import FOLDER as PRETRAINED
from speechnlp_tl.translation.pretrained import PretrainedConfig, load_translator
from speechnlp_tl.translation.subwords import SubwordConfig, Subwords, Vocabulary
from speechnlp_tl.translation.task import ROW_LOSS, TranslationTask, directions_of
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
    """rho: share of the initial model's posteriors in the targets (Yu et al. 2013), in its own trained directions."""
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
    shape: TransformerConfig | PretrainedConfig
    initial: TranslationTransformer | None = None
    """The initial model as it was."""
    source: TranslationTransformer | None = None
    """The same with the new languages, frozen: what is stayed close to."""
    known: tuple[str, ...] = ()
    """Directions that it was trained in."""
    trained: tuple[str, ...] = ()
    """Those that the model still translates as training begins: all, or none where layers of it are missing."""
    report: TransferReport | None = None
    """Where some of its layers alone are copied, or frozen: what became of each tensor."""


def from_nothing(
    text: Mapping[str, Sequence[str]], subwords: SubwordConfig, shape: TransformerConfig | None, seed: int
) -> Start:
    """New subwords and a random model."""
    made, shape = Subwords.train(text, subwords), shape or TransformerConfig()
    return Start(made, TranslationTransformer(shape, len(made), len(made.languages), seed), shape)


def from_pretrained(shape: PretrainedConfig, max_length: int = 0) -> Start:
    """A pretrained model as it is.

    Args:
        max_length: pieces of the longest sentence.

    Raises:
        InputError: as `load_translator`, or it has no room for sentences of `max_length` pieces.
    """
    vocabulary, translator = load_translator(shape)
    most = translator.longest
    if most is not None and max_length > most:
        what = f"has room for sentences of {most} pieces, and data.max_length is {max_length}"
        raise InputError(Problem(what, shape.name, remedy=f"set data.max_length to at most {most}"))
    return Start(vocabulary, translator, shape)


def from_model(
    config: InitialConfig, text: Mapping[str, Sequence[str]], subwords: SubwordConfig, shape: TransformerConfig | None,
    seed: int, trained: Collection[str] = (),
) -> Start:  # fmt: skip
    """The initial model, grown by the languages of `text` that it does not know.

    New languages get subwords of their own behind those that are there and random embeddings, so that before training
    the logits of all old pieces are what they were.

    Args:
        shape: the initial model's, or None.
        trained: directions that will be trained on.

    Raises:
        InputError: no such model, another shape, unknown layers, text that no subwords can be made of, or KLD without a
            direction that the initial model knows.
    """
    model = load_translation_model(config.model)
    if not isinstance(model.subwords, Subwords) or not isinstance(model.transformer, TranslationTransformer):
        remedy = f"name its folder '{PRETRAINED}' under model.name"
        raise InputError(Problem("is a pretrained model, which 'initial' is not for", config.model, remedy=remedy))
    initial, known = model.transformer, model.subwords.languages
    if shape is not None and shape != initial.config:
        what = "'model' is not that of the initial model"
        raise InputError(Problem(what, config.model, remedy="leave 'model' out, or give the same, dropout included"))
    if config.kld is not None and not set(model.config.trained) & set(trained):
        remedy = f"add text of old directions to data.train ({', '.join(model.config.trained)}), or take l2sp or ewc"
        what = "'kld' has nothing to compare: the initial model was trained in no direction that is trained now"
        raise InputError(Problem(what, config.model, remedy=remedy))
    new = {language: lines for language, lines in text.items() if language not in known}
    grown = model.subwords.grown(new, subwords) if new else model.subwords
    source, report = initial.grown(len(grown), len(grown.languages), seed), None
    if config.layers == "all" and config.frozen == "none":
        transformer = copy.deepcopy(source)
    else:
        transformer = TranslationTransformer(initial.config, len(grown), len(grown.languages), seed)
        plan = LayerPlan(copy=config.layers, freeze=config.frozen, reinitialise="none", then_finetune_all=False)
        report, _ = apply_plan(plan, source, transformer, seed)
        _refuse_frozen_new(config, initial, transformer)
    for parameter in source.parameters():
        parameter.requires_grad_(False)
    # a model of which layers are missing translates nothing any more
    kept = tuple(model.config.trained) if config.layers == "all" else ()
    return Start(grown, transformer, initial.config, initial, source, tuple(model.config.trained), kept, report)


def _refuse_frozen_new(
    config: InitialConfig, initial: TranslationTransformer, transformer: TranslationTransformer
) -> None:
    """Raise InputError where what new languages have of their own is frozen and would stay random."""
    before = {name: tensor.shape for name, tensor in initial.named_parameters()}
    grown = {name for name, tensor in transformer.named_parameters() if before.get(name) != tensor.shape}
    random = sorted(name for name, each in transformer.named_parameters() if not each.requires_grad and name in grown)
    if random:
        what = f"'frozen: {config.frozen}' would leave what new languages have in {', '.join(random)} random"
        raise InputError(Problem(what, remedy="freeze no layer that grows with the languages"))


def starting_digest(config: InitialConfig | None, shape: TransformerConfig | PretrainedConfig | None) -> str:
    """Of what training starts from beside its own text: the initial or pretrained model, and the text for EWC.

    Raises:
        InputError: it cannot be read.
    """
    digest = hashlib.sha256()
    if isinstance(shape, PretrainedConfig):
        subwords, model = load_translator(shape)
        _add(digest, subwords, model)
    if config is not None:
        initial = load_translation_model(config.model)
        _add(digest, initial.subwords, initial.transformer)
        for text in map(read_parallel, config.ewc_text):
            digest.update("\n".join(line for lines in text.sentences.values() for line in lines).encode())
    return digest.hexdigest()


def _add(digest: Any, subwords: Vocabulary, model: Translator) -> None:
    digest.update(" ".join(subwords.sha256).encode())
    for tensor in model.state_dict().values():
        digest.update(tensor.detach().cpu().numpy().tobytes())


def conservative_terms(config: InitialConfig, start: Start, seed: int, max_length: int | None = None) -> list[Term]:
    """What holds the trained model to the initial one. What belongs to new languages is held to nothing.

    Args:
        max_length: rows of EWC's text with a side of more pieces are passed over, as in training; None takes all.

    Raises:
        InputError: text for EWC that cannot be read or is in other languages.
    """
    assert start.source is not None
    assert start.initial is not None
    terms: list[Term] = []
    shapes = {name: tensor.shape for name, tensor in start.source.state_dict().items()}
    if config.kld is not None:
        terms.append(KnownDirectionsKLD(config.kld, start.initial.embedding.num_embeddings, _known(start)))
    if config.l2sp is not None:
        # with Fisher information of one everywhere the two penalties are one
        ones = {name: torch.ones_like(weight) for name, weight in start.initial.named_parameters()}
        term = EWC(start.transformer, _with_zeros(ones, shapes), start.source, config.l2sp)
        term.name = L2SP.name
        terms.append(term)
    if config.ewc is not None:
        fisher = _with_zeros(_fisher(config, start, seed, max_length), shapes)
        terms.append(EWC(start.transformer, fisher, start.source, config.ewc))
    return terms


class KnownDirectionsKLD(KLD):
    """KLD where the initial model knows what it says: rows of its own directions, its own pieces (Yu et al. 2013).

    Only the targets of these rows are interpolated: in a direction that it was not trained in it answers in the wrong
    language, and it has restored no noisy sentence. The task's loss of all rows is multiplied with 1 - rho; what other
    rows lose by that is given back here.

    Args:
        rho: as for KLD.
        pieces: how many the initial model has.
        known: (languages, languages) bool, whether it was trained from one to the other. Rows say their languages in
            `domain` (source) and `labels` (target).
    """

    known: Tensor

    def __init__(self, rho: float, pieces: int, known: Tensor) -> None:
        super().__init__(rho)
        self.pieces = pieces
        self.register_buffer("known", known, persistent=False)

    def forward(self, step: Step, source: Step | None) -> Tensor:
        assert step.domain is not None
        assert step.labels is not None
        assert source is not None
        known = self.known[step.domain, step.labels]
        mask = step.mask & known.unsqueeze(1)
        unknown = step.features[ROW_LOSS][~known].sum()
        if not mask.any():
            return step.logits.sum() * 0.0 + unknown
        ours, theirs = (replace(each, logits=each.logits[..., : self.pieces], mask=mask) for each in (step, source))
        return super().forward(ours, theirs) + unknown


def _languages(start: Start) -> int:
    """How many the initial model has: those whose pieces it has."""
    assert start.initial is not None
    pieces = start.initial.embedding.num_embeddings
    return sum(token < pieces for token in start.subwords.tokens.values())


def _known(start: Start) -> Tensor:
    """(languages, languages) bool, whether the initial model was trained from one to the other."""
    number = {language: number for number, language in enumerate(start.subwords.languages)}
    found = torch.zeros(len(number), len(number), dtype=torch.bool)
    for name in start.known:
        source, target = name.split("-")
        found[number[source], number[target]] = True
    return found


def _with_zeros(values: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """The same in grown tensors; zero in what is new."""
    found = {}
    for name, value in values.items():
        found[name] = value.new_zeros(shapes[name])
        found[name][: len(value)] = value
    return found


def _fisher(config: InitialConfig, start: Start, seed: int, max_length: int | None) -> dict[str, Tensor]:
    corpora = [read_parallel(files) for files in config.ewc_text]
    known = start.subwords.languages[: _languages(start)]
    unknown = sorted({name for text in corpora for name in text.languages} - set(known))
    if unknown:
        remedy = f"it knows {', '.join(known)}"
        raise InputError([Problem(f"'ewc_text' is in '{name}', which the initial model does not know", remedy=remedy)
                          for name in unknown])  # fmt: skip
    rows = directions_of([_encoded(text, start.subwords, max_length) for text in corpora])
    assert start.initial is not None
    task = TranslationTask(start.initial, start.subwords, rows, seed=seed)
    order = torch.randperm(sum(map(len, rows)), generator=torch.Generator().manual_seed(seed)).tolist()
    order = order[: config.ewc_rows]
    batches = (task.load(order[first : first + 10], 0) for first in range(0, len(order), 10))
    return estimate_fisher(task, start.initial, batches, seed=seed)


def _encoded(text: ParallelText, subwords: Vocabulary, max_length: int | None) -> dict[str, list[list[int]]]:
    sides = {language: subwords.encode(lines, language) for language, lines in text.sentences.items()}
    kept = [
        n for n in range(len(text)) if max_length is None or all(len(side[n]) <= max_length for side in sides.values())
    ]
    return {language: [side[n] for n in kept] for language, side in sides.items()}
