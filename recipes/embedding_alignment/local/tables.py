"""The tables of the recipe, in Markdown, from result records alone."""

from __future__ import annotations

from collections.abc import Sequence

from score import ALIKE, CHANCE, COVERAGE, REFUSED, TRIPS, WARNED

from recipes.results_page import interval, table
from speechnlp_tl.evaluation.results import Record

NONE = "-"


class Found:
    """The records of one corpus."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = list(records)
        self._of = {(r.system, f"{r.source}-{r.target}", r.budget, r.metric): r for r in records}

    @property
    def pairs(self) -> list[str]:
        """Those that a system was run on by itself."""
        own = [r for r in self.records if r.metric == "p@1" and not _is_hub(r.system)]
        return list(dict.fromkeys(f"{r.source}-{r.target}" for r in own))

    def get(self, system: str, pair: str, budget: object, metric: str = "p@1") -> Record | None:
        return self._of.get((system, pair, budget, metric))  # type: ignore[arg-type]

    def systems(self, pair: str, joint: bool) -> list[str]:
        """Systems with a rate on a pair, the best first; without what their retrieval is."""
        best: dict[str, float] = {}
        for r in self.records:
            own = r.metric == "p@1" and f"{r.source}-{r.target}" == pair and not _is_hub(r.system)
            if own and (r.budget == "sentences") == joint:
                name = r.system.rpartition(" (")[0]
                best[name] = max(best.get(name, 0.0), r.value)
        return sorted(best, key=lambda name: -best[name])

    def budgets(self, pair: str) -> list[int]:
        found = {r.budget for r in self.records if f"{r.source}-{r.target}" == pair and isinstance(r.budget, int)}
        return sorted((each for each in found if isinstance(each, int)), reverse=True)


def _is_hub(system: str) -> bool:
    return system.startswith("hub, ")


def sections(records: Sequence[Record], corpus: str) -> list[str]:
    """All tables of one corpus."""
    own = [record for record in records if record.corpus == corpus]
    made = " (SYNTHETIC languages)" if any(record.synthetic for record in own) else ""
    found = Found(own)
    parts = [f"## {corpus}{made}", _coverage(found)]
    for pair in found.pairs:
        parts += [f"### {pair}: P@1 (%) by dictionary words", _by_budget(found, pair), _details(found, pair)]
    parts += _joint(found) + _unlinked(found) + _hub(found)
    return [part for part in parts if part]


def _coverage(found: Found) -> str:
    rows = []
    for pair in found.pairs:
        cells = [found.get(name, pair, None, COVERAGE) for name in ("dictionary", "joint dictionary")]
        rows.append([pair, *("" if cell is None else f"{cell.value:.1f} % of {cell.n}" for cell in cells)])
    note = (
        "Rates are over the test words that have a vector and a translation with one. [ ]: 95 % bootstrap interval "
        "over source words, and over seeds where there are several."
    )
    return f"{note}\n\n{table(['pair', 'test words covered', '..., jointly trained vectors'], rows)}"


def _by_budget(found: Found, pair: str) -> str:
    budgets = found.budgets(pair)
    rows = []
    for system in found.systems(pair, joint=False):
        cells = []
        for budget in budgets:
            record = found.get(f"{system} (csls)", pair, budget)
            nearest = found.get(f"{system} (nn)", pair, budget)
            if record is None:
                no = found.get(system, pair, budget, REFUSED)
                cells.append("" if no is None else "too few words")
            else:
                other = "" if nearest is None else f" ({nearest.value:.1f})"
                cells.append(f"**{record.value:.1f}** {interval(record)}{other}")
        rows.append([system, *cells])
    head = ["system", *(f"{budget} words" if budget else "no words" for budget in budgets)]
    return f"By CSLS; in brackets ( ) by nearest neighbour.\n\n{table(head, rows)}"


def _details(found: Found, pair: str) -> str:
    """Further rates and other retrieval, of each system's largest budget."""
    rows = []
    for system in found.systems(pair, joint=False):
        for retrieval in ("csls", "nn", "inverted-softmax"):
            named = f"{system} ({retrieval})"
            budgets = [each for each in found.budgets(pair) if found.get(named, pair, each)]
            if budgets and (retrieval == "csls" or found.get(f"{system} (inverted-softmax)", pair, budgets[0])):
                rates = [found.get(named, pair, budgets[0], metric) for metric in ("p@1", "p@5", "p@10", "mrr")]
                bands = [
                    f"{r.metric.removeprefix('p@1, rank ')}: {r.value:.1f}"
                    for r in found.records
                    if r.system == named
                    and f"{r.source}-{r.target}" == pair
                    and r.budget == budgets[0]
                    and "rank" in r.metric
                ]
                first = rates[0]
                time = "" if first is None or first.wall_s is None else f"{first.wall_s:.1f} s"
                shown = [NONE if r is None else f"{r.value:.1f}" for r in rates]
                rows.append([system, retrieval, str(budgets[0]), *shown, ", ".join(bands), time])
    head = [
        "system",
        "retrieval",
        "words",
        "P@1",
        "P@5",
        "P@10",
        "MRR",
        "P@1 by frequency rank",
        "time of the alignment",
    ]
    return table(head, rows)


