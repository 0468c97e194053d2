import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechnlp_tl.errors import InputError
from speechnlp_tl.speech import decoder as module
from speechnlp_tl.speech.decoder import Decoder, Hypothesis, tune
from speechnlp_tl.speech.lexicon import Lexicon
from speechnlp_tl.speech.ngram import estimate
from speechnlp_tl.speech.topology import SILENCE, Topology

TOPOLOGY = Topology(("A", "B", "C"))
LEXICON = Lexicon({"a": [("A",)], "b": [("B",), ("C", "B")], "ab": [("A", "B")], "ca": [("C", "A")]})
BIGRAM = estimate([["a", "b"], ["ca", "ab"], ["b", "b", "a"]], order=2)


def speak(*phones: str, frames: int = 3, topology: Topology = TOPOLOGY, gain: float = 6.0) -> np.ndarray:
    """Scores in which every state of `phones` stands out for `frames` frames."""
    pdfs = [pdf for phone in phones for pdf in topology.pdfs(phone) for _ in range(frames)]
    scores = np.zeros((len(pdfs), topology.num_pdfs), dtype=np.float32)
    scores[np.arange(len(pdfs)), pdfs] = gain
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def random_scores(seed: int, frames: int, scale: float = 3.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, scale, (frames, TOPOLOGY.num_pdfs)).astype(np.float32)


def test_words_times_and_silences_are_found() -> None:
    hypothesis = Decoder(TOPOLOGY, LEXICON, BIGRAM).decode(speak(SILENCE, "C", "A", SILENCE, "B", "C", "B"))
    assert hypothesis.words == ["ca", "b", "b"]
    assert hypothesis.times == [("ca", 3, 15), ("b", 18, 24), ("b", 24, 36)]
    assert hypothesis.complete
    assert hypothesis.confidence > 0.9


def test_score_is_the_sum_of_acoustics_topology_pronunciation_and_language_model() -> None:
    scores = speak("A", SILENCE, "B", frames=2)
    hypothesis = Decoder(TOPOLOGY, LEXICON, BIGRAM, lm_scale=0.5, insertion_penalty=0.25).decode(scores)
    acoustic = scores.max(axis=1).sum()
    states = 2 * TOPOLOGY.states_per_phone + TOPOLOGY.silence_states
    expected = acoustic + states * (TOPOLOGY.log_stay + TOPOLOGY.log_leave)
    expected += TOPOLOGY.log_silence + 2 * TOPOLOGY.log_no_silence - math.log(2)
    expected += 0.5 * BIGRAM.log_prob(["a", "b"]) - 2 * 0.25
    assert hypothesis.words == ["a", "b"]
    assert hypothesis.score == pytest.approx(expected, abs=1e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([1, 2]))
def test_times_are_ordered_inside_the_utterance_and_long_enough(seed: int, frames: int, states: int) -> None:
    topology = Topology(TOPOLOGY.phones, states_per_phone=states)
    scores = np.random.default_rng(seed).normal(0.0, 3.0, (frames, topology.num_pdfs)).astype(np.float32)
    hypothesis = Decoder(topology, LEXICON, BIGRAM).decode(scores)
    if hypothesis.complete:
        assert [word for word, _, _ in hypothesis.times] == hypothesis.words
    previous = 0
    for position, (word, start, end) in enumerate(hypothesis.times):
        assert previous <= start < end <= frames
        if hypothesis.complete or position < len(hypothesis.times) - 1:
            assert end - start >= states * min(len(variant) for variant in LEXICON.pronunciations(word))
        previous = end


def test_homophones_are_told_apart_by_the_language_model() -> None:
    lexicon = Lexicon({"two": [("A", "B")], "too": [("A", "B")], "me": [("C",)]})
    ngram = estimate([["two", "two", "two"], ["me", "too"], ["me", "too"]], order=2)
    decoder = Decoder(TOPOLOGY, lexicon, ngram)
    assert decoder.decode(speak("C", "A", "B")).words == ["me", "too"]
    assert decoder.decode(speak("A", "B", "A", "B")).words == ["two", "two"]


def test_insertion_penalty_and_language_model_weight_act_in_their_direction() -> None:
    scores = speak("A", "B")
    lexicon, ngram = LEXICON.subset(["a", "b", "ab"]), estimate([["a"], ["b"], ["ab"]], order=1)
    assert Decoder(TOPOLOGY, lexicon, ngram, insertion_penalty=5.0).decode(scores).words == ["ab"]
    assert Decoder(TOPOLOGY, lexicon, ngram, insertion_penalty=-5.0).decode(scores).words == ["a", "b"]
    rare = estimate([["ab"]] + [["a", "b"]] * 50, order=2)
    assert Decoder(TOPOLOGY, lexicon, rare, lm_scale=5.0).decode(scores).words == ["a", "b"]


