"""Pictures of adaptation results. Each function returns a matplotlib Figure; `save` writes it.

Colours are Okabe and Ito's (2008), told apart by colour-blind readers, and every series has its own marker and line as
well. Legends stand outside the axes. No pyplot: nothing global is touched, and no display is needed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speechnlp_tl.atomic import atomic_file
from speechnlp_tl.evaluation.significance import mean_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from speechnlp_tl.evaluation.results import Record

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A7A00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")
_LINES = ("-", "--", "-.", ":")
_FORMATS = {".png", ".svg", ".pdf"}


@dataclass(frozen=True)
class Series:
    """A line: y over x, with the ends of an interval around each y where they are known (NaN where not)."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


@dataclass(frozen=True)
class TradeOff:
    """What a method won on the target and lost on the source, in points; intervals are (low, high)."""

    label: str
    gain: float
    forgetting: float
    gain_ci95: tuple[float, float] | None = None
    forgetting_ci95: tuple[float, float] | None = None


def adaptation_curve(
    series: Sequence[Series],
    unit: str = "seconds",
    baseline: float | None = None,
    title: str = "",
    metric: str = "WER",
    baseline_name: str = "unadapted",
    amount: str = "adaptation data",
) -> Figure:
    """Error rate (percent) against the amount of adaptation data on a logarithmic axis, one line a method.

    Args:
        unit: of x, "seconds" or "utterances".
        baseline: rate of the unadapted model, drawn as a level line: no data has no place on a logarithmic axis.
        baseline_name: what the level line is called.
        amount: what x is an amount of.
    """
    figure, axes = _axes(title)
    if baseline is not None:
        axes.axhline(baseline, color="#666666", linewidth=1.2, linestyle=(0, (1, 1)), label=baseline_name)
    for index, line in enumerate(series):
        # many bands on top of each other turn to mud
        _draw(axes, line, index, band=0.16 if len(series) <= 4 else 0.07)
    axes.set_xscale("log")
    amounts = sorted({x for line in series for x in line.x})
    if 0 < len(amounts) <= 8:
        axes.set_xticks(amounts, [f"{each:g}" if each == round(each) else f"{each:.3g}" for each in amounts])
        axes.set_xticks([], minor=True)
    axes.set_xlabel(f"{amount} ({unit})")
    axes.set_ylabel(f"{metric} (%)")
    axes.set_ylim(bottom=0)
    _legend(figure, axes)
    return figure


def series_from_records(records: Sequence[Record], metric: str = "wer") -> tuple[list[Series], float | None]:
    """Lines by system over numeric budgets, and the mean rate without adaptation data (budget 0 or absent), if any.

    Several records at one point (target speakers, folds) become their mean and its t interval. Records of synthetic
    and real data must not come together.

    Raises:
        ValueError: both kinds are among the records.
    """
    if len({record.synthetic for record in records}) > 1:
        raise ValueError("synthetic and real results do not share a picture")
    points: dict[str, dict[float, list[Record]]] = {}
    unadapted = []
    for record in records:
        if record.metric != metric or isinstance(record.budget, str):
            continue
        if not record.budget:
            unadapted.append(record.value)
        else:
            points.setdefault(record.system, {}).setdefault(float(record.budget), []).append(record)
    series = []
    for system in sorted(points):
        budgets = sorted(points[system])
        summaries = [_point(points[system][budget]) for budget in budgets]
        value, low, high = zip(*summaries, strict=True)
        series.append(Series(system, budgets, value, low, high))
    return series, float(np.mean(unadapted)) if unadapted else None


def gain_against_forgetting(points: Sequence[TradeOff], title: str = "") -> Figure:
    """Points gained on the target against points lost on the source, one marker a method; the good corner is marked."""
    figure, axes = _axes(title)
    axes.axhline(0, color="#999999", linewidth=0.8)
    axes.axvline(0, color="#999999", linewidth=0.8)
    for index, point in enumerate(points):
        axes.errorbar(
            point.forgetting,
            point.gain,
            xerr=_error(point.forgetting, point.forgetting_ci95),
            yerr=_error(point.gain, point.gain_ci95),
            **_look(index, line=False),
            capsize=2,
            elinewidth=1,
            label=point.label,
        )
    axes.set_xlabel("forgetting: rise of the source error rate (points)")
    axes.set_ylabel("gain: fall of the target error rate (points)")
    axes.set_title(title or "better is up and to the left", fontsize=11)
    axes.margins(0.12)
    _legend(figure, axes)
    return figure


