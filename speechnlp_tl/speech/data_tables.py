"""The text files of a Kaldi data directory: their lines, their ids, and whether the files agree with one another.

Reading is forgiving and keeps a `Finding` for everything that is wrong, so that all of it can be reported at once
(`speech.data_checks`), refused (`speech.data_dir`) or mended (`speech.data_fix`). No audio is read here.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.audio import is_pipe

REQUIRED = ("wav.scp", "utt2spk", "spk2utt")
FILES = ("wav.scp", "segments", "text", "utt2spk", "spk2utt", "utt2lang", "spk2gender", "utt2dur")
BY_UTTERANCE = ("segments", "text", "utt2spk", "utt2lang", "utt2dur")


@dataclass(frozen=True)
class Finding(Problem):
    """One thing wrong in a data directory. `code` names the kind; `severity` is `error` or `warning`."""

    severity: str = "error"
    code: str = ""
    utterance: str | None = None
    recording: str | None = None


@dataclass(frozen=True)
class Entry:
    """One line of a table: what stands behind its id, and where."""

    value: str
    line: int


@dataclass
class Table:
    """One file: the first line of every id, in the file's order."""

    file: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    untrusted: set[str] = field(default_factory=set)
    """Ids whose lines contradict one another or are not UTF-8."""


@dataclass
class Tables:
    """All files of a data directory, and everything found wrong with them so far."""

    path: Path
    tables: dict[str, Table]
    findings: list[Finding]

    def get(self, name: str) -> dict[str, Entry]:
        """The entries of a file; none when it is absent."""
        return self.tables[name].entries if name in self.tables else {}

    def value(self, name: str, key: str) -> str | None:
        entry = self.get(name).get(key)
        return None if entry is None else entry.value

    @property
    def utterances(self) -> list[str]:
        """Every utterance that has audio: ids of `segments` when there is one, else of `wav.scp`."""
        return list(self.get("segments" if "segments" in self.tables else "wav.scp"))

    def segment(self, utterance: str) -> tuple[str, float, float] | None:
        """(recording, start, end) of an utterance; None without `segments` or when the line is malformed."""
        value = self.value("segments", utterance)
        return None if value is None else parse_segment(value)

    def audio(self, recording: str) -> str | None:
        """The recording's audio: an absolute path or a pipe."""
        value = self.value("wav.scp", recording)
        return None if value is None else resolve_audio(value, self.path)


def resolve_audio(entry: str, directory: Path) -> str:
    """An absolute path for a wav.scp entry; pipes are returned as they are.

    A relative path is looked up in the data directory first, so that a directory means the same wherever a command
    is started, and then, as Kaldi does, in the working directory.
    """
    if is_pipe(entry) or Path(entry).is_absolute():
        return entry
    inside = Path.cwd() / directory / entry
    found = inside if inside.exists() or not Path(entry).exists() else Path.cwd() / entry
    return os.path.normpath(found)


def parse_segment(value: str) -> tuple[str, float, float] | None:
    """`recording start end` as numbers; None when it is not that."""
    parts = value.split()
    if len(parts) != 3:
        return None
    start, end = parse_number(parts[1]), parse_number(parts[2])
    return None if start is None or end is None else (parts[0], start, end)


def parse_number(text: str) -> float | None:
    """A finite decimal number, or None."""
    return float(text) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", text) else None


def format_table(rows: Mapping[str, str]) -> str:
    """The text of a file: one `id value` line per row, in the C locale's order (order of UTF-8 bytes)."""
    return "".join(f"{key} {rows[key]}".rstrip(" ") + "\n" for key in sorted(rows))


def invert(utt2spk: Mapping[str, str]) -> dict[str, str]:
    """The rows of spk2utt that belong to utt2spk."""
    speakers: dict[str, list[str]] = {}
    for utterance in sorted(utt2spk):
        speakers.setdefault(utt2spk[utterance], []).append(utterance)
    return {speaker: " ".join(utterances) for speaker, utterances in speakers.items()}


