"""A text model's folder: read back as it was written, and nothing that does not fit together is loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speechnlp_tl.errors import InputError
from speechnlp_tl.text.classifier import ClassifierConfig
from speechnlp_tl.text.document_model import DocumentModel, DocumentModelConfig, load_classifier, make_classifier
from speechnlp_tl.text.ngrams import NgramConfig, NgramFeatures

TEXTS = ["a good book", "a bad pan", "good pan", "zzz"]


@pytest.fixture(params=[False, True], ids=["plain", "autodial"])
def model(request) -> DocumentModel:
    ngrams = NgramConfig(min_documents=1)
    norm = "batch" if request.param else "none"
    config = DocumentModelConfig(
        features=ngrams, classifier=ClassifierConfig(hidden=[4, 3], norm=norm), autodial=request.param
    )
    features = NgramFeatures.fit(TEXTS, ngrams)
    return DocumentModel(config, features, make_classifier(features, config, 3, seed=1), ("no", "so so", "yes"))


def test_a_model_read_back_gives_the_same_probabilities(model: DocumentModel, tmp_path: Path):
    model.save(tmp_path / "model", "About it.")
    again = load_classifier(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(TEXTS), model.predict(TEXTS))
    assert again.labels == model.labels
    card = (tmp_path / "model" / "README.md").read_text()
    assert "About it." in card
    assert "no, so so, yes" in card


def change(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "vocabulary.txt").unlink(), "vocabulary.txt: cannot be read"),
        (lambda f: change(f / "vocabulary.txt", "bad\n", ""), "not the vocabulary that the model was trained with"),
        (lambda f: change(f / "vocabulary.txt", "bad\n", "mad\n"), "not the vocabulary"),
        (lambda f: (f / "labels.txt").unlink(), "has no labels.txt, so it is no text classifier"),
        (lambda f: (f / "labels.txt").write_text("yes\nno\n"), "tensor 'output.weight' has shape (3, 3)"),
        (lambda f: (f / "labels.txt").write_text("yes\nyes\nno\n"), "each once; copy the model folder again"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x"), "is damaged or no safetensors file"),
        (lambda f: change(f / "config.yaml", "text-classification", "asr"), "config.yaml:1"),
    ],
)
def test_parts_that_are_missing_damaged_or_of_another_model_are_refused(model, tmp_path: Path, spoil, said: str):
    model.save(tmp_path / "model")
    spoil(tmp_path / "model")
    with pytest.raises(InputError) as caught:
        load_classifier(tmp_path / "model")
    assert said in str(caught.value)
    assert str(tmp_path / "model") in str(caught.value)
