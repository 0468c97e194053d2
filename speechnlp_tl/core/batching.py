"""Which rows travel together: the optimiser steps of an epoch, and how a step is split over processes.

Everything here is a pure function of its arguments, so that a resumed run and every process see the same batches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

BUCKET_RATIO = 1.1
"""Rows of one bucket differ in cost by at most this factor, which bounds the padding to about 10 %."""


def batches_by_cost(
    costs: Sequence[float],
    budget: float,
    seed: int,
    epoch: int,
    longest_first: bool = True,
    max_rows: int | None = None,
    shuffle: bool = True,
    parts: Sequence[float] | None = None,
) -> list[list[int]]:
    """Group rows of similar cost so that each batch's padded cost (largest cost times rows) is at most `budget`.

    A row that alone exceeds the budget makes a batch of its own. Rows are drawn at random within buckets of similar
    cost, whose borders move from epoch to epoch, and the batches are then put in random order.

    Args:
        costs: cost of each row (frames, tokens, seconds), finite and not negative.
        budget: largest padded cost of a batch.
        seed: with `epoch` the only source of randomness.
        longest_first: in epoch 0 the batch with the longest row comes first, so that a run that does not fit into
            memory fails in its first step and not after an hour.
        max_rows: most rows of a batch.
        shuffle: False gives the rows from the longest to the shortest, the same in every epoch.
        parts: what of each row's cost is padded on its own (the target of a translation): within a bucket, rows that
            are alike in it are drawn together.

    Returns:
        Row numbers of each batch; every row stands in exactly one.
    """
    cost = np.asarray(costs, dtype=np.float64)
    part = np.zeros_like(cost) if parts is None else np.asarray(parts, dtype=np.float64)
    if not np.isfinite([cost, part]).all() or min(cost.min(initial=0), part.min(initial=0)) < 0:
        raise ValueError("costs and parts must be finite and not negative")
    if not budget > 0 or (max_rows is not None and max_rows < 1):
        raise ValueError("budget and max_rows must be positive")
    random = np.random.default_rng([seed, epoch])
    if shuffle:
        bucket = _buckets(cost, random)
        rank = random.random(len(cost))
        order = np.lexsort((rank, -bucket) if parts is None else (rank, -_buckets(part, random), -bucket))
    else:
        order = np.lexsort((-part, -cost))

    batches: list[list[int]] = []
    current: list[int] = []
    largest = 0.0
    for row, price in zip(order.tolist(), cost[order].tolist(), strict=True):
        grown = max(largest, price)
        if current and (grown * (len(current) + 1) > budget or len(current) == max_rows):
            batches.append(current)
            current, grown = [], price
        current.append(row)
        largest = grown
    if current:
        batches.append(current)
    if shuffle:
        batches = [batches[index] for index in random.permutation(len(batches))]
    if longest_first and epoch == 0 and batches:
        longest = int(cost.argmax())
        batches.sort(key=lambda rows: longest not in rows)
    return batches


def _buckets(lengths: npt.NDArray[np.float64], random: np.random.Generator) -> npt.NDArray[np.float64]:
    scale = np.log(np.maximum(lengths, np.finfo(np.float64).tiny)) / np.log(BUCKET_RATIO)
    found: npt.NDArray[np.float64] = np.floor(scale + random.random())
    return found


def sampled_counts(sizes: Sequence[float], temperature: float, total: float) -> list[int]:
    """How much of each kind an epoch of about `total` holds: p ~ size ** (1 / temperature) (Arivazhagan et al. 2019).

    Temperature 1 takes kinds as they are, a large one all alike. None is left out.
    """
    shares = np.asarray(sizes, dtype=np.float64) ** (1 / temperature)
    return [max(1, round(total * share)) for share in shares / shares.sum()]


def drawn_rows(size: int, wanted: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """`wanted` of `size` rows at random, none a second time before all the others."""
    rounds = [random.permutation(size) for _ in range(-(-wanted // size))]
    return np.concatenate(rounds)[:wanted]


def split_rows(rows: Sequence[int], parts: int, index: int) -> list[int]:
    """Part `index` of `parts` of a step's rows: every `parts`-th row, so that parts get rows of like length.

    Empty when there are fewer rows than parts and `index` is behind the last.
    """
    if not 0 <= index < parts:
        raise ValueError(f"part {index} of {parts}")
    return list(rows[index::parts])
