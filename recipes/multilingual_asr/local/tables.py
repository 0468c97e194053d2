"""The tables of RESULTS.md, and the one that the recipe prints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from heard import FEW_SPEAKERS
from relative import FEW_ERRORS
from score import CHANGE, CHOSEN, FORGOTTEN, PARAMETERS, PROBE, RELATIVE, SPEECH, WER
from settings import ALL, ALONE, SCRATCH

from recipes.results_page import interval, significant, table
from speechnlp_tl.evaluation.results import Record


def sections(records: Sequence[Record], corpus: str) -> list[str]:
    """All tables of a corpus; rows of real and of made speech never meet in one."""
    found = [f"## {corpus}"]
    for made in (False, True):
        own = [record for record in records if record.corpus == corpus and record.synthetic == made]
        if own:
            found.append(f"### {'Made speech (espeak-ng)' if made else 'Real speech'}")
            found += [
                part
                for part in (_speech(own), _systems(own), _chosen(own), _curve(own), _thirds(own), _kept(own))
                if part
            ]
    return found


def _names(records: Sequence[Record], field: str) -> list[str]:
    return list(dict.fromkeys(str(getattr(record, field)) for record in records))


def _speech(records: Sequence[Record]) -> str:
    """How much of each language there is."""
    own = [each for each in records if each.metric == SPEECH]
    rows = [[str(each.target), f"{each.value:.1f}", str(each.n), *(each.notes or "").split("; ", 1)] for each in own]
    if not rows:
        return ""
    told = "Speech to learn from."
    if not any(each.synthetic for each in own):
        told += (
            " Where takes of single words were put together, `all` of it is trained on in three orders, which count "
        )
        told += "once here; budgets of minutes are of the first."
    return f"{table(['language', 'minutes', 'utterances', 'of', 'dev and tests'], rows)}\n\n{told}"


def _systems(records: Sequence[Record]) -> str:
    """WER of every test set by system, and the mean change against models of one language."""
    own = [record for record in records if record.budget is None]
    rates = {(each.target, each.system): each for each in own if each.metric == WER}
    changes = {(each.target, each.system): each for each in own if each.metric == CHANGE}
    systems = sorted(_names(list(rates.values()), "system"), key=lambda name: name != ALONE)
    tests = _names(list(rates.values()), "target")
    if not tests:
        return ""
    rows = []
    for test in tests:
        cells = [_cell(rates.get((test, system))) for system in systems]
        rows.append([test, *cells])
    means = {each.system: each for each in records if each.metric == RELATIVE}
    if means:
        counted = next(iter(means.values())).notes
        rows.append(["mean relative change", *(_percent(means.get(system), counted) for system in systems)])
    told = f"WER in percent, {_seeds(list(rates.values()))}. {_INTERVALS} Search weights were chosen on dev speech."
    if any(each.notes for each in rates.values()):
        told += " Behind ±: standard deviation over seeds."
    if means:
        told += f" Mean relative change from models of one language: over {counted}, each language alike; where the "
        told += f"baseline makes fewer than {FEW_ERRORS} errors a share of them says nothing."
    worse = [
        f"{each.target} {each.system} {each.value:+.1f} points, {each.notes}"
        for each in changes.values()
        if significant(each)
    ]
    if worse:
        told += "\n\nDifferent from models of one language (paired permutation test over what intervals are over, "
        told += f"p < 0.05): {'; '.join(worse)}."
    return f"{table(['test', *_told(systems, list(rates.values()))], rows)}\n\n{told}"


_INTERVALS = (
    f"Intervals are over speakers, or over utterances where there are fewer than {FEW_SPEAKERS} of them; a speaker's "
    "utterances of all seeds stay together."
)


def _percent(record: Record | None, counted: str | None) -> str:
    """With the languages that it is over, where they are not those `counted`."""
    if record is None:
        return ""
    own = "" if record.notes == counted else f" ({record.notes} alone)"
    return f"{record.value:+.1f} % {interval(record, '+.1f')}{own}"


def _told(systems: Sequence[str], records: Sequence[Record]) -> list[str]:
    """Names of systems; those with fewer seeds than others say how many."""
    seeds = {each.system: each.seeds or 1 for each in records}
    most = max(seeds.values())
    return [name if seeds[name] == most else f"{name} ({_count(seeds[name])})" for name in systems]


def _chosen(records: Sequence[Record]) -> str:
    found = sorted((each for each in records if each.metric == CHOSEN), key=lambda each: each.source is not None)
    own = {(each.target, _with_source(each)): each for each in found}
    probes = {each.system: each for each in records if each.metric == PROBE}
    if not own:
        return ""
    systems, tests = list(dict.fromkeys(key[1] for key in own)), _names(found, "target")
    rows = [[system, *(_value(own.get((test, system))) for test in tests)] for system in systems]
    heads = ["model", *tests]
    told = "Percent of utterances whose language `--lang auto` finds."
    if probes:
        rows = [[*row, _value(probes.get(row[0]))] for row in rows]
        heads.append("probe on frames")
        told += (
            " Probe: a linear classifier of the language on frames of the last shared layer, speakers held out where "
        )
        told += "there are several."
    return f"{table(heads, rows)}\n\n{told}"


def _with_source(record: Record) -> str:
    """A system's name; of a method that taught a language, with that language and the speech."""
    if record.source is None:
        return record.system
    amount = f"{record.budget:g} min" if isinstance(record.budget, int | float) else ALL
    return f"{record.system}, {record.source} from {amount}"


