"""Documents as means of word vectors in one space: the formula, languages, the folder; a classifier carried over."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.made_languages import prepare
from speechnlp_tl.embeddings.alignment import fit_alignment, preset
from speechnlp_tl.embeddings.joint_training import fold_in_translations, train_jointly
from speechnlp_tl.embeddings.matched_sentences import read_matched_sentences
from speechnlp_tl.embeddings.space import Space
from speechnlp_tl.embeddings.training import TrainingSettings
from speechnlp_tl.embeddings.vector_files import write_vectors
from speechnlp_tl.embeddings.vectors import WordVectors
from speechnlp_tl.errors import InputError
from speechnlp_tl.text.document_model import load_classifier
from speechnlp_tl.text.experiment import load_experiment, train
from speechnlp_tl.text.word_vector_features import WordVectorConfig, WordVectorFeatures, vectors_digest

ENGLISH = WordVectors(["the", "dog", "cat"], np.array([[1, 0], [0, 2], [3, 3]], np.float32), "en", np.array([90, 9, 1]))
FRENCH = WordVectors(["le", "chien"], np.array([[1, 0.1], [0, 5]], np.float32), "fr")


def test_a_document_is_the_weighted_mean_of_unit_vectors_and_unknown_words_count_nothing():
    features = WordVectorFeatures.of({"en": ENGLISH, "fr": FRENCH}, smoothing=0.01)
    rows = features.rows(["The dog, the CAT!", "zzz", "le chien"], ["en", "en", "fr"])
    weights = 0.01 / (0.01 + np.array([0.9, 0.09, 0.01]))
    mean = 2 * weights[0] * np.array([1, 0]) + weights[1] * np.array([0, 1]) + weights[2] * np.array([1, 1]) / 2**0.5
    np.testing.assert_allclose(rows[0], 2**0.5 * mean / np.linalg.norm(mean), rtol=1e-5)
    assert not rows[1].any()
    # without counts: Zipf's law of the rank
    shares = 1 / (np.array([1, 2]) + 2.7)
    weights = 0.01 / (0.01 + shares / shares.sum())
    mean = weights[0] * FRENCH.matrix[0] / np.linalg.norm(FRENCH.matrix[0]) + weights[1] * np.array([0, 1])
    np.testing.assert_allclose(rows[2], 2**0.5 * mean / np.linalg.norm(mean), rtol=1e-5)
    plain = WordVectorFeatures.of({"en": ENGLISH}, smoothing=None).rows(["the dog"], ["en"])
    np.testing.assert_allclose(plain, [[1, 1]], rtol=1e-6)


@pytest.mark.parametrize("hub", ["en", "fr"])
def test_translations_of_a_document_have_one_row_whichever_language_is_the_hub(hub: str):
    generator = np.random.default_rng(0)
    matrix = generator.standard_normal((60, 6)).astype(np.float32)
    turned = matrix @ np.linalg.qr(generator.standard_normal((6, 6)))[0].astype(np.float32)
    words = [f"w{letter}{other}" for letter in "abcdefghij" for other in "klmnop"]
    vectors = {"en": WordVectors(words, matrix, "en"), "fr": WordVectors([f"f{w}" for w in words], turned, "fr")}
    other = "fr" if hub == "en" else "en"
    pairs = np.stack([np.arange(60)] * 2, axis=1)
    alignment = fit_alignment(vectors[other].matrix, vectors[hub].matrix, pairs, preset("regularised-cca"))
    features = WordVectorFeatures.of(vectors, Space(hub, {other: alignment}))
    texts = [" ".join(generator.choice(words, 5)) for _ in range(10)]
    french = [" ".join(f"f{word}" for word in text.split()) for text in texts]
    ours, theirs = features.rows(texts, ["en"] * 10), features.rows(french, ["fr"] * 10)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    assert np.abs(ours).max() > 0.1


def test_languages_without_vectors_are_counted():
    features = WordVectorFeatures.of({"en": ENGLISH, "fr": FRENCH})
    with pytest.raises(InputError) as caught:
        features.rows(["a", "b", "c"], ["de", "nl", "de"])
    assert len(caught.value.problems) == 2
    for said in ("2 documents are of 'de'", "1 documents are of 'nl'", "there are vectors of en, fr"):
        assert said in str(caught.value)


def test_everything_wrong_with_vectors_and_alignment_is_said_at_once(tmp_path: Path):
    write_vectors(ENGLISH, tmp_path / "en")
    alignment = fit_alignment(ENGLISH.matrix, FRENCH.matrix, np.array([[0, 0], [1, 1]]), preset("procrustes"))
    Space("fr", {"en": alignment}).save(tmp_path / "space")
    paths = {"en": tmp_path / "en", "de": tmp_path / "absent"}
    with pytest.raises(InputError) as caught:
        WordVectorFeatures.read(WordVectorConfig(vectors=paths, alignment=tmp_path / "space"))
    said = str(caught.value)
    assert len(caught.value.problems) == 2
    assert "absent" in said
    assert "does not have 'de'; its languages are fr, en" in said
    three = WordVectors(["a"], np.ones((1, 3), np.float32), "fr")
    with pytest.raises(InputError, match="one dimension"):
        WordVectorFeatures.of({"en": ENGLISH, "fr": three})
    with pytest.raises(InputError, match="names a path"):
        WordVectorFeatures.of({"../en": ENGLISH})


def test_the_digest_follows_every_file(tmp_path: Path):
    write_vectors(ENGLISH, tmp_path / "en")
    config = WordVectorConfig(vectors={"en": tmp_path / "en"})
    before = vectors_digest(config)
    (tmp_path / "en" / "words.txt").write_text("the\ndog\ncow\n")
    assert vectors_digest(config) != before
    with pytest.raises(InputError, match="cannot be read"):
        vectors_digest(WordVectorConfig(vectors={"en": tmp_path / "absent.vec"}))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of two made languages, and vectors of both that were learned together."""
    folder = tmp_path_factory.mktemp("made")
    prepare(folder / "data", sentences=100, matched=1500)
    corpora = [read_matched_sentences(folder / "data" / "text" / "made" / "xa-xb", ["xa", "xb"])]
    settings = TrainingSettings(dimension=30, epochs=5, min_count=3, subsample=0.0, workers=1)
    joint = fold_in_translations(train_jointly(corpora, settings), corpora)
    for language, vectors in joint.items():
        write_vectors(vectors, folder / language)
    (folder / "c.yaml").write_text(
        f"""task: text-classification
data: {{train: [{folder}/data/documents/xa.jsonl, {folder}/data/documents/xb.jsonl], source: xa, target: xb}}
features: {{kind: word-vectors, vectors: {{xa: {folder}/xa, xb: {folder}/xb}}}}
classifier: {{hidden: [30]}}
batch_size: 16
train: {{epochs: 6, learning_rate: 3e-3, device: cpu}}
"""
    )
    return folder