def _joint(found: Found) -> list[str]:
    pairs = [pair for pair in found.pairs if found.systems(pair, joint=True)]
    systems = list(dict.fromkeys(system for pair in pairs for system in found.systems(pair, joint=True)))
    rows = []
    for system in systems:
        cells = []
        for pair in pairs:
            record, nearest = (found.get(f"{system} ({how})", pair, "sentences") for how in ("csls", "nn"))
            cells.append(
                ""
                if record is None
                else f"**{record.value:.1f}** {interval(record)}"
                + ("" if nearest is None else f" ({nearest.value:.1f})")
            )
        rows.append([system, *cells])
    if not rows:
        return []
    note = (
        "P@1 by CSLS, in brackets ( ) by nearest neighbour. No dictionary is used, but sentences and their "
        "translations are."
    )
    return [f"### Learned together from matched sentences\n\n{note}\n\n{table(['system', *pairs], rows)}"]


def _unlinked(found: Found) -> list[str]:
    """Alignments without a dictionary: what each says of itself, and whether it is right."""
    rows = []
    for record in found.records:
        if record.metric != TRIPS:
            continue
        pair = f"{record.source}-{record.target}"
        chance, warned, alike = (
            found.get(record.system, pair, record.budget, metric) for metric in (CHANCE, WARNED, ALIKE)
        )
        rate = found.get(f"{record.system} (csls)", pair, record.budget)
        says = "" if warned is None else f"in {round(warned.value * (record.seeds or 1) / 100)} of {record.seeds}"
        # the name of the fallback stands with the warning
        fallback = found.get(f"{warned.notes} (csls)", pair, 0) if warned is not None and warned.value else None
        told = "" if fallback is None else f"{fallback.value:.1f}"
        rows.append(
            [
                pair,
                record.system,
                f"{record.value:.0f} % ({NONE if chance is None else f'{chance.value:.0f}'} %)",
                NONE if alike is None else f"{alike.value:.0f} %",
                says,
                NONE if rate is None else f"{rate.value:.1f}",
                told,
            ]
        )
    if not rows:
        return []
    note = (
        "No dictionary is looked at. Spelt alike: of the words that both languages spell alike, those whose nearest is "
        "the same word; below 5 % the alignment warns. Where it learned from such words: the words that are the "
        "translation of their translation, among words that took no part, against a random rotation. An unsupervised "
        "run that warns is replaced by self-learning from identical strings."
    )
    told = ["round trips (by chance)", "spelt alike", "warned, seeds"]
    head = ["pair", "system", *told, "P@1 (%)", "P@1 of the fallback"]
    return [f"### Without a dictionary: does it know when it has failed?\n\n{note}\n\n{table(head, rows)}"]


def _hub(found: Found) -> list[str]:
    own = [r for r in found.records if _is_hub(r.system) and r.metric == "p@1"]
    pairs = list(dict.fromkeys(f"{r.source}-{r.target}" for r in own))
    systems = list(dict.fromkeys(r.system for r in own))
    rows = []
    for pair in pairs:
        cells = [next(r for r in own if r.system == system and f"{r.source}-{r.target}" == pair) for system in systems]
        straight = found.get("procrustes (csls)", pair, cells[0].budget)
        direct = "" if straight is None else f"{straight.value:.1f} {interval(straight)}"
        rows.append([pair, *(f"{r.value:.1f} {interval(r)}" for r in cells), direct])
    if not rows:
        return []
    names = [system.rpartition(" (")[0] for system in systems]
    note = (
        "P@1 by CSLS. Pairwise: each language is mapped onto the hub with its own dictionary; joint: all maps at once, "
        "from the dictionaries of all pairs; straight: the pair's own alignment, where it was made."
    )
    return [f"### Several languages in one space\n\n{note}\n\n{table(['pair', *names, 'straight'], rows)}"]
