"""When training must not go on silently: losses that are not finite, and terms that do nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from speechnlp_tl.errors import InputError, Problem

MOST_SKIPS = 10
"""So many steps in a row without a finite loss and gradient end the run."""
FEWEST_MEASUREMENTS = 5
"""A term is not called inert on fewer measurements."""
FEWEST_RESTS = 20
"""Nor on fewer than so many, if its value was zero too: steps can hold nothing for it to act on, such as none of the
few labelled rows of the target."""
SHOWN = 40
"""How many rows an error names."""
REMEDY = "mend or remove the term, or set gradient_check: false to train with it all the same"


class TrainingError(InputError):
    """Training went wrong in a way that going on would hide; the message says why and what to look at."""


@dataclass
class SkippedSteps:
    """Counts steps that were skipped because the loss or the gradient was not finite."""

    total: int = 0
    in_a_row: list[list[str]] = field(default_factory=list)
    """Rows of each skipped step since the last good one."""

    def good(self) -> None:
        self.in_a_row.clear()

    def skip(self, reason: str, ids: list[str]) -> None:
        """Count a skipped step.

        Raises:
            TrainingError: it was the tenth in a row.
        """
        self.total += 1
        self.in_a_row.append(ids)
        if len(self.in_a_row) < MOST_SKIPS:
            return
        rows = list(dict.fromkeys(row for rows in self.in_a_row for row in rows))
        more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
        raise TrainingError(
            Problem(
                f"{MOST_SKIPS} steps in a row were skipped, the last because {reason}; rows: "
                + ", ".join(rows[:SHOWN])
                + more,
                remedy="look at these rows, or lower learning_rate, set clip_norm, or use precision: no",
            )
        )


@dataclass
class InertTerms:
    """Finds terms with a positive weight that had no gradient on the model for a whole epoch."""

    zeros: dict[str, int] = field(default_factory=dict)
    """Measurements in a row that were zero."""
    rests: dict[str, int] = field(default_factory=dict)
    """How many of those had a value of zero as well."""
    measured: dict[str, int] = field(default_factory=dict)
    """Measurements of the present epoch."""
    alive: list[str] = field(default_factory=list)
    """Terms that have shown a gradient at least once."""

    def measure(self, weights: Mapping[str, float], norms: Mapping[str, float], values: Mapping[str, float]) -> None:
        """Take in one measurement: each term's weight now, its gradient norm and its value."""
        for name, weight in weights.items():
            if weight <= 0 or name not in norms:
                continue
            self.measured[name] = self.measured.get(name, 0) + 1
            self.zeros[name] = self.zeros.get(name, 0) + 1 if norms[name] == 0 else 0
            self.rests[name] = self.rests.get(name, 0) + (values[name] == 0) if norms[name] == 0 else 0
            if norms[name] != 0 and name not in self.alive:
                self.alive.append(name)

    def end_epoch(self) -> None:
        """Judge the epoch that ends.

        Raises:
            TrainingError: a term's gradient was zero at every measurement of it, and at least at five, or at least at
                twenty when its value was zero at some of them.
        """
        inert = [
            name
            for name, zeros in self.zeros.items()
            if zeros >= max(FEWEST_RESTS if self.rests.get(name) else FEWEST_MEASUREMENTS, self.measured.get(name, 0))
        ]
        self.measured.clear()
        if inert:
            raise TrainingError([Problem(self._explain(name), remedy=REMEDY) for name in inert])

    def _explain(self, name: str) -> str:
        return (
            f"term '{name}' has a positive weight but its gradient on the model was zero at each of the last "
            f"{self.zeros[name]} measurements: it does nothing. Likely reasons: its features are detached or lie "
            "before every trainable layer, the layers it acts on are frozen, its mask or domain selects no row, or its "
            "output is constant"
        )