def _curve(records: Sequence[Record]) -> str:
    """WER of each new language by method and minutes."""
    learned = [each for each in records if each.budget is not None and each.metric == WER]
    own = {(each.target, each.system, each.budget): each for each in learned}
    changes = {(each.target, each.system, each.budget): each for each in records if each.metric == CHANGE}
    if not own:
        return ""
    budgets = sorted({key[2] for key in own}, key=lambda each: (isinstance(each, str), 0 if each == ALL else each))
    rows = []
    for target in dict.fromkeys(key[0] for key in own):
        methods = sorted({key[1] for key in own if key[0] == target}, key=lambda name: (name != SCRATCH, name))
        for method, name in zip(methods, _told(methods, learned), strict=True):
            cells = [_cell(own.get(key), changes.get(key)) for key in ((target, method, each) for each in budgets)]
            rows.append([str(target), name, *cells])
    heads = [each if isinstance(each, str) else f"{each:g} min" for each in budgets]
    told = f"WER of a language that the source model lacks, {_seeds(learned)}. {_INTERVALS} Bold: different from the "
    told += "model from scratch of the same speech (paired permutation test over what intervals are over, p < 0.05). "
    told += "Search weights were chosen on dev speech of the new language, for all methods alike."
    return f"#### A new language\n\n{table(['test', 'method', *heads], rows)}\n\n{told}"


def _thirds(records: Sequence[Record]) -> str:
    """Whether a transferred model is as good as one from scratch with three times the minutes, and what its minutes are
    worth."""
    own = {(str(each.target), each.system, each.budget): each.value for each in records if each.metric == WER}
    scratch: dict[str, dict[float, float]] = {}
    for (target, name, budget), value in own.items():
        if name == SCRATCH and isinstance(budget, int | float):
            scratch.setdefault(target, {})[budget] = value
    methods = [name for name in dict.fromkeys(key[1] for key in own if key[2] is not None) if name != SCRATCH]
    rows = []
    for method in sorted(methods):
        pairs, worth = [], []
        for (target, name, budget), value in own.items():
            curve = scratch.get(target, {})
            if name != method or not isinstance(budget, int | float):
                continue
            pairs += [(value, curve[more]) for more in (3 * budget, 10 * budget / 3) if more in curve]
            if any(minutes > budget for minutes in curve):
                worth.append(_minutes_worth(value, curve) / budget)
        if len(pairs) > 1:
            wins = sum(ours <= theirs for ours, theirs in pairs)
            means = [sum(column) / len(pairs) for column in zip(*pairs, strict=True)]
            factor = math.exp(sum(map(math.log, worth)) / len(worth))
            rows.append(
                [
                    method,
                    str(len(pairs)),
                    str(wins),
                    f"{means[0]:.1f}",
                    f"{means[1]:.1f}",
                    f"{factor:.1f}",
                    str(len(worth)),
                ]
            )
    if not rows:
        return ""
    head = ["method", "pairs", "at least as good", "mean WER", "from scratch with three times the speech"]
    head += ["a minute's worth", "of cells"]
    told = (
        "Each pair: a test set, and m minutes transferred beside 3 m (or 10/3 m) from scratch. A minute's worth: the "
    )
    told += "minutes from scratch with the same error, between points of that curve on a scale of log minutes; the "
    told += "geometric mean over test sets and minutes, but those at the curve's end, beyond which nothing is known."
    return f"{table(head, rows)}\n\n{told}"


def _minutes_worth(wer: float, curve: Mapping[float, float]) -> float:
    """Minutes at which the curve from scratch has an error; its first or last point where it lies beyond."""
    better = [
        minutes
        for minutes in sorted(curve)
        if curve[minutes] < min((curve[fewer] for fewer in curve if fewer < minutes), default=math.inf)
    ]
    return float(np.exp(np.interp(-wer, [-curve[minutes] for minutes in better], np.log(better))))


def _kept(records: Sequence[Record]) -> str:
    """What learning a language cost the others, and how the model grew."""
    kept = [each for each in records if each.metric == FORGOTTEN]
    grown = {(each.system, each.target, each.budget): each for each in records if each.metric == PARAMETERS}
    if not kept:
        return ""
    rows = [
        [
            each.system,
            str(each.target),
            ALL if isinstance(each.budget, str) else f"{each.budget:g} min",
            (each.notes or "").replace(" before", ""),
            f"{each.value:.2f}",
            *_sizes(grown.get((each.system, each.target, each.budget))),
        ]
        for each in kept
    ]
    head = ["method", "new language", "speech", "old languages before", "after", "parameters added", "trained"]
    told = "Mean WER of the old languages, each counting the same."
    return f"#### What was forgotten\n\n{table(head, rows)}\n\n{told}"


def _sizes(record: Record | None) -> list[str]:
    if record is None:
        return ["", ""]
    return [f"{record.value / 1000:.0f} k", f"{int((record.notes or '0').split()[0]) / 1000:.0f} k"]


def _value(record: Record | None) -> str:
    return "" if record is None else f"{record.value:.1f}"


def _cell(record: Record | None, change: Record | None = None) -> str:
    if record is None:
        return ""
    value = f"**{record.value:.1f}**" if significant(change) else f"{record.value:.1f}"
    spread = (record.notes or "").removesuffix(" over seeds")
    return " ".join(part for part in (value, interval(record), spread and f"± {spread}") if part)


def _seeds(records: Sequence[Record]) -> str:
    return _count(max(each.seeds or 1 for each in records))


def _count(seeds: int) -> str:
    return "one seed" if seeds == 1 else f"{seeds} seeds"
