"""Kaldi data directories in memory: utterances, read strictly and written sorted, whole or not at all.

The files themselves are parsed in `speech.data_tables`; checking the audio is `speech.data_checks`, mending is
`speech.data_fix`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechnlp_tl.atomic import atomic_directory
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.audio import audio_info, is_pipe
from speechnlp_tl.speech.data_tables import Tables, as_problems, check_paths, format_table, invert, read_tables

_CONTROL = r"[\x00-\x1f\x7f]"


@dataclass(frozen=True)
class Utterance:
    """What one speaker said in one stretch of audio.

    `audio` is an absolute path (or, where pipes are allowed, a command ending in `|`); `start` and `end` are seconds
    in it, None for the whole recording; `recording` is the id of the audio in wav.scp (None: the utterance's own id);
    `duration` is in seconds, as utt2dur states it.
    """

    id: str
    speaker: str
    audio: str
    text: str | None = None
    start: float | None = None
    end: float | None = None
    recording: str | None = None
    language: str | None = None
    gender: str | None = None
    duration: float | None = None

    @property
    def words(self) -> list[str]:
        """The words of the transcript; none without one."""
        return (self.text or "").split()


@dataclass(frozen=True)
class DataDir:
    """The utterances of a data directory, sorted by id in the C locale, and where they were read from."""

    utterances: tuple[Utterance, ...]
    path: Path | None = None

    def __init__(self, utterances: Iterable[Utterance], path: str | Path | None = None) -> None:
        ordered = tuple(sorted(utterances, key=lambda utterance: utterance.id))
        object.__setattr__(self, "utterances", ordered)
        object.__setattr__(self, "path", None if path is None else Path(path))

    def __len__(self) -> int:
        return len(self.utterances)

    def __iter__(self) -> Iterator[Utterance]:
        return iter(self.utterances)

    @classmethod
    def read(cls, path: str | Path, allow_pipes: bool = False) -> DataDir:
        """Read a data directory whose files are flawless and whose audio files exist (they are not opened).

        Args:
            path: the directory.
            allow_pipes: accept wav.scp entries that are shell commands. They run when the audio is read, and
                `read_audio` wants the same permission.

        Raises:
            InputError: lists every problem, with file and line.
        """
        tables = read_tables(path)
        problems = as_problems([*tables.findings, *check_paths(tables, allow_pipes)])
        if problems:
            raise InputError(problems)
        return cls([_utterance(tables, utterance) for utterance in tables.utterances], path)

    def write(self, path: str | Path) -> DataDir:
        """Write the directory, sorted in the C locale, whole or not at all. Returns it as it would be read.

        Audio inside the directory is written with its path relative to it, other audio with its absolute path.

        Raises:
            InputError: `path` exists and is not empty, there are no utterances, or they contradict one another.
        """
        path = Path(path)
        contents = self.contents(path)
        with atomic_directory(path) as temporary:
            for name, content in contents.items():
                (temporary / name).write_text(content, encoding="utf-8", newline="\n")
        return DataDir(self.utterances, path)

    def contents(self, path: str | Path) -> dict[str, str]:
        """The text of every file of the directory, were it written at `path`. Raises InputError as `write` does."""
        return {name: format_table(table) for name, table in self._rows(Path(path)).items()}

    def subset(self, ids: Iterable[str]) -> DataDir:
        """The utterances with these ids.

        Raises:
            InputError: ids that are not here, all of them.
        """
        wanted = set(ids)
        missing = sorted(wanted - {utterance.id for utterance in self.utterances})
        if missing:
            raise InputError([Problem(f"there is no utterance {name}", file=self.path) for name in missing])
        return DataDir([utterance for utterance in self.utterances if utterance.id in wanted], self.path)

    def by_speaker(self) -> dict[str, list[Utterance]]:
        """The utterances of each speaker, speakers and utterances in order."""
        speakers: dict[str, list[Utterance]] = {}
        for utterance in self.utterances:
            speakers.setdefault(utterance.speaker, []).append(utterance)
        return dict(sorted(speakers.items()))

    def duration(self, utterance: Utterance, allow_pipes: bool = False) -> float:
        """Seconds of an utterance: stated, or from its segment, or from the header of its audio.

        Raises:
            InputError: the audio had to be opened and cannot be.
        """
        if utterance.duration is not None:
            return utterance.duration
        if utterance.end is not None:
            return utterance.end - (utterance.start or 0.0)
        rate, _, frames = audio_info(utterance.audio, allow_pipes)
        return frames / rate - (utterance.start or 0.0)

    def _rows(self, path: Path) -> dict[str, dict[str, str]]:
        """The contents of every file."""
        self._check_writable()
        segmented = any(u.start is not None or u.end is not None or u.recording not in (None, u.id) for u in self)
        utt2spk = {u.id: u.speaker for u in self}
        rows = {
            "wav.scp": {(u.recording or u.id) if segmented else u.id: _entry(u.audio, path) for u in self},
            "utt2spk": utt2spk,
            "spk2utt": invert(utt2spk),
            "text": {u.id: " ".join(u.words) for u in self if u.text is not None},
            "utt2lang": {u.id: u.language for u in self if u.language is not None},
            "spk2gender": {u.speaker: u.gender for u in self if u.gender is not None},
            "utt2dur": {u.id: _seconds(u.duration) for u in self if u.duration is not None},
        }
        if segmented:
            rows["segments"] = {}
            for u in self:
                end = (u.start or 0.0) + self.duration(u) if u.end is None else u.end
                rows["segments"][u.id] = f"{u.recording or u.id} {_seconds(u.start or 0.0)} {_seconds(end)}"
        return {name: table for name, table in rows.items() if table}

    def _check_writable(self) -> None:
        """What was put together in memory must make a directory that `read` accepts."""
        problems = [] if self.utterances else [Problem("there are no utterances to write")]
        audio: dict[str, str] = {}
        gender: dict[str, str | None] = {}
        seen: set[str] = set()
        for u in self.utterances:
            bad = [name for name in (u.id, u.speaker, u.recording or u.id) if name.split() != [name]]
            problems += [Problem(f"utterance {u.id!r}: id {name!r} is empty or has spaces") for name in bad]
            if u.audio != u.audio.strip() or re.search(_CONTROL, " ".join((u.id, u.speaker, u.audio, *u.words))):
                problems.append(Problem(f"utterance {u.id!r}: control characters or outer spaces in its values"))
            if u.id in seen:
                problems.append(Problem(f"utterance {u.id} stands twice"))
            seen.add(u.id)
            if audio.setdefault(u.recording or u.id, u.audio) != u.audio:
                problems.append(Problem(f"recording {u.recording or u.id} has two audio files"))
            if gender.setdefault(u.speaker, u.gender) != u.gender:
                problems.append(Problem(f"speaker {u.speaker} has two genders"))
            if u.text is not None and not u.words:
                problems.append(Problem(f"utterance {u.id} has an empty transcript"))
        without = [u.id for u in self.utterances if u.text is None]
        if len(without) < len(self.utterances):
            problems += [Problem(f"utterance {name} has no transcript, and others do") for name in without]
        if problems:
            raise InputError(problems)


def read_all(
    folders: Iterable[Path], check: Callable[[Sequence[Utterance], Path], list[Problem]], allow_pipes: bool = False
) -> tuple[list[Utterance], list[Problem]]:
    """The utterances of several data directories, and all that is wrong with them: what `DataDir.read` raises, what
    `check` finds in one, and ids that stand in two."""
    found: dict[str, Utterance] = {}
    problems: list[Problem] = []
    for folder in folders:
        try:
            read = list(DataDir.read(folder, allow_pipes))
        except InputError as error:
            problems += error.problems
            continue
        problems += check(read, folder)
        twice = [utterance.id for utterance in read if utterance.id in found]
        remedy = "give the utterances of each directory ids of their own"
        problems += [
            Problem(f"utterance {name} stands in another directory too", folder, remedy=remedy) for name in twice
        ]
        found.update({utterance.id: utterance for utterance in read})
    return list(found.values()), problems


def untold(utterances: Iterable[Utterance], folder: Path, remedy: str = "add it to text") -> list[Problem]:
    """What is wrong with those that have no transcript, where all need one."""
    return [
        Problem(f"utterance {utterance.id} has no transcript", folder, remedy=remedy)
        for utterance in utterances
        if utterance.text is None
    ]


def _utterance(tables: Tables, name: str) -> Utterance:
    """One utterance of tables without errors."""
    recording, start, end = tables.segment(name) or (name, None, None)
    speaker = tables.value("utt2spk", name)
    audio = tables.audio(recording)
    assert speaker is not None, name
    assert audio is not None, name
    duration = tables.value("utt2dur", name)
    return Utterance(
        id=name,
        speaker=speaker,
        audio=audio,
        text=tables.value("text", name),
        start=start,
        end=end,
        recording=None if recording == name and start is None else recording,
        language=tables.value("utt2lang", name),
        gender=tables.value("spk2gender", speaker),
        duration=None if duration is None else float(duration),
    )


def _entry(audio: str, directory: Path) -> str:
    """The wav.scp entry of an audio file, for a directory written at `directory`."""
    if is_pipe(audio):
        return audio
    absolute, inside = os.path.normpath(Path.cwd() / audio), os.path.normpath(Path.cwd() / directory) + os.sep
    return absolute.removeprefix(inside)


def _seconds(value: float) -> str:
    """Seconds, exactly: what is written reads back as the same number."""
    return repr(round(value, 6)) if round(value, 6) == value else repr(value)
