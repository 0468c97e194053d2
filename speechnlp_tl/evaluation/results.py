"""Measured results: the record, `results.json`, and the RESULTS.md rendered from it.

A recipe needs this module only: the tables (`tables`) and the environment (`environment`) are named here, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from speechnlp_tl.atomic import write_text
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.environment import environment, peak_mb
from speechnlp_tl.evaluation.tables import TableSpec, render_table, sortable

__all__ = [
    "Record",
    "TableSpec",
    "environment",
    "peak_mb",
    "read_results",
    "render_results",
    "render_table",
    "write_results",
]


class Record(BaseModel):
    """One measured number. Rates, their intervals and BLEU are in percent."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    recipe: str
    corpus: str
    synthetic: bool = False
    """Made speech or text. Never shares a table with the real thing."""
    system: str
    """The method, as tables name it."""
    source: str | None = None
    target: str | None = None
    budget: int | float | str | None = None
    """Amount of adaptation data, a number in the recipe's unit (utterances, seconds); 0 is none."""
    metric: str
    """wer, cer, accuracy, bleu, chrf, p@1, ..."""
    value: float
    ci95: Annotated[tuple[float, float] | None, Field(strict=False)] = None
    n: int | None = Field(default=None, ge=1)
    """Words, sentences or items behind the value."""
    seeds: int | None = Field(default=None, ge=1)
    """How many seeds the value is the mean of."""
    selection: str | None = None
    """Name of the rule that chose the model: dev, cross-validation, fixed, oracle, ..."""
    wall_s: float | None = Field(default=None, ge=0)
    peak_mb: float | None = Field(default=None, ge=0)
    commit: str | None = None
    notes: str | None = None

    @model_validator(mode="after")
    def _interval_in_order(self) -> Record:
        if self.ci95 is not None and self.ci95[0] > self.ci95[1]:
            raise ValueError(f"ci95 {list(self.ci95)} has its ends swapped")
        return self

    @property
    def key(self) -> tuple[object, ...]:
        """What tells two records apart; two records with one key contradict or repeat each other."""
        return tuple(getattr(self, name) for name in _KEY)


_KEY = ("recipe", "corpus", "synthetic", "system", "source", "target", "budget", "metric", "selection")


def read_results(path: str | Path) -> list[Record]:
    """Read `results.json`.

    Raises:
        InputError: the file is not a JSON list of records, or two records stand for the same thing; lists every one.
    """
    path = Path(path)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror or error}", file=path)) from error
    except ValueError as error:
        raise InputError(Problem(f"is not JSON: {error}", file=path)) from error
    if not isinstance(rows, list):
        raise InputError(Problem("is not a list of records", file=path))
    records, problems = [], []
    for number, row in enumerate(rows, start=1):
        try:
            records.append(Record.model_validate(row))
        except ValidationError as error:
            for detail in error.errors():
                field = ".".join(str(part) for part in detail["loc"]) or "record"
                problems.append(Problem(f"record {number}: {field}: {detail['msg']}", file=path))
    problems += _repeated(records, path)
    if problems:
        raise InputError(problems)
    return records


def write_results(path: str | Path, records: Iterable[Record]) -> None:
    """Write `results.json`: sorted, one record a line, absent fields left out, so that a diff shows what changed.

    Raises:
        InputError: two records stand for the same thing, or the file cannot be written.
    """
    ordered = sorted(records, key=lambda record: [sortable(part) for part in record.key])
    if problems := _repeated(ordered, path):
        raise InputError(problems)
    rows = [record.model_dump(mode="json", exclude_none=True) for record in ordered]
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
    write_text(path, f"[\n{lines}\n]\n" if lines else "[]\n")


def _repeated(records: Sequence[Record], path: str | Path) -> list[Problem]:
    seen: set[tuple[object, ...]] = set()
    problems = []
    for record in records:
        if record.key in seen:
            name = ", ".join(str(part) for part in record.key if part not in (None, False))
            problems.append(Problem(f"two records for {name}", file=path, remedy="keep one"))
        seen.add(record.key)
    return problems


def render_results(
    records: Sequence[Record],
    title: str,
    command: str,
    environment: Mapping[str, object],
    tables: Sequence[TableSpec],
    prose: str = "",
) -> str:
    """RESULTS.md: the command that regenerates it, the environment, `prose`, then the tables.

    Raises:
        InputError: a table asks for records that are not there or puts several in one cell (see `render_table`).
    """
    problems: list[Problem] = []
    sections = []
    for spec in tables:
        try:
            sections.append(render_table(records, spec))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    facts = [f"- {name}: {value}" for name, value in environment.items()]
    commits = sorted({record.commit for record in records if record.commit})
    if commits and commits != [environment.get("commit")]:
        facts.append(f"- measured at: {', '.join(commits)}")
    if times := [record.wall_s for record in records if record.wall_s is not None]:
        facts.append(f"- longest run: {duration(max(times))}")
    if peaks := [record.peak_mb for record in records if record.peak_mb is not None]:
        facts.append(f"- peak memory: {max(peaks):.0f} MB")
    opening = f"# {title}\n\nRegenerate with\n\n    {command}\n\nMeasured on\n\n" + "\n".join(facts)
    return "\n\n".join(part for part in [opening, prose.strip(), *sections] if part) + "\n"


def duration(seconds: float) -> str:
    """`41 s`, `7 min 5 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
