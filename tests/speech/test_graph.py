"""The graph is right when its best path is the best of all paths, enumerated one by one without any graph."""

import math
from collections.abc import Iterator
from itertools import product

import kaldi_decoder
import kaldifst
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.graph import build_graph, word_ids
from speechnlp_tl.speech.hmm import utterance_graph
from speechnlp_tl.speech.lexicon import Lexicon
from speechnlp_tl.speech.ngram import NgramModel, estimate
from speechnlp_tl.speech.topology import SILENCE, Topology

# "a" and "alpha" are homophones, "ab" is what "a" and "b" say together, "b" has a second pronunciation
LEXICON = Lexicon({"a": [("A",)], "alpha": [("A",)], "b": [("B",), ("C",)], "ab": [("A", "B")], "c": [("C", "C")]})


def search(graph: object, scores: np.ndarray) -> tuple[bool, list[int], list[int], float]:
    """Exact Viterbi on the graph: complete?, pdf of each frame, word ids, log score."""
    decoder = kaldi_decoder.SimpleDecoder(graph, 1e6)
    decoder.decode(kaldi_decoder.DecodableCtc(scores))
    complete = decoder.reached_final()
    _, path = decoder.get_best_path(use_final_probs=True)
    _, ilabels, olabels, weight = kaldifst.get_linear_symbol_sequence(path)
    return complete, [label - 1 for label in ilabels], olabels, -(weight.value1 + weight.value2)


def viterbi(scores: np.ndarray, pdfs: list[int], topology: Topology) -> float:
    """Best alignment of the frames to a chain of states, every one of them stepped out of."""
    best = np.full(len(pdfs) + 1, -np.inf)
    best[0] = 0.0
    for frame in scores.astype(float):
        moved = np.maximum(best[:-1] + topology.log_leave, best[1:] + topology.log_stay) + frame[pdfs]
        best = np.append(-np.inf, moved)
    return float(best[-1])


def chains(words: tuple[str, ...], lexicon: Lexicon, topology: Topology) -> Iterator[tuple[list[int], float]]:
    """Every sequence of states that says `words`, with the log probability of its silences and pronunciations."""
    variants = [lexicon.pronunciations(word) for word in words]
    choice = -sum(math.log(len(options)) for options in variants)
    for chosen in product(*variants):
        for silences in product([False, True], repeat=len(words) + 1):
            boundaries = [[SILENCE] if silence else [] for silence in silences]
            phones = boundaries[0] + [
                phone for said, after in zip(chosen, boundaries[1:], strict=True) for phone in (*said, *after)
            ]
            weight = choice + sum(topology.log_silence if on else topology.log_no_silence for on in silences)
            yield [pdf for phone in phones for pdf in topology.pdfs(phone)], weight


def with_free_backoff(ngram: NgramModel, words: tuple[str, ...]) -> float:
    """log p(words) when any history may be shortened at any time, as back-off arcs without a condition allow."""
    best: dict[tuple[str, ...], float] = {("<s>",): 0.0}
    for word in (*words, "</s>"):
        following: dict[tuple[str, ...], float] = {}
        for history, so_far in best.items():
            for start in range(len(history) + 1):
                gram = (*history[start:], word)
                if gram in ngram.log_probs:
                    value = so_far + ngram.log_probs[gram]
                    following[gram[-2:]] = max(following.get(gram[-2:], -math.inf), value)
                so_far += ngram.backoffs.get(history[start:], 0.0)
        best = following
    return max(best.values())


