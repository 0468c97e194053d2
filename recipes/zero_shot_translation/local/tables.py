"""The tables of the recipe, in Markdown, from result records alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from score import ADDED, BLEU, CHRF, IDENTIFIER, KEPT, OFF_TARGET, RETRIEVAL, RETRIEVAL_TRAINED

from recipes.results_page import interval, table
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
        f"one seed, by Student's t over seeds with more. Training: with that of what a system starts from, as many as "
        f"`--jobs` side by side. Signatures: {', '.join(signatures)}."
    )
    parts = [f"## {corpus}{made}\n\n{note}"]
    parts += [_unseen(found, systems, pair) for pair in pairs]
    return [*parts, _supervised(found, systems, pairs), _retrieved(found, systems), *_added(every)]


def _unseen(found: Found, systems: Sequence[str], pair: tuple[str | None, str | None]) -> str:
    head = ["system", "BLEU", "chrF", "off-target, %", "seeds", "training"]
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


def _supervised(found: Found, systems: Sequence[str], unseen: Sequence[tuple[str | None, str | None]]) -> str:
    directions = list(dict.fromkeys((source, target) for _, source, target, metric in found if metric == BLEU))
    directions = [each for each in directions if each not in unseen]
    rows = []
    for system in systems:
        cells = [found.get((system, *direction, BLEU)) for direction in directions]
        if any(cells):
            rows.append([system, *("" if cell is None else f"{cell.value:.1f} {interval(cell)}" for cell in cells)])
    head = ["system", *(f"{source} to {target}" for source, target in directions)]
    return f"### Directions with training sentences: BLEU\n\n{table(head, rows)}"


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
    kept = {record.system: record for record in records if record.metric == KEPT}
    rows = []
    for system in dict.fromkeys(record.system for record in own):
        found = {(record.source, record.target): record for record in own if record.system == system}
        cells = ["" if each not in found else f"{found[each].value:.1f} {interval(found[each])}" for each in new]
        rows.append([system, *cells, f"{kept[system].value:.1f} ({kept[system].notes})" if system in kept else ""])
    head = ["system", *(f"{source} to {target}" for source, target in new), "old directions, mean"]
    told = "Old directions: those that the model had sentences of before the language was added."
    return [f"### A new language: BLEU\n\n{told}\n\n{table(head, rows)}"]