def read_tables(path: str | Path) -> Tables:
    """Read every file of a data directory and check lines, ids and agreement between the files.

    Raises:
        InputError: `path` is not a directory, or holds no wav.scp at all.
    """
    path = Path(path)
    if not path.is_dir():
        what = "is not a directory" if path.exists() else "does not exist"
        raise InputError(Problem(f"data directory {what}", file=path, remedy="check the path"))
    if not (path / "wav.scp").is_file():
        raise InputError(
            Problem(
                "is not a Kaldi data directory: it has no wav.scp", file=path, remedy="see docs/data-directories.md"
            )
        )
    result = Tables(path, {}, [])
    for name in FILES:
        if (path / name).is_file():
            result.tables[name] = _read_table(path / name, result.findings)
        elif name in REQUIRED:
            rebuilt = name == "spk2utt" or (path / "spk2utt").is_file()
            remedy = f"run 'speechnlp-tl data fix {path}'" if rebuilt else "write a line 'utterance speaker' for each"
            _add(result, name, "missing-file", f"{name} is missing", remedy)
    if not result.get("wav.scp"):
        _add(result, "wav.scp", "empty-file", "wav.scp lists no recordings", "prepare the data again")
    _check_audio_ids(result)
    _check_utterance_ids(result)
    _check_speakers(result)
    _check_values(result)
    return result


def _add(
    tables: Tables,
    name: str,
    code: str,
    what: str,
    remedy: str | None = None,
    key: str | None = None,
    utterance: str | None = None,
    recording: str | None = None,
    severity: str = "error",
) -> None:
    """Keep a finding about the line of `key` in file `name`."""
    entry = tables.get(name).get(key) if key is not None else None
    line = None if entry is None else entry.line
    tables.findings.append(Finding(what, tables.path / name, line, remedy, severity, code, utterance, recording))


def _read_table(file: Path, findings: list[Finding]) -> Table:
    """Parse one file line by line; what is mended on the way (line ends, spaces) is still a finding."""
    table = Table(file)
    fix = f"run 'speechnlp-tl data fix {file.parent}'"
    content = file.read_bytes()
    if content.startswith(codecs.BOM_UTF8):
        findings.append(Finding("begins with a byte-order mark", file, 1, fix, code="bom"))
        content = content[len(codecs.BOM_UTF8) :]
    lines = content.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    crlf = [number for number, line in enumerate(lines, 1) if line.endswith(b"\r")]
    if crlf:
        what = f"has Windows line ends (CRLF) in {len(crlf)} of {len(lines)} lines"
        findings.append(Finding(what, file, crlf[0], fix, code="crlf"))
    previous = None
    for number, raw in enumerate(lines, 1):
        parsed = _read_line(table, number, raw.removesuffix(b"\r"), fix, findings)
        if parsed is None:
            continue
        key, value = parsed
        if key in table.entries:
            _add_duplicate(table, key, value, number, fix, findings)
            continue
        table.entries[key] = Entry(value, number)
        if previous is not None and key < previous:
            what = f"is not sorted in the C locale: '{key}' stands after '{previous}'"
            # One finding per file is enough: everything after the first misplaced line may be off.
            if not any(finding.code == "unsorted" and finding.file == file for finding in findings):
                findings.append(Finding(what, file, number, f"{fix}, or sort with LC_ALL=C", code="unsorted"))
        previous = key
    return table


def _read_line(table: Table, number: int, raw: bytes, fix: str, findings: list[Finding]) -> tuple[str, str] | None:
    """One line as (id, value), or None for a blank one."""
    file = table.file
    try:
        line = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.decode("utf-8", errors="backslashreplace")
        what = f"is not UTF-8: byte 0x{raw[error.start]:02x} at column {error.start + 1}"
        key = line.split(" ", 1)[0]
        table.untrusted.add(key)
        utterance = key if file.name in BY_UTTERANCE else None
        recording = key if file.name == "wav.scp" else None
        remedy = "convert the file to UTF-8, with iconv for example"
        findings.append(Finding(what, file, number, remedy, "error", "encoding", utterance, recording))
    if not line.strip():
        findings.append(Finding("is a blank line", file, number, fix, code="blank-line"))
        return None
    # Paths may hold anything; elsewhere Kaldi's tools and Python's split() disagree about other white space.
    head, _, rest = line.strip().partition(" ") if file.name == "wav.scp" else ("", "", line)
    if re.search(r"[^\S ]|[\x00-\x1f\x7f]|^ | $|  ", head if file.name == "wav.scp" else line):
        what = "has tabs, double or trailing spaces, or other white space than single spaces"
        findings.append(Finding(what, file, number, fix, code="whitespace"))
    elif file.name == "wav.scp" and (rest != rest.strip() or line != line.strip()):
        findings.append(Finding("has double or trailing spaces", file, number, fix, code="whitespace"))
    clean = re.sub(r"[\x00-\x08\x0e-\x1f\x7f]", "", line)
    parts = clean.split(None, 1)
    key = parts[0] if parts else ""
    value = parts[1].strip() if len(parts) > 1 else ""
    return key, value if file.name == "wav.scp" else " ".join(value.split())


