"""Search: from the acoustic model's scores to words, with times and a confidence.

The graph that is searched is built in `graph`; the search itself is kaldi-decoder's. The language model's weight and
the insertion penalty are chosen by `tune`, on development data only.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import kaldi_decoder
import kaldialign
import kaldifst
import numpy as np
import numpy.typing as npt

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.graph import build_graph
from speechnlp_tl.speech.lexicon import Lexicon
from speechnlp_tl.speech.ngram import NgramModel
from speechnlp_tl.speech.topology import SILENCE, Topology

Scores = npt.NDArray[np.float32]

# Paths worse than the best by more than this many nats (at the confidence's temperature) add nothing to a posterior
# that anybody would threshold: exp(-8) = 0.0003.
_LATTICE_BEAM = 8.0

# How much wider the beam is when no path of the first search ends where a sentence can end.
_RETRY = 4.0


@dataclass(frozen=True)
class Hypothesis:
    """What was understood.

    Args:
        words: the best word sequence.
        score: log score of its best path: acoustic scores + topology + lm_scale * language model - penalties.
        confidence: in [0, 1]; see `Decoder`. 0 when `complete` is false, 1 when it was not asked for.
        times: (word, first frame, frame after the last) for each word.
        complete: whether the best path ends where a sentence can end; if not, `words` is what was understood so far.
    """

    words: list[str]
    score: float = 0.0
    confidence: float = 0.0
    times: list[tuple[str, int, int]] = field(default_factory=list)
    complete: bool = True


class Decoder:
    """Viterbi beam search on the graph of a lexicon and an n-gram model.

    The confidence is the geometric mean of the word posteriors by the chain rule: with W the n words found,

        confidence = P(W)^(1/max(n, 1)),   P(W) = sum of exp(score/t) over W's paths / the same over all paths,

    over the paths of the lattice (so all alignments, pronunciations and silences count), at the temperature
    t = max(1, lm_scale): scores weighed as Kaldi weighs them for posteriors, language model at 1 and acoustics at
    1/lm_scale. Substituted, missing and superfluous words all lower it.

    Args:
        topology, lexicon, ngram, lm_scale, insertion_penalty: as `graph.build_graph`.
        beam: paths worse than the best one by more than this (log score) are dropped. An utterance without a complete
            path is searched once more with four times the beam.
        max_active: most paths kept at each frame.
        min_active: paths kept at each frame whatever the beam says. It makes up for a beam that a large lm_scale makes
            narrow.

    Raises:
        InputError: what `graph.build_graph` raises.
    """

    def __init__(
        self,
        topology: Topology,
        lexicon: Lexicon,
        ngram: NgramModel,
        lm_scale: float = 1.0,
        insertion_penalty: float = 0.0,
        beam: float = 16.0,
        max_active: int = 7000,
        min_active: int = 100,
    ) -> None:
        self.topology = topology
        self.lexicon = lexicon
        self.ngram = ngram
        self.lm_scale = lm_scale
        self.insertion_penalty = insertion_penalty
        self.beam = beam
        self.max_active = max_active
        self.min_active = min(min_active, max_active)
        self.graph = build_graph(topology, lexicon, ngram, lm_scale, insertion_penalty)

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (self.topology, self.lexicon, self.ngram, self.lm_scale, self.insertion_penalty)
        return (Decoder, (*arguments, self.beam, self.max_active, self.min_active))

    def decode(self, scores: Scores, confidence: bool = True) -> Hypothesis:
        """Decode one utterance.

        Args:
            scores: (frames, num_pdfs), log posterior minus scaled log prior. No frames give an incomplete hypothesis
                without words.
            confidence: also compute the confidence; costs about as much as the search.

        Raises:
            InputError: the scores have another shape, or some of them are not finite.
        """
        problems = list(self._score_problems({"": scores}))
        if problems:
            raise InputError(problems)
        return self._decode(scores, confidence)

    def decode_all(self, scores: Mapping[str, Scores], jobs: int = 1, confidence: bool = True) -> dict[str, Hypothesis]:
        """Decode every utterance, in the order given, in `jobs` processes. The result does not depend on `jobs`.

        Raises:
            InputError: every utterance whose scores cannot be decoded.
        """
        problems = list(self._score_problems(scores))
        if problems:
            raise InputError(problems)
        if jobs <= 1 or len(scores) < 2 * jobs:
            return {utterance: self._decode(array, confidence) for utterance, array in scores.items()}
        context = multiprocessing.get_context("spawn")  # forking a process that has run torch's threads may hang
        with ProcessPoolExecutor(jobs, context, _start_worker, (self, confidence)) as pool:
            chunk = math.ceil(len(scores) / (4 * jobs))
            return dict(zip(scores, pool.map(_work, scores.values(), chunksize=chunk), strict=True))

    def _score_problems(self, scores: Mapping[str, Scores]) -> Iterable[Problem]:
        width = self.topology.num_pdfs
        for utterance, array in scores.items():
            name = f"scores of utterance '{utterance}'" if utterance else "scores"
            if array.ndim != 2 or array.shape[1] != width:
                remedy = "decode with the topology the acoustic model was trained with"
                yield Problem(f"{name} have shape {array.shape}, not (frames, {width})", remedy=remedy)
            elif not np.isfinite(array).all():
                remedy = "check the model's weights, its prior and the features"
                yield Problem(f"{name} are not finite in {(~np.isfinite(array)).any(1).sum()} frames", remedy=remedy)

    def _decode(self, scores: Scores, confidence: bool) -> Hypothesis:
        if len(scores) == 0:
            return Hypothesis([], complete=False)
        decodable = kaldi_decoder.DecodableCtc(np.ascontiguousarray(scores, dtype=np.float32))
        beam, search = self.beam, self._search(decodable, self.beam)
        if not search.reached_final():
            beam, search = self.beam * _RETRY, self._search(decodable, self.beam * _RETRY)
        complete = search.reached_final()
        found, path = search.get_best_path(use_final_probs=complete)
        if not found:
            return Hypothesis([], complete=False)
        _, ilabels, olabels, weight = kaldifst.get_linear_symbol_sequence(path)
        words = [self.lexicon.words[label - 1] for label in olabels]
        trust = self._confidence(decodable, beam, olabels) if confidence and complete else float(complete)
        return Hypothesis(
            words=words,
            score=-(weight.value1 + weight.value2),
            confidence=trust,
            times=self._times(words, [label - 1 for label in ilabels]),
            complete=complete,
        )

    def _search(self, decodable: Any, beam: float) -> Any:
        options = kaldi_decoder.FasterDecoderOptions(beam=beam, max_active=self.max_active, min_active=self.min_active)
        search = kaldi_decoder.FasterDecoder(self.graph, options)
        search.decode(decodable)
        return search

    def _confidence(self, decodable: Any, beam: float, olabels: Sequence[int]) -> float:
        temperature = max(1.0, self.lm_scale)
        lattice_beam = _LATTICE_BEAM * temperature
        # the lattice's search has no min_active, so its beam may lose what the first search found: then widen it
        for width in (1.0, 2.0, 4.0):
            options = kaldi_decoder.LatticeSimpleDecoderConfig(
                beam=width * max(beam, lattice_beam), lattice_beam=lattice_beam
            )
            search = kaldi_decoder.LatticeSimpleDecoder(self.graph, options)
            search.decode(decodable)
            found, lattice = search.get_raw_lattice()
            log_posterior = _log_posterior(lattice, olabels, temperature) if found else -math.inf
            if log_posterior > -math.inf:
                return math.exp(min(0.0, log_posterior) / max(1, len(olabels)))
        return 0.0

    def _times(self, words: Sequence[str], pdfs: Sequence[int]) -> list[tuple[str, int, int]]:
        chain = _WordChain(self.topology, [self.lexicon.pronunciations(word) for word in words])
        spans: dict[int, tuple[int, int]] = {}
        for frame, position in enumerate(chain.follow(pdfs)):
            if position >= 0:
                spans[position] = (spans.get(position, (frame, frame))[0], frame + 1)
        return [(word, *spans[position]) for position, word in enumerate(words) if position in spans]


_worker: tuple[Decoder, bool] | None = None


def _start_worker(decoder: Decoder, confidence: bool) -> None:
    global _worker
    _worker = (decoder, confidence)


def _work(scores: Scores) -> Hypothesis:
    assert _worker is not None
    decoder, confidence = _worker
    return decoder._decode(scores, confidence)


def _read_lattice(lattice: Any, temperature: float) -> tuple[list[list[tuple[int, int, float]]], dict[int, float]]:
    """Arcs (target, output label, score / temperature) by state, and final score / temperature by final state.

    kaldifst has no iterator over a lattice's arcs; its text, with six digits, is precise enough for a posterior.
    """
    arcs: list[list[tuple[int, int, float]]] = [[] for _ in range(lattice.num_states)]
    final: dict[int, float] = {}
    for line in lattice.to_str(show_weight_one=True, fst_field_separator=" ").splitlines():
        fields = line.split()
        graph, acoustic = fields[-1].split(",")
        score = -(float(graph) + float(acoustic)) / temperature
        if len(fields) == 5:
            arcs[int(fields[0])].append((int(fields[1]), int(fields[3]), score))
        elif not math.isinf(score):
            final[int(fields[0])] = score
    return arcs, final


def _log_posterior(lattice: Any, olabels: Sequence[int], temperature: float) -> float:
    """log of the share of the lattice's paths, weighed by exp(score / temperature), that say exactly `olabels`."""
    arcs, final = _read_lattice(lattice, temperature)
    everything = [-math.inf] * len(arcs)
    # log weight of the paths to a state that say the first k words of `olabels`, for each k
    agreeing: list[dict[int, float]] = [{} for _ in arcs]
    everything[lattice.start] = agreeing[lattice.start][0] = 0.0
    total = agreed = -math.inf
    for state in _topological_order(arcs, lattice.start):
        for target, olabel, score in arcs[state]:
            everything[target] = _log_add(everything[target], everything[state] + score)
            for position, value in agreeing[state].items():
                if olabel == 0 or (position < len(olabels) and olabels[position] == olabel):
                    following = position + (olabel != 0)
                    agreeing[target][following] = _log_add(agreeing[target].get(following, -math.inf), value + score)
        if state in final:
            total = _log_add(total, everything[state] + final[state])
            agreed = _log_add(agreed, agreeing[state].get(len(olabels), -math.inf) + final[state])
    return agreed - total if not math.isinf(total) else -math.inf


