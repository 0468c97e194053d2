"""Search for translations: batched beam search with a decoder cache and a length penalty; greedy is a beam of one.

A hypothesis of n pieces (its end counted) with log-probability s scores s / ((5 + n) / 6) ** penalty (Wu et al. 2016,
eq. 14, without coverage). Rows of a batch do not influence each other: each keeps its own hypotheses and stops alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from speechnlp_tl.core.evaluation_mode import evaluating
from speechnlp_tl.errors import InputError
from speechnlp_tl.translation.subwords import END, PAD
from speechnlp_tl.translation.translator import Translator


@dataclass(frozen=True)
class Hypothesis:
    """One translation."""

    pieces: tuple[int, ...]
    """Without start and end."""
    log_probability: float
    """Natural logarithm, the end counted where it was reached."""
    score: float
    """With the length penalty; what search maximises."""


def length_normalised(log_probability: float, length: int, penalty: float) -> float:
    """The score of a hypothesis of `length` pieces, its end counted."""
    return log_probability / ((5 + length) / 6) ** penalty


@torch.no_grad()
def beam_search(
    model: Translator,
    source: Tensor,
    start: int,
    language: int,
    beam: int = 4,
    length_penalty: float = 1.0,
    limits: Sequence[int] | None = None,
    forbidden: Sequence[int] = (),
) -> list[Hypothesis]:
    """The best hypothesis of each row.

    In each round a row keeps the `beam` best unfinished hypotheses; ends that stand among the `beam` best continuations
    are set aside. A row is done when `beam` are set aside, when no unfinished one can score higher than the best of
    them, or at its limit, where all ends count.

    Args:
        source: (B, S) encoder inputs, PAD behind the end.
        start: the decoder's first input.
        language: number of the target language.
        limits: most pieces of each row, the end counted; 2 S + 10 when not given.
        forbidden: pieces that never come out; PAD and the start never do.

    Raises:
        InputError: an impossible beam or penalty.
    """
    if beam < 1 or length_penalty < 0:
        raise InputError(f"a beam of at least 1 and a length penalty of 0 or more, not {beam} and {length_penalty}")
    device = source.device
    longest = [2 * length + 10 for length in (source != PAD).sum(1).tolist()] if limits is None else list(limits)
    banned = torch.tensor(sorted({PAD, start, *forbidden} - {END}), device=device)
    ends = [_Ends(beam, length_penalty, limit) for limit in longest]
    active = list(range(len(source)))  # rows that still search
    with evaluating(model):
        states, mask = model.encode(source), source != PAD
        cache = model.new_cache()
        tokens = torch.full((len(source), 1, 1), start, device=device)  # (rows, width, pieces with the start)
        scores = torch.zeros(len(source), 1, dtype=torch.float64, device=device)
        for length in range(1, max(longest, default=0) + 1):
            width = tokens.shape[1]
            last = tokens[:, :, -1:].flatten(0, 1)
            languages = torch.full((len(last),), language, device=device)
            logits = model.decode(states, mask, last, languages, cache)[:, -1].float()
            said = logits.log_softmax(-1)
            said[:, banned] = -torch.inf
            ended = (scores + said[:, END].double().view_as(scores)).tolist()
            said[:, END] = -torch.inf
            # the best of a row are among the best of each of its hypotheses
            top, piece = said.topk(min(beam, said.shape[-1] - 1), dim=-1)
            totals = scores.unsqueeze(-1) + top.double().unflatten(0, (len(active), width))
            best, index = totals.flatten(1).topk(min(beam, width * top.shape[-1]), dim=1)
            pairs = zip(active, ended, best.tolist(), tokens, strict=True)
            keep = [place for place, each in enumerate(pairs) if not ends[each[0]].take(*each[1:], length)]
            if not keep:
                break
            kept = torch.tensor(keep, device=device)
            active = [active[place] for place in keep]
            scores, index = best[kept], index[kept]
            pieces = piece.unflatten(0, (-1, width)).flatten(1)[kept].gather(1, index).flatten().unsqueeze(1)
            chosen = (kept.unsqueeze(1) * width + index // top.shape[-1]).flatten()
            # the encoder's states are needed no more: the cache has their keys and values
            cache.select(chosen, kept)
            mask = mask[kept]
            tokens = torch.cat([tokens.flatten(0, 1)[chosen], pieces], dim=1).unflatten(0, (len(keep), -1))
    return [each.best() for each in ends]


class _Ends:
    """The finished hypotheses of one row."""

    def __init__(self, beam: int, penalty: float, limit: int) -> None:
        self.beam, self.penalty, self.limit = beam, penalty, limit
        self.found: list[Hypothesis] = []

    def take(self, ended: list[float], best_open: list[float], tokens: Tensor, length: int) -> bool:
        """Set aside what ends in this round; whether the row is done.

        Args:
            ended: (width,) log-probability of each hypothesis with its end.
            best_open: log-probabilities of the best ones that go on, best first.
            tokens: (width, pieces with the start).
        """
        worst = sorted([*best_open, *ended], reverse=True)[: self.beam][-1]
        for place, log_probability in enumerate(ended):
            if log_probability > -torch.inf and (log_probability >= worst or length == self.limit):
                score = length_normalised(log_probability, length, self.penalty)
                self.found.append(Hypothesis(tuple(tokens[place, 1:].tolist()), log_probability, score))
        if length >= self.limit:
            return True
        # log-probabilities only fall, and the longest hypothesis is divided by most
        hope = length_normalised(best_open[0], self.limit, self.penalty)
        return len(self.found) >= self.beam or (bool(self.found) and self.best().score >= hope)

    def best(self) -> Hypothesis:
        return max(self.found, key=lambda each: each.score)
