"""The recipe's own config: which languages, which spaces, which classifiers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from speechnlp_tl.core.config import StrictModel, TrainConfig
from speechnlp_tl.embeddings.methods import WITHOUT_DICTIONARY, method_settings
from speechnlp_tl.embeddings.training import TrainingSettings
from speechnlp_tl.errors import InputError
from speechnlp_tl.text.baselines import Kind as LinearKind
from speechnlp_tl.text.classifier import ClassifierConfig
from speechnlp_tl.transfer.domain_methods import NEED_BATCH_NORM, DomainMethod, method_problems, read_methods

Kind = Literal["majority", "words", "word by word", "linear", "self-trained", "network"]
NEED_SPACE: tuple[Kind, ...] = ("linear", "self-trained", "network")


class SpaceConfig(StrictModel):
    """One way to bring two languages into one space: by aligning their vectors, or by training them together."""

    method: str | None = Field(None, description="of alignment; None: learned together from matched sentences")
    link: Literal["dictionary", "identical", "none"] = "dictionary"
    settings: dict[str, Any] = Field(default_factory=dict, description="of the method, instead of its usual ones")
    fold_in: bool = Field(False, description="aligned words are then moved towards those that matched sentences link")
    merged: bool = Field(False, description="learned together: word2vec on merged sentences, not random directions")
    training: TrainingSettings = TrainingSettings()
    """Of vectors that are learned together."""

    @model_validator(mode="after")
    def _fits(self) -> SpaceConfig:
        if self.method is None:
            if self.link != "dictionary" or self.settings or self.fold_in:
                what = "'link', 'settings' and 'fold_in' are of an alignment: name its 'method'"
                raise ValueError(f"{what}; what is learned together always has the links of its sentences folded in")
            return self
        if self.merged:
            raise ValueError("'merged' is for vectors that are learned together, without a 'method'")
        if self.link == "none" and self.method not in WITHOUT_DICTIONARY:
            raise ValueError(f"{self.method} needs a dictionary or identical strings")
        try:
            method_settings(self.method, 0, **self.settings)
        except InputError as error:
            raise ValueError(str(error)) from error
        return self


class SystemConfig(StrictModel):
    """One classifier."""

    kind: Kind
    space: str | None = Field(None, description="whose vectors documents are means of, or words are translated by")
    labels: Literal["source", "target"] = Field("source", description="target: a ceiling")
    method: Annotated[list[DomainMethod], BeforeValidator(read_methods)] = Field(default_factory=list)
    """Of a network."""
    norm: Literal["none", "batch"] = "none"

    @model_validator(mode="after")
    def _fits(self) -> SystemConfig:
        problems = method_problems(self.method)
        if self.kind in NEED_SPACE and self.space is None:
            problems.append(f"{self.kind} needs a 'space'")
        if self.space is not None and self.kind in ("majority", "words"):
            problems.append(f"{self.kind} looks at no 'space'")
        if self.kind != "network" and (self.method or self.norm != "none"):
            problems.append("'method' and 'norm' are of a network")
        if self.labels == "target" and self.kind not in ("words", "linear"):
            problems.append("'labels: target' is a ceiling, of words or linear")
        if self.kind == "words" and self.labels == "source":
            problems.append("'words' of one language mean nothing to a classifier of another: 'labels: target'")
        problems += [
            f"{each.name} works on batch normalisation: 'norm: batch'"
            for each in self.method
            if each.name in NEED_BATCH_NORM and self.norm != "batch"
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self


class RecipeConfig(StrictModel):
    """conf/*.yaml."""

    source: str = "en"
    targets: list[str] = Field(min_length=1)
    splits: PositiveInt = Field(5, description="divisions of the books, each with vectors and classifiers of its own")
    test_share: float = Field(0.3, gt=0, lt=0.5, description="of each genre's verses, at least")
    held_out_share: float = Field(0.2, gt=0, lt=0.5, description="of each genre's verses, to choose strengths on")
    training: TrainingSettings = TrainingSettings()
    """Of vectors of one language."""
    words: PositiveInt = Field(5000, description="source words of a dictionary")
    spaces: dict[str, SpaceConfig]
    systems: dict[str, SystemConfig]
    baseline: str = Field(description="system that gains are measured against")
    linear: LinearKind = Field("logistic", description="what judges words and means of vectors")
    candidates: list[float] = Field([0.1, 1.0, 10.0], min_length=1, description="for its C")
    classifier: ClassifierConfig = ClassifierConfig()
    batch_size: PositiveInt = 64
    train: TrainConfig
    picture: str | None = Field(None, description="space of the t-SNE; the first one when not given")

    @property
    def languages(self) -> list[str]:
        return [self.source, *self.targets]

    @property
    def needs_dictionary(self) -> bool:
        """Whether a space, or a translation word by word, is made from one."""
        linked = any(space.method and space.link == "dictionary" for space in self.spaces.values())
        return linked or any(s.kind == "word by word" and s.space is None for s in self.systems.values())

    @model_validator(mode="after")
    def _fit_together(self) -> RecipeConfig:
        named = [system.space for system in self.systems.values()] + [self.picture]
        problems = [f"no space '{name}'" for name in named if name is not None and name not in self.spaces]
        if self.baseline not in self.systems:
            problems.append(f"the baseline '{self.baseline}' is no system")
        if self.source in self.targets or len(set(self.targets)) < len(self.targets):
            problems.append("the source is not among the targets, and no target is there twice")
        if problems:
            raise ValueError("; ".join(dict.fromkeys(problems)))
        return self
