"""Hidden Markov models over utterances: graphs, full-sum (forward-backward) score, Viterbi alignment.

An utterance's graph holds every path through its words: all pronunciations, optional silence at every word boundary.
There is no decoding here (see `decoder.py`) and no neural network: scores come in, log-likelihoods per frame and pdf.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechnlp_tl.speech.hmm_graph import LOG_ZERO, GraphBatch, HmmGraph, Trellis, pack_graphs
from speechnlp_tl.speech.topology import SILENCE, Topology

__all__ = [
    "GraphBatch",
    "HmmGraph",
    "Pronunciations",
    "annealed_full_sum",
    "full_sum",
    "pack_graphs",
    "utterance_graph",
    "viterbi",
]

Pronunciations = Mapping[str, Sequence[Sequence[str]]]


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
        KeyError: a word has no pronunciation, or an empty one, or a phone is not in the topology.
    """
    builder = _Builder(topology)
    if not words:
        builder.ends = [builder.chain([SILENCE], 0.0, label=-1)]
    else:
        builder.optional_silence()
        for position, word in enumerate(words):
            variants = pronunciations[word]
            if not variants or not all(variants):
                raise KeyError(word)
            builder.word(variants, position)
            builder.optional_silence()
    return HmmGraph(
        pdf=builder.pdf,
        arcs=builder.arcs,
        initial=builder.initial,
        final=[(state, weight) for state, weight, _ in builder.ends],
        label=builder.label,
        min_frames=min(frames for _, _, frames in builder.ends),
    )


def full_sum(scores: Tensor, lengths: Tensor, graphs: GraphBatch) -> Tensor:
    """Log of the summed probability of all paths through each graph (Rabiner 1989, eqs. 18-25).

    log Z_b = log sum over state sequences s_1..s_T of initial(s_1) final(s_T) prod_t arc(s_t-1, s_t) exp(score_t(s_t))

    The derivative with respect to `scores` is the occupancy: the posterior probability of each pdf at each frame.

    Args:
        scores: (B, T, P) log-likelihood of each frame under each pdf, up to a constant per frame.
        lengths: (B,) int64, the number of real frames of each row.
        graphs: the utterances' graphs.

    Returns:
        (B,) log Z, in single precision where the scores are in half; -inf, with zero gradient, where no path fits:
        the utterance is shorter than the shortest, or each meets a score of -inf. NaN where a score on a path is NaN.
    """
    return _FullSum.apply(scores, lengths, graphs)  # type: ignore[no-any-return]


def annealed_full_sum(scores: Tensor, lengths: Tensor, graphs: GraphBatch, weight: float) -> Tensor:
    """`full_sum` with acoustic scores that count less, for a flat start (deterministic annealing EM: Ueda and Nakano,
    Neural Networks 1998).

    The derivative is the occupancy where paths are weighted by exp(weight * score): near 0 what the topology alone
    says, which shares the frames out evenly among the states; at 1 that of `full_sum`. The value is

        (log Z(weight * scores) - log Z(0)) / weight

    which is the mean score of all paths near 0, and at 1 what `full_sum` gives, up to a constant of the graph.

    Args:
        scores, lengths, graphs: as for `full_sum`.
        weight: above 0.

    Returns:
        (B,), -inf where no path fits.
    """
    with torch.no_grad():
        even = full_sum(torch.zeros_like(scores), lengths, graphs)
    found = full_sum(weight * scores, lengths, graphs)
    return torch.where(found.isneginf(), found, (found - even) / weight)


