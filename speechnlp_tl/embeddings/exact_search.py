"""The k largest of scale * cos(x, y) - cost(y), exactly, at the price of the matrix product in half precision.

Every block of scores is computed in a screening precision first: bfloat16 where the processor multiplies it faster,
otherwise float32. How far a screened score can be from the true one is bounded by the rounding errors of the vectors,
which are measured. Whatever may be among the k best within that bound is a finalist and scored again in float64, so
the answer depends neither on the precision, nor on the size of blocks, nor on the order in which a library adds.

The pass over a block takes maxima over groups of columns while the block is still in the processor's cache: k groups
with the largest maxima hold k scores, the smallest of these maxima is a floor for the k-th best score, and only groups
that reach the floor are looked into.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechnlp_tl.errors import InputError, Problem

Vectors = NDArray[Any]

BLOCK = 512
"""Queries at a time."""
TILE = 2048
"""Targets at a time: scores of a block for a tile, 2 MB in bfloat16, stay in a core's cache for the second pass."""
BLOCK_BYTES = 2**29
"""For the scores of the threads' blocks, kept until their floors are known: smaller blocks where targets are many."""
_GROUP = 32
_LANES = 64
"""A tile holds a multiple of this many groups, which makes their maxima in bfloat16 nine times faster."""
_AT_ONCE = 2**13
_FINALISTS = 2**22
_CROWDED = 64
"""So many finalists for each one wanted: bfloat16 cannot tell the targets apart (all in a narrow cone), float32 may."""


