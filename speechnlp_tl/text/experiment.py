"""Train a text classifier from one YAML file: documents, features, a domain adaptation method, model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator, Field, NonNegativeFloat, model_validator

from speechnlp_tl.core.config import StrictModel, TrainConfig, load_config
from speechnlp_tl.core.experiment_folder import ExperimentFolder
from speechnlp_tl.core.pretrained import folder_digest
from speechnlp_tl.core.processes import Processes
from speechnlp_tl.core.trainer import Trainer, TrainResult
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.environment import environment
from speechnlp_tl.text.classification import ClassificationTask, Documents
from speechnlp_tl.text.classifier import ClassifierConfig, DocumentClassifier
from speechnlp_tl.text.document_file import Document
from speechnlp_tl.text.document_model import (
    DocumentModel,
    DocumentModelConfig,
    FeatureConfig,
    Features,
    make_classifier,
)
from speechnlp_tl.text.experiment_data import Selection, TextCorpus, TextDataConfig, data_digest, domain_of, read_corpus
from speechnlp_tl.text.ngrams import NgramConfig, NgramFeatures
from speechnlp_tl.text.transformer_encoder import TransformerConfig, TransformerEncoder
from speechnlp_tl.text.word_vector_features import WordVectorConfig, WordVectorFeatures, vectors_digest
from speechnlp_tl.transfer.domain_methods import (
    NEED_BATCH_NORM,
    NEED_INPUTS,
    DomainMethod,
    domain_terms,
    method_problems,
    read_methods,
)
from speechnlp_tl.transfer.normalization import adapt_batch_norm

SOURCE, TARGET = 0, 1
"""Numbers of the domains in the training: all source domains are one, and all target domains."""
ADAPT_AT_ONCE = 512
AFTER_TRAINING = ("adabn",)
"""Methods that do not look at target documents during training."""
METRICS = ("accuracy", "macro_f1", "loss")
"""What is measured of validation documents, behind `source_` or `target_`."""


class TextExperiment(StrictModel):
    """The schema of a training config with `task: text-classification`."""

    task: Literal["text-classification"]
    data: TextDataConfig
    features: FeatureConfig = NgramConfig()
    classifier: ClassifierConfig = ClassifierConfig()
    method: Annotated[list[DomainMethod], BeforeValidator(read_methods)] = Field(default_factory=list)
    """`none`, a name, names joined by + or a list: see `speechnlp_tl.transfer.domain_methods`."""
    selection: Selection | None = None
    """What chooses the weights; `oracle` looks at target labels. None is `last epoch` with a method or without
    validation, else `source validation`: the epoch best on the source is often one before a method has done anything.
    """
    batch_size: int = Field(64, ge=2, description="labelled documents of one step")
    unlabelled_per_labelled: NonNegativeFloat = Field(1.0, description="target documents of one step, for the terms")
    train: TrainConfig

    @property
    def rule(self) -> Selection:
        """What chooses the weights."""
        return self.selection or ("last epoch" if self.method or not self.data.validates else "source validation")

    @property
    def chosen_on(self) -> str:
        """Side whose validation chooses the weights."""
        return "target" if self.selection == "oracle" else "source"

    @model_validator(mode="after")
    def _fits(self) -> TextExperiment:
        problems = method_problems(self.method)
        names = [method.name for method in self.method]
        if self.method and not self.data.target:
            problems.append(f"method {'+'.join(names)} adapts to a target: name its domains under data.target")
        if self.unlabelled_per_labelled == 0 and (inert := [name for name in names if name not in AFTER_TRAINING]):
            problems.append(f"{'+'.join(inert)} does nothing with unlabelled_per_labelled: 0, set it above 0")
        if self.selection == "oracle" and not self.data.target:
            problems.append("selection: oracle needs data.target")
        if self.rule != "last epoch" and not self.data.validates:
            problems.append(f"selection: {self.rule} needs data.dev, or data.dev_share above 0")
        problems += [
            f"{name} works on batch normalisation: set classifier.norm to batch"
            for name in names
            if name in NEED_BATCH_NORM and self.classifier.norm != "batch"
        ]
        problems += [
            f"{name} restores the features of documents: a transformer has none"
            for name in names
            if name in NEED_INPUTS and isinstance(self.features, TransformerConfig)
        ]
        problems += self._metric_problems()
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _metric_problems(self) -> list[str]:
        """What of train.metric and train.patience the selection rule does not look at."""
        metric = self.train.metric
        if self.rule == "last epoch":
            problems = []
            remedy = "set 'selection'" if self.data.validates else "give data.dev or data.dev_share"
            if metric is not None:
                what = f"the last epoch's weights are kept, not those that are best by '{metric}'"
                problems.append(f"{what}: {remedy}")
            if self.train.patience is not None:
                problems.append(f"train.patience waits for validation, at which 'last epoch' does not look: {remedy}")
            return problems
        names = [f"{self.chosen_on}_{name}" for name in METRICS]
        if metric is None or metric in names:
            return []
        return [f"selection: {self.rule} chooses by {', '.join(names[:-1])} or {names[-1]}, not by '{metric}'"]


@dataclass
class Trained:
    """What a training run left behind."""

    model_dir: Path
    result: TrainResult | None
    """None where it had finished before."""
    metrics: dict[str, float]
    """Of the validation documents; empty without any."""
    main: bool = True
    """Whether this process is the one of several that writes files and reports."""


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> TextExperiment:
    return load_config(path, TextExperiment, overrides)


def train(
    config: TextExperiment, out: str | Path, quiet: bool = False, say: Callable[[str], None] | None = None
) -> Trained:
    """Train and save a text classifier; running it again continues where it stopped.

    Nothing is written before data and config have proved usable.

    Args:
        config: the experiment.
        out: experiment folder: resolved config, checkpoints, metrics, and the finished model in `model/`.
        quiet: no progress bar.
        say: told, before training, what is used of the data and what is not.

    Raises:
        InputError: unusable data or config, or an `out` that holds another experiment.
    """
    out = Path(out)
    processes = Processes(config.train.device)
    folder = ExperimentFolder(out, config, processes)
    if folder.claim(_digest(config)):
        return Trained(folder.model_dir, None, _saved_metrics(out, config.chosen_on), processes.main)
    corpus = read_corpus(config.data, config.rule, config.train.seed)
    if say is not None and processes.main:
        for note in corpus.notes:
            say(note)
    features = _features(config, corpus)
    parts = DocumentModelConfig(
        features=config.features,
        classifier=config.classifier,
        autodial=any(method.name == "autodial" for method in config.method),
    )
    classifier = make_classifier(features, parts, len(corpus.labels), config.train.seed)
    model = DocumentModel(parts, features, classifier, corpus.labels).to(processes.device)
    width = None if isinstance(features, TransformerEncoder) else features.width
    layers, classes = classifier.hidden_layers, len(corpus.labels)
    terms = domain_terms(config.method, layers, config.train.seed, target=TARGET, inputs=width, classes=classes)
    show = not quiet and processes.main
    target = _documents(model, corpus.unlabelled, TARGET, "target", show) if config.method else None
    task = _task(config, model, corpus, [target] if target is not None and terms else [], show)
    folder.begin()
    result = Trainer(task, _choosing(config), out, terms, quiet=quiet).fit()
    metrics: dict[str, float] = {}
    if processes.main:
        if any(method.name == "adabn" for method in config.method):
            assert target is not None
            model.classifier = with_target_statistics(classifier, target)
        metrics = task.evaluate(model.classifier)  # of what is saved
        folder.finish([result], environment(), {"selection": config.rule, "metrics": metrics})
        model.save(folder.model_dir, _about(config, corpus, metrics))
    processes.wait()
    return Trained(folder.model_dir, result, metrics, processes.main)


def with_target_statistics(classifier: DocumentClassifier, target: Documents) -> DocumentClassifier:
    """A copy whose batch normalisations hold the statistics of the target's documents (AdaBN)."""
    from speechnlp_tl.text.features import checked_rows, take

    device, rows = classifier.output.weight.device, checked_rows(target.rows, target.name)
    at_once = min(ADAPT_AT_ONCE, classifier.rows_at_once)
    batches = [take(rows, slice(first, first + at_once)).to(device) for first in range(0, len(target), at_once)]
    adapted = adapt_batch_norm(lambda model, batch: model(batch), classifier, batches)
    assert isinstance(adapted, DocumentClassifier)
    return adapted