def brute_force(
    scores: np.ndarray, topology: Topology, lexicon: Lexicon, ngram: NgramModel, lm_scale: float, penalty: float
) -> dict[tuple[str, ...], float]:
    """The best log score of every word sequence that fits into the frames."""
    shortest = topology.states_per_phone
    result = {}
    for length in range(len(scores) // shortest + 1):
        for words in product(lexicon.words, repeat=length):
            fitting = [chain for chain in chains(words, lexicon, topology) if 0 < len(chain[0]) <= len(scores)]
            acoustic = [viterbi(scores, pdfs, topology) + weight for pdfs, weight in fitting]
            if acoustic:
                language = ngram.log_prob(words) if ngram.order < 3 else with_free_backoff(ngram, words)
                result[words] = max(acoustic) + lm_scale * language - penalty * length
    return result


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, Topology, NgramModel, float, float]:
    topology = Topology(
        ("A", "B", "C"),
        states_per_phone=draw(st.integers(1, 2)),
        silence_states=draw(st.integers(1, 2)),
        self_loop=draw(st.sampled_from([0.3, 0.5, 0.8])),
        silence_probability=draw(st.sampled_from([0.2, 0.5])),
    )
    frames = draw(st.integers(2, 3 if topology.states_per_phone == 1 else 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores = rng.normal(0.0, 3.0, (frames, topology.num_pdfs)).astype(np.float32)
    corpus = draw(st.lists(st.lists(st.sampled_from(LEXICON.words), max_size=4), max_size=4))
    ngram = estimate(corpus, draw(st.integers(1, 3)), vocabulary=LEXICON.words)
    return scores, topology, ngram, draw(st.sampled_from([0.0, 0.7, 2.0])), draw(st.sampled_from([-1.0, 0.0, 0.5]))


@settings(max_examples=60, deadline=None)
@given(problems())
def test_the_best_path_is_the_best_of_all_word_sequences_enumerated(
    problem: tuple[np.ndarray, Topology, NgramModel, float, float],
) -> None:
    scores, topology, ngram, lm_scale, penalty = problem
    expected = brute_force(scores, topology, LEXICON, ngram, lm_scale, penalty)
    graph = build_graph(topology, LEXICON, ngram, lm_scale, penalty)
    complete, pdfs, olabels, score = search(graph, scores)
    words = tuple(LEXICON.words[label - 1] for label in olabels)
    assert complete
    assert len(pdfs) == len(scores)
    assert score == pytest.approx(max(expected.values()), abs=1e-3)
    assert expected[words] == pytest.approx(score, abs=1e-3)


@settings(max_examples=15, deadline=None)
@given(problems(), st.lists(st.sampled_from(LEXICON.words), min_size=1, max_size=3))
def test_the_paths_of_a_transcript_weigh_what_they_weigh_in_training(
    problem: tuple[np.ndarray, Topology, NgramModel, float, float], words: list[str]
) -> None:
    """Against `hmm.utterance_graph`: a language model that knows one sentence leaves the training graph's paths."""
    _, topology, _, _, _ = problem
    scores = np.random.default_rng(len(words)).normal(0.0, 3.0, (16, topology.num_pdfs)).astype(np.float32)
    history = tuple(words)
    log_probs: dict[tuple[str, ...], float] = {(word,): -99.0 for word in words}
    log_probs |= {("<s>", *history[:end]): 0.0 for end in range(1, len(words) + 1)} | {("</s>",): -99.0}
    log_probs[("<s>", *history, "</s>")] = 0.0
    ngram = NgramModel(len(words) + 2, log_probs, {})
    training = utterance_graph(words, {word: LEXICON.pronunciations(word) for word in words}, topology)
    best = np.full(len(training.pdf), -np.inf)
    for state, weight in training.initial:
        best[state] = max(best[state], weight)
    best += scores[0][training.pdf]
    for frame in scores[1:]:
        reached = np.full(len(best), -np.inf)
        for source, target, weight in training.arcs:
            reached[target] = max(reached[target], best[source] + weight)
        best = reached + frame[training.pdf]
    expected = max(best[state] + weight for state, weight in training.final)
    _, _, olabels, score = search(build_graph(topology, LEXICON, ngram), scores)
    assert [LEXICON.words[label - 1] for label in olabels] == words
    assert score == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("probability", "silent_frames"), [(0.0, 0), (1.0, 3)])
def test_silence_can_be_forbidden_or_required(probability: float, silent_frames: int) -> None:
    topology = Topology(("A", "B", "C"), silence_probability=probability)
    scores = np.zeros((9, topology.num_pdfs), dtype=np.float32)
    scores[:, topology.pdfs(SILENCE)] = 1.0 if probability == 0.0 else -1.0
    scores[:, topology.pdfs("B")] = 0.5
    graph = build_graph(topology, LEXICON.subset(["b"]), estimate([["b", "b"]], order=3), lm_scale=20.0)
    complete, pdfs, olabels, _ = search(graph, scores)
    assert complete
    assert len(olabels) == 2
    assert sum(pdf in topology.pdfs(SILENCE) for pdf in pdfs) == silent_frames


def test_words_known_to_only_one_of_lexicon_and_language_model_are_left_out() -> None:
    topology = Topology(("A", "B", "C"))
    graph = build_graph(topology, LEXICON, estimate([["a", "b", "other"], ["other", "a"]], order=2))
    labels = {arc.olabel for state in kaldifst.StateIterator(graph) for arc in kaldifst.ArcIterator(graph, state)}
    assert labels == {0, word_ids(LEXICON)["a"], word_ids(LEXICON)["b"]}


def test_building_twice_gives_the_same_graph() -> None:
    topology, ngram = Topology(("A", "B", "C")), estimate([["a", "b"], ["ab", "c", "alpha"]], order=2)
    first, second = (build_graph(topology, LEXICON, ngram).to_str() for _ in range(2))
    assert first == second


def test_problems_are_listed_together() -> None:
    with pytest.raises(InputError) as raised:
        build_graph(Topology(("A",)), LEXICON, estimate([["b", "c"]]), lm_scale=-1.0)
    text = str(raised.value)
    assert "negative" in text
    assert "no phone 'B'" in text
    assert "no phone 'C'" in text
    with pytest.raises(InputError, match="no word of the language model"):
        build_graph(Topology(("A", "B", "C")), LEXICON, estimate([["x"]]))


def test_two_thousand_words_are_composed_with_a_bigram_model_in_seconds() -> None:
    rng = np.random.default_rng(0)
    phones = tuple(f"P{index}" for index in range(40))
    lexicon = Lexicon({f"w{index}": [tuple(rng.choice(phones, rng.integers(1, 10)))] for index in range(2000)})
    sentences = [list(rng.choice(lexicon.words, 10)) for _ in range(1000)]
    graph = build_graph(Topology(phones), lexicon, estimate(sentences, 2, lexicon.words))
    assert 10_000 < graph.num_states < 200_000
