"""The validator of data directories: everything wrong with the files and with the audio, all at once.

What the text files say is checked in `speech.data_tables`; here the audio is opened and compared with them. Mending is
`speech.data_fix`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from speechnlp_tl.errors import Problem
from speechnlp_tl.speech.audio import AudioError, read_audio_and_rate
from speechnlp_tl.speech.data_tables import Finding, Tables, check_paths, parse_number, read_tables

MOST_CHARACTERS = 35.0
"""Characters (without spaces) per second that nobody speaks: such a transcript belongs to other audio."""
MOST_WORDS = 8.0
"""Words per second that nobody speaks."""
STALE_DURATION = 0.05
"""Seconds by which utt2dur may differ from the audio: it is usually rounded."""
_SILENCE = 1e-4  # peak to peak: three steps of 16 bits, so that dither over nothing is still nothing

Track = Callable[[Iterable["Heard"], int], Iterable["Heard"]]
"""Shows progress: takes what is iterated over and how many there are, and yields the same."""

Segments = list[tuple[str, float | None, float | None]]


@dataclass
class Heard:
    """What opening one recording showed."""

    recording: str
    rate: int | None = None
    error: AudioError | None = None
    """Why the whole recording cannot be used."""
    durations: dict[str, float] = field(default_factory=dict)
    errors: dict[str, AudioError] = field(default_factory=dict)
    """Why one utterance in it cannot be used."""
    silent: list[str] = field(default_factory=list)


@dataclass
class Inspection:
    """A data directory's files, everything found wrong, and the measured seconds of each readable utterance."""

    tables: Tables
    findings: list[Finding]
    durations: dict[str, float]


def validate(
    path: str | Path, read_audio: bool = True, allow_pipes: bool = False, track: Track | None = None
) -> list[Finding]:
    """Everything wrong with a data directory, errors and warnings, in the order of files and lines.

    Args:
        path: the directory.
        read_audio: read every recording, too; otherwise only whether the files exist.
        allow_pipes: run wav.scp entries that are shell commands.
        track: shows progress over the recordings.

    Raises:
        InputError: `path` is not a data directory at all.
    """
    return inspect(path, read_audio, allow_pipes, track).findings


def inspect(
    path: str | Path, read_audio: bool = True, allow_pipes: bool = False, track: Track | None = None
) -> Inspection:
    """`validate`, together with what was read on the way."""
    tables = read_tables(path)
    findings = [*tables.findings, *check_paths(tables, allow_pipes)]
    durations: dict[str, float] = {}
    if read_audio:
        unreadable = {finding.recording for finding in findings if finding.code in ("audio-pipe", "audio-missing")}
        jobs = [job for job in _jobs(tables) if job[0] not in unreadable]
        heard = _listen(tables, jobs, allow_pipes)
        reports = list(track(heard, len(jobs)) if track else heard)
        for report in reports:
            durations.update(report.durations)
            findings += _audio_findings(tables, report)
        findings += _rate_findings(tables, reports)
        findings += _duration_findings(tables, durations)
    findings += _length_findings(tables, durations or _stated_durations(tables))
    order = {name: number for number, name in enumerate(["wav.scp", "segments", "text", "utt2spk"])}
    findings.sort(key=lambda f: (order.get(Path(f.file or "").name, 9), str(f.file), f.line or 0))
    return Inspection(tables, findings, durations)


def _jobs(tables: Tables) -> list[tuple[str, Segments]]:
    """Recordings to open, each with the utterances in it."""
    if "segments" not in tables.tables:
        return [(recording, [(recording, None, None)]) for recording, e in tables.get("wav.scp").items() if e.value]
    jobs: dict[str, Segments] = {}
    for utterance in tables.get("segments"):
        segment = tables.segment(utterance)
        if segment is None:
            continue
        recording, start, end = segment
        if tables.value("wav.scp", recording) and 0 <= start < end:
            jobs.setdefault(recording, []).append((utterance, start, end))
    return list(jobs.items())


def _listen(tables: Tables, jobs: list[tuple[str, Segments]], allow_pipes: bool) -> Iterator[Heard]:
    """Open the recordings on a few threads (decoding is outside Python's lock); results in the order of `jobs`."""
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        yield from pool.map(lambda job: _hear(tables.audio(job[0]) or "", job[0], job[1], allow_pipes), jobs)