def _digest(config: TextExperiment) -> str:
    """SHA-256 of the documents and of what the features are read from; a model of the hub is what its revision says."""
    data, features = data_digest(config.data), config.features
    if isinstance(features, WordVectorConfig):
        read = vectors_digest(features)
    elif isinstance(features, TransformerConfig) and Path(features.model).is_dir():
        read = folder_digest(Path(features.model))
    else:
        return data
    return hashlib.sha256(f"{data} {read}".encode()).hexdigest()


def _features(config: TextExperiment, corpus: TextCorpus) -> Features:
    if isinstance(config.features, NgramConfig):
        return NgramFeatures.fit(
            [document.text for document in [*corpus.labelled, *corpus.unlabelled]], config.features
        )
    if isinstance(config.features, WordVectorConfig):
        features = WordVectorFeatures.read(config.features)
        # the target's, too, which without a method are not looked at before the model is used
        if problems := features.unknown_languages([*map(domain_of, [*corpus.labelled, *corpus.unlabelled])]):
            raise InputError(problems)
        return features
    return TransformerEncoder.pretrained(config.features)


def _documents(
    model: DocumentModel, documents: Sequence[Document], domain: int, name: str, show: bool = False
) -> Documents:
    rows = model.rows([document.text for document in documents], [domain_of(document) for document in documents], show)
    labels = None
    if all(document.label is not None for document in documents):
        labels = np.array([model.labels.index(document.label or "") for document in documents], dtype=np.int64)
    return Documents(rows, labels, domain, name)


