"""`speechnlp-tl train` and `classify` on a user's own text: what comes out, and every mistake said in plain words."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from data_prep.amazon_reviews import prepare
from data_prep.fetch import CORPORA, fetch
from tests.tiny_text import reviews, write_config, write_lines


def refused(outcome, *said: str) -> None:
    assert outcome.code == 2, (outcome.code, outcome.out, outcome.err)
    assert "Traceback" not in outcome.err
    errors = [line for line in outcome.errors if not line.startswith("note: ")]
    assert errors
    assert all(line.startswith("error: ") for line in errors), outcome.err
    for words in said:
        assert words in outcome.err, outcome.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    write_lines(folder / "train.jsonl", [*reviews("books", 60), *reviews("kitchen", 60)])
    write_config(folder / "c.yaml", f"train: {folder}/train.jsonl, source: books, target: kitchen", epochs=3)
    write_lines(folder / "test.jsonl", [*reviews("books", 30, seed=1), *reviews("kitchen", 20, seed=1)])
    return folder


@pytest.fixture(scope="module")
def experiment(folder: Path) -> Path:
    from speechnlp_tl.text.experiment import load_experiment, train

    train(load_experiment(folder / "c.yaml"), folder / "exp", quiet=True)
    return folder / "exp"


def test_train_says_what_it_does_with_target_labels_and_is_not_repeated(run, folder: Path, tmp_path: Path):
    first = run("train", folder / "c.yaml", "--out", tmp_path / "exp", "--set", "method=dann", "--quiet")
    assert first.code == 0, first.err
    assert "note: 60 documents of target domain 'kitchen' have labels: they are dropped" in first.err
    assert first.out.splitlines()[-1].endswith("on validation documents of the source")
    second = run("train", folder / "c.yaml", "--out", tmp_path / "exp", "--set", "method=dann", "--quiet")
    assert second.code == 0
    assert "finished already" in second.out
    assert second.out.splitlines()[-1] == first.out.splitlines()[-1]


def test_classify_writes_a_label_and_probabilities_for_every_document(run, folder, experiment, tmp_path: Path):
    done = run("classify", "--model", experiment, "--input", folder / "test.jsonl", "--out", tmp_path / "p.jsonl")
    assert done.code == 0, done.err
    found = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert len(found) == 50
    for one in found:
        assert list(one["probabilities"]) == ["negative", "positive"]
        assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert one["label"] == max(one["probabilities"], key=one["probabilities"].get)


def test_scores_are_those_of_the_predictions_by_domain(run, folder, experiment, tmp_path: Path):
    given = ("--model", experiment, "--input", folder / "test.jsonl")
    done = run("classify", *given, "--out", tmp_path / "p.jsonl", "--score")
    predicted = [json.loads(line)["label"] for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    wanted = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
    right = {"books": [], "kitchen": [], "all": []}
    for label, record in zip(predicted, wanted, strict=True):
        for group in (record["domain"], "all"):
            right[group].append(label == record["label"])
    for group, answers in right.items():
        (line,) = [line for line in done.out.splitlines() if line.startswith(f"{group}: ")]
        assert f"accuracy {100 * sum(answers) / len(answers):.2f} % [" in line
        assert line.endswith(f"{len(answers)} documents")
    assert run("classify", *given, "--score").out.splitlines() == done.out.splitlines()[1:]


def test_plain_text_and_standard_input_give_what_json_gives(run, folder, experiment, tmp_path, monkeypatch):
    texts = [json.loads(line)["text"] for line in (folder / "test.jsonl").read_text().splitlines()]
    expected = run("classify", "--model", experiment, "--input", folder / "test.jsonl").out
    (tmp_path / "plain.txt").write_text("".join(f"{text}\n" for text in texts))
    assert run("classify", "--model", experiment, "--input", tmp_path / "plain.txt").out == expected
    for content in ((folder / "test.jsonl").read_bytes(), (tmp_path / "plain.txt").read_bytes()):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        assert run("classify", "--model", experiment, "--input", "-").out == expected


def test_documents_without_labels_are_left_out_of_the_score_and_it_is_said(run, folder, experiment, tmp_path):
    records = [*reviews("books", 4), {"text": "good", "domain": "books"}]
    path = write_lines(tmp_path / "in.jsonl", records)
    done = run("classify", "--model", experiment, "--input", path, "--score")
    assert done.code == 0, done.err
    assert "1 documents have no label and are not scored" in done.out
    assert "4 documents" in done.out


@pytest.mark.slow
def test_the_raw_amazon_reviews_go_from_file_to_prediction(run, tmp_path: Path, monkeypatch):
    if not (Path(os.environ.get("SPEECHNLP_DATA", "")) / "text" / "amazon_raw_xml").is_dir():
        pytest.skip("the raw Amazon reviews are not in SPEECHNLP_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    files = prepare(fetch(CORPORA["amazon-text"]), tmp_path / "reviews")
    config = write_config(tmp_path / "c.yaml", f"train: {files['train']}, source: books, target: kitchen", epochs=2)
    done = run("train", config, "--out", tmp_path / "exp", "--quiet", "--set", "method=dann")
    assert done.code == 0, done.err
    done = run("classify", "--model", tmp_path / "exp", "--input", files["test"], "--score")
    (line,) = [line for line in done.out.splitlines() if line.startswith("kitchen: ")]
    assert float(line.split()[2]) > 65
    assert line.endswith("425 documents")


# What a user can get wrong.


def trained_on(run, tmp_path: Path, records, data: str = "source: books, target: kitchen", *more: str):
    train = write_lines(tmp_path / "train.jsonl", records)
    config = write_config(tmp_path / "c.yaml", f"train: {train}, {data}", epochs=1)
    outcome = run("train", config, "--out", tmp_path / "exp", "--quiet", *more)
    assert not (tmp_path / "exp").exists(), "nothing is written before data and config have proved usable"
    return outcome


def unlabelled(records):
    return [{"text": record["text"], "domain": record["domain"]} for record in records]


BOOKS, KITCHEN = reviews("books", 20), reviews("kitchen", 20)


def test_a_domain_without_labels_where_labels_are_needed(run, tmp_path: Path):
    outcome = trained_on(run, tmp_path, [*unlabelled(BOOKS), *KITCHEN])
    refused(outcome, "train.jsonl:1: none of the 20 documents of domain 'books' has a label", "under data.target")
    outcome = trained_on(run, tmp_path, [*BOOKS, *unlabelled(BOOKS[:2]), *KITCHEN])
    refused(outcome, "train.jsonl:21: a document", "train.jsonl:22: a document of domain 'books' has no label")


def test_a_label_unseen_in_the_source(run, tmp_path: Path, experiment):
    dev = write_lines(tmp_path / "dev.jsonl", [BOOKS[0], BOOKS[1] | {"label": "mixed"}])
    data = f"source: books, target: kitchen, dev: {dev}"
    outcome = trained_on(run, tmp_path, [*BOOKS, *KITCHEN], data)
    refused(outcome, "dev.jsonl:2: no document of the source has the label 'mixed'; the source has: negative, positive")
    outcome = run("classify", "--model", experiment, "--input", dev, "--score", "--out", tmp_path / "p")
    refused(outcome, "dev.jsonl:2: the model does not know the label 'mixed'; the model has: negative, positive")
    assert not (tmp_path / "p").exists()


def test_empty_documents(run, tmp_path: Path, experiment):
    outcome = trained_on(run, tmp_path, [*BOOKS, BOOKS[0] | {"text": " "}, {"label": "positive"}])
    refused(
        outcome, "train.jsonl:21: field 'text' is empty; remove the document", "train.jsonl:22: has no field 'text'"
    )
    (tmp_path / "in.txt").write_text("good\n\n")
    outcome = run("classify", "--model", experiment, "--input", tmp_path / "in.txt", "--out", tmp_path / "p")
    refused(outcome, "in.txt:2: the line is empty; remove the document")
    assert not (tmp_path / "p").exists()


def test_one_class_only(run, tmp_path: Path):
    outcome = trained_on(run, tmp_path, [*(one for one in BOOKS if one["label"] == "positive"), *KITCHEN])
    refused(outcome, "train.jsonl:1: all 9 labelled documents are 'positive'", "add documents of another class")


def test_different_vocabularies(run, tmp_path: Path, experiment: Path, folder: Path):
    import shutil

    shutil.copytree(experiment / "model", tmp_path / "model")
    vocabulary = tmp_path / "model" / "vocabulary.txt"
    vocabulary.write_text("".join(sorted(vocabulary.read_text().splitlines(keepends=True), reverse=True)))
    outcome = run("classify", "--model", tmp_path / "model", "--input", folder / "test.jsonl")
    refused(
        outcome, "vocabulary.txt: is not the vocabulary that the model was trained with; copy the model folder again"
    )


def test_documents_in_another_language_are_counted(run, tmp_path: Path, experiment: Path):
    texts = ["ein gutes Buch", "das Messer ist stumpf", BOOKS[0]["text"]]
    (tmp_path / "in.txt").write_text("".join(f"{text}\n" for text in texts))
    done = run("classify", "--model", experiment, "--input", tmp_path / "in.txt")
    assert done.code == 0
    assert len(done.out.splitlines()) == 3
    said = "note: 2 of 3 documents have no n-gram that the model knows; their labels are a guess"
    assert [line for line in done.err.splitlines() if line.startswith("note")] == [said]
    (tmp_path / "in.txt").write_text(BOOKS[0]["text"])
    assert "note" not in run("classify", "--model", experiment, "--input", tmp_path / "in.txt").err


def test_a_saved_record_that_lacks_a_metric_is_named(run, tmp_path: Path, experiment: Path, folder: Path):
    import shutil

    shutil.copytree(experiment, tmp_path / "exp")
    (tmp_path / "exp" / "dev.json").write_text('{"metrics": {"source_accuracy": 90.0}}')
    outcome = run("train", folder / "c.yaml", "--out", tmp_path / "exp", "--quiet")
    refused(outcome, "dev.json: is damaged; remove it; the model itself is finished")


def test_an_unlabelled_file_that_has_labels_is_used_without_them_and_it_is_said(run, tmp_path: Path):
    files = [write_lines(tmp_path / f"{name}.jsonl", part) for name, part in (("books", BOOKS), ("new", KITCHEN))]
    config = write_config(tmp_path / "c.yaml", f"train: [{files[0]}, {files[1]}], target: kitchen", epochs=1)
    outcome = run("train", config, "--out", tmp_path / "exp", "--quiet", "--set", "method=mmd")
    assert outcome.code == 0, outcome.err
    assert (
        "note: 20 documents of target domain 'kitchen' have labels: they are dropped, nothing sees them" in outcome.err
    )


def test_no_labels_to_score_no_model_and_no_such_task(run, tmp_path: Path, experiment: Path, folder: Path):
    path = write_lines(tmp_path / "in.jsonl", unlabelled(BOOKS))
    refused(run("classify", "--model", experiment, "--input", path, "--score"), "no document has a label to score")
    refused(run("classify", "--model", tmp_path, "--input", path), "has no config.yaml, so it is no text classifier")
    refused(run("classify", "--model", experiment, "--input", tmp_path / "absent"), "absent: cannot be read")
    (tmp_path / "c.yaml").write_text("data: {}\ntask: tagging\n")
    outcome = run("train", tmp_path / "c.yaml", "--out", tmp_path / "exp")
    refused(outcome, "c.yaml:2: there is no task 'tagging'; write 'task: text-classification'")


def test_every_bad_line_of_every_file_is_listed_at_once(run, tmp_path: Path):
    (tmp_path / "a.jsonl").write_text("x\n[]\n")
    (tmp_path / "b.jsonl").write_text('{"text": 1}\n')
    config = write_config(tmp_path / "c.yaml", f"train: [{tmp_path}/a.jsonl, {tmp_path}/b.jsonl]")
    outcome = run("train", config, "--out", tmp_path / "exp")
    refused(outcome, "a.jsonl:1: ", "a.jsonl:2: ", "b.jsonl:1: ")
    assert len(outcome.errors) == 3
