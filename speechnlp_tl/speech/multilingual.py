"""One acoustic model for several languages: the layers are shared, the states, words and language model are a
language's own (Heigold et al. 2013; Huang et al. 2013).

Each language is a `Recogniser` around the same model, with a head of its own, or all with one head of IPA phones. The
folder of such a model:

    config.yaml  model.safetensors  README.md  languages/<language>/{lexicon.txt, tokens.txt, lm.arpa}
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import nn

from speechnlp_tl.atomic import atomic_directory
from speechnlp_tl.core.config import StrictModel, dump_config, load_config
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.acoustic_model import DEFAULT_HEAD, AcousticModel
from speechnlp_tl.speech.borrowed_states import borrow_states
from speechnlp_tl.speech.encoder import EncoderConfig
from speechnlp_tl.speech.features import FeatureConfig
from speechnlp_tl.speech.lexicon import Lexicon
from speechnlp_tl.speech.ngram import NgramModel
from speechnlp_tl.speech.recogniser import (
    DecodeConfig,
    HmmConfig,
    Recogniser,
    RecogniserConfig,
    check_files,
    read_weights,
    read_words,
    topology_of,
    write_weights,
)

KIND = "multilingual-asr"
SHARED_HEAD = "ipa"
"""Name of the head that languages share."""
HeadKind = Literal["separate", "shared", "both"]
"""A head of each language, one of all languages' phones, or a head of each with the other trained beside."""


class ScoreStatistics(StrictModel):
    """How a language scores its own speech and that of others, per frame: what `language_choice` compares with."""

    mean: float
    deviation: float = Field(gt=0)
    other_mean: float | None = Field(None, description="of other languages' speech; None: none was heard")
    other_deviation: float | None = Field(None, gt=0)


class LanguageConfig(StrictModel):
    """What a model knows of one language, besides its words."""

    phones: list[str] = Field(min_length=1)
    head: str
    decode: DecodeConfig = DecodeConfig()
    espeak: str | None = Field(None, description="espeak-ng's code, for words that the lexicon lacks")
    scores: ScoreStatistics | None = Field(None, description="for --lang auto")


class MultilingualConfig(StrictModel):
    """config.yaml of a multilingual model directory."""

    kind: Literal["multilingual-asr"] = "multilingual-asr"
    features: FeatureConfig
    encoder: EncoderConfig
    hmm: HmmConfig
    languages: dict[str, LanguageConfig] = Field(min_length=1)
    shared_phones: list[str] | None = Field(None, description="of a head that is trained beside those of the languages")
    columns: dict[str, PositiveInt] = Field(
        default_factory=dict, description="heads with a column of a progressive network, and its lateral width"
    )

    @model_validator(mode="after")
    def _fits(self) -> MultilingualConfig:
        check_names(self.languages)
        phones: dict[str, list[str]] = {SHARED_HEAD: self.shared_phones} if self.shared_phones else {}
        for name, language in self.languages.items():
            if language.head not in (name, SHARED_HEAD):
                raise ValueError(
                    f"language {name} has head {language.head}, which is neither its own nor {SHARED_HEAD}"
                )
            if phones.setdefault(language.head, language.phones) != language.phones:
                raise ValueError(f"language {name} has other phones than others of head {language.head}")
        foreign = sorted(set(self.columns) - set(phones))
        if foreign:
            raise ValueError(f"columns of heads that no language has: {', '.join(foreign)}")
        return self

    @property
    def heads(self) -> dict[str, list[str]]:
        """Each head's phones."""
        heads = {language.head: language.phones for language in self.languages.values()}
        return heads | ({SHARED_HEAD: self.shared_phones} if self.shared_phones else {})

    def of(self, language: str) -> RecogniserConfig:
        """The settings of one language's recogniser."""
        own = self.languages[language]
        return RecogniserConfig(
            features=self.features,
            encoder=self.encoder,
            hmm=self.hmm,
            decode=own.decode,
            phones=own.phones,
            language=own.espeak,
        )


@dataclass
class Words:
    """What a language brings along."""

    lexicon: Lexicon
    ngram: NgramModel
    espeak: str | None = None
    decode: DecodeConfig = field(default_factory=DecodeConfig)


