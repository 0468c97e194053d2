"""The tables of the recipe, in Markdown, from result records alone."""

from __future__ import annotations

from collections.abc import Sequence

from score import ACCURACY, GAIN, MACRO_F1, MEAN, P_VALUE

from recipes.results_page import interval, table
from speechnlp_tl.evaluation.results import Record


def sections(records: Sequence[Record], corpus: str) -> list[str]:
    """All tables of one corpus."""
    own = [record for record in records if record.corpus == corpus]
    made = " (SYNTHETIC languages)" if any(record.synthetic for record in own) else ""
    found = {(record.system, record.target, record.metric): record for record in own}
    systems = sorted({record.system for record in own}, key=lambda name: -found[name, MEAN, ACCURACY].value)
    targets = list(dict.fromkeys(record.target for record in own if record.target != MEAN))
    head = ["system", "mean", *map(str, targets), "macro-F1", "gain", "p", "selection", "time"]
    rows = []
    for system in systems:
        mean, gain = found[system, MEAN, ACCURACY], found.get((system, MEAN, GAIN))
        p = found.get((system, MEAN, P_VALUE))
        cells = [f"{found[system, t, ACCURACY].value:.1f} {interval(found[system, t, ACCURACY])}" for t in targets]
        times = [found[system, target, ACCURACY].wall_s or 0.0 for target in targets]
        rows.append(
            [
                system,
                f"**{mean.value:.1f}** {interval(mean)}",
                *cells,
                f"{found[system, MEAN, MACRO_F1].value:.1f}",
                "" if gain is None else f"{gain.value:+.1f} {interval(gain, '+.1f')}",
                "" if p is None else "< 0.0001" if p.value < 1e-4 else f"{p.value:.2g}",
                mean.selection or "",
                f"{sum(times) / len(times):.1f} s",
            ]
        )
    baseline = next(record.notes for record in own if record.metric == GAIN)
    first = own[0]
    note = (
        f"Accuracy in percent on verses of the test books; classifiers learn from {first.source} unless the system "
        f"says `target labels`. Mean over {first.seeds} divisions of the books. [ ]: 95 % interval, divisions and test "
        f"books drawn with replacement. Gain: points, {baseline}; p: sign-flip permutation over books. Time: of one "
        "classifier, without the vectors and the space."
    )
    return [f"## {corpus}{made}\n\n{note}\n\n{table(head, rows)}"]
