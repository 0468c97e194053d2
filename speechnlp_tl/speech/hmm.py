"""Hidden Markov models over utterances: graphs, full-sum (forward-backward) score, Viterbi alignment.

An utterance's graph holds every path through its words: all pronunciations, optional silence at every word boundary.
There is no decoding here (see `decoder.py`) and no neural network: scores come in, as log-likelihoods per frame and pdf.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechnlp_tl.speech.topology import SILENCE, Topology

LOG_ZERO = -1e30
"""Stands for log 0: a finite number, so that differences of two impossible scores stay defined."""

Pronunciations = Mapping[str, Sequence[Sequence[str]]]


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


class _Builder:
    """Grows a graph from left to right; `ends` are the places the next chain can be entered from."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.pdf: list[int] = []
        self.label: list[int] = []
        self.arcs: list[tuple[int, int, float]] = []
        self.initial: list[tuple[int, float]] = []
        self.shortest: list[int] = []
        # (state, log weight so far, frames of the shortest path up to here); state -1 is the start
        self.ends: list[tuple[int, float, int]] = [(-1, 0.0, 0)]

    def chain(self, phones: Sequence[str], weight: float, label: int) -> tuple[int, float, int]:
        """Append the states of `phones`, entered from every open end; return its own end."""
        pdfs = [pdf for phone in phones for pdf in self.topology.pdfs(phone)]
        first = len(self.pdf)
        for end, end_weight, _ in self.ends:
            if end < 0:
                self.initial.append((first, end_weight + weight))
            else:
                self.arcs.append((end, first, end_weight + weight))
        for offset, pdf in enumerate(pdfs):
            state = first + offset
            self.pdf.append(pdf)
            self.label.append(label)
            self.arcs.append((state, state, self.topology.log_stay))
            if offset:
                self.arcs.append((state - 1, state, self.topology.log_leave))
        shortest = min(frames for _, _, frames in self.ends) + len(pdfs)
        return len(self.pdf) - 1, self.topology.log_leave, shortest

    def optional_silence(self) -> None:
        silence = self.chain([SILENCE], self.topology.log_silence, label=-1)
        self.ends = [(state, weight + self.topology.log_no_silence, frames) for state, weight, frames in self.ends]
        self.ends.append(silence)

    def word(self, pronunciations: Sequence[Sequence[str]], label: int) -> None:
        weight = -float(np.log(len(pronunciations)))
        self.ends = [self.chain(phones, weight, label) for phones in pronunciations]


def utterance_graph(words: Sequence[str], pronunciations: Pronunciations, topology: Topology) -> HmmGraph:
    """Every path through `words`: pronunciations weighted equally, optional silence at every boundary.

    Args:
        words: the transcript; empty means silence only.
        pronunciations: phone sequences of each word.
        topology: pdf-ids and transition probabilities.

    Raises:
        KeyError: a word has no pronunciation or a phone is not in the topology.
    """
    builder = _Builder(topology)
    if not words:
        builder.ends = [builder.chain([SILENCE], 0.0, label=-1)]
    else:
        builder.optional_silence()
        for position, word in enumerate(words):
            builder.word(pronunciations[word], position)
            builder.optional_silence()
    return HmmGraph(
        pdf=builder.pdf,
        arcs=builder.arcs,
        initial=builder.initial,
        final=[(state, weight) for state, weight, _ in builder.ends],
        label=builder.label,
        min_frames=min(frames for _, _, frames in builder.ends),
    )