def _topological_order(arcs: Sequence[Sequence[tuple[int, int, float]]], start: int) -> list[int]:
    """States in an order in which every arc leads forward (Kahn, 1962), without those that `start` does not reach."""
    incoming = [0] * len(arcs)
    reached, stack = {start}, [start]
    while stack:
        for target, _, _ in arcs[stack.pop()]:
            incoming[target] += 1
            if target not in reached:
                reached.add(target)
                stack.append(target)
    order = [start]
    for state in order:
        for target, _, _ in arcs[state]:
            incoming[target] -= 1
            if incoming[target] == 0:
                order.append(target)
    return order


def _log_add(a: float, b: float) -> float:
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))


class _WordChain:
    """The states a path through known words can be in: tells which word each frame of a pdf sequence belongs to.

    The search's output labels stand where words became certain, not where they began; the pdfs know better. Where
    they fit several segmentations (a phone of one state beside itself), these have the same score.
    """

    def __init__(self, topology: Topology, words: Sequence[Sequence[Sequence[str]]]) -> None:
        self.pdf: list[int] = []
        self.word: list[int] = []
        self.successors: list[list[int]] = []
        self.initial: list[int] = []
        ends = self._optional_silence(topology, [-1])
        for position, variants in enumerate(words):
            chains = [[pdf for phone in variant for pdf in topology.pdfs(phone)] for variant in variants]
            ends = self._optional_silence(topology, [self._chain(chain, position, ends) for chain in chains])
        self.final = set(ends)

    def _optional_silence(self, topology: Topology, ends: list[int]) -> list[int]:
        return [*ends, self._chain(topology.pdfs(SILENCE), -1, ends)]

    def _chain(self, pdfs: Sequence[int], word: int, ends: Sequence[int]) -> int:
        """Append states; return the last. `ends` are the states before it, -1 the start."""
        first = len(self.pdf)
        for end in ends:
            (self.successors[end] if end >= 0 else self.initial).append(first)
        for offset, pdf in enumerate(pdfs):
            state = first + offset
            self.pdf.append(pdf)
            self.word.append(word)
            self.successors.append([state, state + 1] if offset < len(pdfs) - 1 else [state])
        return len(self.pdf) - 1

    def follow(self, pdfs: Sequence[int]) -> list[int]:
        """The position of the word at each frame, -1 for silence; stops where the frames leave the words' chain."""
        previous: list[dict[int, int]] = []  # at each frame: state -> the state before it
        active = {state: -1 for state in self.initial if self.pdf[state] == pdfs[0]}
        while active:
            previous.append(active)
            if len(previous) == len(pdfs):
                break
            pdf = pdfs[len(previous)]
            steps = ((state, target) for state in reversed(active) for target in self.successors[state])
            active = {target: state for state, target in steps if self.pdf[target] == pdf}
        if not previous:
            return []
        last = previous[-1]
        state = max(last, key=lambda state: (state in self.final, state))
        positions = []
        for active in reversed(previous):
            positions.append(self.word[state])
            state = active[state]
        return positions[::-1]


