"""A user's files of documents: what is read, and every bad line named with what to do about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechnlp_tl.errors import InputError
from speechnlp_tl.text.document_file import FieldNames, parse_documents, parse_plain_text, read_documents

WORDS = st.text(min_size=1, max_size=20).filter(lambda text: text.strip() and text.isprintable())


def problems_of(content: bytes, tmp_path: Path) -> list[str]:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_documents(path)
    return [str(problem) for problem in caught.value.problems]


@given(st.lists(st.tuples(WORDS, st.one_of(st.none(), WORDS, st.integers(-5, 5)), WORDS), min_size=1, max_size=8))
def test_what_was_written_is_read(records):
    lines = [json.dumps({"body": t, "stars": y, "shop": d, "other": [1]}).encode() + b"\n" for t, y, d in records]
    found = parse_documents(lines, Path("x"), FieldNames(text="body", label="stars", domain="shop"))
    expected = [(t, None if y is None else str(y).strip(), d.strip()) for t, y, d in records]
    assert [(document.text, document.label, document.domain) for document in found] == expected
    assert [document.line for document in found] == list(range(1, len(records) + 1))


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path):
    path = tmp_path / "docs.jsonl"
    path.write_bytes('\ufeff{"text": "é", "label": 1}\r\n{"text": "b"}'.encode())
    one, two = read_documents(path)
    assert (one.text, one.label, two.text, two.label, two.domain) == ("é", "1", "b", None, None)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"\n", "is empty; remove the line"),
        (b"nonsense\n", "is not JSON"),
        (b'["a"]\n', "is not a JSON object"),
        (b'{"txt": "a"}\n', "has no field 'text' (fields: txt)"),
        (b'{"text": 3}\n', "'text' must be a string, not a number"),
        (b'{"text": null}\n', "'text' must be a string, not null"),
        (b'{"text": " \\n"}\n', "field 'text' is empty; remove the document"),
        (b'{"text": "a", "label": 1.5}\n', "'label' must be a string or a whole number, not a broken number"),
        (b'{"text": "a", "label": true}\n', "not true or false"),
        (b'{"text": "a", "label": ["x"]}\n', "not a list"),
        (b'{"text": "a", "label": ""}\n', "field 'label' is empty"),
        (b'{"text": "a", "label": "x\\ny"}\n', "has a line break"),
        (b'{"text": "a", "domain": 3}\n', "'domain' must be a string, not a number"),
        (b'{"text": "\\ud800"}\n', "half of a character"),
        (b'{"text": "caf\xe9"}\n', "is not UTF-8 (byte 14); save the file as UTF-8"),
        (b"[" * 100_000 + b"\n", "is not JSON"),
        (b'{"text": "a", "label": ' + b"9" * 5000 + b"}\n", "is not JSON"),
    ],
)
def test_a_bad_line_is_named_with_its_number_and_a_remedy(tmp_path: Path, line: bytes, said: str):
    (problem,) = problems_of(b'{"text": "good"}\n' + line + b'{"text": "good"}\n', tmp_path)
    assert problem.startswith(f"{tmp_path / 'docs.jsonl'}:2: ")
    assert said in problem
    assert "; " in problem


def test_all_bad_lines_are_listed_up_to_a_limit(tmp_path: Path):
    found = problems_of(b"{}\n" * 3 + b'{"text": "good"}\n' + b"x\n", tmp_path)
    assert [line.split(":")[1] for line in found] == ["1", "2", "3", "5"]
    found = problems_of(b"{}\n" * 50, tmp_path)
    assert len(found) == 21
    assert found[-1].endswith("30 more lines are bad")


@pytest.mark.parametrize("content", [b"", None])
def test_a_file_without_documents_is_refused(tmp_path: Path, content: bytes | None):
    if content is not None:
        assert "holds no documents" in problems_of(content, tmp_path)[0]
    with pytest.raises(InputError, match="cannot be read"):
        read_documents(tmp_path / "absent.jsonl")


def test_plain_text_is_a_document_a_line_and_an_empty_line_none():
    found = parse_plain_text([b"one\n", b"two {\n"], Path("x.txt"))
    assert [document.text for document in found] == ["one", "two {"]
    with pytest.raises(InputError, match=r"x.txt:2: the line is empty"):
        parse_plain_text([b"one\n", b" \n"], Path("x.txt"))
