"""The pictures of the speaker adaptation recipe."""

from __future__ import annotations

from pathlib import Path

from measurements import UNADAPTED, Cell, Measurements, is_layer_run

from speechnlp_tl.evaluation.plots import Series, TradeOff, adaptation_curve, gain_against_forgetting, layer_sweep, save


def draw(measured: Measurements, folder: Path, corpus: str, name: str = "", target: str = "New speakers") -> None:
    """Write NAME-curve.svg, NAME-tradeoff.svg and, where layers were swept, NAME-layers.svg; NAME is the corpus'."""
    folder.mkdir(parents=True, exist_ok=True)
    what = f"{corpus}, SYNTHETIC" if corpus == "synthetic" else corpus
    name = name or corpus
    unadapted = measured.cell(UNADAPTED, 0)
    lines = [_line(measured, method) for method in measured.methods]
    save(
        adaptation_curve(lines, "seconds", unadapted.target.wer, f"{target} ({what})"),
        folder / f"{name}-curve.svg",
    )
    budget = 10 if 10 in measured.budgets else measured.budgets[-1]
    points = []
    for method in measured.methods:
        if (method, budget) not in measured.cells:
            continue
        gain = measured.against_unadapted(method, budget)
        cost = measured.against_unadapted(method, budget, "old")
        points.append(
            TradeOff(method, -gain.difference, cost.difference, (-gain.high, -gain.low), (cost.low, cost.high))
        )
    title = f"{budget} utterances ({what}): better is up and to the left"
    save(gain_against_forgetting(points, title), folder / f"{name}-tradeoff.svg")
    sweep = [(method, amount) for method, amount in measured.cells if is_layer_run(method)]
    if sweep:
        _draw_layers(measured, sweep[0][1], folder / f"{name}-layers.svg", what)


def _line(measured: Measurements, method: str) -> Series:
    budgets = [budget for m, budget in measured.cells if m == method]
    # all methods stand at the same places: what they adapted on was drawn alike
    seconds = [measured.cell(measured.methods[0], budget).seconds for budget in budgets]
    return _series(method, seconds, [measured.cell(method, budget) for budget in budgets])


def _series(label: str, x: list[float], cells: list[Cell]) -> Series:
    ends = [cell.target.ci95 or (cell.target.wer, cell.target.wer) for cell in cells]
    return Series(label, x, [cell.target.wer for cell in cells], [low for low, _ in ends], [high for _, high in ends])


def _draw_layers(measured: Measurements, budget: int, path: Path, what: str) -> None:
    series = []
    for end in ("first", "last"):
        counts = sorted(int(m.split(":")[1]) for m, b in measured.cells if b == budget and m.startswith(f"{end}:"))
        cells = [measured.cell(f"{end}:{count}", budget) for count in counts]
        series.append(_series(f"{end} n layers copied", [float(count) for count in counts], cells))
    levels = {
        "unadapted": measured.cell(UNADAPTED, 0).target.wer,
        "all layers copied": measured.cell("all copied", budget).target.wer,
    }
    title = f"Which layers to copy ({what}, {budget} utterances)"
    save(layer_sweep(series[0], series[1], levels, title), path)
