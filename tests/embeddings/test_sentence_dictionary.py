"""A dictionary from matched sentences: the words that stand for each other, and no others."""

from __future__ import annotations

import numpy as np
import pytest

from speechnlp_tl.embeddings.matched_sentences import MatchedSentences
from speechnlp_tl.embeddings.sentence_dictionary import dictionary_from_sentences
from speechnlp_tl.errors import InputError


def sides(*languages: str, count: int = 200) -> MatchedSentences:
    generator = np.random.default_rng(0)
    sentences = [generator.integers(0, 15, 5).tolist() for _ in range(count)]
    return MatchedSentences({name: [[f"{name}{n}" for n in each] for each in sentences] for name in languages})


def test_words_that_stand_for_each_other_most_often_are_a_dictionary() -> None:
    found = dictionary_from_sentences(sides("a", "b")).entries
    assert len(found) == 15
    assert all(one[1:] == other[1:] for one, other in found)


def test_the_most_frequent_come_first_and_rare_links_are_left_out() -> None:
    matched = MatchedSentences(
        {"a": [["one"]] * 9 + [["two"]] * 6 + [["rare"]] * 4, "b": [["un"]] * 9 + [["deux"]] * 10}
    )
    assert dictionary_from_sentences(matched).entries == [("one", "un"), ("two", "deux")]
    assert dictionary_from_sentences(matched, fewest=7).entries == [("one", "un")]


def test_three_languages_are_refused() -> None:
    with pytest.raises(InputError, match="of two languages, not of a, b, c"):
        dictionary_from_sentences(sides("a", "b", "c", count=3))
