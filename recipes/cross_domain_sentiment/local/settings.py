"""The recipe's own config: which systems are run, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from speechnlp_tl.core.config import StrictModel, TrainConfig
from speechnlp_tl.text.classifier import ClassifierConfig
from speechnlp_tl.transfer.domain_methods import NEED_BATCH_NORM, DomainMethod, MethodName, method_problems
from speechnlp_tl.transfer.resampling import Strategy


class SelfTraining(StrictModel):
    """Rounds of self-training; see speechnlp_tl.text.baselines.self_train."""

    shares: list[PositiveFloat] = Field([0.4, 0.7, 1.0], min_length=1)
    balanced: bool = Field(True, description="assumes that the target's classes are equally frequent")
    with_source: bool = True


class TriTraining(StrictModel):
    """Three models that teach each other; see speechnlp_tl.transfer.tri_training.tri_train."""

    disagreement: bool = False
    balanced: bool = Field(True, description="assumes that the target's classes are equally frequent")
    rounds: PositiveInt = 10


class Denoiser(StrictModel):
    """Settings of mSDA."""

    layers: PositiveInt = 5
    noise: float = Field(0.5, ge=0, lt=1)
    ridge: PositiveFloat = 1e-5


class Autoencoder(StrictModel):
    """Settings of stacked denoising autoencoders; see speechnlp_tl.transfer.stacked_autoencoder."""

    units: list[PositiveInt] = Field([500], min_length=1)
    noise: float = Field(0.5, ge=0, lt=1)
    activation: Literal["relu", "softplus", "sigmoid"] = "relu"
    epochs: PositiveInt = 20
    learning_rate: PositiveFloat = 1e-3
    batch_size: PositiveInt = 128


class SystemConfig(StrictModel):
    """One system: a classifier, its features and what is done about the target."""

    kind: Literal["majority", "svm", "logistic", "network"]
    features: Literal["counts", "msda", "sda"] = "counts"
    weighting: Literal["count", "binary", "log"] = "count"
    unit_length: bool = False
    fitted_on: Literal["pair", "training", "everything"] = Field(
        "pair", description="mSDA: the two domains' training texts, those of all domains, or all texts, test included"
    )
    chosen: Literal["random", "shifted"] = Field(
        "random", description="C: on random held-out source documents, or across halves of the source that differ"
    )
    labels: Literal["source", "target"] = Field("source", description="target: the ceiling, with target labels")
    reweighted: bool = Field(False, description="source documents weighted by the odds of a domain classifier")
    coral: PositiveFloat | None = Field(
        None,
        description="source documents recoloured as the target's (CORAL) before training: its regularisation, times "
        "the mean variance of a feature",
    )
    self_training: SelfTraining | None = None
    tri_training: TriTraining | None = None
    rare: float | None = Field(
        None, gt=0, lt=1, description="share of the source's positive documents that is kept: a planted imbalance"
    )
    resampled: Strategy | None = Field(
        None, description="source documents that are trained on re-sampled to equally frequent classes"
    )
    augmented: bool = Field(False, description="augmented features on the last round's pseudo-labels")
    known: PositiveInt | None = Field(
        None, description="labelled target documents that are trained on beside the source"
    )
    soft_labels: PositiveFloat | None = Field(
        None, description="networks with `known`: weight of the source's soft labels for them (Tzeng et al. 2015)"
    )
    method: Literal["none"] | MethodName = "none"
    weight: PositiveFloat | None = Field(None, description="of the method's term; its usual one when not given")
    rate: PositiveFloat | None = Field(None, description="learning rate of a domain classifier, times the network's")
    domain_classifier: list[PositiveInt] | None = Field(None, description="its hidden layers")
    norm: Literal["none", "batch"] = "none"
    learning_rate: PositiveFloat | None = Field(None, description="instead of the one of `train`")
    epochs: PositiveInt | None = Field(None, description="instead of those of `train`")
    scored: bool = Field(False, description="networks: also what each selection rule sees (twice the time)")
    distance: bool = Field(False, description="measure the proxy A-distance of source and target in its features")

    @property
    def methods(self) -> list[DomainMethod]:
        """The network's method, as the terms are made from it; empty without."""
        if self.method == "none":
            return []
        settings = {"weight": self.weight, "rate": self.rate, "classifier": self.domain_classifier}
        return [DomainMethod(name=self.method, **settings)]

    @model_validator(mode="after")
    def _linear_fits(self) -> SystemConfig:
        linear = self.kind in ("svm", "logistic")
        methods = (self.reweighted, self.self_training, self.tri_training, self.resampled, self.augmented)
        if not linear and (
            any(methods) or self.rare or self.coral or self.labels == "target" or self.features == "sda"
        ):
            what = "rare classes, reweighting, recolouring, re-sampling, self- and tri-training, augmentation, ceilings"
            raise ValueError(f"{what} and sda are for svm and logistic")
        if self.self_training and self.tri_training:
            raise ValueError("'self_training' and 'tri_training' each make labels of their own: take one")
        if self.rare and self.labels == "target":
            raise ValueError("'rare' thins out the source: a ceiling trained on the target has none")
        if self.coral and (self.reweighted or self.labels == "target" or self.chosen != "random"):
            raise ValueError(
                "'coral' recolours the source: it goes with none of 'reweighted', 'labels: target', 'chosen'"
            )
        if self.resampled and (self.reweighted or self.self_training or self.tri_training):
            raise ValueError("'resampled' goes with none of 'reweighted', 'self_training', 'tri_training'")
        if self.augmented and self.self_training is None and self.known is None:
            raise ValueError("'augmented' needs 'self_training' for its pseudo-labels, or 'known' target documents")
        if self.known and (self.self_training or self.tri_training or self.resampled or self.labels == "target"):
            raise ValueError("'known' goes with none of 'self_training', 'tri_training', 'resampled', 'labels: target'")
        if self.reweighted and (self.self_training or self.tri_training or self.known):
            raise ValueError("'reweighted' goes with none of 'self_training', 'tri_training', 'known'")
        if self.labels == "target" and self.chosen != "random":
            raise ValueError("'chosen: shifted' is for the source: a ceiling is trained on the target")
        if not linear and self.chosen != "random":
            raise ValueError("'chosen' is for svm and logistic")
        if self.kind == "majority" and (self.features != "counts" or self.known):
            raise ValueError("'majority' looks at no features: leave 'features' and 'known' out")
        return self

    @model_validator(mode="after")
    def _network_fits(self) -> SystemConfig:
        of_networks = (
            self.method != "none",
            self.norm != "none",
            self.weight,
            self.rate,
            self.domain_classifier is not None,
        )
        if self.kind != "network" and (any(of_networks) or self.learning_rate or self.epochs):
            raise ValueError("'method' and its settings, 'norm', 'learning_rate' and 'epochs' are for networks")
        if self.method in NEED_BATCH_NORM and self.norm != "batch":
            raise ValueError(f"{self.method} needs 'norm: batch'")
        if self.method == "none" and (self.weight or self.rate or self.domain_classifier is not None):
            raise ValueError("'weight', 'rate' and 'domain_classifier' are those of a 'method'")
        problems = method_problems(self.methods)
        if problems:
            raise ValueError("; ".join(problems))
        if self.distance and self.kind != "network" and (self.self_training or self.tri_training):
            raise ValueError("'distance' looks at features, which self-training and tri-training leave as they are")
        if (self.features != "counts" and self.unit_length) or (self.features == "sda" and self.weighting != "count"):
            raise ValueError("'unit_length' is for counts, 'weighting' for counts and mSDA: SDA takes words as 0 or 1")
        if self.kind != "network" and (self.scored or self.soft_labels):
            raise ValueError("'scored' and 'soft_labels' are for networks")
        if self.known and self.scored:
            raise ValueError("'known' target labels say what the rules of 'scored' do without")
        if self.soft_labels and self.known is None:
            raise ValueError("'soft_labels' are for the 'known' target documents: say how many")
        if self.features != "msda" and self.fitted_on != "pair":
            raise ValueError("'fitted_on' is for mSDA")
        return self


