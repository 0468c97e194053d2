"""One HTML file that shows experiments: environment, tables, pictures, curves, speakers, worst utterances, configs.

The file needs nothing beside it: styles are inline, pictures are embedded, and it forbids the browser the network.
Everything that comes from a file is escaped.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechnlp_tl.evaluation.experiment import Experiment, read_experiments
from speechnlp_tl.evaluation.results import Record
from speechnlp_tl.evaluation.summary import p_value
from speechnlp_tl.evaluation.tables import sortable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from speechnlp_tl.evaluation.wer import UtteranceScore

_WORST_UTTERANCES = 20
_POINTS_AS_SVG = 4000
_ABSENT = "–"

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; max-width: 68rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: 0; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
h3 { margin: 1.6rem 0 .4rem; } .quiet { color: #595959; } nav a { margin-right: 1rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: .5rem 0; }
th, td { padding: .2rem .7rem; text-align: left; border-bottom: 1px solid #e2e2e2; }
thead th { border-bottom: 2px solid #888; vertical-align: bottom; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
img { max-width: 100%; height: auto; } figure { margin: 1rem 0; }
figcaption { color: #595959; font-size: .9rem; } pre { background: #f5f5f5; padding: .8rem; overflow-x: auto; }
.bar { display: inline-block; height: .7em; background: #0072B2; vertical-align: middle; }
.made { background: #fff3cd; padding: .1rem .4rem; border-radius: .2rem; }
.utterance { margin: .9rem 0; } .line { display: flex; flex-wrap: wrap; gap: .1rem .5rem; }
.pair { display: inline-flex; flex-direction: column; line-height: 1.35; border-radius: .2rem; padding: 0 .15rem; }
.pair span:empty::before { content: "∗"; color: #8a8a8a; }
.S { background: #fde3cf; } .D { background: #d6e8f5; } .I { background: #f3dcea; }
.S .h { text-decoration: underline; } .D .r { text-decoration: line-through; } .I .h { font-weight: 600; }
.mark { font-size: .7rem; color: #444; min-height: 1em; }
"""


def build_report(paths: Sequence[str | Path], title: str = "speechnlp_tl report") -> str:
    """The HTML text of a report on experiment folders and results.json files.

    Raises:
        InputError: some path holds nothing to report or a damaged file (see `experiment.read_experiments`).
    """
    experiments = read_experiments(paths)
    shared = _shared_environment(experiments)
    body = [f"<h1>{escape(title)}</h1>", _contents(experiments)]
    if shared:
        body += ["<h2>Environment</h2>", _facts(shared)]
    body += [_overview(experiments), _results(experiments)]
    for number, experiment in enumerate(experiments):
        body.append(_experiment(experiment, number, environment={} if shared else experiment.environment))
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def _contents(experiments: Sequence[Experiment]) -> str:
    links = (f'<a href="#e{number}">{escape(experiment.name)}</a>' for number, experiment in enumerate(experiments))
    return f"<nav>{''.join(links)}</nav>" if len(experiments) > 1 else ""


def _shared_environment(experiments: Sequence[Experiment]) -> dict[str, Any]:
    """The environment, when every experiment that names one names the same."""
    named = [experiment.environment for experiment in experiments if experiment.environment]
    return named[0] if named and all(other == named[0] for other in named) else {}


def _facts(facts: dict[str, Any]) -> str:
    rows = [[name, value if isinstance(value, str) else json.dumps(value)] for name, value in facts.items()]
    return _table([], rows)


def _overview(experiments: Sequence[Experiment]) -> str:
    """Rates of all scored experiments in one table, and bars where there is a baseline."""
    scored = [(experiment, experiment.scores) for experiment in experiments if experiment.scores is not None]
    if not scored:
        return ""
    header = ["experiment", "WER %", "95 % interval", "CER %", "errors / words", "baseline %", "difference", "p"]
    rows = []
    for experiment, scores in scored:
        baseline = scores.get("baseline") or {}
        change = [_ABSENT] * 3
        if baseline:
            difference = f"{baseline['difference']:+.2f} {_interval(baseline.get('ci95'), sign='+')}"
            change = [f"{baseline['wer']:.2f}", difference, p_value(baseline["p"])]
        cer = scores.get("cer")
        rates = [f"{scores['wer']:.2f}", _interval(scores.get("ci95")), _ABSENT if cer is None else f"{cer:.2f}"]
        rows.append([experiment.name, *rates, f"{scores['errors']} / {scores['words']}", *change])
    return "<h2>Scores</h2>" + _table(header, rows, numbers_from=1) + _bars(experiments)


