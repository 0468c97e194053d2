"""Teach a multilingual recogniser one more language from minutes of speech.

The language gets a head of its own states, which begin as silence and the same phones of the old languages do; a
method says what becomes of the shared layers, joined by `+` to what
holds them to the old languages:

    new-language+frozen        stay as they are: the old languages' outputs are the same, bit by bit
    new-language               trained on as well, after the head (`new-language+finetune`)
    new-language+layers        some copied and frozen, the others trained on or started afresh
    new-language+progressive   stay as they are, beside a column of the new language's own (Rusu et al. 2016)
    ...+kld                    old heads keep their posteriors on the new speech (Li & Hoiem 2016)
    ...+ewc, ...+l2sp          parameters stay near (Kirkpatrick et al. 2017; Li et al. 2018)
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from speechnlp_tl.core.config import StrictModel, TrainConfig
from speechnlp_tl.core.task import Term
from speechnlp_tl.core.trainer import Trainer
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.acoustic_model import AcousticModel
from speechnlp_tl.speech.adaptation import LayersConfig
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.data_split import fisher_speech
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.experiment import TuneConfig, WordsConfig, tuned
from speechnlp_tl.speech.features import AugmentConfig
from speechnlp_tl.speech.language_choice import measure_scores
from speechnlp_tl.speech.multilingual import MultilingualRecogniser, Words
from speechnlp_tl.speech.multilingual_task import OLD_HEAD, MultilingualTask
from speechnlp_tl.speech.recogniser import DecodeConfig
from speechnlp_tl.transfer.batch_statistics import hold_statistics, release_statistics
from speechnlp_tl.transfer.conservative import EWC, KLD, L2SP
from speechnlp_tl.transfer.fisher import estimate_fisher, single_rows
from speechnlp_tl.transfer.layer_plans import Phase, enter_phase
from speechnlp_tl.transfer.layers import TransferReport, copy_layers, group_tensors, reinitialise, select_layers

NAME = "new-language"
SHARED = ("finetune", "frozen", "layers", "progressive")
HELD_BACK = ("kld", "ewc", "l2sp")
UNCHANGED = ("frozen", "progressive")
"""Methods that leave all of the old model as it is."""
ANNEAL = 0.2
"""Share of the steps, for a head that borrows nothing or reads fresh layers: it begins as flat as from scratch."""
Treatment = Literal["finetune", "frozen", "layers", "progressive"]
SEARCH = TuneConfig(lm_scales=[0.5, 1.0, 2.0, 4.0, 8.0], insertion_penalties=[0.0])
"""Search weights to try on dev speech: what was learned from a minute wants the language model to count more."""
WARPED = AugmentConfig(speeds=[0.9, 1.0, 1.1], warps=[0.9, 1.0, 1.1])


@dataclass(frozen=True)
class NewLanguageMethod:
    """A method's name, parted."""

    shared: Treatment = "finetune"
    held_back: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "+".join([NAME, *([] if self.shared == "finetune" else [self.shared]), *self.held_back])

    @property
    def needs_old_speech(self) -> bool:
        return "ewc" in self.held_back


class CopiedLayers(LayersConfig):
    """Method `layers`: the first ones, if nothing else is said; in `recipes/multilingual_asr` it made no difference."""

    copy_: str = Field("first:3", alias="copy", description="first:n, last:n, all, or names: copied and frozen")


class NewLanguageConfig(StrictModel):
    """How to learn a language. What is None has a default that depends on the method and on the seconds of speech."""

    method: str = NAME
    steps: PositiveInt | None = None
    learning_rate: PositiveFloat | None = None
    kld: float = Field(0.5, ge=0, le=1, description="rho: share of the old heads' posteriors in the targets")
    ewc: float = Field(300.0, ge=0)
    l2sp: float = Field(0.1, ge=0)
    layers: CopiedLayers = CopiedLayers()
    borrow: bool = Field(True, description="begin with states of the old languages; false: with random weights")
    lateral: PositiveInt = Field(32, description="width of the lateral connections of a progressive network")
    anneal: float | None = Field(None, ge=0, le=1, description="as in training; for a head of random weights 0.2")
    words: WordsConfig = WordsConfig()
    augment: AugmentConfig = WARPED
    batch_seconds: PositiveFloat = 15.0
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> NewLanguageConfig:
        try:
            method = parse_new_language(self.method)
        except InputError:
            return self  # told with its remedy where it is read
        used = {name: name in method.held_back for name in HELD_BACK}
        used |= {"layers": method.shared == "layers", "lateral": method.shared == "progressive"}
        used["borrow"] = method.shared != "progressive"
        idle = [name for name, own in used.items() if not own and getattr(self, name) != _default(name)]
        if idle:
            raise ValueError(f"method {method.name} has no use for {', '.join(idle)}")
        return self