@dataclass
class GraphBatch:
    """B graphs padded to S states; K and L are the largest numbers of arcs into and out of one state.

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
    after: Tensor
    """(B, S, L) int64: the states an arc leads to."""
    after_weight: Tensor
    """(B, S, L) log probabilities."""

    def to(self, device: torch.device) -> GraphBatch:
        return GraphBatch(**{name: tensor.to(device, non_blocking=True) for name, tensor in vars(self).items()})


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
    before, before_weight = _padded_arcs([[(b, a, w) for a, b, w in graph.arcs] for graph in graphs], size)
    after, after_weight = _padded_arcs([graph.arcs for graph in graphs], size)
    arrays = (pdf, initial, final, before, before_weight, after, after_weight)
    return GraphBatch(*(torch.from_numpy(array) for array in arrays))


def _padded_arcs(batch: list[list[tuple[int, int, float]]], size: tuple[int, int]) -> tuple[Any, Any]:
    """Group (state, other state, weight) by state: two arrays (B, S, largest group)."""
    rows = np.repeat(np.arange(len(batch)), [len(arcs) for arcs in batch])
    state, other, weight = (np.array(column) for column in zip(*(arc for arcs in batch for arc in arcs), strict=True))
    key = rows * size[1] + state
    order = np.argsort(key, kind="stable")
    key, other, weight = key[order], other[order], weight[order]
    starts = np.r_[0, np.flatnonzero(np.diff(key)) + 1]
    slot = np.arange(len(key)) - np.repeat(starts, np.diff(np.r_[starts, len(key)]))
    width = int(slot.max()) + 1
    others = np.zeros((size[0] * size[1], width), dtype=np.int64)
    weights = np.full((size[0] * size[1], width), LOG_ZERO, dtype=np.float32)
    others[key, slot] = other
    weights[key, slot] = weight
    return others.reshape(*size, width), weights.reshape(*size, width)


def full_sum(scores: Tensor, lengths: Tensor, graphs: GraphBatch) -> Tensor:
    """Log of the summed probability of all paths through each graph (Rabiner 1989, eqs. 18-25).

    log Z_b = log sum over state sequences s_1..s_T of initial(s_1) final(s_T) prod_t arc(s_t-1, s_t) exp(score_t(s_t))

    The derivative with respect to `scores` is the occupancy: the posterior probability of each pdf at each frame.

    Args:
        scores: (B, T, P) log-likelihood of each frame under each pdf, up to a constant per frame.
        lengths: (B,) int64, the number of real frames of each row.
        graphs: the utterances' graphs.

    Returns:
        (B,) log Z; -inf, with zero gradient, where no path is as short as the utterance.
    """
    return _FullSum.apply(scores, lengths, graphs)  # type: ignore[no-any-return]


class _FullSum(torch.autograd.Function):
    """Forward and backward variables in one go: the occupancies are the gradient, so none of both is kept."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, lengths: Tensor, graphs: GraphBatch) -> Tensor:  # noqa: D102
        # bf16 autocast hands in half precision; sums over hundreds of frames need more
        work = scores.detach() if scores.dtype == torch.float64 else scores.detach().float()
        observed = _observed(work, graphs)
        alpha = _forward_variables(observed, graphs)
        last = alpha.gather(0, (lengths - 1).view(1, -1, 1).expand(1, -1, alpha.shape[2]))[0]
        total = torch.logsumexp(last + graphs.final.to(work.dtype), dim=1)
        possible = total > LOG_ZERO / 2
        if scores.requires_grad:
            occupancy = _occupancies(alpha, observed, total, possible, lengths, graphs)
            index = graphs.pdf.unsqueeze(1).expand(-1, work.shape[1], -1)
            gradient = torch.zeros_like(work).scatter_add_(2, index, occupancy.transpose(0, 1))
            ctx.save_for_backward(gradient.to(scores.dtype))
        return torch.where(possible, total, torch.full_like(total, -torch.inf)).to(scores.dtype)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:  # noqa: D102
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[0].view(-1, 1, 1), None, None


def _observed(scores: Tensor, graphs: GraphBatch) -> Tensor:
    """(T, B, S) score of each state at each frame."""
    index = graphs.pdf.unsqueeze(1).expand(-1, scores.shape[1], -1)
    return scores.gather(2, index).transpose(0, 1).contiguous()


def _neighbours(states: Tensor) -> Tensor:
    """Flat (B * S * K) positions of (B, S, K) state numbers in a (B, S) array, for one gather per frame."""
    rows, width = states.shape[0], states.shape[1]
    offset = torch.arange(rows, device=states.device).view(-1, 1, 1) * width
    return (states + offset).reshape(-1)