def all_paths(words: tuple[str, ...], frames: int) -> list[tuple[list[int], float]]:
    """Every alignment of `words` to the frames: pdf of each frame, log probability of pronunciations and topology."""
    found = []
    variants = [LEXICON.pronunciations(word) for word in words]
    for chosen in product(*variants):
        for silences in product([(), (SILENCE,)], repeat=len(words) + 1):
            phones = [
                *silences[0],
                *(x for said, after in zip(chosen, silences[1:], strict=True) for x in said + after),
            ]
            pdfs = [pdf for phone in phones for pdf in TOPOLOGY.pdfs(phone)]
            weight = -sum(math.log(len(options)) for options in variants)
            weight += sum(TOPOLOGY.log_silence if on else TOPOLOGY.log_no_silence for on in silences)
            for lengths in product(range(1, frames + 1), repeat=len(pdfs)) if len(pdfs) <= frames else ():
                if sum(lengths) == frames:
                    path = [pdf for pdf, length in zip(pdfs, lengths, strict=True) for _ in range(length)]
                    stays = frames - len(pdfs)
                    found.append((path, weight + len(pdfs) * TOPOLOGY.log_leave + stays * TOPOLOGY.log_stay))
    return found


@pytest.mark.parametrize(("seed", "lm_scale"), [(1, 0.5), (2, 1.0), (3, 3.0), (4, 2.0)])
def test_confidence_is_the_posterior_of_the_words_over_all_paths(
    seed: int, lm_scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LATTICE_BEAM", 1e4)
    unigram = estimate([["a", "b"], ["ca", "ab", "a"]], order=1)
    scores, temperature = random_scores(seed, frames=5, scale=2.0), max(1.0, lm_scale)
    mass: dict[tuple[str, ...], float] = {}
    for length in range(3):
        for words in product(LEXICON.words, repeat=length):
            language = lm_scale * unigram.log_prob(words)
            paths = [float(scores[range(5), path].sum()) + weight for path, weight in all_paths(words, 5)]
            mass[words] = sum(math.exp((path + language) / temperature) for path in paths)
    hypothesis = Decoder(TOPOLOGY, LEXICON, unigram, lm_scale, beam=1e4).decode(scores)
    posterior = mass[tuple(hypothesis.words)] / sum(mass.values())
    assert hypothesis.confidence == pytest.approx(posterior ** (1 / max(1, len(hypothesis.words))), rel=2e-3)


def test_confidence_falls_when_the_sounds_get_unclear() -> None:
    decoder = Decoder(TOPOLOGY, LEXICON, BIGRAM)
    clear, mumbled, noise = (decoder.decode(speak("A", SILENCE, "B", gain=gain)) for gain in (8.0, 2.0, 0.0))
    assert 1.0 >= clear.confidence > mumbled.confidence > noise.confidence >= 0.0


def test_lattice_finds_hypotheses_that_a_narrow_beam_would_lose() -> None:
    for seed in range(20):
        hypothesis = Decoder(TOPOLOGY, LEXICON, BIGRAM, lm_scale=6.0, beam=2.0).decode(random_scores(seed, 30))
        assert 0.0 < hypothesis.confidence <= 1.0


def test_an_utterance_too_short_for_its_end_is_partial() -> None:
    topology = Topology(("A", "B", "C"), states_per_phone=3, silence_states=3)
    lexicon = Lexicon({"ab": [("A", "B")], "c": [("C",)]})
    scores = speak("A", "B", frames=2, topology=topology)[:9]
    decoder = Decoder(topology, lexicon, estimate([["ab"], ["c"]], order=1))
    assert decoder.decode(scores).complete  # wide enough a search ends in a worse, finished word
    hypothesis = decoder.decode(scores[:2])
    assert not hypothesis.complete
    assert hypothesis.confidence == 0.0
    assert hypothesis.times == [] or hypothesis.times[0][2] <= 2


def test_no_frames_give_an_incomplete_hypothesis_without_words() -> None:
    scores = np.zeros((0, TOPOLOGY.num_pdfs), dtype=np.float32)
    assert Decoder(TOPOLOGY, LEXICON, BIGRAM).decode(scores) == Hypothesis([], complete=False)


def test_silence_alone_gives_no_words() -> None:
    hypothesis = Decoder(TOPOLOGY, LEXICON, BIGRAM).decode(speak(SILENCE, frames=20))
    assert hypothesis.words == []
    assert hypothesis.complete
    assert hypothesis.confidence > 0.9


def test_unusable_scores_are_all_named() -> None:
    broken = speak("A")
    broken[1, 2] = np.nan
    scores = {"narrow": np.zeros((3, 2), dtype=np.float32), "broken": broken, "fine": speak("A")}
    with pytest.raises(InputError) as raised:
        Decoder(TOPOLOGY, LEXICON, BIGRAM).decode_all(scores)
    assert len(raised.value.problems) == 2
    assert "'narrow' have shape (3, 2), not (frames, 7)" in str(raised.value)
    assert "'broken' are not finite in 1 frames" in str(raised.value)


def test_other_memory_layouts_and_precisions_give_the_same_words() -> None:
    decoder, scores = Decoder(TOPOLOGY, LEXICON, BIGRAM), random_scores(0, 20)
    expected = decoder.decode(scores)
    assert decoder.decode(np.asfortranarray(scores)) == expected
    assert decoder.decode(scores.astype(np.float64)) == expected  # type: ignore[arg-type]


def test_decoding_is_deterministic_and_does_not_depend_on_jobs() -> None:
    scores = {f"u{seed}": random_scores(seed, 15) for seed in range(8)}
    decoder = Decoder(TOPOLOGY, LEXICON, BIGRAM, lm_scale=1.5)
    alone = decoder.decode_all(scores)
    assert list(alone) == list(scores)
    assert alone == Decoder(TOPOLOGY, LEXICON, BIGRAM, lm_scale=1.5).decode_all(scores)
    assert alone == decoder.decode_all(scores, jobs=2)


def test_confidence_can_be_left_out_for_speed() -> None:
    decoder, scores = Decoder(TOPOLOGY, LEXICON, BIGRAM), random_scores(0, 20)
    quick, full = decoder.decode(scores, confidence=False), decoder.decode(scores)
    assert (quick.words, quick.score, quick.times) == (full.words, full.score, full.times)
    assert quick.confidence == 1.0


class Scripted:
    """Stands for a decoder: understands everything when lm_scale is 2 or 3, else loses a word."""

    def __init__(self, lm_scale: float, penalty: float) -> None:
        self.good = lm_scale in (2.0, 3.0)

    def decode_all(self, scores: dict[str, Any], **_: Any) -> dict[str, Hypothesis]:
        return {name: Hypothesis(["a", "b"] if self.good else ["a"]) for name in scores}


def test_tuning_takes_the_lowest_error_rate_and_among_equals_the_smallest_change() -> None:
    scores, references = {"u": np.zeros((1, 7), np.float32)}, {"u": ["a", "b"]}
    result = tune(Scripted, scores, references, (0.5, 3.0, 1.0, 2.0), (-1.0, 2.0, 0.0))  # type: ignore[arg-type]
    assert (result.lm_scale, result.insertion_penalty, result.wer) == (2.0, 0.0, 0.0)
    assert len(result.grid) == 12
    assert (1.0, 0.0, 50.0) in result.grid


def test_tuning_finds_the_weights_that_repair_real_errors() -> None:
    references = {"u": ["ab"], "v": ["ab", "ab"]}
    scores = {"u": speak("A", "B"), "v": speak("A", "B", "A", "B")}
    ngram = estimate([["a", "b", "a", "b"], ["a"], ["b"], ["ab"]], order=1)
    lexicon = LEXICON.subset(["a", "b", "ab"])
    result = tune(lambda scale, penalty: Decoder(TOPOLOGY, lexicon, ngram, scale, penalty), scores, references)
    assert result.wer == 0.0
    assert min(wer for _, _, wer in result.grid) < max(wer for _, _, wer in result.grid)


def test_tuning_needs_a_reference_for_every_utterance() -> None:
    with pytest.raises(InputError) as raised:
        tune(Scripted, {"u": speak("A")}, {"v": ["a"]})  # type: ignore[arg-type]
    assert "'u' has no reference" in str(raised.value)
    assert "'v' has no scores" in str(raised.value)
    with pytest.raises(InputError, match="reference words"):
        tune(Scripted, {}, {})  # type: ignore[arg-type]
