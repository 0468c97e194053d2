"""Pivot tables of result records in Markdown: best in bold, intervals beside values, synthetic apart from real."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.significance import mean_interval

if TYPE_CHECKING:
    from speechnlp_tl.evaluation.results import Record

_LOWER_IS_BETTER = {
    "wer",
    "cer",
    "per",
    "ser",
    "eer",
    "loss",
    "off",
    "perplexity",
    "forgetting",
    "wall_s",
    "peak_mb",
    "rtf",
}
_HIGHER_IS_BETTER = {"accuracy", "bleu", "chrf", "f1", "p", "p1", "p5", "p10", "mrr", "csls", "gain", "recall"}
_ABSENT = "–"

Key = tuple[Any, ...]


@dataclass(frozen=True)
class TableSpec:
    """One table: which records, and which of their fields make its rows and columns."""

    title: str
    rows: Sequence[str] = ("system",)
    columns: Sequence[str] = ("metric",)
    where: Mapping[str, object] = field(default_factory=dict)
    """Field -> the value, or list of values, that a record must have; `{"metric": "wer"}` selects a metric."""
    average_over: Sequence[str] = ()
    """Fields that may differ within a cell; its value is then the mean, with a t interval over them."""
    row_order: Sequence[str] = ()
    """Values of the first row field that come first, in this order; the others follow sorted."""
    decimals: int = 2
    lower_is_better: bool | None = None
    """None: read off the metric's name; a metric of unknown direction gets no bold."""
    text: str = ""
    """Stands between the title and the table."""


@dataclass(frozen=True)
class Cell:
    value: float
    ci95: tuple[float, float] | None
    n: int | None
    count: int
    """How many records it is the mean of."""


def render_table(records: Sequence[Record], spec: TableSpec) -> str:
    """The section of one table; two tables, the second marked synthetic, where records of both kinds are selected.

    Raises:
        InputError: nothing is selected, or several records fall into one cell and the table does not average.
    """
    chosen = [record for record in records if all(_matches(record, name, spec.where[name]) for name in spec.where)]
    if not chosen:
        remedy = f"check where = {dict(spec.where)}"
        raise InputError(Problem(f"table '{spec.title}' selects no records", remedy=remedy))
    sections = []
    for synthetic in (False, True):
        kind = [record for record in chosen if record.synthetic is synthetic]
        if kind:
            suffix = " (synthetic data)" if synthetic else ""
            parts = [f"## {spec.title}{suffix}", spec.text.strip(), _table(kind, spec), _footnote(kind, spec)]
            sections.append("\n\n".join(part for part in parts if part))
    return "\n\n".join(sections)


def lower_is_better(metric: str) -> bool | None:
    """Whether a metric is an error or a cost, by the words of its name; None when unknown."""
    words = set(re.split(r"[\s_@.\-]+", metric.lower()))
    if words & _LOWER_IS_BETTER:
        return True
    return False if words & _HIGHER_IS_BETTER else None


def _matches(record: Record, name: str, wanted: object) -> bool:
    value = getattr(record, name)
    return value in wanted if isinstance(wanted, list | tuple | set | frozenset) else value == wanted


def _table(records: Sequence[Record], spec: TableSpec) -> str:
    cells = _pivot(records, spec)
    rows = _ordered((row for row, _ in cells), spec.row_order)
    columns = _ordered((column for _, column in cells), ())
    best = {column: _best(records, cells, column, spec) for column in columns}
    plus_minus = all(_half_width(cell, spec.decimals) is not None for cell in cells.values() if cell.ci95)
    show_n = len({cell.n for cell in cells.values() if cell.n}) > 1
    lines = [_line([*spec.rows, *(" ".join(_text(part) for part in column) for column in columns)])]
    lines.append(_line(["---"] * len(spec.rows) + ["---:"] * len(columns)))
    for row in rows:
        shown = []
        for column in columns:
            cell = cells.get((row, column))
            text = _ABSENT if cell is None else _cell(cell, spec.decimals, plus_minus, best[column], show_n)
            shown.append(text)
        lines.append(_line([*(_text(part) for part in row), *shown]))
    return "\n".join(lines)


