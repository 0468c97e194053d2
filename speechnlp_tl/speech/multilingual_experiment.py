"""Train one recogniser of several languages from one YAML file: data directories, words of each language, model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator, Field, PositiveFloat, model_validator

from speechnlp_tl.core.config import StrictModel, TrainConfig, load_config
from speechnlp_tl.core.experiment_folder import ExperimentFolder, digest_of_files
from speechnlp_tl.core.processes import Processes
from speechnlp_tl.core.trainer import Trainer, TrainResult
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.environment import environment
from speechnlp_tl.speech.audio_check import check_audio
from speechnlp_tl.speech.data_dir import DataDir, Utterance, read_all
from speechnlp_tl.speech.data_split import split_by_speaker
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.encoder import EncoderConfig
from speechnlp_tl.speech.experiment import (
    TuneConfig,
    WordsConfig,
    known_words,
    parameter_count,
    tuned,
    without_missing_metric,
)
from speechnlp_tl.speech.features import AugmentConfig, FeatureConfig
from speechnlp_tl.speech.initial_model import begin_from
from speechnlp_tl.speech.language_choice import measure_scores
from speechnlp_tl.speech.models import load_multilingual, model_folder
from speechnlp_tl.speech.multilingual import HeadKind, MultilingualRecogniser, Words, check_names
from speechnlp_tl.speech.multilingual_task import MultilingualTask, by_language, told_of
from speechnlp_tl.speech.recogniser import DecodeConfig, HmmConfig
from speechnlp_tl.transfer.domain_methods import DomainMethod, domain_terms, read_methods

LANGUAGE_METHODS = ("dann", "confusion")
"""Domain adaptation methods that know more than two domains."""
SHARED_WEIGHT = 0.5
"""Unless another is set."""


class SpeechConfig(StrictModel):
    """Which speech to learn from."""

    train: list[Path] = Field(min_length=1)
    """Data directories; `utt2lang` says the language of each utterance."""
    dev: list[Path] = Field(default_factory=list)
    dev_share: float = Field(
        0.1, ge=0, lt=1, description="speakers of each language held out of `train` where there is no `dev`; 0: none"
    )


class MultilingualExperiment(StrictModel):
    """The schema of a training config with `task: multilingual-asr`."""

    task: Literal["multilingual-asr"]
    data: SpeechConfig
    languages: dict[str, WordsConfig] = Field(min_length=1)
    """What each language's words are taken from; `language` is espeak-ng's code."""
    initial: Path | None = Field(
        None, description="a finished model to go on from: its layers, and the heads of languages that it knows"
    )
    heads: HeadKind = "separate"
    shared_weight: float = Field(
        SHARED_WEIGHT, gt=0, lt=1, description="of the shared head's loss where `heads` is both"
    )
    temperature: float = Field(1.0, ge=1, description="of the languages: 1 as they are, large all alike")
    method: Annotated[list[DomainMethod], BeforeValidator(read_methods)] = Field(default_factory=list)
    """`dann` or `confusion` on the frames of encoder layers, with the language as domain."""
    features: FeatureConfig = FeatureConfig()
    augment: AugmentConfig = AugmentConfig()
    encoder: EncoderConfig = EncoderConfig()
    hmm: HmmConfig = HmmConfig()
    decode: DecodeConfig = DecodeConfig()
    anneal: float = Field(
        0.0, ge=0, le=1, description="share of training in which acoustic scores come to count: a gentler flat start"
    )
    tune: TuneConfig | None = TuneConfig()
    batch_seconds: PositiveFloat = 60.0
    cache_mb: float = Field(600.0, ge=0, description="memory for computed features")
    train: TrainConfig

    @model_validator(mode="after")
    def _fits(self) -> MultilingualExperiment:
        check_names(self.languages)
        wrong = [each.name for each in self.method if each.name not in LANGUAGE_METHODS]
        if wrong:
            raise ValueError(f"method {', '.join(wrong)}: languages are made alike by {' or '.join(LANGUAGE_METHODS)}")
        if self.method and len(self.languages) < 2:
            raise ValueError("'method' makes languages alike, and there is only one")
        if self.heads != "both" and self.shared_weight != SHARED_WEIGHT:
            raise ValueError("'shared_weight' is for 'heads: both'")
        return self


@dataclass
class Trained:
    """What a training run left behind."""

    recognisers: MultilingualRecogniser
    model_dir: Path
    result: TrainResult | None
    """None where it had finished before."""
    dev_wer: dict[str, float] = field(default_factory=dict)
    """By language, in percent."""
    main: bool = True


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> MultilingualExperiment:
    return load_config(path, MultilingualExperiment, overrides)


def train(
    config: MultilingualExperiment,
    out: str | Path,
    quiet: bool = False,
    allow_pipes: bool = False,
    say: Callable[[str], None] | None = None,
) -> Trained:
    """Train, tune and save a multilingual recogniser; running it again continues where it stopped.

    Nothing is written before data and config have proved usable.

    Args:
        config: the experiment.
        out: experiment folder: resolved config, checkpoints, metrics, and the finished model in `model/`.
        quiet: no progress bar.
        allow_pipes: run commands that stand in wav.scp.
        say: told, before training, how much speech each language has, and which heads `initial` gives no weights.

    Raises:
        InputError: unusable data or config, or an `out` that holds another experiment.
    """
    out = Path(out)
    processes = Processes(config.train.device)
    folder = ExperimentFolder(out, config, processes)
    if folder.claim(data_digest(config)):
        model_dir = folder.model_dir
        return Trained(MultilingualRecogniser.load(model_dir), model_dir, None, _saved_wer(out), processes.main)
    training, dev = read_data(config.data, list(config.languages), allow_pipes)
    recognisers, fresh = build(config, training, dev)
    if not folder.known:
        check_audio([*training, *dev], config.features)
    task = _task(config, recognisers, training, dev, allow_pipes)
    if say is not None and processes.main:
        begun = [f"head {name} begins with random weights: 'initial' has no such head" for name in fresh]
        for line in [*_amounts(task), *([] if folder.known else begun)]:
            say(line)
    layers = {f"layer{number}": config.encoder.width for number in range(1, config.encoder.layers + 1)}
    terms = domain_terms(config.method, layers, config.train.seed, domains=len(config.languages))
    folder.begin()
    result = Trainer(task, without_missing_metric(config.train, dev), out, terms, quiet=quiet).fit()
    wer: dict[str, float] = {}
    if processes.main:
        recognisers, wer = tuned_languages(recognisers, task.devs, config.tune, allow_pipes)
        folder.finish([result], environment(), {"wer": wer}, parameters=parameter_count(recognisers.model))
        recognisers.save(folder.model_dir)
    processes.wait()
    return Trained(recognisers, folder.model_dir, result, wer, processes.main)


def data_digest(config: MultilingualExperiment) -> str:
    """SHA-256 of everything the data directories, lexicons and language models say (not of the audio itself), and of
    the model to begin from."""
    words = [path for own in config.languages.values() for path in (own.lexicon, own.arpa)]
    initial = None if config.initial is None else model_folder(config.initial)
    return digest_of_files([*config.data.train, *config.data.dev, *words, initial])


def read_data(
    config: SpeechConfig, languages: Sequence[str], allow_pipes: bool = False
) -> tuple[list[Utterance], list[Utterance]]:
    """Training and dev utterances of all languages; speakers disjoint where dev is held out of train.

    Raises:
        InputError: whatever is wrong with any directory; utterances without transcript, without a language or with one
            that `languages` has not, and ids that stand in two directories; and languages without training speech.
    """
    training, problems = read_all(config.train, told_of(languages), allow_pipes)
    dev, more = read_all(config.dev, told_of(languages), allow_pipes)
    problems += more
    heard = {utterance.language for utterance in training}
    problems += [
        Problem(f"language {name} has no training speech", remedy="name data of it under data.train, or leave it out")
        for name in languages
        if name not in heard and not problems
    ]
    if problems:
        raise InputError(problems)
    if config.dev or not config.dev_share:
        return training, dev
    held_out = _held_out(training, languages, config.dev_share)
    return (
        [utterance for utterance in training if utterance.speaker not in held_out],
        [utterance for utterance in training if utterance.speaker in held_out],
    )


def _held_out(training: Sequence[Utterance], languages: Sequence[str], share: float) -> set[str]:
    """Speakers to measure on, of each language that can spare one. Who speaks several is held out of all of them."""
    own = {name: DataDir([each for each in training if each.language == name]) for name in languages}
    found: set[str] = set()
    for speech in own.values():
        if found & set(speech.by_speaker()) or len(speech.by_speaker()) < 2:
            continue
        more = found | set(split_by_speaker(speech, fraction=share)[1].by_speaker())
        if all(set(each.by_speaker()) - more for each in own.values()):
            found = more
    return found


def build(
    config: MultilingualExperiment, training: Sequence[Utterance], dev: Sequence[Utterance] = ()
) -> tuple[MultilingualRecogniser, list[str]]:
    """A model for the words of each language, fresh or with the weights of `initial`, and the heads it has none for.

    Raises:
        InputError: words without pronunciation, of all languages; or an `initial` that does not fit.
    """
    words: dict[str, Words] = {}
    problems: list[Problem] = []
    for name, own in config.languages.items():
        heard, said = ([each for each in part if each.language == name] for part in (training, dev))
        try:
            lexicon, ngram = known_words(own, heard, said, f"languages.{name}")
            words[name] = Words(lexicon, ngram, own.language, config.decode)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    torch.manual_seed(config.train.seed)
    made = MultilingualRecogniser.create(config.features, config.encoder, config.hmm, words, config.heads)
    if config.initial is None:
        return made, []
    return made, begin_from(made, load_multilingual(config.initial), config.initial)


def tuned_languages(
    recognisers: MultilingualRecogniser,
    devs: Mapping[str, SpeechDataset],
    grid: TuneConfig | None,
    allow_pipes: bool = False,
) -> tuple[MultilingualRecogniser, dict[str, float]]:
    """The model with the search weights that make the fewest errors on each language's dev speech, how that speech
    scores, and the WER there in percent."""
    wers = {}
    for name, dev in devs.items():
        best, wer = tuned(recognisers.language(name), dev, grid)
        recognisers = recognisers.with_settings(name, best.config.decode, None)
        if wer is not None:
            wers[name] = wer
    measured = measure_scores(recognisers, [each for dev in devs.values() for each in dev.utterances], allow_pipes)
    for name, scores in measured.items():
        recognisers = recognisers.with_settings(name, recognisers.config.languages[name].decode, scores)
    return recognisers, wers


def _task(
    config: MultilingualExperiment,
    recognisers: MultilingualRecogniser,
    training: list[Utterance],
    dev: list[Utterance],
    allow_pipes: bool,
) -> MultilingualTask:
    seed, room = config.train.seed, config.cache_mb
    dataset = SpeechDataset(training, config.features, config.augment, seed, room, allow_pipes)
    task = MultilingualTask(
        recognisers,
        dataset,
        dev,
        config.batch_seconds,
        config.temperature,
        config.shared_weight,
        seed=seed,
    )
    task.devs = by_language(dev, config.features, room, allow_pipes)
    task.anneal = config.anneal
    return task


def _amounts(task: MultilingualTask) -> list[str]:
    lines = []
    for name in task.recognisers.languages:
        rows = [row for row, own in enumerate(task.language_of) if own == name]
        minutes = sum(task.train.frames[row] for row in rows) / 6000
        words = len(task.recognisers.language(name).lexicon)
        lines.append(f"{name}: {len(rows)} utterances, {minutes:.1f} minutes, {words} words")
    return lines


def _saved_wer(out: Path) -> dict[str, float]:
    path = out / "dev.json"
    try:
        return {name: float(value) for name, value in json.loads(path.read_text(encoding="utf-8"))["wer"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(Problem("is missing or damaged", path, remedy="the model itself is finished")) from error