class _FullSum(torch.autograd.Function):
    """Forward and backward variables in one go: the occupancies are the gradient, so none of both is kept."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, lengths: Tensor, graphs: GraphBatch) -> Tensor:
        # bf16 autocast hands in half precision; sums over hundreds of frames need more
        work = scores.detach() if scores.dtype == torch.float64 else scores.detach().float()
        trellis = graphs.trellis
        arrived, reached = _recursions(_observed(work, lengths, trellis), trellis)
        alpha = _states(reached, trellis.forward)
        end = (lengths - 1).clamp_min(0).view(1, -1, 1).expand(1, -1, alpha.shape[2])
        total = torch.logsumexp(alpha.gather(0, end)[0] + graphs.final.to(work.dtype), dim=1)
        # put this way round, a score that is not a number makes the total not a number, and is not hidden
        impossible = (total <= LOG_ZERO / 2) | (lengths == 0)
        if scores.requires_grad:
            occupancy = _occupancies(alpha, arrived, impossible, lengths, trellis)
            index = graphs.pdf.expand_as(occupancy)
            gradient = work.new_zeros(work.transpose(0, 1).shape).scatter_add_(2, index, occupancy)
            ctx.save_for_backward(gradient.transpose(0, 1).to(scores.dtype))
        return total.masked_fill(impossible, -torch.inf)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[0].view(-1, 1, 1).to(gradient.dtype), None, None


def _observed(scores: Tensor, lengths: Tensor, trellis: Trellis) -> Tensor:
    """(T, 2N) score of each state at each frame, counted from the utterance's end for the reversed ones."""
    rows, frames, pdfs = scores.shape
    time = torch.arange(frames, device=scores.device).view(-1, 1)
    row = torch.arange(rows, device=scores.device)
    from_end = scores[row, (lengths - 1 - time).clamp_min(0)]
    both = torch.stack([scores.transpose(0, 1), from_end], dim=1).view(frames, -1)
    return both.index_select(1, trellis.row * pdfs + trellis.pdf).clamp_min_(LOG_ZERO)


def _states(values: Tensor, places: Tensor) -> Tensor:
    """(T, B, S) out of (T, 2N) values."""
    return values.index_select(1, places.view(-1)).view(-1, *places.shape)


def _recursions(observed: Tensor, trellis: Trellis) -> tuple[Tensor, Tensor]:
    """(T, 2N) log probability of all paths into each state at each frame: without that frame's score, and with it.

    The first of the two is, for the reversed states, the backward variable; the second, for the others, the forward
    variable, and takes the place of `observed`. What the loop costs is the number of its operations.
    """
    arrived = torch.full_like(observed, LOG_ZERO)
    arrived[0] = trellis.entry
    observed[0] += arrived[0]
    weight = trellis.weight.to(observed.dtype)
    arcs = torch.empty_like(weight)
    first, second, *others = arcs.split(trellis.widths)
    entered, _, *crowds = trellis.widths
    frames = observed.unbind()
    for before, frame, sums in zip(frames, frames[1:], arrived[1:].unbind(), strict=False):
        torch.index_select(before, 0, trellis.origin, out=arcs)
        arcs.add_(weight)
        torch.logaddexp(first, second, out=sums[:entered])
        for crowd, more in zip(crowds, others, strict=True):
            crowded = sums[:crowd]
            torch.logaddexp(crowded, more, out=crowded)
        frame.add_(sums)
    return arrived, observed


def _occupancies(alpha: Tensor, arrived: Tensor, impossible: Tensor, lengths: Tensor, trellis: Trellis) -> Tensor:
    """(T, B, S) posterior probability of each state at each frame; zero beyond an utterance's end."""
    time = torch.arange(len(alpha), device=alpha.device).view(-1, 1)
    row = torch.arange(len(lengths), device=alpha.device)
    beta = _states(arrived, trellis.backward)[(lengths - 1 - time).clamp_min(0), row]
    # log Z is the logsumexp of every frame; each frame's own cancels the rounding that its alpha and beta share
    occupancy = beta.add_(alpha).softmax(dim=-1)
    return occupancy.masked_fill_(((time >= lengths) | impossible).unsqueeze(-1), 0.0)


@torch.no_grad()
def viterbi(scores: Tensor, lengths: Tensor, graphs: GraphBatch) -> tuple[Tensor, Tensor]:
    """The best path through each graph.

    Args:
        scores: (B, T, P) log-likelihoods. lengths: (B,). graphs: the utterances' graphs.

    Returns:
        States (B, T) int64, -1 beyond an utterance's end and where no path fits; and the best paths' scores (B,),
        -inf where no path fits, NaN where scores are. `graphs.pdf.gather(1, states)` turns states into pdf-ids.
    """
    pdfs = graphs.pdf.unsqueeze(1).expand(-1, scores.shape[1], -1)
    observed = scores.float().gather(2, pdfs).transpose(0, 1).contiguous()
    weight = graphs.before_weight
    offset = torch.arange(len(weight), device=scores.device).view(-1, 1, 1) * weight.shape[1]
    index = (graphs.before + offset).reshape(-1)
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
    impossible = (score <= LOG_ZERO / 2) | (lengths == 0)
    return path.masked_fill((impossible | score.isnan()).unsqueeze(1), -1), score.masked_fill(impossible, -torch.inf)
