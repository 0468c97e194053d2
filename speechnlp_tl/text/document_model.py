"""A text classifier and all that it needs to take raw text, and its folder.

config.yaml  model.safetensors  labels.txt  README.md, and what makes features of texts: vocabulary.txt (n-grams),
encoder/ (a transformer) or words/ (word vectors of several languages)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from speechnlp_tl.atomic import atomic_directory, write_text
from speechnlp_tl.core.checkpoint import load_module, module_tensors
from speechnlp_tl.core.config import StrictModel, dump_config, load_config
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.text.classifier import ClassifierConfig, DocumentClassifier, predict
from speechnlp_tl.text.features import Rows
from speechnlp_tl.text.ngrams import NgramConfig, NgramFeatures
from speechnlp_tl.text.transformer_encoder import TransformerClassifier, TransformerConfig, TransformerEncoder
from speechnlp_tl.text.word_vector_features import FOLDER as WORDS
from speechnlp_tl.text.word_vector_features import WordVectorConfig, WordVectorFeatures
from speechnlp_tl.transfer.normalization import use_autodial
from speechnlp_tl.transfer.tensor_files import read_tensors, write_tensors

CONFIG, WEIGHTS, LABELS, CARD = "config.yaml", "model.safetensors", "labels.txt", "README.md"
COPY_AGAIN = "copy the model folder again, whole"
OWN_ENCODER = "encoder."
"""Tensors of a fine-tuned transformer; they are in its own folder."""

Features = NgramFeatures | TransformerEncoder | WordVectorFeatures


def _ngrams_unless_said(given: object) -> object:
    return {"kind": "ngrams"} | given if isinstance(given, dict) else given


FeatureConfig = Annotated[
    NgramConfig | TransformerConfig | WordVectorConfig,
    Field(discriminator="kind"),
    BeforeValidator(_ngrams_unless_said),
]


class DocumentModelConfig(StrictModel):
    """config.yaml of a model directory."""

    kind: Literal["text-classification"] = "text-classification"
    features: FeatureConfig
    classifier: ClassifierConfig
    autodial: bool = False
    """Batch normalisations are AutoDIAL layers."""
    vocabulary_sha256: str | None = None


@dataclass
class DocumentModel:
    """What it takes to turn texts into probabilities of labels."""

    config: DocumentModelConfig
    features: Features
    classifier: DocumentClassifier
    labels: tuple[str, ...]
    """Names, in the order of the classifier's outputs."""

    def rows(self, texts: Sequence[str], domains: Sequence[str] | None = None, show: bool = False) -> Rows:
        """The texts as the classifier takes them.

        Args:
            texts: n of them.
            domains: of each; word vectors take them for languages, other features do not look at them.
            show: progress of a frozen transformer.

        Returns:
            N-gram counts, tokens for a transformer that is part of the classifier, or (n, width) of a frozen one and of
            word vectors.

        Raises:
            InputError: word vectors without domains, or languages that have none.
        """
        if isinstance(self.features, NgramFeatures):
            return self.features.rows(texts)
        if isinstance(self.features, WordVectorFeatures):
            if domains is None:
                remedy = f"say which of {', '.join(self.features.languages)} each is in"
                raise InputError(Problem("the texts have no languages", remedy=remedy))
            return self.features.rows(texts, domains)
        if isinstance(self.classifier, TransformerClassifier):
            return self.features.tokens(texts)
        return self.features.encode(texts, show)

    def to(self, device: torch.device) -> DocumentModel:
        """Move what computes to a device; returns the model itself."""
        self.classifier.to(device)
        if isinstance(self.features, TransformerEncoder):
            self.features.to(device)
        return self

    def predict(self, texts: Sequence[str], domains: Sequence[str] | None = None) -> NDArray[np.float32]:
        """(n, labels) probabilities; arguments and errors as of `rows`."""
        return predict(self.classifier, self.rows(texts, domains))

    def save(self, directory: Path, about: str = "") -> None:
        """Write a model directory, whole or not at all. `about` goes into the model card.

        Raises:
            InputError: something else is in the place, or it cannot be written.
        """
        with atomic_directory(directory) as folder:
            config = self.config
            if not isinstance(self.features, TransformerEncoder):
                config = config.model_copy(update={"vocabulary_sha256": self.features.sha256})
            self.features.save(folder)
            tensors = module_tensors(self.classifier)
            write_tensors(folder / WEIGHTS, {n: t for n, t in tensors.items() if not n.startswith(OWN_ENCODER)})
            write_text(folder / LABELS, "".join(f"{label}\n" for label in self.labels))
            write_text(folder / CONFIG, dump_config(config))
            write_text(folder / CARD, self._card(about))

    def _card(self, about: str) -> str:
        count = sum(parameter.numel() for parameter in self.classifier.parameters())
        if isinstance(self.features, NgramFeatures):
            what = f"{self.features.width} n-grams of up to {self.features.config.longest} words"
        elif isinstance(self.features, WordVectorFeatures):
            counts = ", ".join(f"{len(words)} of {name}" for name, words in self.features.words.items())
            what = f"word vectors in one space of {self.features.width} dimensions, in `words/` ({counts})"
        else:
            assert isinstance(self.config.features, TransformerConfig)
            kind = "fine-tuned" if self.config.features.fine_tune else "frozen"
            what = f"the {kind} transformer {self.config.features.model}, in `encoder/`"
        return (
            "# Text classifier\n\n"
            f"Written by speechnlp_tl: {what}; hidden layers of {', '.join(map(str, self.config.classifier.hidden))} "
            f"units, {count / 1e6:.2f} M parameters. Labels: {', '.join(self.labels)}.\n\n"
            + (f"{about}\n\n" if about else "")
            + "    speechnlp-tl classify --model THIS_FOLDER --input documents.jsonl --out predictions.jsonl\n"
        )


