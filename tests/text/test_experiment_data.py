"""Which documents a text experiment learns from, chooses on, and never looks at the labels of."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechnlp_tl.errors import InputError
from speechnlp_tl.text.document_file import Document
from speechnlp_tl.text.experiment_data import TextDataConfig, data_digest, hold_out, read_corpus
from tests.tiny_text import reviews, write_lines


@pytest.fixture
def train(tmp_path: Path) -> Path:
    return write_lines(
        tmp_path / "train.jsonl", [*reviews("books", 40), *reviews("kitchen", 20), *reviews("music", 10)]
    )


def config(train: Path, **options: object) -> TextDataConfig:
    return TextDataConfig.model_validate({"train": str(train), "source": "books", "target": "kitchen"} | options)


def test_no_label_of_the_target_is_handed_on_and_it_is_said(train: Path):
    corpus = read_corpus(config(train))
    assert (len(corpus.labelled), len(corpus.dev), len(corpus.unlabelled)) == (36, 4, 20)
    assert {document.label for document in corpus.unlabelled} == {None}
    assert {document.domain for document in [*corpus.labelled, *corpus.dev]} == {"books"}
    assert corpus.notes == [
        "20 documents of target domain 'kitchen' have labels: they are dropped, nothing sees them",
        "domains that are neither source nor target are not used: music",
    ]


def test_every_domain_but_the_target_is_source_when_none_is_named(train: Path):
    corpus = read_corpus(config(train, source=[], dev_share=0))
    assert {document.domain for document in corpus.labelled} == {"books", "music"}
    assert corpus.dev == []


def test_the_oracle_chooses_on_target_documents_that_are_not_adapted_to(train: Path):
    corpus = read_corpus(config(train), "oracle")
    assert {document.domain for document in corpus.dev} == {"kitchen"}
    assert {document.label for document in corpus.dev} == {"negative", "positive"}
    assert {document.label for document in corpus.unlabelled} == {None}
    assert not {document.line for document in corpus.dev} & {document.line for document in corpus.unlabelled}
    assert len(corpus.labelled) == 40


def test_a_dev_file_is_used_for_the_side_that_the_rule_names(train: Path, tmp_path: Path):
    dev = write_lines(tmp_path / "dev.jsonl", [*reviews("books", 6, seed=1), *reviews("kitchen", 4, seed=1)])
    corpus = read_corpus(config(train, dev=str(dev)))
    assert (len(corpus.labelled), len(corpus.dev)) == (40, 6)
    assert corpus.notes[-1] == "data.dev: 4 documents are not of the source and are not used"
    assert len(read_corpus(config(train, dev=str(dev)), "oracle").dev) == 4


def test_a_document_without_a_domain_is_of_the_one_its_file_is_named_after(tmp_path: Path):
    files = []
    for product in ("books", "kitchen"):
        records = [{"text": r["text"], "label": r["label"]} for r in reviews(product, 10)]
        files.append(str(write_lines(tmp_path / f"{product}.train.jsonl", records)))
    corpus = read_corpus(TextDataConfig.model_validate({"train": files, "target": "kitchen"}))
    assert {document.file.name for document in corpus.labelled} == {"books.train.jsonl"}
    assert len(corpus.unlabelled) == 10


def test_labels_that_are_numbers_are_in_the_order_of_numbers(tmp_path: Path):
    records = [{"text": f"t{n}", "label": n % 12} for n in range(48)]
    corpus = read_corpus(TextDataConfig.model_validate({"train": str(write_lines(tmp_path / "a.jsonl", records))}))
    assert corpus.labels == tuple(map(str, range(12)))


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["x", "y"])), min_size=1, max_size=40),
    st.floats(0, 0.9),
    st.integers(0, 5),
)
def test_held_out_documents_share_no_text_with_the_rest_whatever_its_labels_and_leave_some_of_each(pairs, share, seed):
    documents = [Document(text, label, None, Path("f"), line) for line, (text, label) in enumerate(pairs)]
    kept, held = hold_out(documents, share, seed)
    assert sorted(d.line for d in [*kept, *held]) == list(range(len(pairs)))
    assert not {d.text for d in kept} & {d.text for d in held}
    assert {d.label for d in kept} == {d.label for d in documents}
    assert (kept, held) == hold_out(documents, share, seed)


def test_the_digest_follows_the_contents(train: Path):
    before = data_digest(config(train))
    assert data_digest(config(train)) == before
    train.write_text(train.read_text().replace("books", "boots", 1))
    assert data_digest(config(train)) != before
    with pytest.raises(InputError) as caught:
        data_digest(config(Path("absent.jsonl"), dev="gone.jsonl"))
    assert [problem.file.name for problem in caught.value.problems] == ["absent.jsonl", "gone.jsonl"]


def problems(train: Path, selection="source validation", **options: object) -> str:
    with pytest.raises(InputError) as caught:
        read_corpus(config(train, **options), selection)
    return str(caught.value)


def test_labels_that_are_missing_or_unseen_are_named_by_line(tmp_path: Path):
    def without(record: dict[str, str]) -> dict[str, str]:
        return {key: value for key, value in record.items() if key != "label"}

    books, kitchen = reviews("books", 8), reviews("kitchen", 4)
    train = write_lines(tmp_path / "train.jsonl", [*books[:6], without(books[6]), *kitchen])
    assert f"{train}:7: a document of domain 'books' has no label; label it, or name its domain" in problems(train)
    train = write_lines(tmp_path / "train.jsonl", [*map(without, books), *kitchen])
    assert f"{train}:1: none of the 8 documents of domain 'books' has a label" in problems(train)
    train = write_lines(tmp_path / "train.jsonl", [*books, *map(without, kitchen)])
    assert "none of the" in problems(train, "oracle")
    dev = write_lines(tmp_path / "dev.jsonl", [books[0], books[1] | {"label": "mixed"}])
    said = f"{dev}:2: no document of the source has the label 'mixed'; the source has: negative, positive"
    assert said in problems(train, dev=str(dev))


def test_one_text_for_each_label_leaves_nothing_to_choose_on(tmp_path: Path):
    two = write_lines(tmp_path / "books.jsonl", [{"text": label, "label": label} for label in ("good", "bad")])
    said = "selection: source validation has no source documents to choose on"
    assert said in problems(two, source=[], target=[])
    assert len(read_corpus(TextDataConfig(train=[two]), "last epoch").labelled) == 2


def test_one_class_unknown_domains_and_missing_sides_are_refused(train: Path, tmp_path: Path):
    assert "domain 'kitchn' is in none of the training files; they have: books, kitchen, music" in problems(
        train, target="kitchn"
    )
    assert "there is no source domain" in problems(train, source=[], target=["books", "kitchen", "music"])
    assert "data.dev has no documents of the source; wanted: music" in problems(
        train, source="music", dev=str(write_lines(tmp_path / "dev.jsonl", reviews("books", 2)))
    )
    one = write_lines(tmp_path / "one.jsonl", [{"text": f"t{n}", "label": "x", "domain": "books"} for n in range(9)])
    assert "one.jsonl:1: all 8 labelled documents are 'x', a classifier needs two classes" in problems(one, target=[])
