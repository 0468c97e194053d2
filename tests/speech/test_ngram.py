import math
from collections import Counter
from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.ngram import END, START, UNKNOWN, NgramModel, estimate, read_arpa

SMOOTHINGS = ["kneser-ney", "witten-bell", "absolute"]
corpora = st.lists(st.lists(st.sampled_from("abcd"), max_size=6), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(corpora, st.integers(1, 4), st.sampled_from(SMOOTHINGS), st.booleans())
def test_probabilities_sum_to_one_for_every_history(
    corpus: list[list[str]], order: int, smoothing: str, closed: bool
) -> None:
    model = estimate(corpus, order, vocabulary="abcde" if closed else "ab", smoothing=smoothing)  # type: ignore[arg-type]
    histories = [(), *((START, *rest) for rest in product("abx", repeat=min(order - 1, 2))), *product("abz", repeat=2)]
    for history in histories:
        probabilities = [math.exp(model.score(history, word)) for word in (*model.vocabulary, END)]
        assert sum(probabilities) == pytest.approx(1.0, abs=1e-9)
        assert min(probabilities) > 0.0


@settings(max_examples=60, deadline=None)
@given(corpora, st.integers(2, 3), st.sampled_from(SMOOTHINGS))
def test_an_explicit_ngram_is_never_worse_than_its_backoff(corpus: list[list[str]], order: int, smoothing: str) -> None:
    """The decoding graph relies on it: its back-off arcs are open where an n-gram is explicit."""
    model = estimate([*corpus, ["a"]], order, smoothing=smoothing)  # type: ignore[arg-type]
    for gram, log_prob in model.log_probs.items():
        if len(gram) > 1:
            assert log_prob >= model.backoffs[gram[:-1]] + model.score(gram[1:-1], gram[-1]) - 1e-12


def bigrams_of(corpus: list[str]) -> Counter[tuple[str, str]]:
    padded = [[START, *sentence, END] for sentence in corpus]
    return Counter((left, right) for words in padded for left, right in pairwise(words))


CORPUS = ["abc", "abd", "aab", "bad", "b", "cab", "dabab"]


def test_witten_bell_agrees_with_its_formula() -> None:
    bigrams = bigrams_of(CORPUS)
    unigrams = Counter(right for _, right in bigrams.elements())
    types, tokens = len(unigrams), sum(unigrams.values())

    def unigram(word: str) -> float:
        return (unigrams[word] + types / 5) / (tokens + types)  # a, b, c, d and the end

    model = estimate(CORPUS, order=2, smoothing="witten-bell")
    for history, word in product([START, *"abcd"], [*"abcd", END]):
        followers = {right: count for (left, right), count in bigrams.items() if left == history}
        expected = (followers.get(word, 0) + len(followers) * unigram(word)) / (
            sum(followers.values()) + len(followers)
        )
        assert math.exp(model.score([history], word)) == pytest.approx(expected)


def test_kneser_ney_agrees_with_its_formula() -> None:
    """Chen and Goodman (1999): continuation counts below, and one discount where the counts of counts lack some."""
    bigrams = bigrams_of(CORPUS)
    continuation = Counter(right for _, right in bigrams)
    assert not all(Counter(continuation.values())[count] for count in (1, 2, 3, 4))

    def discounts(counts: Counter[int]) -> list[float]:
        n1, n2, n3, n4 = (counts[count] for count in (1, 2, 3, 4))
        if n1 and n2 and n3 and n4:
            y = n1 / (n1 + 2 * n2)
            return [0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        return [0.0] + [n1 / (n1 + 2 * n2) if n1 and n2 else 0.5] * 3

    low, high = discounts(Counter(continuation.values())), discounts(Counter(bigrams.values()))

    def unigram(word: str) -> float:
        freed = sum(low[min(count, 3)] for count in continuation.values())
        kept = continuation[word] - low[min(continuation[word], 3)]
        return (kept + freed / 5) / sum(continuation.values())

    model = estimate(CORPUS, order=2)
    for history, word in product([START, *"abcd"], [*"abcd", END]):
        followers = {right: count for (left, right), count in bigrams.items() if left == history}
        count = followers.get(word, 0)
        freed = sum(high[min(other, 3)] for other in followers.values())
        expected = (count - high[min(count, 3)] + freed * unigram(word)) / sum(followers.values())
        assert math.exp(model.score([history], word)) == pytest.approx(expected)


def test_modified_discounts_are_used_where_the_counts_allow() -> None:
    counts = {"a": 1, "b": 1, "c": 1, "d": 1, "e": 2, "f": 2, "g": 3, "h": 4}
    model = estimate([[word] for word, count in counts.items() for _ in range(count)], order=2)
    y = 4 / (4 + 2 * 2)
    d1, d2, d3 = 1 - 2 * y * 2 / 4, 2 - 3 * y * 1 / 2, 3 - 4 * y * 1 / 1
    freed = 4 * d1 + 2 * d2 + 2 * d3
    # every word follows <s> only, and the end follows all words: the unigrams' continuation counts are 1 and 8
    unigram_a = (1 - 0.5 + 9 * 0.5 / 9) / 16
    assert math.exp(model.score([START], "a")) == pytest.approx((1 - d1 + freed * unigram_a) / 15)


def test_every_word_of_the_vocabulary_is_possible_and_strangers_are_not() -> None:
    model = estimate(["ab"], vocabulary="abc")
    assert model.log_prob(["c", "c"]) > -math.inf
    assert model.log_prob(["z"]) == -math.inf
    assert model.perplexity([["z"]]) == math.inf
    assert UNKNOWN in estimate(["az"], vocabulary="ab").vocabulary
    assert estimate([], vocabulary="ab").log_prob(["a"]) > -math.inf


def test_log_prob_and_perplexity_follow_from_the_conditional_probabilities() -> None:
    model = estimate(CORPUS, order=3)
    expected = (
        model.score([START], "a")
        + model.score([START, "a"], "b")
        + model.score(["a", "b"], "b")
        + model.score(["b", "b"], END)
    )
    assert model.log_prob("abb") == pytest.approx(expected)
    assert model.perplexity(["abb"]) == pytest.approx(math.exp(-expected / 4))


def test_history_longer_than_the_order_is_cut() -> None:
    model = estimate(CORPUS, order=2)
    assert model.score(["c", "d", "a"], "b") == model.score(["a"], "b")


@settings(max_examples=25, deadline=None)
@given(corpora, st.integers(1, 3))
def test_arpa_round_trip_keeps_every_probability(
    tmp_path_factory: pytest.TempPathFactory, corpus: list[list[str]], order: int
) -> None:
    path = tmp_path_factory.mktemp("arpa") / "lm.arpa"
    model = estimate(corpus, order, vocabulary="abcd")
    model.write_arpa(path)
    back = read_arpa(path)
    assert back.order == model.order
    assert back.log_probs.keys() == model.log_probs.keys()
    for words in product("abcd", repeat=3):
        assert back.log_prob(words) == pytest.approx(model.log_prob(words), abs=1e-6)
    back.write_arpa(path.with_name("again.arpa"))
    assert path.with_name("again.arpa").read_text() == path.read_text()


ARPA = """made by hand
\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-1.0 </s>
-99 <s> -0.3
-0.5 a -0.2
-0.7 b

\\2-grams:
-0.1 <s> a
-0.4 a b

\\end\\
"""


def arpa(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "lm.arpa"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("text", [ARPA, "\ufeff" + ARPA.replace("\n", "\r\n"), ARPA.replace(" ", "\t")])
def test_arpa_backoff_by_hand(tmp_path: Path, text: str) -> None:
    model = read_arpa(arpa(tmp_path, text.replace("ngram\t", "ngram ")))
    # p(a|<s>) p(b|a) p(b|b): no weight for b, p(</s>|b)
    expected = -0.1 - 0.4 - 0.7 - 1.0
    assert model.log_prob(["a", "b", "b"]) == pytest.approx(expected * math.log(10))
    assert model.score(["a"], "a") == pytest.approx((-0.2 - 0.5) * math.log(10))
    assert model.vocabulary == ("a", "b")


def test_all_problems_of_an_arpa_file_are_listed(tmp_path: Path) -> None:
    text = ARPA.replace("-0.7 b", "0.7 b").replace("-0.4 a b", "-0.4 a c\n-0.4 a\nx a a\n-0.1 <s> a")
    with pytest.raises(InputError) as raised:
        read_arpa(arpa(tmp_path, text))
    found = str(raised.value)
    for expected in (
        "lm.arpa:10: the base-10",
        "lm.arpa:15: is no 2-gram",
        "lm.arpa:16:",
        "lm.arpa:17: '<s> a' stands",
    ):
        assert expected in found
    assert "announces 2 2-grams, the file has 5" in found
    assert "'c' stands in longer n-grams" in found


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("\\end\\\n", "", "cut off"),
        ("\\data\\\n", "", r"no \\data\\"),
        ("ngram 2=2", "ngram two", "is not 'ngram N=COUNT'"),
        ("\\2-grams:", "\\3-grams:", "not announced"),
        ("-1.0 </s>", "-1.0 c", "lack the sentence end"),
    ],
)
def test_a_broken_arpa_file_says_what_is_broken(tmp_path: Path, old: str, new: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_arpa(arpa(tmp_path, ARPA.replace(old, new)))


def test_unusable_arguments_are_refused_together() -> None:
    with pytest.raises(InputError) as raised:
        estimate([["<s>", "a"]], order=0, smoothing="good-turing")  # type: ignore[arg-type]
    assert len(raised.value.problems) == 3
    with pytest.raises(InputError, match="at least one word"):
        estimate([])
    with pytest.raises(InputError, match="no sentence"):
        estimate(["a"]).perplexity([])


def test_estimation_does_not_depend_on_the_order_of_sentences() -> None:
    forward, backward = estimate(CORPUS, order=3), estimate(CORPUS[::-1], order=3)
    assert isinstance(forward, NgramModel)
    assert forward.log_probs.keys() == backward.log_probs.keys()
    assert all(forward.log_probs[gram] == pytest.approx(backward.log_probs[gram]) for gram in forward.log_probs)
