"""N-gram features against counting by hand; kept as plain text, and read back the same."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechnlp_tl.errors import InputError
from speechnlp_tl.text.ngrams import NgramConfig, NgramFeatures

COUNTS = NgramConfig(weighting="count", min_documents=1, max_features=None)
TEXTS = st.lists(st.text(alphabet="ab é'B.-_1\n", min_size=1, max_size=30), min_size=1, max_size=6)


def by_hand(text: str, longest: int) -> Counter[str]:
    words = re.findall(r"\w+(?:'\w+)*", text.lower())
    return Counter(" ".join(words[i : i + n]) for n in range(1, longest + 1) for i in range(len(words) - n + 1))


@settings(max_examples=50, deadline=None)
@given(TEXTS, st.integers(1, 3), st.integers(1, 2))
def test_counts_are_those_of_counting_by_hand(texts, longest, fewest):
    config = COUNTS.model_copy(update={"longest": longest, "min_documents": fewest})
    counted = [by_hand(text, longest) for text in texts]
    documents = Counter(ngram for counts in counted for ngram in counts)
    expected = sorted(ngram for ngram, count in documents.items() if count >= fewest)
    if not expected:
        with pytest.raises(InputError, match="no n-gram"):
            NgramFeatures.fit(texts, config)
        return
    features = NgramFeatures.fit(texts, config)
    assert list(features.vocabulary) == expected
    matrix = [[counts[ngram] for ngram in expected] for counts in counted]
    np.testing.assert_array_equal(features.rows(texts).toarray(), matrix)


def test_a_vocabulary_is_plain_text_and_read_back_gives_the_same_rows(tmp_path: Path):
    texts = ["Don't buy it, don't!", "buy it – it’s good", "c d e"]
    config = NgramConfig(min_documents=1, weighting="log", unit_length=True)
    features = NgramFeatures.fit(texts, config)
    features.save(tmp_path)
    assert "don't buy\n" in (tmp_path / "vocabulary.txt").read_text(encoding="utf-8")
    again = NgramFeatures.load(tmp_path, config)
    assert again.vocabulary == features.vocabulary
    assert again.sha256 == features.sha256
    assert (again.rows(texts) != features.rows(texts)).nnz == 0
    lengths = np.sqrt(features.rows(texts).power(2).sum(1))
    np.testing.assert_allclose(lengths, 1, rtol=1e-6)


def test_the_most_frequent_ngrams_are_kept_and_unknown_ones_give_an_empty_row():
    config = COUNTS.model_copy(update={"max_features": 2, "longest": 1})
    features = NgramFeatures.fit(["b b b a a c", "a"], config)
    assert features.vocabulary == ("a", "b")
    assert features.rows(["zzz !!"]).nnz == 0


@pytest.mark.parametrize("content", ["", "a\na\n", None])
def test_a_damaged_vocabulary_is_refused_by_name(tmp_path: Path, content: str | None):
    if content is not None:
        (tmp_path / "vocabulary.txt").write_text(content)
    with pytest.raises(InputError, match=r"vocabulary.txt: .*copy the model again"):
        NgramFeatures.load(tmp_path, COUNTS)


def test_texts_without_a_common_ngram_are_refused():
    with pytest.raises(InputError, match=r"no n-gram stands in 2 of the 2 documents; .*min_documents"):
        NgramFeatures.fit(["a", "b"])