def _add_duplicate(table: Table, key: str, value: str, number: int, fix: str, findings: list[Finding]) -> None:
    """An id that stands twice: harmless when both lines agree, a contradiction when they do not."""
    first = table.entries[key]
    same = first.value == value
    if not same:
        table.untrusted.add(key)
    utterance = key if table.file.name in BY_UTTERANCE else None
    recording = key if table.file.name == "wav.scp" else None
    findings.append(
        Finding(
            f"id '{key}' stands already in line {first.line}" + ("" if same else " with other content"),
            table.file,
            number,
            fix if same else "keep the right one of the two lines",
            code="duplicate" if same else "conflict",
            utterance=utterance,
            recording=recording,
        )
    )


def _check_audio_ids(tables: Tables) -> None:
    """Segments must name recordings of wav.scp and say where they are in them."""
    used = set()
    for utterance, entry in tables.get("segments").items():
        parsed = parse_segment(entry.value)
        if parsed is None:
            what = f"'{entry.value}' is not 'recording start end' with times in seconds"
            _add(tables, "segments", "bad-segment", what, "correct the line", utterance, utterance)
            continue
        recording, start, end = parsed
        used.add(recording)
        if recording not in tables.get("wav.scp"):
            what = f"utterance {utterance}: recording {recording} is not in wav.scp"
            _add(tables, "segments", "no-audio", what, "add it to wav.scp or remove the line", utterance, utterance)
        if not 0 <= start < end:
            what = f"segment from {start:g} s to {end:g} s is empty or negative"
            _add(tables, "segments", "bad-segment", what, "correct the times", utterance, utterance)
    if "segments" in tables.tables:
        for recording in tables.get("wav.scp"):
            if recording not in used:
                what = f"recording {recording} is used by no segment"
                _add(tables, "wav.scp", "unused-recording", what, None, recording, severity="warning")
    for recording, entry in tables.get("wav.scp").items():
        if not entry.value:
            what = f"recording {recording} has no path"
            _add(tables, "wav.scp", "no-audio", what, "add the path of its audio", recording, recording=recording)


def _check_utterance_ids(tables: Tables) -> None:
    """Every utterance must stand in every file that has one line per utterance, and nothing else may."""
    known = dict.fromkeys(tables.utterances)
    where = "segments" if "segments" in tables.tables else "wav.scp"
    fix = f"run 'speechnlp-tl data fix {tables.path}'"
    codes = {"text": "no-text", "utt2spk": "no-speaker", "utt2lang": "no-language", "utt2dur": "no-duration"}
    nouns = {"text": "transcript", "utt2spk": "speaker", "utt2lang": "language", "utt2dur": "duration"}
    for name, code in codes.items():
        if name not in tables.tables:
            continue
        for utterance in tables.get(name):
            if utterance not in known:
                what = f"utterance {utterance} has no audio in {where}"
                _add(tables, name, "no-audio", what, f"add it or {fix}", utterance, utterance)
        for utterance in known:
            if utterance not in tables.get(name):
                what = f"utterance {utterance} has no {nouns[name]} in {name}"
                severity = "error" if name in ("text", "utt2spk") else "warning"
                _add(tables, where, code, what, f"add it or {fix}", utterance, utterance, severity=severity)
    if "text" not in tables.tables:
        what = "there are no transcripts (no file text): good for transcribing, not for training"
        _add(tables, "text", "no-transcripts", what, severity="warning")


