"""A text experiment: one config in, a model out that loads by itself; every method; continued; honest selection."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from speechnlp_tl.errors import InputError
from speechnlp_tl.text.classification import ClassificationTask
from speechnlp_tl.text.document_model import load_classifier
from speechnlp_tl.text.experiment import load_experiment, train
from speechnlp_tl.text.ngrams import NgramFeatures
from speechnlp_tl.transfer.domain_methods import METHODS
from tests.tiny_text import make_transformer, reviews, write_config, write_lines

TEXTS = [record["text"] for record in reviews("kitchen", 60, seed=5)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two domains in train.jsonl, of which kitchen is the target, and a config."""
    folder = tmp_path_factory.mktemp("text")
    write_lines(folder / "train.jsonl", [*reviews("books", 120), *reviews("kitchen", 120)])
    write_config(folder / "c.yaml", f"train: {folder}/train.jsonl, source: books, target: kitchen")
    return folder


def run(folder: Path, out: Path, *overrides: str):
    return train(load_experiment(folder / "c.yaml", overrides), out, quiet=True)


@pytest.fixture(scope="module")
def plain(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain") / "exp"
    run(folder, out)
    return out


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_and_changes_what_comes_out(name: str, folder: Path, plain: Path, tmp_path: Path):
    norm = "batch" if name in ("adabn", "autodial") else "none"
    settings = (f"classifier.norm={norm}", "selection=last epoch", "train.epochs=2")
    trained = run(folder, tmp_path / "exp", f"method={name}", *settings)
    model = load_classifier(trained.model_dir)
    probabilities = model.predict(TEXTS)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    run(folder, tmp_path / "none", *settings)
    assert not np.allclose(load_classifier(tmp_path / "none").predict(TEXTS), probabilities, atol=1e-6)
    if name != "adabn":
        names = json.loads((tmp_path / "exp" / "metrics.jsonl").read_text().splitlines()[0])["values"]
        assert len(names) >= 2, "the term is logged beside the task's loss"


def test_methods_combine(folder: Path, tmp_path: Path):
    run(folder, tmp_path / "exp", "method=[dann, {name: coral, weight: 5}]", "train.epochs=1")
    logged = [json.loads(line) for line in (tmp_path / "exp" / "metrics.jsonl").read_text().splitlines()]
    assert {name for line in logged for name in line.get("values", {})} == {"task", "dann", "coral"}


def test_a_model_loads_without_the_data_and_says_what_it_is(plain: Path, folder: Path, tmp_path: Path):
    alone = tmp_path / "model"
    shutil.copytree(plain / "model", alone)
    model = load_classifier(alone)
    np.testing.assert_array_equal(model.predict(TEXTS), load_classifier(plain).predict(TEXTS))
    assert model.labels == ("negative", "positive")
    unseen = reviews("books", 60, seed=5)
    predicted = [model.labels[number] for number in model.predict([one["text"] for one in unseen]).argmax(1)]
    assert np.mean([label == one["label"] for label, one in zip(predicted, unseen, strict=True)]) > 0.75
    assert "source validation" in (alone / "README.md").read_text()
    endings = {path.suffix for path in plain.rglob("*") if path.is_file()}
    assert endings <= {".yaml", ".json", ".jsonl", ".safetensors", ".txt", ".md", ".sha256"}


def test_what_is_measured_is_the_adapted_network_that_is_saved(folder: Path, tmp_path: Path):
    dev = reviews("books", 60, seed=9)
    write_lines(tmp_path / "dev.jsonl", dev)
    settings = (f"data.dev={tmp_path}/dev.jsonl", "classifier.norm=batch", "selection=last epoch", "train.epochs=1")
    found = {name: run(folder, tmp_path / name, f"method={name}", *settings) for name in ("adabn", "none")}
    for name, trained in found.items():
        model = load_classifier(trained.model_dir)
        probabilities = model.predict([record["text"] for record in dev])
        right = probabilities[range(60), [model.labels.index(record["label"]) for record in dev]]
        assert trained.metrics["source_loss"] == pytest.approx(-np.log(right).mean(), abs=1e-5), name
        recorded = json.loads((tmp_path / name / "dev.json").read_text())
        assert recorded["metrics"] == trained.metrics
        assert f"{trained.metrics['source_accuracy']:.1f} % right" in (trained.model_dir / "README.md").read_text()
    assert abs(found["adabn"].metrics["source_loss"] - found["none"].metrics["source_loss"]) > 1e-3


def test_without_validation_the_record_says_that_the_last_weights_were_kept(folder: Path, tmp_path: Path):
    found = run(folder, tmp_path / "exp", "data.dev_share=0", "train.epochs=1")
    assert found.metrics == {}
    assert json.loads((tmp_path / "exp" / "dev.json").read_text()) == {"selection": "last epoch", "metrics": {}}
    assert "Weights chosen by last epoch (no validation)" in (found.model_dir / "README.md").read_text()


@pytest.mark.parametrize("method", ["none", "dann", "mmd"])
def test_target_labels_change_nothing_unless_the_oracle_chooses(method: str, folder: Path, tmp_path: Path):
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    flipped = {"negative": "positive", "positive": "negative"}
    lied = [r | {"label": flipped[r["label"]]} if r["domain"] == "kitchen" else r for r in lines]
    write_lines(tmp_path / "train.jsonl", lied)
    write_config(tmp_path / "c.yaml", f"train: {tmp_path}/train.jsonl, source: books, target: kitchen")
    for rule, same in (("source validation", True), ("null", True), ("oracle", False)):
        settings = (f"method={method}", f"selection={rule}", "train.epochs=4")
        found = [run(where, tmp_path / f"{where.name}-{rule}", *settings) for where in (folder, tmp_path)]
        weights = [load_file(one.model_dir / "model.safetensors") for one in found]
        equal = all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
        assert equal if same else found[0].metrics != found[1].metrics
        assert all(name.startswith("source_" if same else "target_") for name in found[0].metrics)


def test_with_a_method_the_last_weights_are_kept_and_without_the_best(folder: Path, tmp_path: Path):
    for method, rule in (("dann", "last epoch"), ("none", "source validation")):
        found = run(folder, tmp_path / method, f"method={method}", "train.epochs=2")
        assert found.result is not None
        assert (found.result.best is None) == (rule == "last epoch")
        assert json.loads((tmp_path / method / "dev.json").read_text())["selection"] == rule
        assert rule in (found.model_dir / "README.md").read_text()
        assert found.metrics["source_accuracy"] > 50


class Killed(BaseException):
    """What no handler of the product knows."""


def test_a_killed_training_goes_on_and_ends_with_the_same_weights(folder: Path, tmp_path: Path, monkeypatch):
    settings = ("method=dann", "train.checkpoint_every=3", "train.epochs=3")
    run(folder, tmp_path / "whole", *settings)
    steps = 0

    def end_step(self, total):
        nonlocal steps
        steps += 1
        if steps == 11:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(ClassificationTask, "end_step", end_step)
        with pytest.raises(Killed):
            run(folder, tmp_path / "killed", *settings)
    assert run(folder, tmp_path / "killed", *settings).result is not None
    one, other = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    again = run(folder, tmp_path / "killed", *settings)
    assert again.result is None
    assert again.metrics["source_accuracy"] > 0


def test_other_data_or_another_config_in_the_same_folder_are_refused(folder: Path, plain: Path, tmp_path: Path):
    with pytest.raises(InputError, match="another config"):
        run(folder, plain, "train.seed=3")
    shutil.copy(folder / "train.jsonl", tmp_path)
    write_config(tmp_path / "c.yaml", f"train: {tmp_path}/train.jsonl, source: books")
    run(tmp_path, tmp_path / "exp", "train.epochs=1")
    (tmp_path / "train.jsonl").write_text((tmp_path / "train.jsonl").read_text().replace("good", "well"))
    with pytest.raises(InputError, match="begun with other data"):
        run(tmp_path, tmp_path / "exp", "train.epochs=1")


def test_another_transformer_in_the_same_folder_is_refused(folder: Path, tmp_path: Path):
    pytest.importorskip("transformers")
    bert = make_transformer(tmp_path / "bert")
    settings = (f"features={{kind: transformer, model: {bert}, max_tokens: 8, fine_tune: false}}", "train.epochs=1")
    run(folder, tmp_path / "exp", *settings)
    assert run(folder, tmp_path / "exp", *settings).result is None
    (bert / "model.safetensors").write_bytes((bert / "model.safetensors").read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="or another pretrained model"):
        run(folder, tmp_path / "exp", *settings)


@pytest.mark.parametrize("damaged", ['{"metrics": {"source_accuracy": 1.0}}', '{"metrics": 3}', "[]"])
def test_a_record_that_lacks_a_metric_is_damaged(damaged: str, folder: Path, plain: Path, tmp_path: Path):
    shutil.copytree(plain, tmp_path / "exp")
    (tmp_path / "exp" / "dev.json").write_text(damaged)
    with pytest.raises(InputError, match=r"dev\.json: is damaged; remove it"):
        run(folder, tmp_path / "exp")


@pytest.mark.parametrize("fine_tune", [True, False])
@pytest.mark.parametrize("method", ["none", "dann", "adabn"])
def test_a_transformer_takes_the_place_of_ngrams(fine_tune: bool, method: str, folder: Path, tmp_path: Path):
    pytest.importorskip("transformers")
    bert = make_transformer(tmp_path / "bert")
    features = f"features={{kind: transformer, model: {bert}, max_tokens: 48, fine_tune: {str(fine_tune).lower()}}}"
    norm = "batch" if method == "adabn" else "none"
    trained = run(folder, tmp_path / "exp", features, f"method={method}", f"classifier.norm={norm}", "train.epochs=1")
    embeddings = load_file(bert / "model.safetensors")["embeddings.word_embeddings.weight"]
    shutil.rmtree(bert)
    model = load_classifier(trained.model_dir)
    probabilities = model.predict(TEXTS[:7])
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(model.predict(TEXTS[:1]), probabilities[:1], atol=1e-5)
    kept = load_file(trained.model_dir / "encoder" / "model.safetensors")["embeddings.word_embeddings.weight"]
    assert torch.equal(kept, embeddings) is not fine_tune
    assert not [name for name in load_file(trained.model_dir / "model.safetensors") if name.startswith("encoder.")]


def test_the_vocabulary_is_of_the_training_texts_of_both_domains(folder: Path, plain: Path):
    model = load_classifier(plain)
    assert isinstance(model.features, NgramFeatures)
    assert {"author", "blender"} <= set(model.features.vocabulary)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["method=dan"], "input should be 'dann'"),
        (["method=dann", "data.target=[]"], "name its domains under data.target"),
        (["method=adabn"], "set classifier.norm to batch"),
        (["selection=oracle", "data.target=[]"], "selection: oracle needs data.target"),
        (["train.metric=source_accuracy", "method=dann"], "the last epoch's weights are kept"),
        (["selection=source validation", "method=dann", "train.metric=target_accuracy"], "chooses by source_accuracy"),
        (["method=tlda", "features={kind: transformer, model: x}"], "a transformer has none"),
        (["train.metric=target_accuracy"], "chooses by source_accuracy, source_macro_f1 or source_loss"),
        (["data.source=[books, kitchen]"], "source and target have kitchen in common"),
        (
            ["selection=source validation", "data.dev_share=0"],
            "source validation needs data.dev, or data.dev_share above",
        ),
        (["train.metric=source_loss", "data.dev_share=0"], "best by 'source_loss': give data.dev or data.dev_share"),
        (
            ["method=dann", "train.metric=source_loss", "train.patience=2"],
            "train.patience waits for validation, at which 'last epoch' does not look",
        ),
        (["train.metric=source_f1"], "chooses by source_accuracy, source_macro_f1 or source_loss, not by 'source_f1'"),
        (["method=dann+mmd", "unlabelled_per_labelled=0"], "dann+mmd does nothing with unlabelled_per_labelled: 0"),
        (["features.max_featurs=3"], "did you mean 'max_features'?"),
        (["features.kind=words"], "does not match any of the expected tags"),
        (["method=dann+adabn", "classifier.norm=batch", "method=dann+dann"], "stands twice"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(folder: Path, overrides: list[str], said: str):
    with pytest.raises(InputError) as caught:
        load_experiment(folder / "c.yaml", overrides)
    assert said in str(caught.value)