class RecipeConfig(StrictModel):
    """conf/*.yaml."""

    domains: list[str] | None = Field(None, min_length=2, description="not given: all that were prepared")
    seeds: PositiveInt = Field(5, description="of the networks")
    linear_seeds: PositiveInt = Field(1, description="of the others: each holds out other source documents")
    held_out: float = Field(0.1, gt=0, lt=1, description="share of the labelled documents to choose on")
    source: dict[str, SystemConfig] = Field(description="systems that know the source only, and the ceilings")
    transfer: dict[str, SystemConfig]
    choices: dict[str, list[str]] = Field({}, description="name -> systems among which each selection rule chooses")
    msda: Denoiser = Denoiser()
    sda: Autoencoder = Autoencoder()
    classifier: ClassifierConfig = ClassifierConfig()
    train: TrainConfig
    batch_size: PositiveInt = 64

    @property
    def systems(self) -> dict[str, SystemConfig]:
        return self.source | self.transfer

    def domains_in(self, data: Path) -> list[str]:
        """The domains to pair, of those prepared in `data`."""
        return self.domains or sorted(path.parent.name for path in data.glob("*/train.npz"))

    @model_validator(mode="after")
    def _distinct(self) -> RecipeConfig:
        twice = set(self.source) & set(self.transfer)
        if twice:
            raise ValueError(f"systems named twice: {', '.join(sorted(twice))}")
        for name, among in self.choices.items():
            unfit = [each for each in among if each not in self.systems or not self.systems[each].scored]
            if unfit or name in self.systems:
                raise ValueError(f"choice '{name}' needs a name of its own, and systems with 'scored': {unfit}")
        if self.domains is not None and len(set(self.domains)) < len(self.domains):
            raise ValueError("a domain is named twice")
        return self