class UnitRows:
    """Vectors (n, d) of any floating type, possibly memory-mapped, as rows of unit length; zero rows stay zero.

    Raises:
        InputError: the shape is not (n, d), or rows hold infinite or undefined numbers.
    """

    def __init__(self, vectors: Vectors) -> None:
        if vectors.ndim != 2:
            raise InputError(Problem(f"vectors have the shape (n, d), not {vectors.shape}"))
        squares = np.empty(len(vectors))
        for start in range(0, len(vectors), _AT_ONCE):
            rows = np.asarray(vectors[start : start + _AT_ONCE], dtype=np.float64)
            squares[start : start + _AT_ONCE] = np.einsum("nd,nd->n", rows, rows)
        if not np.isfinite(squares).all():
            wrong = np.flatnonzero(~np.isfinite(squares))
            shown = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
            raise InputError(Problem(f"{len(wrong)} vectors hold NaN or infinity: rows {shown}", remedy="drop them"))
        self.vectors = vectors
        self.scales = np.divide(1.0, np.sqrt(squares), out=np.zeros_like(squares), where=squares > 0)

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: slice | NDArray[np.int64]) -> UnitRows:
        """Some of the rows, checked already."""
        part = object.__new__(UnitRows)
        part.vectors, part.scales = self.vectors[rows], self.scales[rows]
        return part

    def unit(self, rows: slice) -> Tensor:
        """float32"""
        return torch.from_numpy((self.vectors[rows] * self.scales[rows, None]).astype(np.float32))

    def cosines(self, own: NDArray[np.int64], other: UnitRows, others: NDArray[np.int64]) -> NDArray[np.float64]:
        """(p,) in float64, each pair by itself: a pair's cosine does not depend on what else is asked for."""
        found = np.empty(len(own))
        for start in range(0, len(own), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            x = torch.from_numpy(np.asarray(self.vectors[own[part]], dtype=np.float64))
            y = torch.from_numpy(np.asarray(other.vectors[others[part]], dtype=np.float64))
            found[part] = x.mul_(y).sum(1).numpy() * self.scales[own[part]] * other.scales[others[part]]
        return found


class _CrowdedError(Exception):
    """More finalists than the screening precision is worth."""


@dataclass(frozen=True)
class _Room:
    """Where a thread keeps the scores of a block until its floors are known, (tiles, block, tile), and their maxima."""

    scores: Tensor
    maxima: Tensor

    @classmethod
    def of(cls, block: int, targets: int, tile: int, group: int, dtype: torch.dtype) -> _Room:
        scores = torch.empty((targets // tile, block, tile), dtype=dtype)
        return cls(scores, torch.empty((block, targets // group), dtype=dtype))


class ExactSearch:
    """Searches `targets` for the k largest scale * cos(x, y) - cost(y).

    Args:
        k: at most the number of targets.
        scale: 1 or 2.
        cost: (n,) of the targets.
        dtype: the screening precision, which changes nothing but the time; None chooses.
        block, tile: queries and targets at a time, the same.
    """

    def __init__(
        self,
        targets: UnitRows,
        k: int,
        scale: float = 1.0,
        cost: NDArray[Any] | None = None,
        *,
        dtype: torch.dtype | None = None,
        block: int = BLOCK,
        tile: int = TILE,
    ) -> None:
        self.targets, self.k, self.scale = targets, k, scale
        self.cost = np.zeros(len(targets)) if cost is None else np.asarray(cost, dtype=np.float64)
        self.group = next(g for g in (_GROUP, 16, 8, 4, 2, 1) if g == 1 or len(targets) >= 16 * g * k)
        step = self.group * (_LANES if tile >= self.group * _LANES else 1)
        self.tile = -(-min(tile, len(targets)) // step) * step
        self.block, self.room = block, BLOCK_BYTES
        self._prepare(fastest_precision(torch.get_num_threads()) if dtype is None else dtype)

    def __call__(self, queries: UnitRows) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and scores (q, k) of the best targets, best first, equal ones by row.

        Each of PyTorch's threads takes blocks of its own: nothing waits for the other ones.
        """
        rows = np.empty((len(queries), self.k), dtype=np.int64)
        scores = np.empty((len(queries), self.k), dtype=np.float32)
        threads = torch.get_num_threads()
        most = self.room // (self.low.shape[0] * self.low.element_size() * threads)
        block = max(1, min(self.block, most, -(-len(queries) // threads)))
        starts = iter(range(0, len(queries), block))

        def work() -> None:
            torch.set_num_threads(1)
            room = _Room.of(min(block, len(queries)), self.low.shape[0], self.tile, self.group, self.dtype)
            for start in starts:
                part = slice(start, min(start + block, len(queries)))
                for into, found, values in self._search(room, queries, part):
                    rows[into], scores[into] = found, values

        try:
            with ThreadPoolExecutor(threads) as pool:
                for done in [pool.submit(work) for _ in range(threads)]:
                    done.result()
        except _CrowdedError:
            self._prepare(torch.float32)
            torch.set_num_threads(threads)
            return self(queries)
        finally:
            torch.set_num_threads(threads)
        return rows, scores

    def _search(
        self, room: _Room, queries: UnitRows, part: slice
    ) -> Iterator[tuple[slice, NDArray[np.int64], NDArray[np.float32]]]:
        """A block's queries, a few at a time: their slice and what was found for them."""
        floor = self._floor(*self._screen(room, queries.unit(part)))
        reached = (room.maxima[: len(floor)] >= floor[:, None]).sum(1).numpy()
        if self.dtype != torch.float32 and reached.sum() > _CROWDED * self.k * len(floor):
            raise _CrowdedError
        for first, last in _manageable(reached * self.group):
            query, target = self._finalists(room, floor, first, last)
            values = self.scale * queries.cosines(query + part.start, self.targets, target) - self.cost[target]
            into = slice(part.start + first, part.start + last)
            yield into, *_leading(query - first, target, values, last - first, self.k)

    def _prepare(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.low, self.error = self._screened_targets(-(-len(self.targets) // self.tile) * self.tile)

    def _screened_targets(self, padded: int) -> tuple[Tensor, float]:
        """(padded, d + 2) targets in the screening precision, and how far from the true ones they are at most.

        The two last columns hold the cost, its rounded part and the rest: one product gives scores, cost included.
        """
        cost = torch.from_numpy(self.cost).float()
        high = cost.to(self.dtype)
        low, error = torch.zeros((padded, self.targets.vectors.shape[1] + 2), dtype=self.dtype), 0.0
        for start in range(0, len(self.targets), _AT_ONCE):
            part = slice(start, min(start + _AT_ONCE, len(self.targets)))
            exact = self.targets.unit(part)
            low[part, :-2] = exact.to(self.dtype)
            error = max(error, float((exact - low[part, :-2]).norm(dim=1).max()))
            low[part, -2], low[part, -1] = high[part], cost[part] - high[part]
        return low, error

    def _screen(self, room: _Room, queries: Tensor) -> tuple[Tensor, float]:
        """Fill in a block's scores; returns their maxima over groups (b, G), and how far off the scores may be."""
        count, per_tile = len(queries), self.tile // self.group
        low = torch.full((count, queries.shape[1] + 2), -1.0, dtype=self.dtype)
        low[:, :-2] = queries.to(self.dtype)
        own = float((queries - low[:, :-2]).norm(dim=1).max())
        low[:, :-2] *= self.scale  # a power of two: exact
        for number, scores in enumerate(room.scores[:, :count]):
            torch.mm(low, self.low[number * self.tile : (number + 1) * self.tile].T, out=scores)
            if number == len(room.scores) - 1:
                scores[:, len(self.targets) - number * self.tile :] = -torch.inf
            groups = scores.view(count, self.group, per_tile)
            torch.amax(groups, 1, out=room.maxima[:count, number * per_tile : (number + 1) * per_tile])
        largest = self.scale + float(np.abs(self.cost).max(initial=0.0))
        arithmetic = 2 * low.shape[1] * 2**-24 + 2**-23 + torch.finfo(self.dtype).eps ** 2
        return room.maxima[:count], self.scale * (own + self.error + own * self.error) + largest * arithmetic

    def _floor(self, maxima: Tensor, error: float) -> Tensor:
        """(b,) the least screened score that one of the k best may have.

        k scores are at least v, the k-th largest maximum. What they stand for is at least v less the error and the
        rounding of the result; a better one is screened at no less than that, less the same again.
        """
        size = max(1, maxima.shape[1] // (16 * self.k))
        coarse = maxima[:, : maxima.shape[1] // size * size].view(len(maxima), size, -1).amax(1)
        v = coarse.float().topk(self.k, dim=1).values[:, -1]
        return (v - 2 * error - 2 * torch.finfo(self.dtype).eps * (v.abs() + 2 * error)).to(self.dtype)

    def _finalists(
        self, room: _Room, floor: Tensor, first: int, last: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(query, target) of whatever may be among the k best of the queries from `first` to `last` of the block."""
        per_tile = self.tile // self.group
        query, group = (room.maxima[first:last] >= floor[first:last, None]).nonzero(as_tuple=True)
        query += first
        tile, group = group // per_tile, group % per_tile
        members = room.scores.unflatten(2, (self.group, per_tile))[tile, query, :, group]
        hit, member = (members >= floor[query, None]).nonzero(as_tuple=True)
        target = (tile[hit] * self.group + member) * per_tile + group[hit]
        return query[hit].numpy(), target.numpy()


def _manageable(counts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Part a block's queries where many finalists, as among equal targets, would take much memory."""
    first, held = 0, 0
    for row, more in enumerate(counts):
        if held and held + more > _FINALISTS:
            yield first, row
            first, held = row, 0
        held += int(more)
    yield first, len(counts)


def _leading(
    query: NDArray[np.int64], target: NDArray[np.int64], values: NDArray[np.float64], count: int, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(count, k) best of each query: by score, equal ones by row."""
    scores = values.astype(np.float32)
    order = np.lexsort((target, -scores, query))
    starts = np.searchsorted(query[order], np.arange(count))
    chosen = order[starts[:, None] + np.arange(k)]
    return target[chosen], scores[chosen]


@lru_cache
def fastest_precision(threads: int) -> torch.dtype:
    """bfloat16 where this processor multiplies it at least a fifth faster than float32, by trial."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        x, y = torch.ones((BLOCK, 256), dtype=dtype), torch.ones((TILE, 256), dtype=dtype)
        scores = torch.empty((BLOCK, TILE), dtype=dtype)
        times = []
        for _ in range(4):
            begin = time.perf_counter()
            torch.mm(x, y.T, out=scores)
            times.append(time.perf_counter() - begin)
        seconds[dtype] = min(times)
    return torch.bfloat16 if 1.2 * seconds[torch.bfloat16] < seconds[torch.float32] else torch.float32
