"""Reading what an experiment left behind, as far as it is there. Making a report of it is `report`'s business."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.results import Record, read_results
from speechnlp_tl.evaluation.summary import Summary, summarise
from speechnlp_tl.evaluation.transcripts import read_transcripts, read_utt2spk

_FILES = (
    "results.json",
    "scores.json",
    "ref and hyp",
    "metrics.jsonl",
    "config.yaml",
    "environment.json",
    "*.png",
    "*.svg",
)
_SCORES = ("wer", "words", "errors", "substitutions", "deletions", "insertions")
_SPEAKER = ("words", "errors", "substitutions", "deletions", "insertions")

T = TypeVar("T")


@dataclass
class Experiment:
    """One experiment folder (or one results.json). What it does not hold stays empty."""

    name: str
    records: list[Record] = field(default_factory=list)
    scores: dict[str, Any] | None = None
    """As written by `speechnlp-tl score --json`; computed from the transcripts where it is absent."""
    summary: Summary | None = None
    """The alignments, where reference and hypothesis are there."""
    metrics: list[dict[str, Any]] = field(default_factory=list)
    config: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    pictures: list[Path] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        filled = (self.records, self.scores, self.summary, self.metrics, self.config, self.environment, self.pictures)
        return not any(filled)


def read_experiments(paths: Sequence[str | Path]) -> list[Experiment]:
    """Read every experiment folder or results.json.

    A last line of metrics.jsonl that was cut off when its run was killed is passed over.

    Raises:
        InputError: some path does not exist, holds nothing to report or holds a damaged file; lists all of them.
    """
    problems: list[Problem] = []
    experiments = []
    for path in map(Path, paths):
        if not path.exists():
            problems.append(Problem("does not exist", file=path, remedy="name an experiment folder or a results.json"))
            continue
        experiment, found = _read_folder(path) if path.is_dir() else _read_file(path)
        problems += found
        if experiment.empty and not found:
            problems.append(Problem("holds nothing to report", file=path, remedy=f"looked for {', '.join(_FILES)}"))
        experiments.append(experiment)
    if problems:
        raise InputError(problems)
    _tell_apart(experiments, [Path(path) for path in paths])
    return experiments


def _read_file(path: Path) -> tuple[Experiment, list[Problem]]:
    experiment = Experiment(path.resolve().parent.name)
    problems: list[Problem] = []
    experiment.records = _attempt(read_results, path, problems) or []
    return experiment, problems


def _read_folder(folder: Path) -> tuple[Experiment, list[Problem]]:
    experiment = Experiment(folder.resolve().name)
    problems: list[Problem] = []
    experiment.records = _attempt(read_results, folder / "results.json", problems) or []
    experiment.environment = _attempt(_read_object, folder / "environment.json", problems) or {}
    experiment.metrics = _attempt(_read_metrics, folder / "metrics.jsonl", problems) or []
    experiment.config = _attempt(_read_text, folder / "config.yaml", problems) or ""
    experiment.scores = _attempt(_read_scores, folder / "scores.json", problems)
    experiment.pictures = sorted(path for kind in ("*.png", "*.svg") for path in folder.glob(kind))
    reference = _attempt(read_transcripts, folder / "ref", problems)
    hypothesis = _attempt(read_transcripts, folder / "hyp", problems)
    speakers = _attempt(read_utt2spk, folder / "utt2spk", problems)
    if reference is not None and hypothesis is not None:
        try:
            experiment.summary = summarise(reference, hypothesis, speakers)
        except InputError as error:
            problems += [Problem(str(problem), file=folder) for problem in error.problems]
    if experiment.scores is None and experiment.summary is not None:
        experiment.scores = experiment.summary.to_json()
    return experiment, problems


def _attempt(read: Callable[[Path], T], path: Path, problems: list[Problem]) -> T | None:
    """What `read` makes of `path`; None where it does not exist or is damaged, which is added to `problems`."""
    if not path.is_file():
        return None
    try:
        return read(path)
    except InputError as error:
        problems += error.problems
        return None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(Problem("is not UTF-8", file=path)) from error
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror or error}", file=path)) from error


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_read_text(path))
    except ValueError as error:
        raise InputError(Problem(f"is not JSON: {error}", file=path)) from error
    if not isinstance(value, dict):
        raise InputError(Problem("is not a JSON object", file=path))
    return value


def _read_scores(path: Path) -> dict[str, Any]:
    """The scores, checked as far as a report relies on them."""
    scores = _read_object(path)
    faults = [name for name in _SCORES if not _is_number(scores.get(name))]
    if not (scores.get("cer") is None or _is_number(scores["cer"])):
        faults.append("cer")
    if not _is_interval(scores.get("ci95")):
        faults.append("ci95")
    speakers = scores.get("per_speaker")
    if not (speakers is None or isinstance(speakers, dict)):
        faults.append("per_speaker")
    for name, counts in (speakers if isinstance(speakers, dict) else {}).items():
        good = isinstance(counts, Mapping) and all(_is_number(counts.get(count)) for count in _SPEAKER)
        if not good or not (counts.get("wer") is None or _is_number(counts["wer"])):
            faults.append(f"per_speaker.{name}")
    baseline = scores.get("baseline")
    if baseline is not None:
        good = isinstance(baseline, dict) and all(_is_number(baseline.get(key)) for key in ("wer", "difference", "p"))
        if not good or not _is_interval(baseline.get("ci95")):
            faults.append("baseline")
    if faults:
        remedy = "write it with speechnlp-tl score --json"
        raise InputError([Problem(f"{name} is missing or malformed", file=path, remedy=remedy) for name in faults])
    return scores


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_interval(value: object) -> bool:
    return value is None or (isinstance(value, list) and len(value) == 2 and all(_is_number(end) for end in value))


def _read_metrics(path: Path) -> list[dict[str, Any]]:
    lines = _read_text(path).split("\n")
    rows, problems = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            # a run that was killed while it wrote leaves a line without an end
            if number < len(lines):
                problems.append(Problem("is not JSON", file=path, line=number))
            continue
        if isinstance(row, dict):
            rows.append(row)
        else:
            problems.append(Problem("is not a JSON object", file=path, line=number))
    if problems:
        raise InputError(problems)
    return rows


def _tell_apart(experiments: Sequence[Experiment], paths: Sequence[Path]) -> None:
    """Lengthen names by parent folders until they differ, or until there are no more parents."""
    depth = 1
    longest = max((len(path.resolve().parts) for path in paths), default=0)
    while len({experiment.name for experiment in experiments}) < len(experiments) and depth < longest:
        depth += 1
        for experiment, path in zip(experiments, paths, strict=True):
            folder = path.resolve() if path.is_dir() else path.resolve().parent
            experiment.name = "/".join(folder.parts[-depth:])
