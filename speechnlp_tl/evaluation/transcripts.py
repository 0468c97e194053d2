"""Reading what is scored: Kaldi `text` and `utt2spk` files. Checking whole data directories is not done here."""

from __future__ import annotations

from pathlib import Path

from speechnlp_tl.errors import InputError, Problem

_BYTE_ORDER_MARK = "\ufeff"
_WHITE_SPACE = " \t\r\f\v"
_NEITHER_UTF8 = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def read_transcripts(path: str | Path) -> dict[str, list[str]]:
    """Read a Kaldi `text` file: one utterance a line, its id, then its words; an id alone is an empty transcript.

    Words are separated by ASCII white space only, as in Kaldi: a no-break or ideographic space belongs to its word.
    A byte-order mark at the start and Windows line ends are dropped; nothing else is changed.

    Raises:
        InputError: the file cannot be read, or lines are blank, indented, not UTF-8 or name an id again; lists all.
    """
    transcripts, problems = _parse(Path(path))
    if problems:
        raise InputError(problems)
    return transcripts


def read_utt2spk(path: str | Path) -> dict[str, str]:
    """Read a Kaldi `utt2spk` file: `utterance speaker` on each line.

    Raises:
        InputError: as for `read_transcripts`, and for each utterance that has not exactly one speaker.
    """
    fields, problems = _parse(Path(path))
    for utterance, speakers in fields.items():
        if len(speakers) != 1:
            what = f"utterance {utterance} has {len(speakers)} speakers"
            problems.append(Problem(what, file=path, remedy="write 'utterance speaker' on each line"))
    if problems:
        raise InputError(problems)
    return {utterance: speakers[0] for utterance, speakers in fields.items()}


def _parse(path: Path) -> tuple[dict[str, list[str]], list[Problem]]:
    """The id and the further fields of every good line, and a problem for every bad one."""
    fields: dict[str, list[str]] = {}
    first_line: dict[str, int] = {}
    problems: list[Problem] = []
    for number, raw in enumerate(_raw_lines(path), start=1):
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            what = f"not UTF-8 (byte {raw[error.start]:#04x})"
            problems.append(Problem(what, file=path, line=number, remedy="save the file as UTF-8"))
            continue
        what, remedy = _complaint(line)
        if what:
            problems.append(Problem(what, file=path, line=number, remedy=remedy))
            continue
        identifier, *words = line.translate(_TO_SPACE).split(" ")
        if identifier in first_line:
            what = f"{identifier} stands already on line {first_line[identifier]}"
            problems.append(Problem(what, file=path, line=number, remedy="keep one of them"))
            continue
        first_line[identifier] = number
        fields[identifier] = [word for word in words if word]
    return fields, problems


_TO_SPACE = {ord(character): " " for character in _WHITE_SPACE}


def _raw_lines(path: Path) -> list[bytes]:
    """The lines without their ends. Only a line feed parts lines: str.splitlines() would cut at U+2028 as well."""
    if path.is_dir():
        raise InputError(Problem("is a folder", file=path, remedy=f"name a file, such as {path / 'text'}"))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror or error}", file=path)) from error
    if encoding := _NEITHER_UTF8.get(content[:2]):
        raise InputError(Problem(f"is {encoding}", file=path, remedy="save the file as UTF-8"))
    content = content.removeprefix(_BYTE_ORDER_MARK.encode())
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix(b"\r") for line in lines]


def _complaint(line: str) -> tuple[str, str]:
    """What is wrong with a line and what to do about it, or two empty strings."""
    if not line.strip(_WHITE_SPACE):
        return "empty line", "remove it"
    if line[0] in _WHITE_SPACE:
        return "the line starts with white space, so it has no id", "start it with the utterance's id"
    if "\r" in line:
        return "a carriage return inside the line", "end lines with a line feed"
    if line[0] == _BYTE_ORDER_MARK:
        return "a byte-order mark inside the file", "remove it; files were joined that each had one"
    return "", ""
