"""The runs of sweep.py, pooled: error rates with intervals over speakers, gains, losses, paired comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sweep import read_rows

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.significance import Comparison, bootstrap_interval, paired_comparison

UNADAPTED = "unadapted"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Rate:
    """Errors over words, in percent, with a 95 % interval over speakers."""

    errors: int
    words: int
    ci95: tuple[float, float] | None = None

    @property
    def wer(self) -> float:
        return 100.0 * self.errors / self.words


@dataclass(frozen=True)
class Cell:
    """One method at one budget, over all target speakers, folds and seeds."""

    target: Rate
    old: Rate
    by_speaker: dict[str, Rate]
    seeds: int
    seconds: float
    """Mean length of the adaptation speech."""
    wall_s: float | None
    """Mean time of one adaptation."""


class Measurements:
    """All runs of a sweep."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = list(rows)
        self.baseline = {(row["target"], row["fold"]): row for row in self.rows if row["method"] == UNADAPTED}

    @classmethod
    def read(cls, folder: Path) -> Measurements:
        """Raises InputError when there are no runs."""
        rows = [row for path in sorted(folder.glob("*.jsonl")) for row in read_rows(path)]
        if not rows:
            raise InputError(Problem("there are no runs", folder, remedy="run stage 3 first"))
        return cls(rows)

    @cached_property
    def cells(self) -> list[tuple[str, int]]:
        """(method, budget) of all that was run, in the order it was run."""
        return list(dict.fromkeys((row["method"], row["budget"]) for row in self.rows))

    @property
    def budgets(self) -> list[int]:
        return sorted({budget for method, budget in self.cells if budget and not is_layer_run(method)})

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(method for method, budget in self.cells if budget and not is_layer_run(method)))

    def select(self, method: str, budget: int) -> list[Row]:
        return [row for row in self.rows if row["method"] == method and row["budget"] == budget]

    def cell(self, method: str, budget: int) -> Cell:
        rows = self.select(method, budget)
        walls = [row["wall_s"] for row in rows if "wall_s" in row]
        speakers = sorted({row["target"] for row in rows})
        return Cell(
            target=_rate((who, *counts) for row in rows for who, counts in row["target_errors"].items()),
            old=_rate((who, *counts) for row in rows for who, counts in row["old"].items()),
            by_speaker={
                speaker: _rate(
                    (f"{row['fold']}-{place}", *counts)
                    for row in rows
                    if row["target"] == speaker
                    for place, counts in enumerate(row["by_utterance"])
                )
                for speaker in speakers
            },
            seeds=len({row["seed"] for row in rows}),
            seconds=sum(row.get("seconds", 0.0) for row in rows) / len(rows),
            wall_s=sum(walls) / len(walls) if walls else None,
        )

    def against_unadapted(
        self, method: str, budget: int, what: str = "target", speaker: str | None = None
    ) -> Comparison:
        """Paired comparison with the unadapted models on the same speech.

        Resamples speakers; for one `speaker` its test utterances (errors summed over seeds).
        """
        units: dict[str, list[float]] = {}
        for row in self.select(method, budget):
            before = self.baseline[row["target"], row["fold"]]
            if speaker is not None:
                if row["target"] == speaker:
                    pairs = zip(row["by_utterance"], before["by_utterance"], strict=True)
                    for place, (now, then) in enumerate(pairs):
                        _add(units, f"{row['fold']}-{place}", now, then)
            else:
                key = "target_errors" if what == "target" else "old"
                for who, now in row[key].items():
                    _add(units, who, now, before[key][who])
        errors, baseline, words = zip(*units.values(), strict=True)
        return paired_comparison(errors, baseline, words, list(units))


def is_layer_run(method: str) -> bool:
    """Whether the run belongs to the layer sweep, not to the comparison of methods."""
    return method == "all copied" or method.startswith(("first:", "last:"))


def _rate(counts: Iterable[tuple[str, int, int]]) -> Rate:
    who, errors, words = zip(*counts, strict=True)
    speakers = sorted(set(who))
    interval = bootstrap_interval(errors, words, who) if len(speakers) > 1 else None
    return Rate(sum(errors), sum(words), interval.ci95 if interval else None)


def _add(units: dict[str, list[float]], name: str, now: list[int], then: list[int]) -> None:
    total = units.setdefault(name, [0.0, 0.0, 0.0])
    for place, value in enumerate((now[0], then[0], now[1])):
        total[place] += value