@pytest.mark.parametrize("method", ["none", "mmd", "tlda"])
def test_a_classifier_of_one_language_reads_the_other_and_keeps_its_words(made: Path, tmp_path: Path, method: str):
    trained = train(load_experiment(made / "c.yaml", [f"method={method}"]), tmp_path / "exp", quiet=True)
    model = load_classifier(trained.model_dir)
    documents = [json.loads(line) for line in (made / "data" / "documents" / "xb.jsonl").read_text().splitlines()]
    texts, languages = [each["text"] for each in documents], ["xb"] * len(documents)
    predicted = [model.labels[number] for number in model.predict(texts, languages).argmax(1)]
    right = np.mean([label == each["label"] for label, each in zip(predicted, documents, strict=True)])
    assert right > 0.7, "guessing gives 0.25"
    with pytest.raises(InputError, match="texts have no languages"):
        model.predict(texts)
    card = (trained.model_dir / "README.md").read_text()
    assert "word vectors in one space of 30 dimensions" in card


def test_a_target_without_vectors_is_refused_before_training(made: Path, tmp_path: Path):
    vectors = f"features.vectors={{xa: {made}/xa, xc: {made}/xb}}"
    with pytest.raises(InputError, match="600 documents are of 'xb', which has no vectors"):
        train(load_experiment(made / "c.yaml", [vectors]), tmp_path / "exp", quiet=True)
    assert not (tmp_path / "exp").exists()


def test_words_of_another_model_are_refused(made: Path, tmp_path: Path):
    trained = train(load_experiment(made / "c.yaml", ["train.epochs=1"]), tmp_path / "exp", quiet=True)
    words = trained.model_dir / "words" / "xb" / "words.txt"
    lines = words.read_text().splitlines(keepends=True)
    words.write_text("".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(InputError, match="are not the words that the model was trained with"):
        load_classifier(trained.model_dir)
