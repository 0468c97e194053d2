"""Adapt a recogniser to a little speech: method names in, an adapted model or an adapter out.

A method is what is trained, joined by `+` to what holds it back; `adaptation_method` has the names. So `kld` is
fine-tuning with KLD, `layers+kld` and `lora+l2sp+kld` are what they say. `auto` is the default that needs no tuning:
`kld`, whose strength follows the amount of speech. `adabn`, `dann`, `mmd`, `mkmmd` and `coral` look at audio alone.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from speechnlp_tl.core.config import StrictModel, TrainConfig
from speechnlp_tl.core.task import Term
from speechnlp_tl.core.trainer import Trainer, TrainResult
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.acoustic_model import AcousticModel
from speechnlp_tl.speech.adaptation_method import ADAPTERS, AUTO, Method, parse_method
from speechnlp_tl.speech.asr_task import AsrTask
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.domain_adaptation import DomainConfig, adapt_statistics, domain_terms
from speechnlp_tl.speech.domain_task import DomainAsrTask
from speechnlp_tl.speech.features import AugmentConfig
from speechnlp_tl.speech.lexicon import Pronunciation
from speechnlp_tl.speech.pronunciation import complete
from speechnlp_tl.speech.recogniser import Recogniser
from speechnlp_tl.transfer.adapters import Adapter, attach
from speechnlp_tl.transfer.batch_statistics import hold_statistics, release_statistics
from speechnlp_tl.transfer.conservative import EWC, KLD, L2SP
from speechnlp_tl.transfer.layer_plans import LayerPlan, Phase, apply_plan, enter_phase
from speechnlp_tl.transfer.layers import TransferReport

RATES = {"sgd": 3e-2, "adamw": 5e-4, "lhuc": 2e-2, "lin": 2e-3, "lora": 2e-3}
"""Learning rates by optimiser where weights of the source are trained, and of the adapters."""
DOMAIN_RATE, DOMAIN_STEPS = 1e-4, 60
"""Of methods that learn from audio alone, where weights of the source are trained."""

WARPED = AugmentConfig(warps=[0.8, 0.9, 1.0, 1.1, 1.2])
MASKED = AugmentConfig(
    speeds=[0.9, 1.0, 1.1], warps=[0.9, 0.95, 1.0, 1.05, 1.1], time_masks=1, time_mask_frames=10, frequency_masks=1
)
"""Perturbations: of a little transcribed speech; and where source speech is trained on once more, of both."""


class LayersConfig(StrictModel):
    """Method `layers`: which layers come from the source and stay as they are."""

    copy_: str = Field("last:3", alias="copy", description="first:n, last:n, all, or names: copied and frozen")
    rest: Literal["copied", "fresh"] = Field("copied", description="how the other layers start")
    freeze: bool = Field(True, description="false trains the copied layers as well: AnB+ of Yosinski et al. 2014")
    then_finetune_all: bool = False

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    @model_validator(mode="after")
    def _fits(self) -> LayersConfig:
        if self.then_finetune_all and not self.freeze:
            raise ValueError("without 'freeze' all layers are trained from the start: leave 'then_finetune_all' out")
        return self


class AdaptConfig(StrictModel):
    """How to adapt. What is None has a default that depends on the method and on the seconds of speech."""

    method: str = "auto"
    steps: PositiveInt | None = None
    learning_rate: PositiveFloat | None = None
    optimizer: Literal["adamw", "sgd"] | None = None
    kld: float | None = Field(None, ge=0, le=1, description="rho: share of the source's posteriors in the targets")
    l2sp: float | None = Field(None, ge=0)
    ewc: float | None = Field(None, ge=0)
    layers: LayersConfig = LayersConfig()
    domain: DomainConfig = DomainConfig()
    lora_rank: PositiveInt = 4
    unsupervised: bool = Field(False, description="learn from the model's own hypotheses instead of transcripts")
    confidence: float = Field(0.5, ge=0, le=1, description="least confidence of a hypothesis to learn from")
    augment: AugmentConfig | None = None
    batch_seconds: PositiveFloat = 15.0
    seed: int = Field(0, ge=0)

    @property
    def method_parts(self) -> list[str]:
        return self.method.split("+")


@dataclass
class Adapted:
    """A recogniser after adaptation."""

    recogniser: Recogniser
    method: Method
    settings: AdaptConfig
    """With every default filled in."""
    utterances: int
    seconds: float
    adapter: Adapter | None = None
    report: TransferReport | None = None
    result: TrainResult | None = None
    left_out: list[str] = field(default_factory=list)
    """Utterances of unsupervised adaptation whose hypotheses were not trusted."""
    guessed: dict[str, Pronunciation] = field(default_factory=dict)
    """Words that the lexicon lacks, as espeak-ng says them. Learned from, but not recognised."""


def fill_defaults(config: AdaptConfig, seconds: float) -> AdaptConfig:
    """Choose what the user left open from the amount of speech; `auto` becomes the name of a method."""
    if config.method == "auto":
        config = config.model_copy(update={"method": AUTO})
    method = parse_method(config.method)
    anew = _starts_anew(method, config.layers)
    # SGD moves a weight as far as its gradient says, AdamW as far as the rate says, needed or not. Where every weight
    # was good before, the first forgets less for the same gain; adapters and fresh layers have their way to go.
    optimizer = config.optimizer or ("adamw" if anew or method.domain else "sgd")
    rate = RATES[method.trained if method.trained in ADAPTERS else optimizer]
    steps = round(20 + 10 * math.sqrt(seconds))
    if method.domain:
        # the source speech beside the target says nothing new: gently, whatever the amount
        rate, steps = (DOMAIN_RATE if optimizer == "adamw" and not anew else rate), DOMAIN_STEPS
    return config.model_copy(
        update={
            "steps": config.steps or steps,
            "learning_rate": config.learning_rate or rate,
            "optimizer": optimizer,
            "augment": config.augment or _augmentation(method),
            "domain": config.domain.filled(method.domain) if method.domain else config.domain,
            # 0.7 for a few seconds, 0.6 at half a minute, 0.4 at 70 seconds, 0.1 with plenty
            "kld": 0.1 + 0.6 / (1.0 + (seconds / 70.0) ** 2) if config.kld is None else config.kld,
            "l2sp": 20.0 / (1.0 + seconds / 2.0) if config.l2sp is None else config.l2sp,
            "ewc": 1e4 if config.ewc is None else config.ewc,
        }
    )


def _augmentation(method: Method) -> AugmentConfig:
    return MASKED if method.domain else WARPED


def _starts_anew(method: Method, layers: LayersConfig) -> bool:
    """Whether something is trained that was not good before: an adapter, or layers that start afresh."""
    return method.trained in ADAPTERS or (method.trained == "layers" and layers.rest == "fresh")


def adapt(
    recogniser: Recogniser,
    utterances: Sequence[Utterance],
    config: AdaptConfig,
    fisher: Mapping[str, Tensor] | None = None,
    allow_pipes: bool = False,
    directory: Path | None = None,
    source_speech: Sequence[Utterance] = (),
) -> Adapted:
    """Adapt a copy of `recogniser`; the given one is left untouched.

    Args:
        recogniser: the source.
        utterances: the adaptation speech, transcribed unless `config.unsupervised` or the method needs audio alone,
            which then never looks at transcripts.
        fisher: the source task's Fisher information, for `ewc`.
        allow_pipes: run commands that stand in wav.scp.
        directory: shows progress, records the course there and resumes what was begun there; None does nothing of
            that, for sweeps. A method of two phases has a folder for each.
        source_speech: transcribed speech such as the source was trained on, for the methods that compare.

    Raises:
        InputError: unknown method, unusable utterances, `ewc` without Fisher information, a comparing method without
            source speech, or unsupervised adaptation without one trusted hypothesis.
    """
    if not parse_method(config.method).needs_transcripts:
        return _adapt_to_audio(recogniser, utterances, config, allow_pipes, directory, source_speech)
    left_out: list[str] = []
    if config.unsupervised:
        utterances, left_out = own_transcripts(recogniser, utterances, config.confidence, allow_pipes)
    adapted = recogniser.with_model(copy.deepcopy(recogniser.model))
    features = recogniser.config.features
    augment = config.augment or _augmentation(parse_method(config.method))
    dataset = SpeechDataset(utterances, features, augment, config.seed, allow_pipes=allow_pipes)
    seconds = sum(dataset.frames) / 100.0
    config = fill_defaults(config, seconds)
    method = parse_method(config.method)
    adapter, report, phases = _prepare(method, config, recogniser.model, adapted.model)
    _keep_prior(recogniser.model, adapted.model)
    speaking, guessed = _pronouncing(adapted, utterances)
    task = AsrTask(speaking, utterances, (), augment, config.batch_seconds, config.seed, dataset, keep_prior=True)
    terms = _terms(method, config, adapted.model, recogniser.model, report, fisher)
    result = _train(task, config, phases, terms, recogniser, report, directory)
    return Adapted(adapted, method, config, len(utterances), seconds, adapter, report, result, left_out, guessed)


def _adapt_to_audio(
    recogniser: Recogniser,
    utterances: Sequence[Utterance],
    config: AdaptConfig,
    allow_pipes: bool,
    directory: Path | None,
    source_speech: Sequence[Utterance],
) -> Adapted:
    """`adapt` by a method that needs no transcripts."""
    method = parse_method(config.method)
    if config.unsupervised:
        remedy = "leave unsupervised out, or leave the method out"
        raise InputError(Problem(f"{method.name} learns from audio alone, not from hypotheses", remedy=remedy))
    utterances = [replace(utterance, text=None) for utterance in utterances]
    if method.domain is None:
        found, seconds = adapt_statistics(recogniser, utterances, config.domain.source_seconds, allow_pipes)
        return Adapted(found, method, fill_defaults(config, seconds), len(utterances), seconds)
    if not source_speech:
        raise InputError(Problem(f"{method.needs_source_speech}", remedy="name some with --source-data"))
    adapted = recogniser.with_model(copy.deepcopy(recogniser.model))
    augment, batch_seconds, seed = config.augment or _augmentation(method), config.batch_seconds, config.seed
    task = DomainAsrTask(adapted, source_speech, utterances, augment, batch_seconds, seed, allow_pipes)
    seconds = sum(task.target.frames) / 100.0
    config = fill_defaults(config, seconds)
    terms = domain_terms(method.domain, config.domain, adapted.model, seed)
    adapter, report, phases = _prepare(method, config, recogniser.model, adapted.model)
    _keep_prior(recogniser.model, adapted.model)
    terms += _terms(method, config, adapted.model, recogniser.model, report, None)
    result = _train(task, config, phases, terms, recogniser, report, directory)
    if method.statistics:
        adapted, _ = adapt_statistics(adapted, utterances, config.domain.source_seconds, allow_pipes)
    return Adapted(adapted, method, config, len(utterances), seconds, adapter, report, result)


def _train(
    task: AsrTask,
    config: AdaptConfig,
    phases: Sequence[Phase],
    terms: Sequence[Term],
    source: Recogniser,
    report: TransferReport | None,
    directory: Path | None,
) -> TrainResult | None:
    """Run the phases on the task's model, which is in eval mode afterwards."""
    # a few utterances say too little about means and variances: the source's statistics stay
    held = hold_statistics(task.model, _copied_norms(task.model, report))
    result = None
    place_of_source = next(source.model.parameters()).device
    for number, phase in enumerate(phases):
        enter_phase(task.model, phase)
        settings = _train_config(config, number, len(phases))
        place = directory / f"phase{number + 1}" if directory and len(phases) > 1 else directory
        result = Trainer(task, settings, place, terms, source.model).fit()
    source.model.to(place_of_source)  # the trainer needed it where the adapted model is
    release_statistics(task.model, held)
    task.model.requires_grad_(True).eval()
    return result