def _log_add(values: Tensor) -> Tensor:
    """logsumexp over the last dimension; the few arcs of a state make the plain form faster than the library's."""
    peak = values.amax(dim=-1, keepdim=True)
    return (values - peak).exp_().sum(dim=-1).log_().add_(peak.squeeze(-1))


def _forward_variables(observed: Tensor, graphs: GraphBatch) -> Tensor:
    """alpha (T, B, S): log probability of all paths that end in a state at a frame, that frame included."""
    index, weight = _neighbours(graphs.before), graphs.before_weight.to(observed.dtype)
    alpha = torch.empty_like(observed)
    alpha[0] = observed[0] + graphs.initial.to(observed.dtype)
    for frame in range(1, len(observed)):
        arriving = alpha[frame - 1].reshape(-1).index_select(0, index).view_as(weight) + weight
        torch.add(_log_add(arriving), observed[frame], out=alpha[frame])
    return alpha


def _occupancies(
    alpha: Tensor, observed: Tensor, total: Tensor, possible: Tensor, lengths: Tensor, graphs: GraphBatch
) -> Tensor:
    """(T, B, S) posterior probability of each state at each frame; zero beyond an utterance's end."""
    index, weight = _neighbours(graphs.after), graphs.after_weight.to(observed.dtype)
    final = graphs.final.to(observed.dtype)
    ends_here = (lengths - 1).view(-1, 1)
    beta = torch.full_like(final, LOG_ZERO)
    log_occupancy = torch.empty_like(alpha)
    for frame in range(len(observed) - 1, -1, -1):
        if frame + 1 < len(observed):
            onward = (beta + observed[frame + 1]).reshape(-1).index_select(0, index).view_as(weight) + weight
            beta = _log_add(onward)
        beta = torch.where(ends_here == frame, final, beta)
        torch.add(alpha[frame], beta, out=log_occupancy[frame])
    frames = torch.arange(len(observed), device=alpha.device).view(-1, 1)
    valid = (frames < lengths.view(1, -1)) & possible.view(1, -1)
    return (log_occupancy - total.view(1, -1, 1)).exp().masked_fill(~valid.unsqueeze(-1), 0.0)


@torch.no_grad()
def viterbi(scores: Tensor, lengths: Tensor, graphs: GraphBatch) -> tuple[Tensor, Tensor]:
    """The best path through each graph.

    Args:
        scores: (B, T, P) log-likelihoods. lengths: (B,). graphs: the utterances' graphs.

    Returns:
        States (B, T) int64, -1 beyond an utterance's end and where no path fits; and the best paths' scores (B,),
        -inf where no path fits. `graphs.pdf.gather(1, states)` turns states into pdf-ids.
    """
    observed = _observed(scores.float(), graphs)
    index, weight = _neighbours(graphs.before), graphs.before_weight
    delta = observed[0] + graphs.initial
    at_end = delta.clone()
    choices = torch.zeros(observed.shape, dtype=torch.int64, device=scores.device)
    for frame in range(1, len(observed)):
        best = (delta.reshape(-1).index_select(0, index).view_as(weight) + weight).max(dim=-1)
        choices[frame] = graphs.before.gather(2, best.indices.unsqueeze(-1)).squeeze(-1)
        delta = best.values + observed[frame]
        at_end = torch.where((lengths > frame).view(-1, 1), delta, at_end)
    score, state = (at_end + graphs.final).max(dim=1)
    path = torch.full((len(lengths), len(observed)), -1, dtype=torch.int64, device=scores.device)
    for frame in range(len(observed) - 1, -1, -1):
        inside = lengths > frame
        path[:, frame] = torch.where(inside, state, path[:, frame])
        state = torch.where(inside, choices[frame].gather(1, state.unsqueeze(1)).squeeze(1), state)
    possible = score > LOG_ZERO / 2
    return path.masked_fill(~possible.unsqueeze(1), -1), score.masked_fill(~possible, -torch.inf)