@dataclass
class MultilingualRecogniser:
    """A recogniser for each language, all around one acoustic model."""

    config: MultilingualConfig
    model: AcousticModel
    languages: dict[str, Recogniser]

    @classmethod
    def create(
        cls,
        features: FeatureConfig,
        encoder: EncoderConfig,
        hmm: HmmConfig,
        words: Mapping[str, Words],
        heads: HeadKind = "separate",
    ) -> MultilingualRecogniser:
        """A model with freshly initialised weights.

        Raises:
            InputError: no language, or names that no head can have.
        """
        together = sorted({phone for own in words.values() for phone in own.lexicon.phones})
        own_phones = {name: together if heads == "shared" else list(own.lexicon.phones) for name, own in words.items()}
        try:
            check_names(words)
            config = MultilingualConfig(
                features=features,
                encoder=encoder,
                hmm=hmm,
                languages={
                    name: LanguageConfig(
                        phones=own_phones[name],
                        head=SHARED_HEAD if heads == "shared" else name,
                        decode=own.decode,
                        espeak=own.espeak,
                    )
                    for name, own in words.items()
                },
                shared_phones=together if heads == "both" else None,
            )
        except ValueError as error:
            raise InputError(str(error)) from error
        return cls._around(
            config, _fresh_model(config), {name: (own.lexicon, own.ngram) for name, own in words.items()}
        )

    @classmethod
    def _around(
        cls, config: MultilingualConfig, model: AcousticModel, words: Mapping[str, tuple[Lexicon, NgramModel]]
    ) -> MultilingualRecogniser:
        languages = {
            name: Recogniser(config.of(name), model, *words[name], head=own.head)
            for name, own in config.languages.items()
        }
        return cls(config, model, languages)

    @property
    def _words(self) -> dict[str, tuple[Lexicon, NgramModel]]:
        return {name: (own.lexicon, own.ngram) for name, own in self.languages.items()}

    def language(self, name: str) -> Recogniser:
        """The recogniser of one language. Raises InputError for one that is not there."""
        check_known([name], self.languages)
        return self.languages[name]

    def with_language(
        self, name: str, words: Words, seed: int = 0, column: int | None = None, borrow: bool = True
    ) -> MultilingualRecogniser:
        """A copy of the model that also has `name`. Its head has states borrowed from the others' (`borrow_states`),
        or with `borrow` false random ones; with `column` it is fresh, on a fresh column of a progressive network whose
        lateral connections are so wide. What the other languages use is the same, bit by bit.

        Raises:
            InputError: the name is taken or impossible.
        """
        if name in self.languages:
            remedy = "choose another name, or remove or rename that language first"
            raise InputError(Problem(f"the model has a language {name} already", remedy=remedy))
        refuse_name(name)
        own = LanguageConfig(phones=list(words.lexicon.phones), head=name, decode=words.decode, espeak=words.espeak)
        columns = self.config.columns | ({name: column} if column else {})
        config = self._checked(languages=self.config.languages | {name: own}, columns=columns)
        model = copy.deepcopy(self.model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            topology = topology_of(config.of(name))
            model.add_head(name, topology.num_pdfs)
            if column:
                model.add_column(name, column)
            elif borrow:
                # the others' columns have layers of their own
                others = {
                    own.head: topology_of(config.of(each))
                    for each, own in self.config.languages.items()
                    if own.head not in columns
                }
                borrow_states(model, name, topology, others)
        return self._around(config, model, self._words | {name: (words.lexicon, words.ngram)})

    def without(self, name: str) -> MultilingualRecogniser:
        """A copy without a language. Raises InputError where it is not there or others need what is its own."""
        check_known([name], self.languages)
        if len(self.languages) == 1:
            raise InputError(Problem(f"{name} is the model's only language", remedy="add another one first"))
        head = self.config.languages[name].head
        rest = {each: own for each, own in self.config.languages.items() if each != name}
        columns = dict(self.config.columns)
        alone = all(own.head != head for own in rest.values())
        if alone and head in columns:
            if list(columns)[-1] != head:
                later = ", ".join(list(columns)[list(columns).index(head) + 1 :])
                what = f"the columns of {later} read that of {name}"
                raise InputError(Problem(what, remedy="remove them first, the last one added before the others"))
            del columns[head]
        config = self._checked(languages=rest, columns=columns)
        words = {each: own for each, own in self._words.items() if each != name}
        model = _fresh_model(config)
        kept = model.state_dict().keys()
        model.load_state_dict({key: value for key, value in self.model.state_dict().items() if key in kept})
        return self._around(config, model.to(next(self.model.parameters()).device).eval(), words)

    def renamed(self, old: str, new: str) -> MultilingualRecogniser:
        """A copy with another name for a language. Raises InputError where it is not there or the new one is."""
        check_known([old], self.languages)
        if new in self.languages:
            raise InputError(Problem(f"the model has a language {new} already", remedy="choose another name"))
        refuse_name(new)
        head = self.config.languages[old].head
        own_head = head == old
        names = {each: new if each == old else each for each in self.languages}
        heads = {head: new} if own_head else {}
        languages = {
            names[each]: own.model_copy(update={"head": heads.get(own.head, own.head)})
            for each, own in self.config.languages.items()
        }
        columns = {heads.get(each, each): width for each, width in self.config.columns.items()}
        config = self._checked(languages=languages, columns=columns)
        model = _fresh_model(config)
        moved = {_renamed(key, heads): value for key, value in self.model.state_dict().items()}
        model.load_state_dict(moved)
        words = {names[each]: own for each, own in self._words.items()}
        return self._around(config, model.to(next(self.model.parameters()).device).eval(), words)

    def alone(self, name: str) -> Recogniser:
        """One language's recogniser with a copy of the shared layers, for everything that takes a recogniser.

        Raises:
            InputError: the language is not there, or has a column of a progressive network.
        """
        own = self.language(name)
        if own.head in self.config.columns:
            what = f"{name} has a column of a progressive network, which reads the columns of other languages"
            raise InputError(Problem(what, remedy="use it as a part of its multilingual model"))
        recogniser = Recogniser.create(own.config, own.lexicon, own.ngram)
        state = self.model.state_dict()
        heads = {own.head: DEFAULT_HEAD}
        mine = {_renamed(key, heads): value for key, value in state.items()}
        wanted = recogniser.model.state_dict().keys()
        recogniser.model.load_state_dict({key: mine[key] for key in wanted})
        recogniser.model.eval()
        return recogniser

    def with_model(self, model: AcousticModel) -> MultilingualRecogniser:
        """The same around another model; decoding graphs, which do not depend on it, are shared."""
        return replace(
            self, model=model, languages={name: own.with_model(model) for name, own in self.languages.items()}
        )

    def with_settings(self, name: str, decode: DecodeConfig, scores: ScoreStatistics | None) -> MultilingualRecogniser:
        """The same, sharing the model, with other search weights and score statistics of one language."""
        own = self.config.languages[name].model_copy(update={"decode": decode, "scores": scores})
        config = self._checked(languages=self.config.languages | {name: own})
        languages = self.languages | {
            name: self.languages[name].with_decoding(decode.lm_scale, decode.insertion_penalty)
        }
        return replace(self, config=config, languages=languages)

    def resampling(self) -> MultilingualRecogniser:
        """The same, which also takes audio of other sampling rates and converts it."""
        features = self.config.features.model_copy(update={"resample": True})
        languages = {name: own.resampling() for name, own in self.languages.items()}
        return replace(self, config=self.config.model_copy(update={"features": features}), languages=languages)

    def _checked(self, **changes: object) -> MultilingualConfig:
        try:
            return MultilingualConfig.model_validate({**dict(self.config), **changes})
        except ValueError as error:
            raise InputError(str(error)) from error

    def save(self, directory: Path, card: str = "") -> None:
        """Write a model directory, whole or not at all. Raises InputError when something else is in the place."""
        with atomic_directory(directory) as folder:
            self.write_files(folder, card)

    def write_files(self, folder: Path, card: str = "") -> None:
        """Write the model directory's files into an existing folder."""
        (folder / "config.yaml").write_text(dump_config(self.config), encoding="utf-8")
        write_weights(self.model, folder / "model.safetensors")
        (folder / "README.md").write_text(card or _card(self), encoding="utf-8")
        for name, own in self.languages.items():
            place = folder / "languages" / name
            place.mkdir(parents=True)
            own.write_words(place)

    @classmethod
    def load(cls, directory: str | Path) -> MultilingualRecogniser:
        """Read a model directory.

        Raises:
            InputError: files are missing or damaged, or do not belong together.
        """
        directory = Path(directory)
        check_files(directory, ["config.yaml", "model.safetensors"])
        config = load_config(directory / "config.yaml", MultilingualConfig)
        files = ("lexicon.txt", "tokens.txt", "lm.arpa")
        check_files(directory, [f"languages/{name}/{file}" for name in config.languages for file in files])
        words = {name: read_words(directory / "languages" / name, config.of(name)) for name in config.languages}
        model = _fresh_model(config)
        read_weights(directory / "model.safetensors", model)
        return cls._around(config, model, words)


def check_known(names: Iterable[str], known: Iterable[str]) -> None:
    """Raises InputError, which lists all, for languages that are not known."""
    wrong = sorted(set(names) - set(known))
    if wrong:
        remedy = f"its languages are {', '.join(known)}"
        raise InputError([Problem(f"the model has no language {name}", remedy=remedy) for name in wrong])


def check_names(languages: Iterable[str]) -> None:
    """Raises ValueError for names that can be no folder or no module."""
    reserved = {SHARED_HEAD, DEFAULT_HEAD, "auto"}
    wrong = [name for name in languages if not name.replace("-", "").replace("_", "").isalnum() or name in reserved]
    parts = nn.ModuleDict()  # cannot be named like what a module has: ton, not to, for Tongan
    wrong += [name for name in languages if name not in wrong and hasattr(parts, name)]
    if wrong:
        what = f"{', '.join(sorted(reserved))} and words such as to, train and keys are taken"
        raise ValueError(f"a language is named by letters, digits, - and _, and {what}: not {', '.join(wrong)}")


def refuse_name(language: str) -> None:
    """Raises InputError for a name that can be no folder or no module."""
    try:
        check_names([language])
    except ValueError as error:
        raise InputError(Problem(str(error), remedy="choose another name")) from error


def _fresh_model(config: MultilingualConfig) -> AcousticModel:
    hmm, heads = config.hmm, {}
    for name, phones in config.heads.items():
        heads[name] = hmm.silence_states + len(phones) * hmm.states_per_phone
    return AcousticModel(config.features.bins, config.encoder, heads, config.columns)


def _renamed(key: str, heads: Mapping[str, str]) -> str:
    """The key of a tensor whose head has another name."""
    for kind in ("heads", "columns"):
        for old, new in heads.items():
            if key.startswith(f"{kind}.{old}."):
                return f"{kind}.{new}.{key.removeprefix(f'{kind}.{old}.')}"
    return key


def _card(recogniser: MultilingualRecogniser) -> str:
    config = recogniser.config
    parameters = sum(parameter.numel() for parameter in recogniser.model.parameters())
    rows = "".join(
        f"| {name} | {len(own.lexicon)} | {len(own.config.phones)} | {own.head} |\n"
        for name, own in recogniser.languages.items()
    )
    return (
        "# Multilingual speech recogniser\n\n"
        f"Hybrid DNN-HMM written by speechnlp_tl: {config.encoder.kind} encoder of {config.encoder.layers} layers that "
        f"all languages share, {parameters / 1e6:.2f} M parameters, {config.features.rate} Hz.\n\n"
        f"| language | words | phones | head |\n|---|---|---|---|\n{rows}\n"
        "    speechnlp-tl transcribe --model THIS_FOLDER --lang auto recording.wav\n"
        "    speechnlp-tl adapt --model THIS_FOLDER --data DATA_DIR --method new-language --lang xx --out NEW_FOLDER\n"
    )
