"""Selection rules side by side: what each would have chosen among the same trained systems, for every pair and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from measurements import Cell, PairName

ORACLE = "oracle"
"""Looks at the labels of the test reviews: a bound, no rule that anybody has."""


def chosen_cells(among: Sequence[str], cells: Mapping[str, Mapping[PairName, Cell]]) -> dict[str, dict[PairName, Cell]]:
    """Rule -> pair -> the runs that it chose among the systems `among`; of equal scores the first system's."""
    pairs = list(cells[among[0]])
    rules = [*cells[among[0]][pairs[0]].runs[0]["scores"], ORACLE]
    return {rule: {pair: _chosen(rule, [cells[name][pair] for name in among]) for pair in pairs} for rule in rules}


def _chosen(rule: str, candidates: Sequence[Cell]) -> Cell:
    correct, runs = [], []
    for seed in range(len(candidates[0].runs)):
        scores = [_score(rule, cell, seed) for cell in candidates]
        best = candidates[int(np.argmax(scores))]
        correct.append(best.correct[seed])
        # what it costs to choose: all were trained
        cost = {"wall_s": sum(cell.runs[seed]["wall_s"] for cell in candidates), "distance": None}
        runs.append(best.runs[seed] | cost | {"selection": rule})
    return Cell(np.stack(correct), runs)


def _score(rule: str, cell: Cell, seed: int) -> float:
    scores: dict[str, Any] = cell.runs[seed]["scores"]
    return float(cell.correct[seed].mean()) if rule == ORACLE else float(scores[rule])
