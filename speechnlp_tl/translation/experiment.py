"""Train a translation model from one YAML file: parallel and monolingual text, subwords, remedies, model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveInt, model_validator

from speechnlp_tl.core.config import StrictModel, TrainConfig, load_config
from speechnlp_tl.core.experiment_folder import ExperimentFolder
from speechnlp_tl.core.processes import Processes
from speechnlp_tl.core.task import Term
from speechnlp_tl.core.trainer import Trainer, TrainResult
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.environment import environment
from speechnlp_tl.transfer.domain_methods import DomainMethod, domain_terms, read_methods
from speechnlp_tl.transfer.pair_similarity import PairSimilarity
from speechnlp_tl.translation.parallel_text import ParallelText, listed, read_parallel
from speechnlp_tl.translation.pretrained import PretrainedConfig, Shape
from speechnlp_tl.translation.starting_model import (
    InitialConfig,
    Start,
    conservative_terms,
    from_model,
    from_nothing,
    from_pretrained,
    starting_digest,
)
from speechnlp_tl.translation.subwords import SubwordConfig, Vocabulary
from speechnlp_tl.translation.task import (
    POOLED,
    POOLED_TARGET,
    NoiseConfig,
    TranslationTask,
    back_directions,
    denoising_directions,
    directions_of,
)
from speechnlp_tl.translation.translation_model import TranslationModel, TranslationModelConfig
from speechnlp_tl.translation.translator import Translator

LANGUAGE_METHODS = ("dann", "confusion")
"""Domain adaptation methods that know more than two domains."""
Files = dict[str, str]
"""Language -> its file."""
Encoded = dict[str, list[list[int]]]
"""Language -> the pieces of each row of a corpus."""


class TranslationDataConfig(StrictModel):
    """Which text is trained on."""

    train: list[Files] = Field(min_length=1)
    """Corpora, each with a file for each of its languages, two at least, aligned line by line."""
    monolingual: list[Files] = Field(default_factory=list)
    """Files without counterparts, for denoising."""
    dev: list[Files] = Field(default_factory=list)
    directions: list[str] | None = Field(None, min_length=1)
    """Those to train, `de-en`; None is all that `train` holds."""
    max_length: PositiveInt = 128
    """Pieces; rows with a longer side are left out of the training, counted and listed."""
    temperature: float = Field(1.0, ge=1)
    """Of the directions: 1 as they are, large all alike."""

    @model_validator(mode="after")
    def _fits(self) -> TranslationDataConfig:
        single = [name for name in ("train", "dev") for files in getattr(self, name) if len(files) < 2]
        if single:
            raise ValueError(f"a corpus of {single[0]} has two languages or more; others belong under 'monolingual'")
        names = [name for files in [*self.train, *self.monolingual, *self.dev] for name in files]
        wrong = sorted({name for name in names if not name.replace("_", "").isalnum()})
        if wrong:
            raise ValueError(f"a language is named by letters, digits and _, not '{wrong[0]}'")
        held = self.held
        lacking = sorted(set(self.directions or []) - held)
        if lacking:
            raise ValueError(f"no data for direction {', '.join(lacking)}; 'train' holds {', '.join(sorted(held))}")
        untaught = sorted(set(names) - self.taught)
        if untaught:
            raise ValueError(f"no training data for language {', '.join(untaught)}: 'train' or 'monolingual' gives it")
        return self

    @property
    def held(self) -> set[str]:
        """Directions that `train` has sentences of."""
        return {f"{a}-{b}" for files in self.train for a in files for b in files if a != b}

    @property
    def trained(self) -> set[str]:
        """Directions that are trained on sentences of `train`."""
        return set(self.directions) if self.directions else self.held

    @property
    def taught(self) -> set[str]:
        return {name for files in [*self.train, *self.monolingual] for name in files}

    @property
    def languages(self) -> list[str]:
        """All that training text is there for, sorted."""
        return sorted(self.taught)


def _read_initial(value: object) -> object:
    return {"model": value} if isinstance(value, str) else value


class TranslationExperiment(StrictModel):
    """The schema of a training config with `task: translation`."""

    task: Literal["translation"]
    data: TranslationDataConfig
    subwords: SubwordConfig = SubwordConfig()
    model: Shape | None = None
    """Shape of a model of our own, or `{kind: pretrained, name: ..., languages: {de: de_DE, ...}}`. When not given that
    of the initial model, or the usual one."""
    initial: Annotated[InitialConfig | None, BeforeValidator(_read_initial)] = None
    """A model to start from, with its subwords: its folder, or that and what is kept of it."""
    denoising: NonNegativeFloat = 0.0
    """Rows of noisy sentences to restore, per translated row: every language through its own token."""
    noise: NoiseConfig = NoiseConfig()
    back_translation: NonNegativeFloat = 0.0
    """Rows whose source the model writes itself, greedily, per translated row. For a model that translates already:
    one that `initial` names."""
    back_directions: list[str] | None = Field(None, min_length=1)
    """Those to learn so, `de-fr`; None is every direction between the languages that `train` does not hold."""
    back_through: str | None = None
    """Language from which the sources are written, where the text has the sentence in it: de of a de-fr row from the
    English of an en-fr row (Firat et al. 2016), a direction that is trained. None writes them from the target."""
    method: Annotated[list[DomainMethod], BeforeValidator(read_methods)] = Field(default_factory=list)
    """`dann` or `confusion` on the pooled encodings, with the source language as domain."""
    similarity: NonNegativeFloat = 0.0
    """Weight of the distance of a sentence's pooled encoding from its translation's."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    batch_tokens: PositiveInt = 4000
    train: TrainConfig

    @model_validator(mode="after")
    def _fits(self) -> TranslationExperiment:
        wrong = [each.name for each in self.method if each.name not in LANGUAGE_METHODS]
        if wrong:
            raise ValueError(f"method {', '.join(wrong)}: languages are adapted by {' or '.join(LANGUAGE_METHODS)}")
        if isinstance(self.model, PretrainedConfig):
            if self.initial is not None:
                raise ValueError("'initial' is for models of our own; 'model' names a pretrained one")
            lacking = sorted(self.data.taught - set(self.model.languages))
            if lacking:
                raise ValueError(f"model.languages names no token for {', '.join(lacking)}")
        if self.data.monolingual and not (self.denoising or self.back_translation):
            raise ValueError(
                "monolingual text is for denoising and back-translation: set 'denoising' or 'back_translation' above 0"
            )
        unknown = [name for name in self.back_directions or [] if not self._is_direction(name)]
        if unknown:
            raise ValueError(f"no direction between languages of the text: {', '.join(unknown)}")
        if self.noise != NoiseConfig() and not self.denoising:
            raise ValueError("'noise' is for denoising: set 'denoising' above 0")
        if isinstance(self.model, PretrainedConfig) and self.subwords != SubwordConfig():
            raise ValueError("'subwords' are for models of our own: a pretrained one has a tokenizer")
        if self.back_directions and not self.back_translation:
            raise ValueError("'back_directions' are for back-translation: set 'back_translation' above 0")
        if self.back_translation and self.initial is not None and self.initial.kld is not None:
            raise ValueError("'kld' compares two models on one text, and back-translation gives each its own")
        if self.back_through is not None:
            self._check_through(self.back_through)
        if self.back_translation and not self.written_directions:
            raise ValueError("back-translation: 'train' holds every direction; name some in 'back_directions'")
        return self

    def _check_through(self, language: str) -> None:
        if not self.back_translation:
            raise ValueError("'back_through' is for back-translation: set 'back_translation' above 0")
        lacking = [name for name in self.back_directions or [] if not self._is_known_in(language, name)]
        if lacking or not self.written_directions:
            what = ", ".join(lacking) or "any direction"
            raise ValueError(f"'back_through': no corpus of 'train' has {language} beside the target of {what}")

    def _is_known_in(self, language: str, name: str) -> bool:
        """Whether sentences in the direction's target are there in `language`, a third one, too."""
        source, target = name.split("-")
        return language not in (source, target) and f"{language}-{target}" in self.data.held

    def _is_direction(self, name: str) -> bool:
        source, _, target = name.partition("-")
        return source != target and {source, target} <= self.data.taught

    @property
    def written_directions(self) -> list[str]:
        """Directions whose sources the model writes itself."""
        if not self.back_translation:
            return []
        pairs = [f"{a}-{b}" for a in self.data.languages for b in self.data.languages if a != b]
        through = self.back_through
        unseen = [name for name in pairs if name not in self.data.held]
        return self.back_directions or [name for name in unseen if through is None or self._is_known_in(through, name)]