def _default(name: str) -> object:
    return NewLanguageConfig.model_fields[name].default


@dataclass
class Learned:
    """A multilingual recogniser with one language more."""

    recognisers: MultilingualRecogniser
    language: str
    method: NewLanguageMethod
    settings: NewLanguageConfig
    """With every default filled in."""
    utterances: int
    seconds: float
    steps: int
    report: TransferReport
    trained: int
    """Parameters that were trained."""


def is_new_language(method: str | None) -> bool:
    """Whether a method's name is one of these."""
    return method is not None and method.split("+")[0] == NAME


def parse_new_language(name: str) -> NewLanguageMethod:
    """Read a method's name such as `new-language+frozen`.

    Raises:
        InputError: an unknown part (with the nearest known one), or parts that do not go together.
    """
    first, *parts = name.split("+")
    problems = []
    known = [*SHARED, *HELD_BACK]
    if first != NAME:
        problems.append(Problem(f"'{name}' is no method for a new language", remedy=f"it begins with {NAME}"))
    for part in parts:
        if part not in known:
            near = difflib.get_close_matches(part, known, n=1)
            remedy = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
            problems.append(Problem(f"there is no method '{part}' for a new language", remedy=remedy))
    shared = [part for part in dict.fromkeys(parts) if part in SHARED]
    if len(shared) > 1:
        problems.append(Problem(f"{' and '.join(shared)} cannot be combined", remedy="name one of them"))
    if len(set(parts)) < len(parts):
        problems.append(Problem(f"a part of '{name}' is named twice", remedy="name it once"))
    held_back = tuple(part for part in parts if part in HELD_BACK)
    if held_back and shared and shared[0] in UNCHANGED:
        what = f"{' and '.join(held_back)} hold back shared layers, which {shared[0]} never changes"
        problems.append(Problem(what, remedy=f"leave {shared[0]} or them out"))
    if problems:
        raise InputError(problems)
    return NewLanguageMethod(shared[0] if shared else "finetune", held_back)  # type: ignore[arg-type]


def usual_steps(seconds: float) -> int:
    """Optimiser steps for so much speech. Found on dev speech of English, Arabic and Mandarin with two or three
    seeds: from a minute 600 steps were no better than 306, from three 2000 no better than 1200, and from ten 3000
    little better than 2000, which made a quarter fewer errors than 708."""
    return round(min(2000, max(250, 6 * seconds)))


def fill_defaults(config: NewLanguageConfig, seconds: float) -> NewLanguageConfig:
    """Choose what the user left open from the amount of speech."""
    steps = config.steps or usual_steps(seconds)
    rate = config.learning_rate or (6e-3 if parse_new_language(config.method).shared == "frozen" else 2e-3)
    return config.model_copy(update={"steps": steps, "learning_rate": rate})