def _bars(experiments: Sequence[Experiment]) -> str:
    from speechnlp_tl.evaluation.plots import Series, before_after

    pairs = [(one.name, one.scores) for one in experiments if one.scores is not None and one.scores.get("baseline")]
    if not pairs:
        return ""
    after = []
    for name, scores in pairs:
        ends = scores.get("ci95")
        after.append(Series(name, [0], [scores["wer"]], ends and [ends[0]], ends and [ends[1]]))
    figure = before_after([name for name, _ in pairs], [scores["baseline"]["wer"] for _, scores in pairs], after)
    return _picture(figure, "Word error rate before and after, with the 95 % interval of the latter.")


def _results(experiments: Sequence[Experiment]) -> str:
    """All records, by corpus and kind: a synthetic result never stands in the table of real ones."""
    groups: dict[tuple[str, str, bool], list[Record]] = {}
    for record in _merged(experiments):
        groups.setdefault((record.recipe, record.corpus, record.synthetic), []).append(record)
    parts = ["<h2>Results</h2>"] if groups else []
    for (recipe, corpus, synthetic), records in sorted(groups.items()):
        mark = ' <span class="made">synthetic data</span>' if synthetic else ""
        parts += [f"<h3>{escape(recipe)}: {escape(corpus)}{mark}</h3>", _record_table(records)]
        parts += [_curve(records, metric) for metric in sorted({record.metric for record in records})]
    return "\n".join(part for part in parts if part)


def _merged(experiments: Sequence[Experiment]) -> list[Record]:
    """Each record once. Where experiments disagree about the same thing, each names its own after itself."""
    values: dict[tuple[object, ...], set[Record]] = {}
    for experiment in experiments:
        for record in experiment.records:
            values.setdefault(record.key, set()).add(record)
    merged = []
    for experiment in experiments:
        for record in experiment.records:
            disputed = len(values[record.key]) > 1
            name = f"{record.system} ({experiment.name})" if disputed else record.system
            merged.append(record.model_copy(update={"system": name}))
    return list(dict.fromkeys(merged))


def _record_table(records: Sequence[Record]) -> str:
    """Every record a row; a field that all share becomes part of the caption."""
    names = ("system", "source", "target", "budget", "metric", "n", "seeds", "selection", "wall_s", "peak_mb", "notes")
    varying = [name for name in names if len({getattr(record, name) for record in records}) > 1 or name == "system"]
    shared = {name: getattr(records[0], name) for name in names if name not in varying}
    caption = ", ".join(f"{name} {value}" for name, value in shared.items() if value is not None)
    before = [name for name in varying if name in names[:5]]
    after = [name for name in varying if name not in before]
    ordered = sorted(records, key=lambda record: [sortable(getattr(record, name)) for name in names[1:5] + names[:1]])
    rows = []
    for record in ordered:
        numbers = [f"{record.value:.2f}", _interval(record.ci95)]
        rows.append([*(_value(record, name) for name in before), *numbers, *(_value(record, name) for name in after)])
    header = [*before, "value", "95 % interval", *after]
    return (f'<p class="quiet">{escape(caption)}</p>' if caption else "") + _table(header, rows, len(before))


def _value(record: Record, name: str) -> str:
    value = getattr(record, name)
    return _ABSENT if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)


def _curve(records: Sequence[Record], metric: str) -> str:
    """The rate against the amount of adaptation data, where several amounts were tried on the same targets.

    Points are means over targets; means over different ones would not compare.
    """
    from speechnlp_tl.evaluation.plots import adaptation_curve, series_from_records

    targets: dict[tuple[str, object], set[str | None]] = {}
    for record in records:
        if record.metric == metric:
            targets.setdefault((record.system, record.budget), set()).add(record.target)
    if len({frozenset(names) for names in targets.values()}) > 1:
        return ""
    series, baseline = series_from_records(records, metric)
    if len({x for line in series for x in line.x}) < 2:
        return ""
    figure = adaptation_curve(series, "the recipe's unit", baseline, metric=metric)
    return _picture(figure, f"{metric} against the amount of adaptation data; bands: 95 % intervals.")


def _experiment(experiment: Experiment, number: int, environment: dict[str, Any]) -> str:
    parts = [f'<h2 id="e{number}">{escape(experiment.name)}</h2>']
    if environment:
        parts += ["<h3>Environment</h3>", _facts(environment)]
    if experiment.summary is not None:
        summary = experiment.summary
        parts += [f"<p>{escape(line)}</p>" for line in (summary.headline(), summary.missing_note()) if line]
    parts += [_speakers(experiment), _training(experiment), _worst(experiment)]
    for path in experiment.pictures:
        kind = "svg+xml" if path.suffix == ".svg" else "png"
        parts.append(_image(path.read_bytes(), kind, path.stem.replace("_", " ")))
    if experiment.config:
        parts.append(f"<details><summary>Resolved config</summary><pre>{escape(experiment.config)}</pre></details>")
    return "\n".join(part for part in parts if part)


