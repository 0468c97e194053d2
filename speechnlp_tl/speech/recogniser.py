"""A recogniser: acoustic model, features, topology, lexicon and language model that belong together, and their folder.

config.yaml  model.safetensors  lexicon.txt  tokens.txt  lm.arpa  README.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from speechnlp_tl.atomic import atomic_directory
from speechnlp_tl.core.config import StrictModel, dump_config, load_config
from speechnlp_tl.core.evaluation_mode import evaluating
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.acoustic_model import DEFAULT_HEAD, AcousticModel
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.decoder import Decoder, Hypothesis
from speechnlp_tl.speech.encoder import EncoderConfig
from speechnlp_tl.speech.features import FeatureConfig
from speechnlp_tl.speech.lexicon import Lexicon
from speechnlp_tl.speech.ngram import NgramModel, read_arpa
from speechnlp_tl.speech.topology import SILENCE, Topology

COPY_AGAIN = "copy the model folder again, whole"
FILES = ("config.yaml", "model.safetensors", "lexicon.txt", "tokens.txt", "lm.arpa")


class HmmConfig(StrictModel):
    """States of the hybrid DNN-HMM and how its posteriors become likelihoods."""

    states_per_phone: int = Field(2, gt=0)
    silence_states: int = Field(1, gt=0)
    self_loop: float = Field(0.5, gt=0, lt=1)
    silence_probability: float = Field(0.5, gt=0, lt=1)
    prior_scale: float = Field(0.3, ge=0, description="log likelihood = log posterior - prior_scale * log prior")
    prior_decay: float = Field(0.95, ge=0, lt=1, description="of the running prior, per optimiser step")


class DecodeConfig(StrictModel):
    """Search. The language model's weight and the insertion penalty are chosen on dev data by training."""

    lm_scale: float = Field(1.0, ge=0)
    insertion_penalty: float = 0.0
    beam: float = Field(16.0, gt=0)
    max_active: int = Field(7000, gt=0)


class RecogniserConfig(StrictModel):
    """config.yaml of a model directory."""

    kind: Literal["asr"] = "asr"
    features: FeatureConfig
    encoder: EncoderConfig
    hmm: HmmConfig
    decode: DecodeConfig
    phones: list[str]
    language: str | None = None