@dataclass
class Corpora:
    """What was read."""

    train: list[ParallelText]
    monolingual: list[ParallelText]
    dev: list[ParallelText]
    digest: str


@dataclass
class Trained:
    """What a training run left behind."""

    model_dir: Path
    result: TrainResult | None
    """None where it had finished before."""
    metrics: dict[str, float] = field(default_factory=dict)
    main: bool = True


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> TranslationExperiment:
    return load_config(path, TranslationExperiment, overrides)


def train(
    config: TranslationExperiment, out: str | Path, quiet: bool = False, say: Callable[[str], None] | None = None
) -> Trained:
    """Train and save a translation model; running it again continues where it stopped.

    Args:
        config: the experiment.
        out: experiment folder: resolved config, subwords, checkpoints, metrics, and the finished model in `model/`.
        quiet: no progress bar.
        say: told, before training, what of the data is left out or looks wrong.

    Raises:
        InputError: unusable data or config, or an `out` that holds another experiment.
    """
    out = Path(out)
    processes = Processes(config.train.device)
    folder = ExperimentFolder(out, config, processes)
    corpora = read_corpora(config.data)
    digest = hashlib.sha256(f"{corpora.digest} {starting_digest(config.initial, config.model)}".encode()).hexdigest()
    if folder.claim(digest):
        return Trained(folder.model_dir, None, _saved_metrics(out), processes.main)
    start = _start(config, corpora)
    subwords, transformer = start.subwords, start.transformer
    task, notes = _task(config, corpora, subwords, transformer)
    if say is not None and processes.main:
        for note in notes:
            say(note)
        if start.report is not None:
            say(f"what becomes of the initial model's layers:\n{start.report.table()}")
    terms = _terms(config, start)
    folder.begin()
    result = Trainer(task, config.train, out, terms, start.source, quiet=quiet).fit()
    metrics: dict[str, float] = {}
    if processes.main:
        with torch.no_grad():
            metrics = task.evaluate(transformer)  # of what is saved
        folder.finish([result], environment(), {"metrics": metrics})
        parts = TranslationModelConfig(
            languages=list(subwords.languages),
            model=start.shape,
            max_length=config.data.max_length,
            trained=list(
                dict.fromkeys([*start.trained, *(each.name for each in task.directions if each.kind == "translate")])
            ),
            sentencepiece_sha256=subwords.sha256,
        )
        TranslationModel(parts, subwords, transformer).save(folder.model_dir, _about(config, task))
    processes.wait()
    return Trained(folder.model_dir, result, metrics, processes.main)