def _speakers(experiment: Experiment) -> str:
    speakers = (experiment.scores or {}).get("per_speaker") or {}
    if not speakers:
        return ""
    worst = max((counts["wer"] or 0.0 for counts in speakers.values()), default=0.0)
    header = ["speaker", "words", "errors", "S", "D", "I", "WER %"]
    names = ("words", "errors", "substitutions", "deletions", "insertions")
    rows, bars = [], []
    for speaker, counts in speakers.items():
        rate = counts["wer"]
        rows.append([speaker, *(counts[name] for name in names), _ABSENT if rate is None else f"{rate:.2f}"])
        width = 8.0 * (rate or 0.0) / worst if worst else 0.0
        bars.append(f'<span class="bar" style="width:{width:.2f}rem"></span>')
    return "<h3>By speaker</h3>" + _table(header, rows, numbers_from=1, tails=bars)


def _training(experiment: Experiment) -> str:
    from speechnlp_tl.evaluation.plots import training_curves

    figure = training_curves(experiment.metrics) if experiment.metrics else None
    if figure is None:
        return ""
    vector = sum(len(row) for row in experiment.metrics) <= _POINTS_AS_SVG
    return "<h3>Training</h3>" + _picture(figure, "From metrics.jsonl.", vector)


def _worst(experiment: Experiment) -> str:
    """The utterances with most errors, word under word."""
    if experiment.summary is None:
        return ""
    wrong = [utterance for utterance in experiment.summary.word.utterances if utterance.counts.errors]
    wrong.sort(key=lambda utterance: (-utterance.counts.errors, utterance.counts.words, utterance.id))
    shown = wrong[:_WORST_UTTERANCES]
    if not shown:
        return "<h3>Worst utterances</h3><p>None: every utterance is right.</p>"
    legend = (
        f'<p class="quiet">{len(shown)} of {len(wrong)} utterances with errors. Reference above, hypothesis below: '
        '<span class="S">S substituted</span> <span class="D">D deleted</span> <span class="I">I inserted</span></p>'
    )
    return "<h3>Worst utterances</h3>" + legend + "\n".join(_utterance(utterance) for utterance in shown)


def _utterance(utterance: UtteranceScore) -> str:
    pairs = []
    for spoken, heard in utterance.alignment:
        mark = "" if spoken == heard else "I" if not spoken else "D" if not heard else "S"
        pairs.append(
            f'<span class="pair {mark}"><span class="r" dir="auto">{escape(spoken)}</span>'
            f'<span class="h" dir="auto">{escape(heard)}</span><small class="mark">{mark}</small></span>'
        )
    counts = utterance.counts
    missing = ", no hypothesis" if utterance.missing else ""
    tally = f"{counts.substitutions} S, {counts.deletions} D, {counts.insertions} I of {counts.words} words{missing}"
    title = f'<b>{escape(utterance.id)}</b> <span class="quiet">{tally}</span>'
    line = "".join(pairs)
    return f'<div class="utterance">{title}<div class="line">{line}</div></div>'


def _table(
    header: Sequence[str], rows: Iterable[Sequence[object]], numbers_from: int = 1_000, tails: Sequence[str] = ()
) -> str:
    """A table of escaped text; `tails` is trusted HTML that ends each row."""

    def cell(tag: str, column: int, value: object) -> str:
        kind = ' class="n"' if column >= numbers_from else ""
        return f"<{tag}{kind}>{escape(str(value))}</{tag}>"

    lines = []
    for number, row in enumerate(rows):
        tail = f"<td>{tails[number]}</td>" if tails else ""
        lines.append(f"<tr>{''.join(cell('td', column, value) for column, value in enumerate(row))}{tail}</tr>")
    head = "".join(cell("th", column, name) for column, name in enumerate(header)) + ("<th></th>" if tails else "")
    opening = f"<thead><tr>{head}</tr></thead>" if header else ""
    body = "".join(lines)
    return f'<div class="wide"><table>{opening}<tbody>{body}</tbody></table></div>'


def _interval(ends: Sequence[float] | None, sign: str = "") -> str:
    return _ABSENT if ends is None else f"[{ends[0]:{sign}.2f}, {ends[1]:{sign}.2f}]"


def _picture(figure: Figure, caption: str, vector: bool = True) -> str:
    from speechnlp_tl.evaluation.plots import render

    return _image(render(figure, "svg" if vector else "png"), "svg+xml" if vector else "png", caption)


def _image(content: bytes, kind: str, caption: str) -> str:
    """An embedded picture. As an image, an SVG can run no script, and the identifiers of two cannot collide."""
    data = base64.b64encode(content).decode("ascii")
    text = escape(caption, quote=True)
    return f'<figure><img alt="{text}" src="data:image/{kind};base64,{data}"><figcaption>{text}</figcaption></figure>'