@dataclass
class Recogniser:
    """Everything it takes to turn speech into words."""

    config: RecogniserConfig
    model: AcousticModel
    lexicon: Lexicon
    ngram: NgramModel
    head: str = DEFAULT_HEAD
    """Which of the model's heads has the states of `config.phones`."""

    @classmethod
    def create(cls, config: RecogniserConfig, lexicon: Lexicon, ngram: NgramModel) -> Recogniser:
        """A recogniser with freshly initialised weights."""
        pdfs = topology_of(config).num_pdfs
        return cls(config, AcousticModel(config.features.bins, config.encoder, {DEFAULT_HEAD: pdfs}), lexicon, ngram)

    @property
    def topology(self) -> Topology:
        return topology_of(self.config)

    @cached_property
    def decoder(self) -> Decoder:
        decode = self.config.decode
        return Decoder(
            self.topology,
            self.lexicon,
            self.ngram,
            lm_scale=decode.lm_scale,
            insertion_penalty=decode.insertion_penalty,
            beam=decode.beam,
            max_active=decode.max_active,
        )

    def with_model(self, model: AcousticModel) -> Recogniser:
        """The same recogniser around another model; the decoding graph, which does not depend on it, is shared."""
        other = replace(self, model=model)
        other.__dict__["decoder"] = self.decoder
        return other

    def with_decoding(self, lm_scale: float, insertion_penalty: float) -> Recogniser:
        """The same recogniser (sharing the model) with other search weights."""
        decode = self.config.decode.model_copy(update={"lm_scale": lm_scale, "insertion_penalty": insertion_penalty})
        return replace(self, config=self.config.model_copy(update={"decode": decode}))

    def resampling(self) -> Recogniser:
        """The same recogniser, which also takes audio of other sampling rates and converts it."""
        features = self.config.features.model_copy(update={"resample": True})
        return replace(self, config=self.config.model_copy(update={"features": features}))

    def log_likelihoods(self, log_posteriors: Tensor, heads: str | Sequence[str] | None = None) -> Tensor:
        """Log posteriors (B, T, P) minus the scaled log prior, of this recogniser's head, another, or each row's."""
        return log_posteriors - self.config.hmm.prior_scale * self.model.log_prior(heads or self.head)

    def scores(self, dataset: SpeechDataset, budget_s: float = 120.0) -> Iterator[tuple[str, np.ndarray]]:
        """Log-likelihoods (T, P) of each unperturbed row, by utterance id, computed in batches of like length."""
        for name, found in scores_of({self.head: self}, dataset, budget_s):
            yield name, found[self.head]

    def transcribe(
        self, data: SpeechDataset | Sequence[Utterance], allow_pipes: bool = False, confidence: bool = False
    ) -> dict[str, Hypothesis]:
        """Decode every utterance, in the order given; without `confidence` that of the hypotheses is NaN."""
        features = self.config.features
        dataset = data if isinstance(data, SpeechDataset) else SpeechDataset(data, features, allow_pipes=allow_pipes)
        found = {name: self.decoder.decode(scores, confidence) for name, scores in self.scores(dataset)}
        return {utterance.id: found[utterance.id] for utterance in dataset.utterances}

    def save(self, directory: Path, card: str = "") -> None:
        """Write a model directory, whole or not at all. Raises InputError when something else is in the place."""
        with atomic_directory(directory) as folder:
            self.write_files(folder, card)

    def write_files(self, folder: Path, card: str = "") -> None:
        """Write the model directory's files into an existing folder."""
        (folder / "config.yaml").write_text(dump_config(self.config), encoding="utf-8")
        write_weights(self.model, folder / "model.safetensors")
        self.write_words(folder)
        (folder / "README.md").write_text(card or _card(self), encoding="utf-8")

    def write_words(self, folder: Path) -> None:
        """Write what the recogniser knows of words and phones into an existing folder."""
        self.lexicon.write(folder / "lexicon.txt")
        self.ngram.write_arpa(folder / "lm.arpa")
        (folder / "tokens.txt").write_text(_token_table(self.topology), encoding="utf-8")

    @classmethod
    def load(cls, directory: str | Path) -> Recogniser:
        """Read a model directory.

        Raises:
            InputError: files are missing or damaged, or do not belong together.
        """
        directory = Path(directory)
        check_files(directory, FILES)
        config = load_config(directory / "config.yaml", RecogniserConfig)
        recogniser = cls.create(config, *read_words(directory, config))
        read_weights(directory / "model.safetensors", recogniser.model)
        return recogniser


