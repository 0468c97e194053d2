"""The tables of the speaker adaptation recipe, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from measurements import UNADAPTED, Measurements, Rate, is_layer_run

from speechnlp_tl.evaluation.significance import Comparison

Labels = tuple[str, str]
SPEAKERS: Labels = ("new speaker", "old speakers")


def sections(measured: Measurements, corpus: str, labels: Labels = SPEAKERS, name: str = "") -> list[str]:
    """All tables of one corpus.

    Args:
        labels: what the target's speech and the source's are called.
        name: of the run, where it is not the corpus': the pictures are NAME-curve.svg and so on.
    """
    synthetic = " (SYNTHETIC speech)" if corpus == "synthetic" else ""
    parts = [f"## {name or corpus}{synthetic}", main_table(measured, corpus, labels)]
    if "default" in measured.methods:
        parts += [default_table(measured), speaker_table(measured)]
    else:
        parts.append(paired_table(measured, labels))
    if any(is_layer_run(method) for method, _ in measured.cells):
        parts.append(layer_table(measured))
    parts.append(_images(measured, name or corpus))
    return parts


def main_table(measured: Measurements, corpus: str, labels: Labels = SPEAKERS) -> str:
    """Target and source error rate of every method at every budget, side by side."""
    unadapted = measured.cell(UNADAPTED, 0)
    header = ["method", *(_amount(measured, budget) for budget in measured.budgets), "time"]
    rows = [[UNADAPTED, *[_pair(unadapted.target, unadapted.old)] * len(measured.budgets), ""]]
    for method in measured.methods:
        cells = {budget: measured.cell(method, budget) for m, budget in measured.cells if m == method}
        pairs = [_pair(cells[b].target, cells[b].old) if b in cells else "" for b in measured.budgets]
        rows.append([method, *pairs, _time(cells[max(cells)].wall_s)])
    words = unadapted.target.words, unadapted.old.words
    note = (
        f"Word error rate (%) on {corpus}: **{labels[0]}** with its 95 % interval over speakers / {labels[1]}. "
        f"{words[0]} and {words[1]} words; {_draws(measured)}. Time: mean of one adaptation at the largest budget, on "
        "one core beside another run."
    )
    return f"{note}\n\n{_table(header, rows)}"


def paired_table(measured: Measurements, labels: Labels) -> str:
    """Every method against the unadapted models: gain and cost with intervals and p-values."""
    header = ["method", "utterances", labels[0], "relative", "p", labels[1], "p"]
    rows = []
    for method in measured.methods:
        for budget in (budget for m, budget in measured.cells if m == method):
            gain = measured.against_unadapted(method, budget)
            cost = measured.against_unadapted(method, budget, "old")
            relative = 100.0 * gain.difference / gain.wer if gain.wer else 0.0
            rows.append([method, str(budget), _change(gain), f"{relative:+.0f} %", _p(gain), _change(cost), _p(cost)])
    intro = "Difference to the unadapted model in points, paired over speakers; below zero is better."
    return f"{intro}\n\n{_table(header, rows)}"


def default_table(measured: Measurements) -> str:
    """The default method against the unadapted models: gain and cost with intervals and p-values."""
    header = ["utterances", "new speaker", "gain, relative", "p", "old speakers", "p"]
    rows = []
    for budget in measured.budgets:
        gain = measured.against_unadapted("default", budget)
        cost = measured.against_unadapted("default", budget, "old")
        relative = -100.0 * gain.difference / gain.wer if gain.wer else 0.0
        rows.append([str(budget), _change(gain), f"{relative:.0f} %", _p(gain), _change(cost), _p(cost)])
    intro = "### The default (`adapt` without `--method`)\n\nDifference to the unadapted model in points, paired:"
    return f"{intro}\n\n{_table(header, rows)}"


def speaker_table(measured: Measurements) -> str:
    """The default by target speaker; a rise whose interval excludes zero is marked."""
    speakers = sorted({target for target, _ in measured.baseline})
    unadapted = measured.cell(UNADAPTED, 0).by_speaker
    header = ["speaker", UNADAPTED, *(f"{budget} utt." for budget in measured.budgets)]
    rows, worse = [], 0
    for speaker in speakers:
        row = [speaker, f"{unadapted[speaker].wer:.1f}"]
        for budget in measured.budgets:
            rates = measured.cell("default", budget).by_speaker
            if speaker not in rates:
                row.append("")
                continue
            comparison = measured.against_unadapted("default", budget, speaker=speaker)
            significant = comparison.low > 0
            worse += significant
            row.append(f"{rates[speaker].wer:.1f} ({comparison.difference:+.1f}){' !' if significant else ''}")
        rows.append(row)
    note = (
        "WER (%) of the default by speaker, in brackets the difference to the unadapted model. `!`: worse, with a 95 % "
        f"interval over the speaker's test utterances that excludes zero; there are {worse} such cells."
    )
    return f"{note}\n\n{_table(header, rows)}"


def layer_table(measured: Measurements) -> str:
    """Which layers to copy: first n against last n, the rest trained afresh."""
    runs = [(method, budget) for method, budget in measured.cells if is_layer_run(method)]
    counts = sorted({int(method.split(":")[1]) for method, _ in runs if ":" in method})
    budget = runs[0][1]
    rows = []
    for count in counts:
        first, last = (measured.cell(f"{end}:{count}", budget) for end in ("first", "last"))
        rows.append([str(count), _pair(first.target, first.old), _pair(last.target, last.old)])
    copied = measured.cell("all copied", budget)
    rows.append(["all", _pair(copied.target, copied.old), _pair(copied.target, copied.old)])
    intro = (
        "### Which layers to copy\n\n"
        f"The first or the last n layers of the source model are copied, the others start afresh; {budget} adaptation "
        "utterances train the fresh layers, then all. New speaker / old speakers, WER (%)."
    )
    return f"{intro}\n\n{_table(['n', 'first n copied', 'last n copied'], rows)}"


def _images(measured: Measurements, corpus: str) -> str:
    names = ["curve", "tradeoff"]
    if any(is_layer_run(method) for method, _ in measured.cells):
        names.append("layers")
    return "\n".join(f"![{name}](figures/{corpus}-{name}.svg)" for name in names)


def _pair(target: Rate, old: Rate) -> str:
    interval = f" [{target.ci95[0]:.1f}, {target.ci95[1]:.1f}]" if target.ci95 else ""
    return f"**{target.wer:.1f}**{interval} / {old.wer:.1f}"


def _time(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f} s"


def _change(comparison: Comparison) -> str:
    return f"{comparison.difference:+.2f} [{comparison.low:+.2f}, {comparison.high:+.2f}]"


def _p(comparison: Comparison) -> str:
    return f"{comparison.p_permutation:.3f}"


def _amount(measured: Measurements, budget: int) -> str:
    seconds = measured.cell(measured.methods[0], budget).seconds
    return f"{budget} utt. ({seconds:.0f} s)"


def _draws(measured: Measurements) -> str:
    folds = len({row["fold"] for row in measured.rows})
    seeds = len({row["seed"] for row in measured.rows if row["budget"] and not is_layer_run(row["method"])})
    if folds == 1:
        return f"{seeds} seeds, each with a draw of adaptation utterances of its own"
    return f"{folds} folds, {seeds // folds} seed(s) and draw(s) of adaptation utterances in each, no two alike"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