def _task(
    config: TextExperiment, model: DocumentModel, corpus: TextCorpus, unlabelled: list[Documents], show: bool
) -> ClassificationTask:
    dev = {}
    if corpus.dev:
        side = TARGET if config.rule == "oracle" else SOURCE
        dev[config.chosen_on] = _documents(model, corpus.dev, side, "validation", show)
    return ClassificationTask(
        model.classifier,
        [_documents(model, corpus.labelled, SOURCE, "source", show)],
        unlabelled,
        dev,
        batch_size=config.batch_size,
        unlabelled_per_labelled=config.unlabelled_per_labelled,
        seed=config.train.seed,
        expose_inputs=any(method.name in NEED_INPUTS for method in config.method),
    )


def _choosing(config: TextExperiment) -> TrainConfig:
    """The training settings with the metric of the selection rule."""
    if config.rule == "last epoch":
        return config.train
    metric = config.train.metric or f"{config.chosen_on}_accuracy"
    return config.train.model_copy(update={"metric": metric, "mode": "min" if metric.endswith("_loss") else "max"})


def _saved_metrics(out: Path, side: str) -> dict[str, float]:
    """What a finished training measured: all of METRICS, or nothing."""
    path = out / "dev.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["metrics"] if path.is_file() else {}
        return {f"{side}_{name}": float(found[f"{side}_{name}"]) for name in METRICS} if found else {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(Problem("is damaged", path, remedy="remove it; the model itself is finished")) from error


def _about(config: TextExperiment, corpus: TextCorpus, metrics: dict[str, float]) -> str:
    """What the model card says of the training."""
    source = ", ".join(dict.fromkeys(map(domain_of, corpus.labelled)))
    text = f"Trained on {len(corpus.labelled)} labelled documents ({source})"
    if config.method:
        names = " + ".join(method.name for method in config.method)
        text += f", adapted to {len(corpus.unlabelled)} without labels ({', '.join(config.data.target)}) by {names}"
    accuracy = metrics.get(f"{config.chosen_on}_accuracy")
    right = "no validation" if accuracy is None else f"{accuracy:.1f} % right on validation documents"
    return f"{text}. Weights chosen by {config.rule} ({right}), seed {config.train.seed}."