def read_corpora(config: TranslationDataConfig) -> Corpora:
    """Read every file.

    Raises:
        InputError: as `read_parallel`, of all corpora at once.
    """
    problems: list[Problem] = []

    def read(corpora: Sequence[Mapping[str, str]]) -> list[ParallelText]:
        found = []
        for files in corpora:
            try:
                found.append(read_parallel(files))
            except InputError as error:
                problems.extend(error.problems)
        return found

    made = Corpora(read(config.train), read(config.monolingual), read(config.dev), "")
    if problems:
        raise InputError(problems)
    digest = hashlib.sha256()
    for text in [*made.train, *made.monolingual, *made.dev]:
        digest.update(json.dumps({name: list(lines) for name, lines in text.sentences.items()}).encode())
    made.digest = digest.hexdigest()
    return made


def _start(config: TranslationExperiment, corpora: Corpora) -> Start:
    text: dict[str, list[str]] = {language: [] for language in config.data.languages}
    for corpus in [*corpora.train, *corpora.monolingual]:
        for language, lines in corpus.sentences.items():
            text[language] += lines
    if isinstance(config.model, PretrainedConfig):
        return from_pretrained(config.model, config.data.max_length)
    rest = (text, config.subwords, config.model, config.train.seed)
    if config.initial is None:
        return from_nothing(*rest)
    return from_model(config.initial, *rest, trained=config.data.trained)