def _pivot(records: Sequence[Record], spec: TableSpec) -> dict[tuple[Key, Key], Cell]:
    groups: dict[tuple[Key, Key], list[Record]] = {}
    for record in records:
        row = tuple(getattr(record, name) for name in spec.rows)
        column = tuple(getattr(record, name) for name in spec.columns)
        groups.setdefault((row, column), []).append(record)
    problems = []
    named = {*spec.rows, *spec.columns, *spec.average_over}
    for (row, column), group in groups.items():
        differing = [name for name in _identity(group) if name not in named]
        if len(group) > 1 and (differing or not spec.average_over):
            place = " / ".join(_text(part) for part in (*row, *column))
            what = f"table '{spec.title}': {len(group)} records fall into {place}"
            remedy = f"they differ in {', '.join(differing) or 'nothing'}: select or show it, or average over it"
            problems.append(Problem(what, remedy=remedy))
    if problems:
        raise InputError(problems)
    return {place: _summary(group) for place, group in groups.items()}


def _identity(group: Sequence[Record]) -> list[str]:
    """The fields in which the records of a cell are not the same thing measured."""
    names = ("recipe", "corpus", "system", "source", "target", "budget", "metric", "selection")
    return [name for name in names if len({getattr(record, name) for record in group}) > 1]


def _summary(group: Sequence[Record]) -> Cell:
    if len(group) == 1:
        return Cell(group[0].value, group[0].ci95, group[0].n, 1)
    mean = mean_interval([record.value for record in group])
    counts = [record.n for record in group if record.n is not None]
    return Cell(mean.mean, mean.ci95, sum(counts) if len(counts) == len(group) else None, len(group))


def _best(
    records: Sequence[Record], cells: Mapping[tuple[Key, Key], Cell], column: Key, spec: TableSpec
) -> float | None:
    """The best value shown in a column, rounded as it is shown; None where there is nothing to choose from."""
    values = [round(cell.value, spec.decimals) for (_, place), cell in cells.items() if place == column]
    inside = [r for r in records if tuple(getattr(r, name) for name in spec.columns) == column]
    directions = {lower_is_better(record.metric) for record in inside}
    lower = spec.lower_is_better if spec.lower_is_better is not None else directions.pop()
    if len(values) < 2 or directions or lower is None:
        return None
    return min(values) if lower else max(values)


def _cell(cell: Cell, decimals: int, plus_minus: bool, best: float | None, show_n: bool) -> str:
    value = f"{cell.value:.{decimals}f}"
    if best is not None and round(cell.value, decimals) == best:
        value = f"**{value}**"
    if cell.ci95 is not None:
        half = _half_width(cell, decimals)
        low, high = cell.ci95
        value += f" ± {half:.{decimals}f}" if plus_minus else f" [{low:.{decimals}f}, {high:.{decimals}f}]"
    return value + (f" (n {cell.n})" if show_n and cell.n else "")


def _half_width(cell: Cell, decimals: int) -> float | None:
    """Half the interval where it is symmetric as far as it is printed, else None."""
    if cell.ci95 is None:
        return None
    below, above = cell.value - cell.ci95[0], cell.ci95[1] - cell.value
    return (below + above) / 2 if math.isclose(below, above, abs_tol=10.0**-decimals / 2) else None


def _footnote(records: Sequence[Record], spec: TableSpec) -> str:
    notes = []
    if any(cell.ci95 for cell in _pivot(records, spec).values()):
        notes.append("± and [ ]: 95 % interval.")
    averaged = sorted({cell.count for cell in _pivot(records, spec).values()})
    sizes = {record.n for record in records if record.n}
    if averaged[-1] > 1:
        counts = " or ".join(str(count) for count in averaged)
        notes.append(f"Mean over {counts} ({', '.join(spec.average_over)}), t interval over them.")
    elif len(sizes) == 1:
        notes.append(f"n = {sizes.pop()}.")
    if seeds := sorted({record.seeds for record in records if record.seeds}):
        notes.append(f"Seeds: {' or '.join(str(number) for number in seeds)}.")
    if rules := sorted({record.selection for record in records if record.selection}):
        notes.append(f"Selection: {', '.join(rules)}.")
    return " ".join(notes)


def _ordered(keys: Iterable[Key], first: Sequence[str]) -> list[Key]:
    """Each key once: those whose first part is in `first` in that order, then numbers by size, then text."""
    rank = {name: index for index, name in enumerate(first)}

    def place(key: Key) -> tuple[Any, ...]:
        return (rank.get(key[0], len(rank)), *(sortable(part) for part in key))

    return sorted(set(keys), key=place)


def sortable(part: object) -> tuple[int, float, str]:
    """A sort key for values of a field: absent, then numbers by size, then text."""
    if part is None:
        return (0, 0.0, "")
    return (1, float(part), "") if isinstance(part, int | float) else (2, 0.0, str(part))


def _text(part: object) -> str:
    return _ABSENT if part is None else str(part)


def _line(cells: Iterable[str]) -> str:
    # an unescaped bar would start another cell, a line end another row
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"