def layer_sweep(
    first: Series,
    last: Series,
    levels: Mapping[str, float] | None = None,
    title: str = "",
    metric: str = "WER",
) -> Figure:
    """Error rate against how many layers were copied, counted from the input (`first`) and from the output (`last`).

    Args:
        levels: rates drawn as level lines, such as {"trained from scratch": 30.0, "unadapted": 12.0}.
    """
    figure, axes = _axes(title)
    for index, (name, level) in enumerate((levels or {}).items()):
        axes.axhline(level, color="#666666", linewidth=1.2, linestyle=(0, (1 + 2 * index, 2)), label=name)
    for index, line in enumerate((first, last)):
        _draw(axes, line, index)
    counts = sorted({int(x) for line in (first, last) for x in line.x})
    axes.set_xticks(counts)
    axes.set_xlabel("layers copied from the source model (number)")
    axes.set_ylabel(f"{metric} (%)")
    axes.set_ylim(bottom=0)
    _legend(figure, axes)
    return figure


def training_curves(rows: Sequence[Mapping[str, Any]], title: str = "") -> Figure | None:
    """Every number of metrics.jsonl over the optimiser step, losses and other metrics in panels of their own.

    Args:
        rows: parsed lines. A row is placed by its "step", else its "epoch", else its number. Bookkeeping (times,
            rates, learning rate) is left out. Nested objects are named by their path, `terms.kld.value`.

    Returns:
        None when there is nothing to draw.
    """
    from matplotlib.figure import Figure

    lines = _curves(rows)
    panels = [
        (label, {name: line for name, line in lines.items() if name in members})
        for label, members in _panels(lines).items()
    ]
    if not panels:
        return None
    figure = Figure(figsize=(8.0, 2.6 * len(panels)), layout="constrained")
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (label, members) in zip(grid, panels, strict=True):
        style(axes)
        for index, (name, (x, y)) in enumerate(members.items()):
            look = _look(index, line=True) | ({"marker": ""} if len(x) > 40 else {"markersize": 3})
            axes.plot(x, y, **look, label=name)
        axes.set_ylabel(label)
        # outside, on the right: a curve may run anywhere inside
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
    steps = any("step" in row for row in rows)
    grid[-1].set_xlabel("optimiser step" if steps else "epoch" if any("epoch" in row for row in rows) else "row")
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def before_after(
    labels: Sequence[str], before: Sequence[float], after: Sequence[Series], metric: str = "WER"
) -> Figure:
    """Pairs of bars, the rate before and after adaptation. `after` has one point each, with its interval."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 0.7 * len(labels) + 1.3), layout="constrained")
    axes = figure.subplots()
    style(axes)
    rows = np.arange(len(labels), dtype=float)
    values = [line.y[0] for line in after]
    ends = [(line.low[0], line.high[0]) if line.low and line.high else None for line in after]
    errors = np.array(
        [np.ravel(_error(value, end) or [[np.nan], [np.nan]]) for value, end in zip(values, ends, strict=True)]
    )
    axes.barh(rows - 0.19, before, 0.36, color="#BBBBBB", label="before", hatch="//", edgecolor="white")
    bars = {"xerr": errors.T, "error_kw": {"elinewidth": 1, "capsize": 2}} if np.isfinite(errors).any() else {}
    axes.barh(rows + 0.19, values, 0.36, color=_COLORS[0], label="after", **bars)
    axes.set_yticks(rows, labels)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{metric} (%)")
    axes.grid(axis="y", visible=False)
    _legend(figure, axes)
    return figure


def save(figure: Figure, path: str | Path, dpi: int = 160) -> None:
    """Write a figure as .png, .svg or .pdf, whole or not at all; the same figure gives the same bytes."""
    path = Path(path)
    if path.suffix not in _FORMATS:
        raise ValueError(f"{path.name}: a picture ends in one of {', '.join(sorted(_FORMATS))}")
    with atomic_file(path) as temporary:
        temporary.write_bytes(render(figure, path.suffix[1:], dpi))


def render(figure: Figure, kind: str, dpi: int = 160) -> bytes:
    """The figure as "png", "svg" or "pdf". Letters of an SVG are outlines, so that no font is needed."""
    import matplotlib

    buffer = io.BytesIO()
    metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    # without a fixed salt the identifiers inside an SVG are random
    with matplotlib.rc_context({"svg.hashsalt": "speechnlp_tl", "svg.fonttype": "path"}):
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def _axes(title: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    axes = figure.subplots()
    style(axes)
    if title:
        axes.set_title(title, fontsize=11)
    return figure, axes


def style(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


def _legend(figure: Figure, axes: Axes) -> None:
    """To the right of the axes, where there are no data to cover."""
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside right upper", frameon=False, fontsize=9)


def _look(index: int, line: bool) -> dict[str, Any]:
    style = _LINES[index // len(_COLORS) % len(_LINES)] if line else "none"
    return {
        "color": _COLORS[index % len(_COLORS)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "linestyle": style,
        "linewidth": 1.6,
    }


def _draw(axes: Axes, line: Series, index: int, band: float = 0.16) -> None:
    look = _look(index, line=True)
    axes.plot(line.x, line.y, **look, markersize=5, label=line.label)
    if line.low is not None and line.high is not None:
        axes.fill_between(line.x, line.low, line.high, color=look["color"], alpha=band, linewidth=0)


def _error(value: float, ci95: tuple[float, float] | None) -> list[list[float]] | None:
    if ci95 is None or not np.isfinite(ci95).all():
        return None
    return [[max(0.0, value - ci95[0])], [max(0.0, ci95[1] - value)]]


def _point(records: Sequence[Record]) -> tuple[float, float, float]:
    nan = float("nan")
    if len(records) == 1:
        return (records[0].value, *(records[0].ci95 or (nan, nan)))
    mean = mean_interval([record.value for record in records])
    return (mean.mean, *(mean.ci95 or (nan, nan)))


_PANEL_ORDER = ("loss (per unit)", "score (%)", "gradient norm", "other")
_NOT_DRAWN = ("step", "epoch", "time", "seconds", "wall", "rate", "lr", "learning_rate", "eta", "peak_mb", "units")


def _curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[float], list[float]]]:
    """Name -> (x, y) of every finite number that is a measurement and not bookkeeping."""
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for number, row in enumerate(rows):
        x = row.get("step", row.get("epoch", number))
        for name, value in _numbers(row):
            last = name.rpartition(".")[2].rpartition("/")[2]
            if last in _NOT_DRAWN or last.endswith(("_s", "_per_second")):
                continue
            xs, ys = lines.setdefault(name, ([], []))
            xs.append(float(x))
            ys.append(value)
    return dict(sorted(lines.items()))


def _numbers(row: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found = []
    for name, value in row.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value):
            found.append((prefix + name, float(value)))
    return found


def _panels(lines: Mapping[str, Any]) -> dict[str, set[str]]:
    """Axis label -> names drawn together: losses, gradient norms, rates in percent, and what remains."""
    panels: dict[str, set[str]] = {}
    for name in lines:
        lower = name.lower()
        if "grad" in lower or "norm" in lower:
            label = "gradient norm"
        elif "loss" in lower or lower.startswith(("term", "terms")):
            label = "loss (per unit)"
        elif any(rate in lower for rate in ("wer", "cer", "accuracy", "bleu")):
            label = "score (%)"
        else:
            label = "other"
        panels.setdefault(label, set()).add(name)
    return {label: panels[label] for label in _PANEL_ORDER if label in panels}