@dataclass(frozen=True)
class Tuning:
    """The best weights, what they reach, and all that was tried.

    Args:
        wer: word error rate of the best weights on the data tuned on, in percent.
        grid: (lm_scale, insertion_penalty, word error rate) of every trial.
    """

    lm_scale: float
    insertion_penalty: float
    wer: float
    grid: tuple[tuple[float, float, float], ...]


def tune(
    make_decoder: Callable[[float, float], Decoder],
    scores: Mapping[str, Scores],
    references: Mapping[str, Sequence[str]],
    lm_scales: Sequence[float] = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0),
    penalties: Sequence[float] = (-4.0, -2.0, 0.0, 2.0, 4.0),
) -> Tuning:
    """Choose language model weight and insertion penalty by word error rate, on development data.

    Never give it the data that are scored afterwards. Among equal error rates the weights nearest to 1 and 0 win.

    Args:
        make_decoder: (lm_scale, insertion_penalty) -> decoder.
        scores: utterance -> (frames, num_pdfs).
        references: utterance -> words, of the same utterances.

    Raises:
        InputError: no utterances, no words, no weights to try, or utterances of only one of the two.
    """
    problems = [Problem(f"utterance '{name}' has no reference") for name in sorted(scores.keys() - references.keys())]
    problems += [Problem(f"utterance '{name}' has no scores") for name in sorted(references.keys() - scores.keys())]
    words = sum(len(reference) for reference in references.values())
    if words == 0 or not lm_scales or not penalties:
        problems.append(Problem("tuning needs reference words and at least one language model weight and penalty"))
    if problems:
        raise InputError(problems)
    trials = []
    for lm_scale in lm_scales:
        for penalty in penalties:
            hypotheses = make_decoder(lm_scale, penalty).decode_all(scores, confidence=False)
            errors = sum(
                kaldialign.edit_distance(list(references[name]), hypotheses[name].words)["total"] for name in scores
            )
            trials.append((errors, abs(lm_scale - 1.0) + abs(penalty), lm_scale, penalty))
    errors, _, lm_scale, penalty = min(trials)
    grid = tuple((scale, penalty, 100.0 * wrong / words) for wrong, _, scale, penalty in trials)
    return Tuning(lm_scale, penalty, 100.0 * errors / words, grid)