def make_classifier(features: Features, config: DocumentModelConfig, classes: int, seed: int = 0) -> DocumentClassifier:
    """A classifier with fresh weights for these features, part of which a fine-tuned transformer is."""
    fine_tuned = isinstance(config.features, TransformerConfig) and config.features.fine_tune
    if isinstance(features, TransformerEncoder) and fine_tuned:
        made: DocumentClassifier = TransformerClassifier(features, classes, config.classifier, seed)
    else:
        made = DocumentClassifier(features.width, classes, config.classifier, seed)
    if config.autodial:
        use_autodial(made)
    return made


def load_classifier(directory: str | Path) -> DocumentModel:
    """Read a model directory, or an experiment folder that holds one in `model/`.

    Neither the training data nor the network is needed.

    Raises:
        InputError: files are missing or damaged, or do not belong together.
    """
    folder = Path(directory)
    if (folder / "model" / CONFIG).is_file():
        folder = folder / "model"
    missing = [name for name in (CONFIG, WEIGHTS, LABELS) if not (folder / name).is_file()]
    if missing:
        remedy = "name a folder that 'speechnlp-tl train' wrote from a config with 'task: text-classification'"
        raise InputError(
            [Problem(f"has no {name}, so it is no text classifier", folder, remedy=remedy) for name in missing]
        )
    config = load_config(folder / CONFIG, DocumentModelConfig)
    labels = _labels(folder / LABELS)
    features = _load_features(folder, config)
    classifier = make_classifier(features, config, len(labels))
    tensors = read_tensors(folder / WEIGHTS)
    encoder = {n: t for n, t in module_tensors(classifier).items() if n.startswith(OWN_ENCODER)}
    load_module(classifier, tensors | encoder, folder / WEIGHTS)
    classifier.eval()
    return DocumentModel(config, features, classifier, labels)


def _load_features(folder: Path, config: DocumentModelConfig) -> Features:
    if isinstance(config.features, TransformerConfig):
        return TransformerEncoder.load(folder, config.features)
    if isinstance(config.features, WordVectorConfig):
        features: NgramFeatures | WordVectorFeatures = WordVectorFeatures.load(folder, config.features)
        what, place = "are not the words", folder / WORDS
    else:
        features = NgramFeatures.load(folder, config.features)
        what, place = "is not the vocabulary", folder / "vocabulary.txt"
    if config.vocabulary_sha256 != features.sha256:
        raise InputError(Problem(f"{what} that the model was trained with", place, remedy=COPY_AGAIN))
    return features


def _labels(path: Path) -> tuple[str, ...]:
    try:
        labels = path.read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Problem(f"cannot be read: {error}", file=path, remedy=COPY_AGAIN)) from error
    if len(labels) < 2 or len(set(labels)) < len(labels) or not all(labels):
        raise InputError(Problem("must name two labels or more, one a line, each once", file=path, remedy=COPY_AGAIN))
    return tuple(labels)
