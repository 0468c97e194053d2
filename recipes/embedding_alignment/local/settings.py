"""The recipe's own config: which languages, which text, which systems."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator, model_validator

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.embeddings.methods import WITHOUT_DICTIONARY, method_settings
from speechnlp_tl.embeddings.training import TrainingSettings
from speechnlp_tl.errors import InputError

Retrieval = Literal["csls", "nn", "inverted-softmax"]
HELD_OUT_FROM = 500
"""Words of a dictionary from which on a tenth of them chooses the epoch of margin and rcsls."""


class SystemConfig(StrictModel):
    """One way to align vectors that were trained one language at a time."""

    method: str
    pairs: list[str] | None = Field(None, description="those of the recipe when not given")
    seeds: PositiveInt | None = Field(None, description="no more than so many of a pair's seeds")
    link: Literal["dictionary", "identical", "numerals", "none"] = "dictionary"
    budgets: list[PositiveInt] | None = Field(None, description="dictionary words; those of the recipe when not given")
    settings: dict[str, Any] = Field(default_factory=dict, description="of the method, instead of its usual ones")
    retrieval: list[Retrieval] = Field(["csls", "nn"], min_length=1)
    fallback: str | None = Field(None, description="system whose result is taken where this one says that it failed")

    @model_validator(mode="after")
    def _fits(self) -> SystemConfig:
        if self.link != "dictionary" and self.budgets is not None:
            raise ValueError("'budgets' are for 'link: dictionary'")
        if self.link == "none" and self.method not in WITHOUT_DICTIONARY:
            raise ValueError(f"{self.method} needs a dictionary, identical strings or numerals")
        if self.link != "none" and (self.method == "adversarial" or self.fallback):
            raise ValueError("adversarial alignment has 'link: none', and only 'link: none' has a fallback")
        return self

    @field_validator("method")
    @classmethod
    def _known(cls, method: str) -> str:
        try:
            method_settings(method)
        except InputError as error:
            raise ValueError(str(error)) from error
        return method


class JointConfig(StrictModel):
    """One way to learn the vectors of two languages together, from matched sentences."""

    base: Literal["merged", "sentence-ids", "random"] = "merged"
    fold_in: bool = Field(False, description="move words towards those that they are aligned with in the sentences")
    spelling: NonNegativeFloat = Field(0.0, description="weight of how words are spelt, beside what they mean")
    pairs: list[str] | None = Field(None, description="those of the recipe when not given")
    seeds: PositiveInt | None = Field(None, description="no more than so many of a pair's seeds")
    training: TrainingSettings = TrainingSettings()

    @model_validator(mode="after")
    def _means_something(self) -> JointConfig:
        if self.base == "random" and not self.fold_in:
            raise ValueError("'base: random' means nothing without 'fold_in'")
        return self


class HubConfig(StrictModel):
    """More than two languages in the space of one of them."""

    languages: list[str] = Field(min_length=3)
    hub: str
    words: PositiveInt = Field(5000, description="of each dictionary")

    @model_validator(mode="after")
    def _hub_is_there(self) -> HubConfig:
        if self.hub not in self.languages or len(set(self.languages)) < len(self.languages):
            raise ValueError("'hub' is one of 'languages', and no language is there twice")
        return self


class RecipeConfig(StrictModel):
    """conf/*.yaml."""

    pairs: list[str] = Field(min_length=1, description="source-target, such as en-fr")
    seeds: PositiveInt = Field(5, description="trainings of the vectors, and of methods in which there is chance")
    more_seeds: dict[str, PositiveInt] = Field(default_factory=dict, description="of single pairs, where it is another")
    budgets: list[PositiveInt] = Field([5000, 500, 25], description="source words of the training dictionary")
    all_editions: bool = Field(False, description="every edition of the Bible, not only one of a language")
    trainings: list[TrainingSettings] = Field(
        [TrainingSettings()], min_length=1, description="of one language; several stand side by side in each vector"
    )
    limit: PositiveInt | None = Field(None, description="the most frequent words take part; all when not given")
    systems: dict[str, SystemConfig]
    joint: dict[str, JointConfig] = Field(default_factory=dict)
    hub: HubConfig | None = None
    derived: list[str] = Field(
        default_factory=list, description="pairs without a published dictionary: made from matched sentences"
    )
    picture: str | None = Field(None, description="pair of the t-SNE; the first one when not given")

    def corpus_name(self, corpus: str) -> str:
        """What results call it: more text is another corpus."""
        return f"{corpus}-all-editions" if self.all_editions else corpus

    @property
    def languages(self) -> list[str]:
        """All of them, in the order in which they are named."""
        named = [name for pair in self.pairs for name in ends(pair)]
        return list(dict.fromkeys([*named, *(self.hub.languages if self.hub else [])]))

    def seeds_of(self, pair: str, system: str = "") -> range:
        """The seeds of a pair's runs, or of those of a system that has fewer."""
        count = self.more_seeds.get(pair, self.seeds)
        own = self.systems.get(system) or self.joint.get(system)
        return range(min(count, own.seeds) if own and own.seeds else count)

    def seeds_of_language(self, language: str) -> range:
        """Those of all pairs that the language is in; of the hub where it is in that only."""
        counts = [len(self.seeds_of(pair)) for pair in self.pairs if language in ends(pair)]
        counts += [self.seeds] if self.hub and language in self.hub.languages else []
        return range(max(counts))

    def budgets_of(self, system: str) -> list[int]:
        """Dictionary words of a system's runs; 0 where it uses none."""
        own = self.systems[system]
        return list(own.budgets or self.budgets) if own.link == "dictionary" else [0]

    def pairs_of(self, system: str) -> list[str]:
        """Pairs that a system, or a way to train together, is run on."""
        own = self.systems.get(system) or self.joint[system]
        return own.pairs or self.pairs

    @model_validator(mode="after")
    def _fit_together(self) -> RecipeConfig:
        own = [pair for each in [*self.systems.values(), *self.joint.values()] for pair in each.pairs or []]
        given = [*self.pairs, *self.derived, *own]
        bad = [pair for pair in given if len(pair.split("-")) != 2 or "" in pair.split("-")]
        if bad:
            raise ValueError(f"pairs are source-target: {', '.join(bad)}")
        unknown = [
            each.fallback for each in self.systems.values() if each.fallback and each.fallback not in self.systems
        ]
        twice = sorted(set(self.systems) & set(self.joint))
        strange = sorted(set(self.more_seeds) - set(self.pairs))
        if unknown or twice or strange:
            what = f"unknown fallbacks: {unknown}; systems named twice: {twice}; more seeds of no pair: {strange}"
            raise ValueError(what)
        for name, system in self.systems.items():
            try:
                method_settings(system.method, 0, **system.settings)
            except InputError as error:
                raise ValueError(f"system '{name}': {error}") from error
        return self


def ends(pair: str) -> tuple[str, str]:
    """(source, target) of `en-fr`."""
    source, _, target = pair.partition("-")
    return source, target