@torch.no_grad()
def scores_of(
    recognisers: Mapping[str, Recogniser], dataset: SpeechDataset, budget_s: float = 120.0
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """`Recogniser.scores` of several recognisers around one model, whose layers are run through once."""
    first, *_ = recognisers.values()
    beside = [each.head for each in recognisers.values() if each.head != first.head]
    device = next(first.model.parameters()).device
    with evaluating(first.model):
        for rows in _batches_of_like_length(dataset.frames, budget_s):
            features = [dataset.plain(row) for row in rows]
            lengths = torch.tensor([len(item) for item in features])
            padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
            given = [padded.to(device), lengths.to(device), first.head, *([beside] if beside else [])]
            output = first.model(*given)
            logits = {first.head: output.logits, **(output.beside if beside else {})}
            scored = {
                name: each.log_likelihoods(logits[each.head].float().log_softmax(dim=-1)).cpu().numpy()
                for name, each in recognisers.items()
            }
            for place, (row, length) in enumerate(zip(rows, output.lengths.tolist(), strict=True)):
                yield dataset.utterances[row].id, {name: found[place, :length] for name, found in scored.items()}


def check_files(directory: Path, names: Sequence[str]) -> None:
    """Raises InputError, which lists all, when files of a model are missing."""
    remedy = "name the folder that 'speechnlp-tl train' or 'adapt' wrote"
    missing = [name for name in names if not (directory / name).is_file()]
    if missing:
        raise InputError([Problem(f"has no {name}, so it is no model", directory, remedy=remedy) for name in missing])


def read_words(directory: Path, config: RecogniserConfig) -> tuple[Lexicon, NgramModel]:
    """Read what `Recogniser.write_words` wrote.

    Raises:
        InputError: files are missing or damaged, or do not belong to the config.
    """
    lexicon, ngram = Lexicon.read(directory / "lexicon.txt"), read_arpa(directory / "lm.arpa")
    problems = []
    if (directory / "tokens.txt").read_bytes() != _token_table(topology_of(config)).encode():
        problems.append(Problem("does not match config.yaml", directory / "tokens.txt", remedy=COPY_AGAIN))
    if foreign := sorted(set(lexicon.phones) - set(config.phones)):
        what = f"has phones that config.yaml has not: {' '.join(foreign)}"
        problems.append(Problem(what, directory / "lexicon.txt", remedy=COPY_AGAIN))
    if problems:
        raise InputError(problems)
    return lexicon, ngram


def write_weights(model: torch.nn.Module, path: Path) -> None:
    """Write a model's parameters and buffers as safetensors."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    try:
        save_file(weights, path)
    except SafetensorError as error:
        # safetensors hides the operating system's error, which is what names a full disk
        raise OSError(str(error)) from error


def read_weights(path: Path, model: AcousticModel) -> None:
    """Read what `write_weights` wrote into a model of the same shape, which is in eval mode then.

    Raises:
        InputError: the file is damaged, or its tensors are others.
    """
    model.load_state_dict(_checked_weights(path, model))
    model.eval()


def topology_of(config: RecogniserConfig) -> Topology:
    hmm = config.hmm
    return Topology(
        tuple(config.phones), hmm.states_per_phone, hmm.silence_states, hmm.self_loop, hmm.silence_probability
    )


def _batches_of_like_length(frames: Sequence[int], budget_s: float) -> Iterator[list[int]]:
    """Longest first, so that memory runs out at the first batch or never."""
    rows: list[int] = []
    for row in sorted(range(len(frames)), key=lambda row: -frames[row]):
        if rows and (len(rows) + 1) * frames[rows[0]] > 100 * budget_s:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


def _checked_weights(path: Path, model: AcousticModel) -> dict[str, Tensor]:
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(Problem(f"is damaged ({error})", path, remedy="copy or train the model again")) from error
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    problems = [
        Problem(
            f"tensor {name} is {found.get(name, 'missing')}, config.yaml asks for {expected.get(name, 'none')}", path
        )
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]
    if problems:
        raise InputError(problems)
    return weights


def _token_table(topology: Topology) -> str:
    """One line a pdf: phone, state, pdf-id."""
    phones = [SILENCE, *topology.phones]
    rows = [(phone, state, pdf) for phone in phones for state, pdf in enumerate(topology.pdfs(phone))]
    return "".join(f"{phone}\t{state}\t{pdf}\n" for phone, state, pdf in rows)


def _card(recogniser: Recogniser) -> str:
    config = recogniser.config
    parameters = sum(parameter.numel() for parameter in recogniser.model.parameters())
    return (
        "# Speech recogniser\n\n"
        f"Hybrid DNN-HMM written by speechnlp_tl: {config.encoder.kind} encoder of {config.encoder.layers} layers, "
        f"{parameters / 1e6:.2f} M parameters, {len(config.phones)} phones, {len(recogniser.lexicon)} words, "
        f"{config.features.rate} Hz.\n\n"
        "    speechnlp-tl transcribe --model THIS_FOLDER recording.wav\n"
        "    speechnlp-tl adapt --model THIS_FOLDER --data DATA_DIR --out NEW_FOLDER\n"
    )
