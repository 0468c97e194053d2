"""A text classifier and all that it needs to take raw text, and its folder.

config.yaml  model.safetensors  labels.txt  README.md, and vocabulary.txt (n-grams) or encoder/ (a transformer)
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
from speechnlp_tl.transfer.normalization import use_autodial
from speechnlp_tl.transfer.tensor_files import read_tensors, write_tensors

CONFIG, WEIGHTS, LABELS, CARD = "config.yaml", "model.safetensors", "labels.txt", "README.md"
COPY_AGAIN = "copy the model folder again, whole"
OWN_ENCODER = "encoder."
"""Tensors of a fine-tuned transformer; they are in its own folder."""

Features = NgramFeatures | TransformerEncoder


def _ngrams_unless_said(given: object) -> object:
    return {"kind": "ngrams"} | given if isinstance(given, dict) else given


FeatureConfig = Annotated[
    NgramConfig | TransformerConfig, Field(discriminator="kind"), BeforeValidator(_ngrams_unless_said)
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

    def rows(self, texts: Sequence[str], show: bool = False) -> Rows:
        """The texts as the classifier takes them: n-gram counts, tokens for a transformer that is part of it, or the
        (n, width) that a frozen one gives. `show` is for the progress of the latter."""
        if isinstance(self.features, NgramFeatures):
            return self.features.rows(texts)
        if isinstance(self.classifier, TransformerClassifier):
            return self.features.tokens(texts)
        return self.features.encode(texts, show)

    def to(self, device: torch.device) -> DocumentModel:
        """Move what computes to a device; returns the model itself."""
        self.classifier.to(device)
        if isinstance(self.features, TransformerEncoder):
            self.features.to(device)
        return self

    def predict(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, labels) probabilities."""
        return predict(self.classifier, self.rows(texts))

    def save(self, directory: Path, about: str = "") -> None:
        """Write a model directory, whole or not at all. `about` goes into the model card.

        Raises:
            InputError: something else is in the place, or it cannot be written.
        """
        with atomic_directory(directory) as folder:
            config = self.config
            if isinstance(self.features, NgramFeatures):
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
    if isinstance(config.features, NgramConfig):
        features: Features = NgramFeatures.load(folder, config.features)
        if config.vocabulary_sha256 != features.sha256:
            what = "is not the vocabulary that the model was trained with"
            raise InputError(Problem(what, folder / "vocabulary.txt", remedy=COPY_AGAIN))
    else:
        features = TransformerEncoder.load(folder, config.features)
    classifier = make_classifier(features, config, len(labels))
    tensors = read_tensors(folder / WEIGHTS)
    encoder = {n: t for n, t in module_tensors(classifier).items() if n.startswith(OWN_ENCODER)}
    load_module(classifier, tensors | encoder, folder / WEIGHTS)
    classifier.eval()
    return DocumentModel(config, features, classifier, labels)


def _labels(path: Path) -> tuple[str, ...]:
    try:
        labels = path.read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Problem(f"cannot be read: {error}", file=path, remedy=COPY_AGAIN)) from error
    if len(labels) < 2 or len(set(labels)) < len(labels) or not all(labels):
        raise InputError(Problem("must name two labels or more, one a line, each once", file=path, remedy=COPY_AGAIN))
    return tuple(labels)