def learn_language(
    recognisers: MultilingualRecogniser,
    language: str,
    utterances: Sequence[Utterance],
    words: Words,
    config: NewLanguageConfig,
    fisher: Mapping[str, Tensor] | None = None,
    allow_pipes: bool = False,
    directory: Path | None = None,
    old_speech: Sequence[Utterance] = (),
    dev: Sequence[Utterance] = (),
) -> Learned:
    """A copy of the model that knows one more language; the given one is left untouched.

    Args:
        recognisers: the source.
        language: the new language's name.
        utterances: its transcribed speech, each marked as `language`.
        words: its lexicon and language model.
        fisher: the old languages' Fisher information, for `ewc`.
        allow_pipes: run commands that stand in wav.scp.
        directory: shows progress, records the course there and resumes what was begun there; None does nothing of that.
        old_speech: of the old languages, which languages' scores are measured on for `--lang auto`.
        dev: speech of the new language that it does not learn from: search weights are chosen on it, and its scores
            are measured on it. Without it the weights are those of `words`, and what was learned from is measured,
            which scores better than other speech.

    Raises:
        InputError: unknown method, a name that is taken, unusable utterances, or `ewc` without Fisher information.
    """
    method = parse_new_language(config.method)
    features = recognisers.config.features
    dataset = SpeechDataset(utterances, features, config.augment, config.seed, allow_pipes=allow_pipes)
    seconds = sum(dataset.frames) / 100.0
    config = fill_defaults(config, seconds)
    column = config.lateral if method.shared == "progressive" else None
    grown = recognisers.with_language(language, words, config.seed, column, config.borrow)
    old = [name for name in grown.model.heads if name != language]
    compared = old if "kld" in method.held_back else []
    task = MultilingualTask(
        grown, dataset, batch_seconds=config.batch_seconds, shared_weight=0.0, old_heads=compared, seed=config.seed
    )
    fresh = _fresh_layers(method, config.layers, grown.model)
    if config.anneal is None:
        readable = [own for own in recognisers.config.languages.values() if own.head not in recognisers.config.columns]
        flat = column is not None or bool(fresh) or not readable or not config.borrow
        config = config.model_copy(update={"anneal": ANNEAL if flat else 0.0})
    report, phases = _prepare(method, config, recognisers.model, grown.model, language, fresh)
    _refuse_idle(method, phases, grown.model, report)
    terms = _terms(method, config, report.copied_from(recognisers.model), grown.model, old, fisher)
    steps = _train(task, config, phases, terms, recognisers.model, report, directory)
    trained = sum(p.numel() for name, p in grown.model.named_parameters() if name not in phases[-1].frozen)
    if dev:
        spoken = SpeechDataset(dev, features, allow_pipes=allow_pipes)
        own, _ = tuned(grown.language(language), spoken, SEARCH)
        grown = grown.with_settings(language, own.config.decode, None)
    # where shared layers have changed, old languages are heard with others than their scores were measured with
    outdated = [language] if method.shared in UNCHANGED else [language, *recognisers.languages]
    measured = outdated if old_speech else [language]
    scores = measure_scores(grown, [*(dev or utterances), *old_speech], allow_pipes, measured)
    for name in outdated:
        grown = grown.with_settings(name, grown.config.languages[name].decode, scores.get(name))
    return Learned(grown, language, method, config, len(utterances), seconds, steps, report, trained)


def usual_search(recognisers: MultilingualRecogniser) -> DecodeConfig:
    """Search weights for a language without dev speech: the mean of those that other languages chose on theirs."""
    chosen = [own.decode for own in recognisers.config.languages.values()]
    scale, penalty = (
        sum(getattr(each, name) for each in chosen) / len(chosen) for name in ("lm_scale", "insertion_penalty")
    )
    return chosen[0].model_copy(update={"lm_scale": scale, "insertion_penalty": penalty})


def old_fisher(
    recognisers: MultilingualRecogniser, utterances: Sequence[Utterance], seed: int = 0, allow_pipes: bool = False
) -> dict[str, Tensor]:
    """Fisher information of the model on `fisher_speech` of its languages."""
    chosen = fisher_speech(utterances)
    dataset = SpeechDataset(chosen, recognisers.config.features, allow_pipes=allow_pipes)
    task = MultilingualTask(recognisers, dataset, shared_weight=0.0)
    return estimate_fisher(task, recognisers.model, single_rows(task, range(len(dataset))), seed=seed)


def _encoder_layers(model: AcousticModel) -> list[tuple[str, nn.Module]]:
    return [group for group in model.layer_groups() if group[0].startswith("layer")]


def _copied_layers(method: NewLanguageMethod, layers: LayersConfig, model: AcousticModel) -> list[str]:
    """Those that the method names; all of them where it names none."""
    encoder = _encoder_layers(model)
    return select_layers(encoder, layers.copy_) if method.shared == "layers" else [name for name, _ in encoder]


def _fresh_layers(method: NewLanguageMethod, layers: LayersConfig, model: AcousticModel) -> list[str]:
    """Those that are started afresh."""
    chosen = _copied_layers(method, layers, model)
    return [name for name, _ in _encoder_layers(model) if name not in chosen and layers.rest == "fresh"]


