"""Train a recogniser from one YAML file: data, pronunciations, language model, one or two passes, tuning, model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt

from speechnlp_tl.core.config import StrictModel, TrainConfig, load_config
from speechnlp_tl.core.experiment_folder import ExperimentFolder, digest_of_files
from speechnlp_tl.core.processes import Processes
from speechnlp_tl.core.trainer import Trainer, TrainResult
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.environment import environment
from speechnlp_tl.speech.asr_task import AsrTask
from speechnlp_tl.speech.audio_check import check_audio
from speechnlp_tl.speech.data_dir import DataDir, Utterance, untold
from speechnlp_tl.speech.data_split import split_by_speaker
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.decoder import Decoder, tune
from speechnlp_tl.speech.encoder import EncoderConfig
from speechnlp_tl.speech.features import AugmentConfig, FeatureConfig
from speechnlp_tl.speech.lexicon import Lexicon
from speechnlp_tl.speech.ngram import NgramModel, estimate, read_arpa
from speechnlp_tl.speech.pronunciation import complete
from speechnlp_tl.speech.recogniser import DecodeConfig, HmmConfig, Recogniser, RecogniserConfig


class WordsConfig(StrictModel):
    """Where the words of a language come from."""

    lexicon: Path | None = None
    vocabulary: int = Field(
        5000,
        ge=0,
        description="recognise every word of the lexicon if it has no more than this, else those of the data",
    )
    arpa: Path | None = Field(None, description="n-gram model; estimated from the training transcripts when not given")
    ngram_order: PositiveInt = 2
    language: str | None = Field(None, description="espeak-ng language of words the lexicon lacks, such as en-us")


class DataConfig(WordsConfig):
    """What to learn from."""

    train: Path
    dev: Path | None = None
    dev_share: float = Field(
        0.1, ge=0, lt=1, description="speakers held out of `train` where there is no `dev`; 0: none"
    )


class SecondPass(StrictModel):
    """Frame cross-entropy on the first pass' Viterbi alignments."""

    epochs: PositiveInt = 5
    learning_rate: PositiveFloat = 3e-4


class TuneConfig(StrictModel):
    """Search weights to try on the dev data."""

    lm_scales: list[float] = Field([0.5, 0.75, 1.0, 1.5, 2.0], min_length=1)
    insertion_penalties: list[float] = Field([-2.0, -1.0, 0.0, 1.0, 2.0], min_length=1)


class AsrExperiment(StrictModel):
    """The schema of a training config."""

    kind: Literal["asr"] = "asr"
    data: DataConfig
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
    second_pass: SecondPass | None = None


@dataclass
class Trained:
    """What a training run left behind."""

    recogniser: Recogniser
    model_dir: Path
    result: TrainResult | None
    dev_wer: float | None
    main: bool = True
    """Whether this process is the one of several that writes files and reports."""


def train(config: AsrExperiment, out: str | Path, quiet: bool = False, allow_pipes: bool = False) -> Trained:
    """Train, tune and save a recogniser; running it again continues where it stopped.

    Nothing is written before data and config have proved usable.

    Args:
        config: the experiment.
        out: experiment folder: resolved config, checkpoints, metrics, and the finished model in `model/`.
        quiet: no progress bar.
        allow_pipes: run commands that stand in wav.scp.

    Raises:
        InputError: unusable data or config, or an `out` that holds another experiment.
    """
    out = Path(out)
    processes = Processes(config.train.device)
    folder = ExperimentFolder(out, config, processes)
    if folder.claim(data_digest(config.data)):
        model_dir = folder.model_dir
        return Trained(Recogniser.load(model_dir), model_dir, None, _saved_wer(out), processes.main)
    training, dev = read_data(config.data, allow_pipes)
    recogniser = build(config, training, dev)
    if not folder.known:
        check_audio([*training, *dev], config.features)
    task = _task(config, recogniser, training, dev, allow_pipes)
    folder.begin()
    result = Trainer(task, without_missing_metric(config.train, dev), out, quiet=quiet).fit()
    passes = [result]
    if config.second_pass is not None:
        passes.append(_second_pass(task, config, out, quiet, processes))
    wer = None
    if processes.main:
        recogniser, wer = tuned(recogniser, task.dev, config.tune)
        chosen = None if wer is None else {"wer": wer, "decode": recogniser.config.decode.model_dump()}
        folder.finish(passes, environment(), chosen, parameters=parameter_count(recogniser.model))
        recogniser.save(folder.model_dir)
    processes.wait()
    return Trained(recogniser, folder.model_dir, result, wer, processes.main)


def parameter_count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def data_digest(config: DataConfig) -> str:
    """SHA-256 of everything the data directories, the lexicon and the language model say (not of the audio itself)."""
    return digest_of_files([config.train, config.dev, config.lexicon, config.arpa])


