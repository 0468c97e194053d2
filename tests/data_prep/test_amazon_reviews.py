from __future__ import annotations

import json
import lzma
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.amazon_reviews import DOMAINS, LABELS, NAME, prepare
from data_prep.checksums import check_files
from data_prep.fetch import CORPORA, fetch
from data_prep.text_split import split_of
from speechnlp_tl.errors import InputError

REVIEW = (
    "<review>\n<unique_id>\nreview:1\n</unique_id>\n<rating>\n{stars}\n</rating>\n"
    "<review_text>\n{text}\n</review_text>\n</review>\n"
)


def test_the_title_stands_before_the_text_and_does_not_move_a_copy_to_the_other_side(
    corpus: Path, tmp_path: Path
) -> None:
    bodies = [review(f"body {n}", "positive") for n in range(30)]
    titled = [one.replace("<rating>", f"<title>\nOn  {n}\n</title>\n<rating>") for n, one in enumerate(bodies)]
    (corpus / "books" / "positive.review").write_text("".join([*bodies, *titled]))
    sides = defaultdict(set)
    for split, records in read(prepare(corpus, tmp_path / "out")).items():
        for record in records:
            if "body" in record["text"]:
                sides[record["text"].partition("\n")[2] or record["text"]].add((split, record["text"][:4]))
    assert len(sides) == 30
    assert all(len({split for split, _ in side}) == 1 for side in sides.values())
    assert all({start for _, start in side} == {"body", f"On {body[5:6]}"} for body, side in sides.items())


def review(text: str, label: str) -> str:
    return REVIEW.format(stars={"positive": "4.0", "negative": "2.0"}[label], text=text)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Forty reviews in each file; the kitchen files are compressed."""
    for domain in DOMAINS:
        folder = tmp_path / "data" / domain
        folder.mkdir(parents=True)
        for label in LABELS:
            text = "<reviews>\n" + "".join(review(f"{domain} {label} {n} & so <on>", label) for n in range(40))
            if domain == "kitchen":
                (folder / f"{label}.review.xz").write_bytes(lzma.compress(text.encode()))
            else:
                (folder / f"{label}.review").write_text(text, encoding="utf-8")
    return tmp_path / "data"


def read(files: dict[str, Path]) -> dict[str, list[dict[str, str]]]:
    return {split: [json.loads(line) for line in path.read_text().splitlines()] for split, path in files.items()}


def test_every_review_comes_out_once_with_its_label_and_domain_as_it_was_written(corpus: Path, tmp_path: Path) -> None:
    found = read(prepare(corpus, tmp_path / "out"))
    records = [*found["train"], *found["test"]]
    expected = {(f"{d} {label} {n} & so <on>", label, d) for d in DOMAINS for label in LABELS for n in range(40)}
    assert len(records) == len(expected)
    assert {(r["text"], r["label"], r["domain"]) for r in records} == expected
    assert 30 < len(found["test"]) < 100
    record = json.loads((tmp_path / "out/prepared.json").read_text())
    assert record["splits"]["test/dvd"] == {
        label: sum(r["domain"] == "dvd" and r["label"] == label for r in found["test"]) for label in LABELS
    }


def test_entities_and_broken_bytes_are_text(corpus: Path, tmp_path: Path) -> None:
    nasty = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]> &e; &quot; \x1a <b>bold</b>'
    path = corpus / "books" / "positive.review"
    path.write_bytes(review(nasty, "positive").encode() + review("caf\xe9", "positive").encode("latin-1"))
    found = read(prepare(corpus, tmp_path / "out"))
    texts = {r["text"] for split in found.values() for r in split if (r["domain"], r["label"]) == ("books", "positive")}
    assert texts == {nasty, "caf\ufffd"}


@given(st.text(alphabet="abc XY,.!", max_size=30), st.floats(0.0, 1.0))
def test_copies_that_differ_in_case_and_punctuation_stand_on_one_side(text: str, share: float) -> None:
    assert split_of(text, share) == split_of(f"  {text.upper()}!", share)
    assert split_of(text, 0.0) == "train"
    assert split_of(text, 1.0) == "test"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (REVIEW.format(stars="2.0", text="x"), "review 1 has 2 stars and stands among the positive ones"),
        (REVIEW.format(stars="many", text="x"), "has the rating 'many'"),
        (REVIEW.format(stars="5.0", text=" "), "has an empty text"),
        ("<review>\n<rating>\n5.0\n</rating>\n</review>\n", "has 1 ratings and 0 texts"),
        ("<review>\n<rating>\n5.0\n", "has 0 ratings and 0 texts"),
        ("nothing\n", "holds no reviews"),
    ],
)
def test_reviews_that_make_no_sense_are_named(corpus: Path, tmp_path: Path, content: str, said: str) -> None:
    (corpus / "dvd" / "positive.review").write_text(content)
    (corpus / "books" / "negative.review").unlink()
    with pytest.raises(InputError) as caught:
        prepare(corpus, tmp_path / "out")
    assert {problem.file for problem in caught.value.problems} >= {corpus / "books/negative.review"}
    assert said in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_copy_without_names_has_the_checksum_of_the_original(tmp_path: Path) -> None:
    original = "<review>\r\n<reviewer>\r\nJane\r\n</reviewer>\r\n<rating>\r\n5.0\r\n</rating>\r\n</review>\r\n"
    bare = "<review>\n<reviewer>\n</reviewer>\n<rating>\n5.0\n</rating>\n</review>\n"
    other = bare.replace("5.0", "1.0")
    for name, content in {"original": original, "bare": bare, "other": other}.items():
        (tmp_path / name).write_bytes(content.encode())
    plain = "<review>\n<rating>\n5.0\n</rating>\n</review>\n"
    import hashlib

    wanted = hashlib.sha256(plain.encode()).hexdigest()
    for name in ("original", "bare"):
        check_files(tmp_path, {name: wanted}, shown="here", remedy="", hidden=["reviewer"])
    with pytest.raises(InputError, match="damaged"):
        check_files(tmp_path, {"other": wanted}, shown="here", remedy="", hidden=["reviewer"])


def test_the_real_corpus_has_no_copy_on_both_sides(real_data: Path, tmp_path: Path) -> None:
    if not (real_data / "text" / "amazon_raw_xml").exists():
        pytest.skip("the raw Amazon reviews are not in SPEECHNLP_DATA")
    found = read(prepare(fetch(CORPORA[NAME]), tmp_path / "out"))
    sides: dict[str, set[str]] = defaultdict(set)
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for split, records in found.items():
        for record in records:
            body = record["text"].partition("\n")[2]
            sides["".join(filter(str.isalnum, body.lower()))].add(split)
            counts[record["domain"], record["label"]] += 1
    assert set(counts.values()) == {1000}
    assert len(counts) == 8
    assert len(sides) < 8000, "there are copies"
    assert all(len(side) == 1 for side in sides.values())