def _prepare(
    method: NewLanguageMethod,
    config: NewLanguageConfig,
    source: AcousticModel,
    model: AcousticModel,
    language: str,
    fresh: Sequence[str],
) -> tuple[TransferReport, list[Phase]]:
    """Re-initialise and freeze the grown copy as the method wants."""
    encoder, layers = _encoder_layers(model), config.layers
    names = [name for name, _ in encoder]
    chosen = _copied_layers(method, layers, model)
    for index, (name, module) in enumerate(encoder):
        if name in fresh:
            reinitialise(module, config.seed + index)
    if names[-1] in fresh:
        reinitialise(model.head(language), config.seed)  # what it borrowed reads a layer that is gone
    others = [name for name, _ in model.layer_groups() if not name.startswith("layer")]
    known = {name for name, _ in source.layer_groups()}
    report = copy_layers(source, model, [name for name in [*names, *others] if name not in fresh and name in known])
    own = (f"heads.{language}.", f"columns.{language}.")
    kept = [name for name in group_tensors(model, others) if not name.startswith(own)]
    fixed = [*group_tensors(model, chosen), *kept]
    if method.shared in UNCHANGED:
        phases = [Phase("train what is the new language's", tuple(fixed))]
    elif method.shared == "finetune":
        phases = [Phase("train the head", tuple(fixed)), Phase("train all", tuple(kept))]
    else:
        phases = [Phase("train the rest", tuple(fixed if layers.freeze else kept))]
        if layers.freeze and layers.then_finetune_all:
            phases.append(Phase("fine-tune all", tuple(kept)))
    return report.with_frozen(phases[0].frozen), phases


def _refuse_idle(
    method: NewLanguageMethod, phases: Sequence[Phase], model: AcousticModel, report: TransferReport
) -> None:
    """What holds back needs something to hold: a tensor of the source that some phase trains."""
    trained = {name for phase in phases for name, _ in model.named_parameters() if name not in phase.frozen}
    if method.held_back and not trained & set(report.names("copied")):
        what = f"{' and '.join(method.held_back)} hold back layers that were copied, which {method.name} only freezes"
        remedy = f"leave {' and '.join(method.held_back)} out, or copy fewer layers or set layers.freeze=false"
        raise InputError(Problem(what, remedy=remedy))


def _terms(
    method: NewLanguageMethod,
    config: NewLanguageConfig,
    source: Mapping[str, Tensor],
    model: AcousticModel,
    old: Sequence[str],
    fisher: Mapping[str, Tensor] | None,
) -> list[Term]:
    terms: list[Term] = []
    if "kld" in method.held_back:
        terms.append(KLD(config.kld, outputs=[f"{OLD_HEAD}{name}" for name in old]))
    if "l2sp" in method.held_back:
        terms.append(L2SP(model, source, config.l2sp))
    if "ewc" in method.held_back:
        if fisher is None:
            remedy = "name speech of the old languages with --source-data"
            raise InputError(Problem("ewc needs the old languages' Fisher information", remedy=remedy))
        terms.append(EWC(model, fisher, source, config.ewc))
    return terms


def _train(
    task: MultilingualTask,
    config: NewLanguageConfig,
    phases: Sequence[Phase],
    terms: Sequence[Term],
    source: AcousticModel,
    report: TransferReport,
    directory: Path | None,
) -> int:
    """Run the phases on the task's model, which is in eval mode afterwards. Returns the steps."""
    copied = set(report.names("copied"))
    norms = [
        name
        for name, module in task.model.named_modules()
        if isinstance(module, nn.BatchNorm1d) and f"{name}.running_mean" in copied
    ]
    held = hold_statistics(task.model, norms)  # minutes say little, and the old languages need theirs
    place_of_source = next(source.parameters()).device
    steps = 0
    for number, phase in enumerate(phases):
        enter_phase(task.model, phase)
        place = directory / f"phase{number + 1}" if directory and len(phases) > 1 else directory
        task.anneal = min(1.0, (config.anneal or 0.0) * len(phases)) if number == 0 else 0.0
        # no term has anything to hold while every old parameter is frozen
        active = terms if any(name not in phase.frozen for name, _ in source.named_parameters()) else []
        steps += Trainer(task, _train_config(config, number, len(phases)), place, active, source).fit().steps
    source.to(place_of_source)
    release_statistics(task.model, held)
    enter_phase(task.model, Phase("done", ()))
    task.model.eval()
    return steps


def _train_config(config: NewLanguageConfig, phase: int, phases: int) -> TrainConfig:
    """The steps are shared between the phases; each phase has random numbers of its own."""
    assert config.steps is not None
    assert config.learning_rate is not None
    return TrainConfig(
        seed=config.seed + phase,
        steps=max(1, (config.steps + phases - 1 - phase) // phases),
        learning_rate=config.learning_rate,
        weight_decay=0.0,
        schedule="cosine",
        warmup=0.1,
        clip_norm=5.0,
        evaluate_every=None,
        checkpoint_minutes=1.0,
        log_every=10,
        tensorboard=False,
    )