def _check_speakers(tables: Tables) -> None:
    """spk2utt must be the inverse of utt2spk, spk2gender must know its speakers, ids should begin with the speaker."""
    fix = f"run 'speechnlp-tl data fix {tables.path}'"
    utt2spk = {utterance: entry.value for utterance, entry in tables.get("utt2spk").items()}
    for utterance, speaker in utt2spk.items():
        if not speaker or " " in speaker:
            what = f"utterance {utterance} has {'no speaker' if not speaker else 'more than one speaker'}"
            _add(tables, "utt2spk", "no-speaker", what, "write one speaker", utterance, utterance)
        elif not utterance.startswith(speaker):
            what = f"utterance {utterance} does not begin with its speaker {speaker}, as Kaldi's sorting wants"
            _add(tables, "utt2spk", "speaker-prefix", what, None, utterance, utterance, severity="warning")
    if "spk2utt" in tables.tables and "utt2spk" in tables.tables:
        expected = invert(utt2spk)
        found = tables.get("spk2utt")
        for speaker in sorted(expected.keys() | found.keys()):
            if speaker not in found:
                _add(tables, "spk2utt", "spk2utt", f"speaker {speaker} of utt2spk is missing", fix)
            elif found[speaker].value != expected.get(speaker):
                what = f"the utterances of speaker {speaker} are not those of utt2spk, in order"
                _add(tables, "spk2utt", "spk2utt", what, fix, speaker)
    if "spk2gender" in tables.tables:
        speakers = set(utt2spk.values())
        for speaker in sorted(speakers - tables.get("spk2gender").keys()):
            _add(tables, "spk2gender", "no-gender", f"speaker {speaker} is missing", "add it", severity="warning")
        for speaker in tables.get("spk2gender"):
            if speaker not in speakers:
                what = f"speaker {speaker} has no utterance in utt2spk"
                _add(tables, "spk2gender", "unknown-speaker", what, fix, speaker)


def _check_values(tables: Tables) -> None:
    """Values that no audio is needed to judge: empty transcripts, durations, genders, languages."""
    for utterance, entry in tables.get("text").items():
        if not entry.value:
            what = f"utterance {utterance} has an empty transcript"
            _add(tables, "text", "empty-text", what, "transcribe it or remove it", utterance, utterance)
    for utterance, entry in tables.get("utt2dur").items():
        duration = parse_number(entry.value)
        if duration is None or duration <= 0:
            what = f"'{entry.value}' is not a duration in seconds"
            fix = f"run 'speechnlp-tl data fix {tables.path}'"
            _add(tables, "utt2dur", "bad-duration", what, fix, utterance, utterance)
    for utterance, entry in tables.get("utt2lang").items():
        if not entry.value or " " in entry.value:
            _add(tables, "utt2lang", "no-language", f"'{entry.value}' is not one language", None, utterance, utterance)
    for speaker, entry in tables.get("spk2gender").items():
        if entry.value not in ("m", "f"):
            what = f"gender '{entry.value}' of speaker {speaker} is neither m nor f"
            _add(tables, "spk2gender", "gender", what, None, speaker, severity="warning")


def check_paths(tables: Tables, allow_pipes: bool) -> list[Finding]:
    """Pipes without permission, and audio files that are not there."""
    findings = []
    file = tables.path / "wav.scp"
    for recording, entry in tables.get("wav.scp").items():
        audio = tables.audio(recording)
        if not entry.value or not audio:
            continue
        if is_pipe(audio) and not allow_pipes:
            what = f"recording {recording} is a shell command, and data must not run commands"
            remedy = "convert the audio to files once, or give --allow-pipes if you trust this data"
            findings.append(Finding(what, file, entry.line, remedy, code="audio-pipe", recording=recording))
        elif not is_pipe(audio) and not Path(audio).is_file():
            what = f"recording {recording}: audio file {entry.value} does not exist"
            remedy = "correct the path or remove the line"
            findings.append(Finding(what, file, entry.line, remedy, code="audio-missing", recording=recording))
    return findings


def as_problems(findings: Iterable[Finding]) -> list[Problem]:
    """The errors among findings, for an InputError."""
    return [finding for finding in findings if finding.severity == "error"]