def _task(
    config: TranslationExperiment, corpora: Corpora, subwords: Vocabulary, transformer: Translator
) -> tuple[TranslationTask, list[str]]:
    """The task, and what the user should know of the data."""
    limit, notes = config.data.max_length, []
    encoded: dict[str, list[Encoded]] = {}
    for name in ("train", "monolingual", "dev"):
        files = getattr(config.data, name)
        encoded[name] = []
        for paths, text in zip(files, getattr(corpora, name), strict=True):
            notes += text.warnings
            sides = {language: subwords.encode(lines, language) for language, lines in text.sentences.items()}
            long = [n for n in range(len(text)) if any(len(side[n]) > limit for side in sides.values())]
            silent = [n for n in range(len(text)) if not all(side[n] for side in sides.values())]
            for rows, what in (
                (long, f"have a side of more than {limit} pieces"),
                (silent, "have a side of invisible characters alone"),
            ):
                if rows:
                    counted = (
                        f"{len(rows)} of {len(text)} rows {what} and are left out: {listed([n + 1 for n in rows])}"
                    )
                    notes.append(f"{', '.join(paths.values())}: {counted}")
            left = {*long, *silent}
            encoded[name].append(
                {language: [row for n, row in enumerate(side) if n not in left] for language, side in sides.items()}
            )
    taught = [*encoded["train"], *encoded["monolingual"]]
    _check_left(config, encoded, notes)
    task = TranslationTask(
        transformer,
        subwords,
        [
            *directions_of(encoded["train"], config.data.directions),
            *denoising_directions(taught),
            *back_directions(taught, config.written_directions, config.back_through),
        ],
        [each for each in directions_of(encoded["dev"], config.data.directions) if len(each)],
        config.noise,
        config.denoising,
        config.back_translation,
        config.data.temperature,
        config.label_smoothing,
        config.batch_tokens,
        encode_translations=config.similarity > 0,
        seed=config.train.seed,
    )
    return task, notes


def _check_left(config: TranslationExperiment, encoded: Mapping[str, Sequence[Encoded]], notes: Sequence[str]) -> None:
    """Raise InputError, with the notes on rows that are left out, where none remain: to train on, in a language, in a
    dev corpus."""
    taught = [*encoded["train"], *encoded["monolingual"]]
    lacking = [name for name in config.data.languages if not any(corpus.get(name) for corpus in taught)]
    problems = [f"no sentence in '{name}' is left to train on" for name in lacking]
    if not any(map(len, directions_of(encoded["train"], config.data.directions))):
        problems = ["no sentence is left to train on"]
    for files, corpus in zip(config.data.dev, encoded["dev"], strict=True):
        if not any(corpus.values()):
            problems.append(f"no sentence is left of the dev data {', '.join(files.values())}")
    if problems:
        remedy = "raise data.max_length or give other text"
        raise InputError([*(Problem(what, remedy=remedy) for what in problems), *map(Problem, notes)])


def _terms(config: TranslationExperiment, start: Start) -> list[Term]:
    terms: list[Term] = []
    if config.initial is not None:
        terms += conservative_terms(config.initial, start, config.train.seed, config.data.max_length)
    if config.method:
        layers = {POOLED: start.transformer.width}
        terms += domain_terms(config.method, layers, config.train.seed, domains=len(start.subwords.languages))
    if config.similarity:
        terms.append(PairSimilarity(POOLED, POOLED_TARGET, config.similarity))
    return terms


def _saved_metrics(out: Path) -> dict[str, float]:
    path = out / "dev.json"
    try:
        return {name: float(value) for name, value in json.loads(path.read_text(encoding="utf-8"))["metrics"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(Problem("is missing or damaged", path, remedy="the model itself is finished")) from error


def _about(config: TranslationExperiment, task: TranslationTask) -> str:
    """What the model card says of the training."""
    rows = ", ".join(f"{each.name} {len(each)}" for each in task.directions if each.kind == "translate")
    remedies = [f"denoising {config.denoising:g}"] if config.denoising else []
    written = ", ".join(config.written_directions)
    through = "" if config.back_through is None else f" through {config.back_through}"
    remedies += [f"back-translation {config.back_translation:g}{through} ({written})"] if written else []
    remedies += [each.name for each in config.method]
    remedies += [f"similarity {config.similarity:g}"] if config.similarity else []
    if config.initial is not None:
        held = {name: getattr(config.initial, name) for name in ("kld", "l2sp", "ewc")}
        remedies += [f"{name} {value:g}" for name, value in held.items() if value is not None]
    return f"Training sentences: {rows}. Remedies: {', '.join(remedies) or 'none'}. Seed {config.train.seed}."
