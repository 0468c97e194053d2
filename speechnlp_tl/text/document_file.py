"""Documents from a user's files: JSON Lines with a text and, where they are known, a label and a domain."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.errors import InputError, Problem

MOST_LISTED = 20
"""Bad lines of one file that are named; the rest is counted."""


class FieldNames(StrictModel):
    """What the fields are called in the files."""

    text: str = Field("text", min_length=1)
    label: str = Field("label", min_length=1)
    domain: str = Field("domain", min_length=1)


@dataclass(frozen=True)
class Document:
    """One document and where it stands."""

    text: str
    label: str | None
    """Its name: `positive`, or `1` for a number; None where it is not known."""
    domain: str | None
    file: Path
    line: int


def read_documents(path: str | Path, fields: FieldNames | None = None) -> list[Document]:
    """The documents of a JSON Lines file in UTF-8, one object a line; fields of other names are not looked at.

    A label is a string or a whole number and kept as a name, a domain a string; either may be absent or null.

    Raises:
        InputError: the file cannot be read or is empty, or lines that are no documents: not UTF-8 or JSON, no text, an
            empty one, a label or domain of another type. Names the first 20 lines and counts the rest.
    """
    path, fields = Path(path), fields or FieldNames()
    return parse_documents(read_lines(path), path, fields)


def parse_documents(lines: Iterable[bytes], path: Path, fields: FieldNames) -> list[Document]:
    """As `read_documents`, from lines that are there already; `path` is what messages call them."""
    return _collect(lines, path, lambda line, number: _document(line, path, number, fields))


def parse_plain_text(lines: Iterable[bytes], path: Path) -> list[Document]:
    """One document a line, in UTF-8, without labels.

    Raises:
        InputError: nothing there, lines that are empty or not UTF-8.
    """
    return _collect(
        lines, path, lambda line, number: Document(_checked_text(line, "the line"), None, None, path, number)
    )


def listed(problems: list[Problem], path: Path) -> list[Problem]:
    """The first of one file's problems, and how many more there are."""
    rest = len(problems) - MOST_LISTED
    return problems if rest <= 0 else [*problems[:MOST_LISTED], Problem(f"{rest} more lines are bad", file=path)]


def read_lines(path: Path) -> list[bytes]:
    """The lines of a file, with their ends.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror or error}", file=path)) from error


class _LineError(Exception):
    """What is wrong with a line, and what to do about it."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what, self.remedy = what, remedy


def _collect(lines: Iterable[bytes], path: Path, parse: Callable[[str, int], Document]) -> list[Document]:
    documents: list[Document] = []
    problems: list[Problem] = []
    for number, raw in enumerate(lines, start=1):
        try:
            documents.append(parse(_decoded(raw, number), number))
        except _LineError as bad:
            problems.append(Problem(bad.what, path, number, bad.remedy))
    if not documents and not problems:
        problems.append(Problem("holds no documents", file=path, remedy="give one document a line"))
    if problems:
        raise InputError(listed(problems, path))
    return documents


def _decoded(raw: bytes, number: int) -> str:
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise _LineError(f"is not UTF-8 (byte {error.start + 1})", "save the file as UTF-8") from None


def _document(line: str, path: Path, number: int, fields: FieldNames) -> Document:
    if not line.strip():
        raise _LineError("is empty", "remove the line")
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _LineError(f"is not JSON: {error}", "write one JSON object a line") from None
    if not isinstance(record, dict):
        raise _LineError("is not a JSON object", f'write {{"{fields.text}": "...", "{fields.label}": "..."}}')
    if fields.text not in record:
        have = ", ".join(sorted(map(str, record))[:8]) or "none"
        raise _LineError(f"has no field '{fields.text}' (fields: {have})", "name the field of the text in the config")
    text = record[fields.text]
    if not isinstance(text, str):
        raise _LineError(f"field '{fields.text}' must be a string, not {_kind(text)}", "put the text in quotes")
    label, domain = record.get(fields.label), record.get(fields.domain)
    if isinstance(label, bool) or not isinstance(label, str | int | None):
        what = f"field '{fields.label}' must be a string or a whole number, not {_kind(label)}"
        raise _LineError(what, "give one label, or null where it is not known")
    if not isinstance(domain, str | None):
        raise _LineError(f"field '{fields.domain}' must be a string, not {_kind(domain)}", "put its name in quotes")
    return Document(
        _checked_text(text, f"field '{fields.text}'"),
        None if label is None else _checked_name(str(label), fields.label),
        None if domain is None else _checked_name(domain, fields.domain),
        path,
        number,
    )


def _checked_text(text: str, name: str) -> str:
    if not text.strip():
        raise _LineError(f"{name} is empty", "remove the document")
    return _writable(text, name)


def _checked_name(name: str, field: str) -> str:
    if not name.strip() or len(name.splitlines()) > 1:
        raise _LineError(f"field '{field}' is empty or has a line break", "give a name, or null where it is not known")
    return _writable(name.strip(), f"field '{field}'")


def _writable(text: str, name: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise _LineError(f"{name} has half of a character (\\ud800 to \\udfff)", "mend or remove it") from None
    return text


def _kind(value: object) -> str:
    names = {bool: "true or false", float: "a broken number", int: "a number", list: "a list", dict: "an object"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