def _pronouncing(
    recogniser: Recogniser, utterances: Sequence[Utterance]
) -> tuple[Recogniser, dict[str, Pronunciation]]:
    """The recogniser with espeak-ng's pronunciations of words that its lexicon lacks, to learn from; and which.

    Only where the model names its language; elsewhere, and where espeak-ng cannot help, the task lists the words.
    """
    missing = recogniser.lexicon.missing({word for utterance in utterances for word in utterance.words})
    if not missing or recogniser.config.language is None:
        return recogniser, {}
    config, lexicon = recogniser.config, recogniser.lexicon
    found = complete(lexicon, [*lexicon.words, *missing], config.language, allowed_phones=config.phones)
    return replace(recogniser, lexicon=found.lexicon), found.guessed


@torch.no_grad()
def _keep_prior(source: AcousticModel, model: AcousticModel) -> None:
    """How often each state is spoken is the language's business, also when the layer that says so starts afresh."""
    model.head().prior.copy_(source.head().prior)


def _copied_norms(model: nn.Module, report: TransferReport | None) -> list[str]:
    """Batch normalisations with the source's statistics: all but those of layers that start afresh."""
    fresh = set(report.names("fresh")) if report else set()
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm1d) and f"{name}.running_mean" not in fresh
    ]


def own_transcripts(
    recogniser: Recogniser, utterances: Sequence[Utterance], confidence: float, allow_pipes: bool = False
) -> tuple[list[Utterance], list[str]]:
    """The utterances with the recogniser's own hypotheses as transcripts, and the ids of those it does not trust."""
    hypotheses = recogniser.transcribe(utterances, allow_pipes, confidence=True)
    trusted, left_out = [], []
    for utterance in utterances:
        hypothesis = hypotheses[utterance.id]
        if hypothesis.confidence >= confidence and hypothesis.words:
            trusted.append(replace(utterance, text=" ".join(hypothesis.words)))
        else:
            left_out.append(utterance.id)
    if not trusted:
        best = max((hypothesis.confidence for hypothesis in hypotheses.values()), default=0.0)
        remedy = "lower the confidence, or give transcripts"
        raise InputError(
            Problem(f"no hypothesis has a confidence of {confidence:.2f}; the best has {best:.2f}", remedy=remedy)
        )
    return trusted, left_out


