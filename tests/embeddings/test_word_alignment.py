from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechnlp_tl.embeddings import word_alignment
from speechnlp_tl.embeddings.word_alignment import NULL_SHARE, Sentences, align_words, best_sources

CORPUS = [([0, 1], [5, 3]), ([0, 2], [5, 4]), ([1], [3]), ([2, 1, 0], [4, 3, 5]), ([], [3]), ([1], [])]


def numbered(corpus: list[tuple[list[int], list[int]]], vocabulary: int = 6) -> tuple[Sentences, Sentences]:
    return tuple(Sentences.of([pair[side] for pair in corpus], vocabulary) for side in (0, 1))  # type: ignore[return-value]


def by_hand(corpus: list[tuple[list[int], list[int]]], rounds: int, tension: float) -> list[dict[int, float]]:
    """The textbook's loops over dictionaries, with the same prior: for each target word, source place -> weight."""
    table: dict[tuple[int | None, int], float] = defaultdict(lambda: 1.0)

    def weights(source: list[int], target: list[int], j: int) -> list[float]:
        near = [math.exp(-tension * abs((i + 0.5) / len(source) - (j + 0.5) / len(target))) for i in range(len(source))]
        prior = [(1 - NULL_SHARE) * value / sum(near) for value in near] + [NULL_SHARE]
        return [table[word, target[j]] * p for word, p in zip([*source, None], prior, strict=True)]

    for _ in range(rounds):
        counts: dict[tuple[int | None, int], float] = defaultdict(float)
        for source, target in corpus:
            for j in range(len(target)):
                found = weights(source, target, j)
                for word, value in zip([*source, None], found, strict=True):
                    counts[word, target[j]] += value / sum(found)
        sums: dict[int | None, float] = defaultdict(float)
        for (word, _), value in counts.items():
            sums[word] += value
        table = defaultdict(float, {key: value / sums[key[0]] for key, value in counts.items()})
    result, start = [], 0
    for source, target in corpus:
        for j in range(len(target)):
            found = weights(source, target, j)
            result.append({start + i: value for i, value in enumerate(found[:-1])} | {-1: found[-1]})
        start += len(source)
    return result


def test_the_words_that_always_meet_are_linked() -> None:
    source, target = numbered(CORPUS)
    links = align_words(source, target)
    meaning = {0: 5, 1: 3, 2: 4}
    assert [(source.words[i], target.words[j]) for i, j in links] == [
        (word, meaning[word]) for word in [0, 1, 0, 2, 1, 2, 1, 0]
    ]
    assert len(set(links[:, 1])) == len(links)


sentence = st.lists(st.integers(0, 5), max_size=4)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(sentence, sentence), min_size=1, max_size=6), st.integers(1, 4), st.sampled_from([0.0, 4.0]))
def test_the_model_is_that_of_the_textbook(corpus: list, rounds: int, tension: float) -> None:
    source, target = numbered(corpus)
    found = best_sources(source, target, rounds, tension).tolist()
    for place, weights in zip(found, by_hand(corpus, rounds, tension), strict=True):
        assert weights[place] >= max(weights.values()) * (1 - 1e-4)  # single precision: of near equals either will do


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    corpus = [(generator.integers(0, 6, 5).tolist(), generator.integers(0, 6, 4).tolist()) for _ in range(50)]
    whole = align_words(*numbered(corpus))
    monkeypatch.setattr(word_alignment, "_CELLS", 30)
    assert np.array_equal(align_words(*numbered(corpus)), whole)


def test_nothing_to_align_gives_no_links() -> None:
    assert align_words(*numbered([([], []), ([1], []), ([], [2])])).shape == (0, 2)
