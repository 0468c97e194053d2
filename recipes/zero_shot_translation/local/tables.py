"""The tables of the recipe, in Markdown, from result records alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from score import ADDED, BLEU, CHANGE, CHRF, IDENTIFIER, KEPT, OFF_TARGET, RETRIEVAL, RETRIEVAL_TRAINED

from recipes.results_page import interval, significant, table
from speechnlp_tl.evaluation.results import Record

Found = Mapping[tuple[str, str | None, str | None, str], Record]


def sections(records: Sequence[Record], corpus: str) -> list[str]:
    """All tables of one corpus."""
    every = [record for record in records if record.corpus == corpus]
    own = [record for record in every if record.budget != ADDED]
    found = {(record.system, record.source, record.target, record.metric): record for record in own}
    systems = list(dict.fromkeys(record.system for record in own if record.system != IDENTIFIER))
    pairs = list(dict.fromkeys((record.source, record.target) for record in own if record.metric == RETRIEVAL))
    made = " (SYNTHETIC languages)" if any(record.synthetic for record in own) else ""
    identifier = next(record for record in own if record.system == IDENTIFIER)
    signatures = sorted({f"`{record.notes}`" for record in own if record.metric in (BLEU, CHRF)})
    note = (
        "BLEU and chrF by sacrebleu, off-target by a character n-gram identifier that names "
        f"{identifier.value:.2f} % of {identifier.n} dev sentences rightly. [ ]: 95 % interval, over sentences with "
        "one seed, by Student's t over seeds with more. Training: with that of what a system starts from and the "
        "writing of its text, as many as `--jobs` side by side. *: different from what it is compared with, by a "
        "paired bootstrap over sentences (all seeds together), p < 0.05. "
        f"Signatures: {', '.join(signatures)}."
    )
    parts = [f"## {corpus}{made}\n\n{note}"]
    parts += [_unseen(found, systems, pair) for pair in pairs]
    return [*parts, _supervised(found, systems, pairs), _retrieved(found, systems), *_added(every)]


def _unseen(found: Found, systems: Sequence[str], pair: tuple[str | None, str | None]) -> str:
    changes = [found[(system, *pair, CHANGE)] for system in systems if (system, *pair, CHANGE) in found]
    baseline = (changes[0].notes or "").partition(", p ")[0] if changes else ""
    head = [
        "system",
        "BLEU",
        *([f"points {baseline}"] if changes else []),
        "chrF",
        "off-target, %",
        "seeds",
        "training",
    ]
    rows = []
    for system in systems:
        bleu = found.get((system, *pair, BLEU))
        if bleu is None:
            continue
        rows.append(
            (
                bleu.value,
                [
                    system,
                    f"**{bleu.value:.1f}** {interval(bleu)}",
                    *([_change(found.get((system, *pair, CHANGE)))] if changes else []),
                    f"{found[(system, *pair, CHRF)].value:.1f}",
                    f"{found[(system, *pair, OFF_TARGET)].value:.1f}",
                    str(bleu.seeds),
                    "" if bleu.wall_s is None else f"{bleu.wall_s / 60:.1f} min",
                ],
            )
        )
    rows.sort(key=lambda row: -row[0])
    n = next(found[(system, *pair, BLEU)].n for system in systems if (system, *pair, BLEU) in found)
    return f"### {pair[0]} to {pair[1]}\n\n{n} test sentences.\n\n{table(head, [row for _, row in rows])}"


def _change(record: Record | None) -> str:
    """With a star where p < 0.05."""
    if record is None:
        return ""
    return f"{record.value:+.1f}{'*' if significant(record) else ''} {interval(record, '+.1f')}"


def _supervised(found: Found, systems: Sequence[str], unseen: Sequence[tuple[str | None, str | None]]) -> str:
    directions = list(dict.fromkeys((source, target) for _, source, target, metric in found if metric == BLEU))
    directions = [each for each in directions if each not in unseen]
    rows = []
    for system in systems:
        cells = [found.get((system, *direction, BLEU)) for direction in directions]
        stars = ["*" if significant(found.get((system, *each, CHANGE))) else "" for each in directions]
        if any(cells):
            told = [
                "" if cell is None else f"{cell.value:.1f}{star} {interval(cell)}"
                for cell, star in zip(cells, stars, strict=True)
            ]
            rows.append([system, *told])
    head = ["system", *(f"{source} to {target}" for source, target in directions)]
    baselines = {(record.notes or "").partition(", p ")[0] for key, record in found.items()
                 if key[3] == CHANGE and key[1:3] in directions}  # fmt: skip
    told_of = "".join(f"*: different {each}.\n\n" for each in sorted(baselines))
    return f"### Directions with training sentences: BLEU\n\n{told_of}{table(head, rows)}"


def _retrieved(found: Found, systems: Sequence[str]) -> str:
    metrics = (RETRIEVAL, RETRIEVAL_TRAINED)
    pairs = list(dict.fromkeys((s, t, metric) for _, s, t, metric in found if metric in metrics))
    rows = []
    for system in systems:
        cells = [found.get((system, *pair)) for pair in pairs]
        if any(cells):
            rows.append([system, *("" if cell is None else f"{cell.value:.1f}" for cell in cells)])
    told = (
        "Percent of sentences whose nearest among all test sentences of another language is the translation, by the "
        "cosine of the encoder's pooled states without their mean. Both are encoded for one language."
    )
    told_of = {(s, t, metric): record.notes or f"{s}, for {t}" for (_, s, t, metric), record in found.items()}
    head = ["system", *(told_of[pair] for pair in pairs)]
    return f"### What encoders make of translations\n\n{told}\n\n{table(head, rows)}"


def _added(records: Sequence[Record]) -> list[str]:
    """BLEU of systems that a language was added to, in its directions and, on average, in those there were before."""
    own = [record for record in records if record.budget == ADDED and record.metric == BLEU]
    if not own:
        return []
    old = {language for record in records if record.budget != ADDED for language in (record.source, record.target)}
    directions = list(dict.fromkeys((record.source, record.target) for record in own))
    new = [each for each in directions if not old.issuperset(each)]
    kept = {(record.system, record.source, record.target): record for record in records if record.metric == KEPT}
    changes = [each for each in records if each.budget == ADDED and each.metric == CHANGE]
    change = {(each.system, each.source, each.target): each for each in changes if (each.source, each.target) in new}
    before = [each for each in dict.fromkeys(key[1:] for key in kept) if each != (None, None)]
    rows = []
    for system in dict.fromkeys(record.system for record in own):
        found = {(record.source, record.target): record for record in own if record.system == system}
        stars = {each: "*" if significant(change.get((system, *each))) else "" for each in new}
        cells = ["" if each not in found else f"{found[each].value:.1f}{stars[each]} {interval(found[each])}"
                 for each in new]  # fmt: skip
        lasting = [kept.get((system, *each)) for each in [(None, None), *before]]
        told = ["" if each is None else f"{each.value:.1f} ({each.notes})" for each in lasting]
        rows.append([system, *cells, *told])
    named = [f"{source} to {target}" for source, target in [*new, *before]]
    head = ["system", *named[: len(new)], "old directions, mean", *named[len(new) :]]
    told_of = "Mean: of the directions that the model had sentences of before the language was added."
    for baseline in sorted({(record.notes or "").partition(", p ")[0] for record in change.values()}):
        told_of += f" *: different {baseline}."
    return [f"### A new language: BLEU\n\n{told_of}\n\n{table(head, rows)}"]