def read_data(config: DataConfig, allow_pipes: bool = False) -> tuple[list[Utterance], list[Utterance]]:
    """Training and dev utterances, speakers disjoint where dev is held out of train. All need transcripts."""
    training = list(DataDir.read(config.train, allow_pipes))
    if config.dev is not None:
        dev = list(DataDir.read(config.dev, allow_pipes))
    elif config.dev_share:
        kept, held_out = split_by_speaker(DataDir(training), fraction=config.dev_share)
        training, dev = list(kept), list(held_out)
    else:
        dev = []
    remedy = "add it to text, or remove it"
    problems = [*untold(training, config.train, remedy), *untold(dev, config.dev or config.train, remedy)]
    if problems:
        raise InputError(problems)
    return training, dev


def build(config: AsrExperiment, training: Sequence[Utterance], dev: Sequence[Utterance] = ()) -> Recogniser:
    """A fresh recogniser for the words of the data: lexicon completed, language model read or estimated."""
    lexicon, ngram = known_words(config.data, training, dev)
    recogniser_config = RecogniserConfig(
        features=config.features,
        encoder=config.encoder,
        hmm=config.hmm,
        decode=config.decode,
        phones=list(lexicon.phones),
        language=config.data.language,
    )
    torch.manual_seed(config.train.seed)
    return Recogniser.create(recogniser_config, lexicon, ngram)


def known_words(
    config: WordsConfig, training: Sequence[Utterance], dev: Sequence[Utterance] = (), setting: str = "data"
) -> tuple[Lexicon, NgramModel]:
    """The pronunciations of all words to recognise, and their language model, read or estimated.

    Raises:
        InputError: words without pronunciation, with their settings' place in the config.
    """
    dictionary = Lexicon.read(config.lexicon) if config.lexicon else Lexicon({})
    words = {word for utterance in [*training, *dev] for word in utterance.words}
    if len(dictionary) <= config.vocabulary:
        words.update(dictionary)
    lexicon, unknown, _ = complete(dictionary, sorted(words), config.language)
    if unknown:
        remedy = f"add it to {setting}.lexicon, or set {setting}.language to let espeak-ng pronounce it"
        raise InputError(
            Problem(f"word {word} has no pronunciation: {reason}", config.lexicon, remedy=remedy)
            for word, reason in unknown.items()
        )
    return lexicon, language_model(config, training, lexicon)


def language_model(config: WordsConfig, training: Sequence[Utterance], lexicon: Lexicon) -> NgramModel:
    if config.arpa is not None:
        return read_arpa(config.arpa)
    return estimate([utterance.words for utterance in training], config.ngram_order, lexicon.words)


def tuned(recogniser: Recogniser, dev: SpeechDataset, grid: TuneConfig | None) -> tuple[Recogniser, float | None]:
    """The recogniser with the search weights that make the fewest errors on `dev`, and its WER there in percent."""
    if not len(dev):
        return recogniser, None
    scores: dict[str, np.ndarray] = dict(recogniser.scores(dev))
    references = {utterance.id: utterance.words for utterance in dev.utterances}
    decode = recogniser.config.decode
    scales = grid.lm_scales if grid else [decode.lm_scale]
    penalties = grid.insertion_penalties if grid else [decode.insertion_penalty]

    def make_decoder(lm_scale: float, penalty: float) -> Decoder:
        return recogniser.with_decoding(lm_scale, penalty).decoder

    best = tune(make_decoder, scores, references, scales, penalties)
    return recogniser.with_decoding(best.lm_scale, best.insertion_penalty), best.wer


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> AsrExperiment:
    return load_config(path, AsrExperiment, overrides)


def _task(
    config: AsrExperiment, recogniser: Recogniser, training: list[Utterance], dev: list[Utterance], allow_pipes: bool
) -> AsrTask:
    seed, room = config.train.seed, config.cache_mb
    dataset = SpeechDataset(training, config.features, config.augment, seed, room, allow_pipes)
    task = AsrTask(recogniser, training, dev, config.augment, config.batch_seconds, seed, dataset)
    task.dev = SpeechDataset(dev, config.features, cache_mb=room, allow_pipes=allow_pipes)
    task.anneal = config.anneal
    return task


def _second_pass(task: AsrTask, config: AsrExperiment, out: Path, quiet: bool, processes: Processes) -> TrainResult:
    assert config.second_pass is not None
    task.align()
    # batch statistics are each process' own, so the alignments could differ as well
    task.alignments = processes.from_main(task.alignments)
    settings = config.train.model_copy(
        update={"epochs": config.second_pass.epochs, "steps": None, "learning_rate": config.second_pass.learning_rate}
    )
    return Trainer(task, without_missing_metric(settings, task.dev.utterances), out / "second_pass", quiet=quiet).fit()


def without_missing_metric(config: TrainConfig, dev: Sequence[Utterance]) -> TrainConfig:
    """Without dev data nothing can be measured: the last weights are kept."""
    return config if dev else config.model_copy(update={"metric": None, "patience": None})


def _saved_wer(out: Path) -> float | None:
    path = out / "dev.json"
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["wer"]) if path.is_file() else None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(Problem("is damaged", path, remedy="remove it; the model itself is finished")) from error
