"""The tables of the cross-domain sentiment recipe, in Markdown, from result records alone."""

from __future__ import annotations

from collections.abc import Sequence

from measurements import ACCURACY, BASELINE, DISTANCE, GAIN, MEAN, P_VALUE

from recipes.results_page import interval, table
from speechnlp_tl.evaluation.results import Record

Key = tuple[str, str | None, str | None, str]


def sections(records: Sequence[Record], corpus: str) -> list[str]:
    """All tables of one corpus."""
    own = [record for record in records if record.corpus == corpus]
    found: dict[Key, Record] = {(r.system, r.source, r.target, r.metric): r for r in own}
    systems = sorted({r.system for r in own}, key=lambda name: -found[name, None, MEAN, ACCURACY].value)
    made = " (SYNTHETIC reviews)" if any(record.synthetic for record in own) else ""
    parts = [f"## {corpus}{made}", _main(found, systems), _by_pair(found, systems)]
    if any(record.metric == DISTANCE for record in own):
        parts.append(_distance(found, systems))
    return parts


def _main(found: dict[Key, Record], systems: list[str]) -> str:
    rows = []
    for system in systems:
        mean = found[system, None, MEAN, ACCURACY]
        gain, p = found.get((system, None, MEAN, GAIN)), found.get((system, None, MEAN, P_VALUE))
        wins = [r.value > 0 for key, r in found.items() if key[0] == system and key[3] == GAIN and key[2] != MEAN]
        rows.append(
            [
                system,
                f"**{mean.value:.1f}** {interval(mean)}",
                "" if gain is None else f"{gain.value:+.2f} {interval(gain, '+.2f')}",
                "" if p is None else "< 0.0001" if p.value < 1e-4 else f"{p.value:.2g}",
                f"{sum(wins)} / {len(wins)}" if wins else "",
                str(mean.seeds),
                mean.selection or "",
                f"{mean.wall_s:.1f} s",
            ]
        )
    head = ["system", "mean accuracy (%)", f"gain over `{BASELINE}`", "p", "pairs won", "seeds", "selection", "time"]
    note = (
        "Mean over the ordered pairs of domains. [ ]: 95 % interval, of the accuracy over test reviews and seeds, of "
        "the gain over test reviews, paired; p: sign-flip permutation over all test reviews together, of which large "
        "test sets have more; exact, or where that takes too long of 2000 samples and then never below 0.0005. Time: "
        "mean of one run; mSDA features are fitted once for a pair of domains, in the first run that needs them."
    )
    return f"{note}\n\n{table(head, rows)}"


def _by_pair(found: dict[Key, Record], systems: list[str]) -> str:
    pairs = sorted({(key[1], key[2]) for key in found if key[1] and key[2]})
    best = {pair: max(found[(system, *pair, ACCURACY)].value for system in systems) for pair in pairs}
    rows = []
    for system in systems:
        cells = []
        for pair in pairs:
            record = found[(system, *pair, ACCURACY)]
            told = f"**{record.value:.1f}**" if record.value == best[pair] else f"{record.value:.1f}"
            half = "" if record.ci95 is None else f" ±{(record.ci95[1] - record.ci95[0]) / 2:.1f}"
            cells.append(told + half + _mark(found, system, pair))
        rows.append([system, *cells])
    head = ["system", *(f"{source} → {target}" for source, target in pairs)]
    note = (
        f"Best in bold; ±: half the 95 % interval; ↑ ↓: better or worse than `{BASELINE}` on the same reviews with p < "
        "0.05. Intervals, gains and p-values stand in results.json."
    )
    return f"### Every pair: accuracy (%)\n\n{note}\n\n{table(head, rows)}"


def _mark(found: dict[Key, Record], system: str, pair: tuple[str | None, str | None]) -> str:
    gain, p = found.get((system, *pair, GAIN)), found.get((system, *pair, P_VALUE))
    if gain is None or p is None or p.value >= 0.05:
        return ""
    return " ↑" if gain.value > 0 else " ↓"


def _distance(found: dict[Key, Record], systems: list[str]) -> str:
    rows = [
        [system, f"{found[system, None, MEAN, DISTANCE].value:.2f}"]
        for system in systems
        if (system, None, MEAN, DISTANCE) in found
    ]
    note = (
        "### How different the domains look\n\nProxy A-distance of source and target training reviews, mean over "
        "pairs: 2 is perfectly separable, 0 indistinguishable. Linear systems: in their input; networks: in the last "
        "hidden layer."
    )
    return f"{note}\n\n{table(['system', DISTANCE], rows)}"
