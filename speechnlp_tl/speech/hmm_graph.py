"""Graphs of hidden Markov models as data: one utterance's, and a batch laid out for the recursions over its frames.

How a graph is made of words, and what is computed on it, is in `hmm`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

LOG_ZERO = -1e30
"""Stands for log 0: a finite number, so that differences of two impossible scores stay defined."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class HmmGraph:
    """One utterance's HMM. States emit; arcs (from, to, log probability) include the self-loops."""

    pdf: list[int]
    """pdf-id of each state."""
    arcs: list[tuple[int, int, float]]
    initial: list[tuple[int, float]]
    """(state, log probability) of the states a path may begin in."""
    final: list[tuple[int, float]]
    """(state, log probability of leaving the last word or silence) of the states a path may end in."""
    label: list[int]
    """Position of the word a state belongs to; -1 for silence."""
    min_frames: int
    """Length of the shortest path: fewer frames than this cannot carry the transcript."""


@dataclass
class Trellis:
    """The arcs of a batch, laid out for one loop over frames that runs both recursions of the full sum.

    The N = B * S states stand there twice: once as they are and once with their arcs turned round, since the backward
    variables are the forward variables of the reversed graph over reversed time. The 2N states are sorted by falling
    number of arcs into them, so that the k-th arcs of all states lead to the first `widths[k]` of them (jagged
    diagonal storage, Saad 1989): most states have two arcs, and the few with more cost nothing elsewhere.
    """

    row: Tensor
    """(2N,) int64: the utterance of each state, plus B when reversed."""
    pdf: Tensor
    """(2N,) int64."""
    entry: Tensor
    """(2N,) log probability of a path's beginning here: the initial ones, the final ones when reversed."""
    origin: Tensor
    """(sum of widths,) int64: the states that the first arcs come from, then the second arcs, and so on."""
    weight: Tensor
    """(sum of widths,) log probabilities of these arcs."""
    widths: tuple[int, ...]
    """At least two of them, the first two equal: a state with a single arc has an impossible second one."""
    forward: Tensor
    """(B, S) int64: where each state stands."""
    backward: Tensor
    """(B, S) int64: where its reversed twin stands."""


@dataclass
class GraphBatch:
    """B graphs padded to S states; K is the largest number of arcs into one state.

    Padding states have no arcs, so no path ever enters them.
    """

    pdf: Tensor
    """(B, S) int64."""
    initial: Tensor
    """(B, S) log probabilities."""
    final: Tensor
    """(B, S) log probabilities."""
    before: Tensor
    """(B, S, K) int64: the states an arc comes from."""
    before_weight: Tensor
    """(B, S, K) log probabilities."""
    trellis: Trellis
    """The same states and arcs once more."""

    def to(self, device: torch.device) -> GraphBatch:
        return _moved(replace(self, trellis=_moved(self.trellis, device)), device)  # type: ignore[no-any-return]


def _moved(holder: Any, device: torch.device) -> Any:
    tensors = {name: value for name, value in vars(holder).items() if isinstance(value, Tensor)}
    return replace(holder, **{name: value.to(device, non_blocking=True) for name, value in tensors.items()})


def pack_graphs(graphs: Sequence[HmmGraph]) -> GraphBatch:
    """Pad graphs of different sizes into one batch."""
    size = (len(graphs), max(len(graph.pdf) for graph in graphs))
    pdf = np.zeros(size, dtype=np.int64)
    initial = np.full(size, LOG_ZERO, dtype=np.float32)
    final = np.full(size, LOG_ZERO, dtype=np.float32)
    for row, graph in enumerate(graphs):
        pdf[row, : len(graph.pdf)] = graph.pdf
        for state, weight in graph.initial:
            initial[row, state] = weight
        for state, weight in graph.final:
            final[row, state] = weight
    arcs = _Arcs.of(graphs, size[1])
    before, before_weight = _padded(arcs, size)
    return GraphBatch(
        pdf=torch.from_numpy(pdf),
        initial=torch.from_numpy(initial),
        final=torch.from_numpy(final),
        before=torch.from_numpy(before),
        before_weight=torch.from_numpy(before_weight),
        trellis=_pack_trellis(arcs, pdf, initial, final),
    )


@dataclass(frozen=True)
class _Arcs:
    """All arcs of a batch; states are numbered through the rows of a (B, S) array."""

    origin: Array
    target: Array
    weight: Array

    @classmethod
    def of(cls, graphs: Sequence[HmmGraph], width: int) -> _Arcs:
        rows = np.repeat(np.arange(len(graphs)), [len(graph.arcs) for graph in graphs])
        arcs = [arc for graph in graphs for arc in graph.arcs]
        origin, target, weight = zip(*arcs, strict=True)
        return cls(rows * width + np.array(origin), rows * width + np.array(target), np.array(weight))

    def by_target(self) -> tuple[_Arcs, Array]:
        """The arcs sorted by the state they lead to, and the number of each among those that lead there."""
        order = np.argsort(self.target, kind="stable")
        target = self.target[order]
        starts = np.r_[0, np.flatnonzero(np.diff(target)) + 1]
        slot = np.arange(len(target)) - np.repeat(starts, np.diff(np.r_[starts, len(target)]))
        return _Arcs(self.origin[order], target, self.weight[order]), slot


def _padded(arcs: _Arcs, size: tuple[int, int]) -> tuple[Array, Array]:
    """Origins within a row, and weights, of each state's arcs: (B, S, K) each."""
    arcs, slot = arcs.by_target()
    origin = np.zeros((size[0] * size[1], int(slot.max()) + 1), dtype=np.int64)
    weight = np.full(origin.shape, LOG_ZERO, dtype=np.float32)
    origin[arcs.target, slot] = arcs.origin % size[1]
    weight[arcs.target, slot] = arcs.weight
    return origin.reshape(*size, -1), weight.reshape(*size, -1)


def _pack_trellis(arcs: _Arcs, pdf: Array, initial: Array, final: Array) -> Trellis:
    batch, states = pdf.shape
    twin = batch * states
    origin = np.r_[arcs.origin, twin + arcs.target]
    target = np.r_[arcs.target, twin + arcs.origin]
    arcs_into = np.bincount(target, minlength=2 * twin)
    order = np.argsort(-arcs_into, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(2 * twin)

    widths = [int((arcs_into > slot).sum()) for slot in range(arcs_into.max())]
    widths = [widths[0], widths[0], *widths[2:]]
    # an arc that is not there comes, with probability zero, from the state itself: never from another utterance
    origins = np.concatenate([np.arange(width) for width in widths])
    weights = np.full(len(origins), LOG_ZERO, dtype=np.float32)
    placed, slot = _Arcs(place[origin], place[target], np.r_[arcs.weight, arcs.weight]).by_target()
    position = np.cumsum([0, *widths])[slot] + placed.target
    origins[position] = placed.origin
    weights[position] = placed.weight

    return Trellis(
        row=torch.from_numpy(order // states),
        pdf=torch.from_numpy(np.tile(pdf.reshape(-1), 2)[order]),
        entry=torch.from_numpy(np.concatenate([initial, final]).reshape(-1)[order]),
        origin=torch.from_numpy(origins),
        weight=torch.from_numpy(weights),
        widths=tuple(widths),
        forward=torch.from_numpy(place[:twin].reshape(batch, states)),
        backward=torch.from_numpy(place[twin:].reshape(batch, states)),
    )
