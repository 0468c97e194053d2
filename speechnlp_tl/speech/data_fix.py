"""The fixer of data directories: the validator's findings, each with its remedy applied to a copy.

Nothing is guessed: what can be derived is rebuilt (order, line ends, spk2utt, utt2dur), utterances that cannot be used
are dropped and named, and audio is never changed.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from speechnlp_tl.atomic import atomic_directory, atomic_file
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.data_checks import Inspection, Track, inspect
from speechnlp_tl.speech.data_tables import FILES, Entry, Finding, Table, Tables, format_table, invert

# Without these lines an utterance has no audio, words or speaker; a bad line of another file costs only that line.
_ESSENTIAL = ("wav.scp", "segments", "text", "utt2spk")
_UNUSABLE = ("encoding", "conflict", "no-audio", "no-text", "no-speaker", "empty-text", "bad-segment")


@dataclass(frozen=True)
class FixReport:
    """What the fixer found and did."""

    path: Path
    """Where the mended directory is."""
    findings: list[Finding]
    kept: int
    dropped: dict[str, list[Finding]]
    """Every utterance that was left out, and why."""
    changed: list[str]
    """Files written."""
    backup: Path | None
    """Where the files that were replaced are now; None when none were."""

    def summary(self) -> str:
        """What was kept, dropped (each utterance with its reason) and written."""
        total = self.kept + len(self.dropped)
        lines = [f"{self.path}: kept {self.kept} of {total} utterances"]
        lines += [f"  dropped {name}: {_reasons(findings)}" for name, findings in sorted(self.dropped.items())]
        lines.append(f"  wrote {', '.join(self.changed)}" if self.changed else "  nothing to change")
        if self.backup:
            lines.append(f"  the files before are in {self.backup}")
        return "\n".join(lines)


def fix(
    path: str | Path,
    out: str | Path | None = None,
    force: bool = False,
    allow_pipes: bool = False,
    track: Track | None = None,
) -> FixReport:
    """Mend a data directory: sort, clean line ends and spaces, rebuild spk2utt and utt2dur, drop what is unusable.

    Args:
        path: the directory to mend.
        out: write the mended directory here and leave `path` alone; None replaces the files of `path` and keeps those
            before in `path/.backup`.
        force: drop even more than half of the utterances.
        allow_pipes: run and keep wav.scp entries that are shell commands; otherwise they are dropped.
        track: shows progress over the recordings.

    Raises:
        InputError: all utterances would be dropped, or more than half without `force`, or there are no speakers.
    """
    path = Path(path)
    inspection = inspect(path, allow_pipes=allow_pipes, track=track)
    _recover_speakers(inspection.tables)
    dropped, kept = _sort_out(inspection)
    if not kept or (len(dropped) > len(kept) and not force):
        raise _refusal(path, kept, dropped)
    rows = _rows(inspection, kept, absolute=out is not None)
    contents = {name: format_table(table) for name, table in rows.items() if table}
    if out is None:
        changed, backup = _replace(path, contents)
    else:
        with atomic_directory(out) as temporary:
            for name, content in contents.items():
                (temporary / name).write_text(content, encoding="utf-8", newline="\n")
        changed, backup = list(contents), None
    return FixReport(Path(out or path), inspection.findings, len(kept), dropped, changed, backup)


def _recover_speakers(tables: Tables) -> None:
    """Rebuild utt2spk from spk2utt when only that is there.

    Raises:
        InputError: neither is: who spoke cannot be guessed.
    """
    if "utt2spk" in tables.tables:
        return
    speakers = tables.get("spk2utt").items()
    entries = {name: Entry(speaker, entry.line) for speaker, entry in speakers for name in entry.value.split()}
    if not entries:
        what = "has neither utt2spk nor spk2utt, and who spoke cannot be guessed"
        remedy = "write utt2spk: a line 'utterance speaker' for each utterance"
        raise InputError(Problem(what, file=tables.path, remedy=remedy))
    tables.tables["utt2spk"] = Table(tables.path / "utt2spk", entries)


def _sort_out(inspection: Inspection) -> tuple[dict[str, list[Finding]], list[str]]:
    """Every utterance that is dropped, with its reasons, and the ids of those that stay."""
    tables = inspection.tables
    of_recording: dict[str, list[str]] = {}
    for utterance in tables.utterances:
        segment = tables.segment(utterance)
        of_recording.setdefault(segment[0] if segment else utterance, []).append(utterance)
    named = dict.fromkeys([*tables.utterances, *tables.get("text"), *tables.get("utt2spk")])
    dropped: dict[str, list[Finding]] = {}
    for finding in inspection.findings:
        if finding.severity != "error" or Path(finding.file or "").name not in _ESSENTIAL:
            continue
        if finding.code not in _UNUSABLE and not finding.code.startswith("audio-"):
            continue
        victims = [finding.utterance] if finding.utterance else of_recording.get(finding.recording or "", [])
        for utterance in victims:
            if utterance in named:
                dropped.setdefault(utterance, []).append(finding)
    kept = []
    for utterance in named:
        if utterance in dropped:
            continue
        if utterance in inspection.durations and tables.value("utt2spk", utterance):
            kept.append(utterance)
        else:
            what = f"utterance {utterance} has no audio or no speaker"
            dropped[utterance] = [Finding(what, tables.path, code="no-audio", utterance=utterance)]
    return dropped, sorted(kept)


def _rows(inspection: Inspection, kept: list[str], absolute: bool) -> dict[str, dict[str, str]]:
    """The contents of every file for the utterances that stay."""
    tables = inspection.tables
    utt2spk = {utterance: tables.value("utt2spk", utterance) or "" for utterance in kept}
    speakers = set(utt2spk.values())
    recordings = sorted({(tables.segment(utterance) or (utterance,))[0] for utterance in kept})

    def pick(name: str, keys: Iterable[str]) -> dict[str, str]:
        if name not in tables.tables:
            return {}
        entries, untrusted = tables.get(name), tables.tables[name].untrusted
        return {key: entries[key].value for key in keys if key in entries and key not in untrusted}

    languages = {key: value for key, value in pick("utt2lang", kept).items() if len(value.split()) == 1}
    return {
        "wav.scp": {name: tables.audio(name) or "" for name in recordings} if absolute else pick("wav.scp", recordings),
        "segments": pick("segments", kept),
        "text": pick("text", kept),
        "utt2spk": utt2spk,
        "spk2utt": invert(utt2spk),
        "utt2lang": languages,
        "spk2gender": pick("spk2gender", speakers),
        "utt2dur": {utterance: f"{inspection.durations[utterance]:.3f}" for utterance in kept},
    }


def _replace(path: Path, contents: dict[str, str]) -> tuple[list[str], Path | None]:
    """Write the files that changed; copies of those before go to a backup folder of their own."""
    before = {name: (path / name).read_bytes() for name in FILES if (path / name).is_file()}
    changed = [name for name, content in contents.items() if before.get(name) != content.encode()]
    emptied = [name for name in before if name not in contents]
    backup = None
    if any(name in before for name in [*changed, *emptied]):
        backup = path / ".backup"
        number = 0
        while backup.exists():
            number += 1
            backup = path / f".backup.{number}"
        backup.mkdir()
        for name in [*changed, *emptied]:
            if name in before:
                shutil.copy2(path / name, backup / name)
    for name in changed:
        with atomic_file(path / name) as temporary:
            temporary.write_text(contents[name], encoding="utf-8", newline="\n")
    for name in emptied:
        (path / name).unlink()
    return [*changed, *(f"{name} (removed)" for name in emptied)], backup


def _reasons(findings: list[Finding]) -> str:
    return "; ".join(dict.fromkeys(f"{finding.what} [{finding.code}]" for finding in findings))


def _refusal(path: Path, kept: list[str], dropped: dict[str, list[Finding]]) -> InputError:
    """Why nothing was changed, with the reasons counted and each utterance's first."""
    total = len(kept) + len(dropped)
    counts = Counter(findings[0].code for findings in dropped.values())
    reasons = ", ".join(f"{count} {code}" for code, count in counts.most_common())
    amount = "all" if not kept else f"{len(dropped)} of {total}"
    what = f"fixing would drop {amount} utterances ({reasons}); nothing was changed"
    remedy = "look at the causes below" + (", or give --force" if kept else "")
    causes = {finding: None for findings in dropped.values() for finding in findings[:1]}
    return InputError([Problem(what, file=path, remedy=remedy), *causes])