def _hear(source: str, recording: str, segments: Segments, allow_pipes: bool) -> Heard:
    """Read every utterance of a recording, as training would."""
    heard = Heard(recording)
    for utterance, start, end in segments:
        try:
            samples, heard.rate = read_audio_and_rate(source, start=start, end=end, allow_pipes=allow_pipes)
        except AudioError as error:
            if error.code not in ("segment", "empty", "samples"):
                heard.error = error
                break
            heard.errors[utterance] = error
            continue
        heard.durations[utterance] = len(samples) / heard.rate
        if float(samples.max() - samples.min()) < _SILENCE:
            heard.silent.append(utterance)
    return heard


def _line(tables: Tables, name: str, key: str) -> int | None:
    entry = tables.get(name).get(key)
    return None if entry is None else entry.line


def _audio_findings(tables: Tables, heard: Heard) -> list[Finding]:
    """What one recording's audio has wrong."""
    findings = []
    errors: list[tuple[str | None, AudioError]] = [] if heard.error is None else [(None, heard.error)]
    errors += heard.errors.items()
    segmented = "segments" in tables.tables
    for utterance, error in errors:
        problem: Problem = error.problems[0]
        recording = heard.recording if utterance is None or not segmented else None
        name = "wav.scp" if recording else "segments"
        key = recording or utterance or ""
        what = f"{'recording' if recording else 'utterance'} {key}: {problem.file} {problem.what}"
        place = (tables.path / name, _line(tables, name, key))
        code = f"audio-{error.code}"
        findings.append(Finding(what, *place, problem.remedy, "error", code, utterance, recording))
    name = "segments" if segmented else "wav.scp"
    for utterance in heard.silent:
        what = f"utterance {utterance} is silent: its samples are all the same"
        place = (tables.path / name, _line(tables, name, utterance))
        findings.append(Finding(what, *place, "record it again or remove it", "error", "audio-silent", utterance))
    return findings


def _rate_findings(tables: Tables, reports: list[Heard]) -> list[Finding]:
    """Recordings whose rate is not that of most."""
    counts = Counter(report.rate for report in reports if report.rate and report.durations)
    if len(counts) < 2:
        return []
    usual = min(counts, key=lambda rate: (-counts[rate], rate))
    file = tables.path / "wav.scp"
    return [
        Finding(
            f"recording {report.recording} is sampled at {report.rate} Hz, most others at {usual} Hz",
            file,
            _line(tables, "wav.scp", report.recording),
            f"resample it to {usual} Hz",
            code="audio-rate",
            recording=report.recording,
        )
        for report in reports
        if report.durations and report.rate != usual
    ]


def _duration_findings(tables: Tables, durations: dict[str, float]) -> list[Finding]:
    """utt2dur that no longer says how long the audio is."""
    findings = []
    for utterance, stated in _stated_durations(tables).items():
        measured = durations.get(utterance)
        if measured is not None and abs(stated - measured) > STALE_DURATION:
            what = f"utterance {utterance} lasts {measured:.2f} s, not {stated:.2f} s as utt2dur says"
            place = (tables.path / "utt2dur", _line(tables, "utt2dur", utterance))
            fix = f"run 'speechnlp-tl data fix {tables.path}'"
            findings.append(Finding(what, *place, fix, "error", "stale-duration", utterance))
    return findings


def _stated_durations(tables: Tables) -> dict[str, float]:
    numbers = {utterance: parse_number(entry.value) for utterance, entry in tables.get("utt2dur").items()}
    return {utterance: number for utterance, number in numbers.items() if number is not None and number > 0}


def _length_findings(tables: Tables, durations: dict[str, float]) -> list[Finding]:
    """Transcripts that nobody can say in the time there is."""
    findings = []
    for utterance, entry in tables.get("text").items():
        seconds = durations.get(utterance)
        words = entry.value.split()
        characters = sum(map(len, words))
        if not seconds or (characters <= MOST_CHARACTERS * seconds and len(words) <= MOST_WORDS * seconds):
            continue
        what = f"utterance {utterance}: {len(words)} words ({characters} characters) are too long for {seconds:.2f} s"
        remedy = "check that transcript and audio belong together"
        place = (tables.path / "text", entry.line)
        findings.append(Finding(what, *place, remedy, "warning", "text-too-long", utterance))
    return findings