def _prepare(
    method: Method, config: AdaptConfig, source: nn.Module, model: nn.Module
) -> tuple[Adapter | None, TransferReport | None, list[Phase]]:
    """Freeze, re-initialise or extend the copy as the method wants."""
    if method.trained in ADAPTERS:
        options = {"rank": config.lora_rank, "seed": config.seed} if method.trained == "lora" else {}
        adapter = attach(model, method.trained, **options)
        base = tuple(name for name, parameter in model.named_parameters() if not parameter.requires_grad)
        return adapter, None, [Phase("train the adapter", base)]
    if method.trained == "layers":
        layers = config.layers
        plan = LayerPlan(
            copy="all" if layers.rest == "copied" else layers.copy_,
            freeze=layers.copy_ if layers.freeze else "none",
            reinitialise="none" if layers.rest == "copied" else "rest",
            then_finetune_all=layers.then_finetune_all,
        )
    else:
        plan = LayerPlan()
    report, phases = apply_plan(plan, source, model, config.seed)
    return None, report, phases


def _terms(
    method: Method,
    config: AdaptConfig,
    model: nn.Module,
    source: nn.Module,
    report: TransferReport | None,
    fisher: Mapping[str, Tensor] | None,
) -> list[Term]:
    terms: list[Term] = []
    # an adapter's starting point is the adapter that changes nothing: the source has no such parameters
    start = model.state_dict() if report is None else report.copied_from(source)
    assert config.kld is not None
    assert config.l2sp is not None
    assert config.ewc is not None
    if "kld" in method.held_back:
        terms.append(KLD(config.kld))
    if "l2sp" in method.held_back:
        terms.append(L2SP(model, start, config.l2sp))
    if "ewc" in method.held_back:
        if fisher is None:
            remedy = "name source speech with --source-data"
            raise InputError(Problem("ewc needs the source's Fisher information", remedy=remedy))
        terms.append(EWC(model, fisher, start, config.ewc))
    return terms


def _train_config(config: AdaptConfig, phase: int, phases: int) -> TrainConfig:
    """The steps are shared between the phases; each phase has random numbers of its own."""
    assert config.steps is not None
    assert config.learning_rate is not None
    assert config.optimizer is not None
    domain = parse_method(config.method).domain
    return TrainConfig(
        seed=config.seed + phase,
        steps=max(1, (config.steps + phases - 1 - phase) // phases),
        learning_rate=config.learning_rate,
        optimizer=config.optimizer,
        # in a game of two, momentum goes round in circles
        betas=(0.0, 0.99) if domain == "dann" else (0.9, 0.999),
        momentum=0.0 if domain == "dann" else 0.9,
        weight_decay=0.0,
        schedule="cosine",
        warmup=0.1,
        clip_norm=1.0 if config.optimizer == "sgd" else 5.0,
        evaluate_every=None,
        # source speech is trained on once more beside the target: the average stays near what was good already
        average=0.95 if domain else None,
        checkpoint_minutes=1.0,
        log_every=10,
        tensorboard=False,
    )
