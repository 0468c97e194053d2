from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speechnlp_tl.embeddings.joint_training import (
    fold_in_translations,
    random_vectors,
    sentence_id_vectors,
    train_jointly,
    translation_links,
)
from speechnlp_tl.embeddings.matched_sentences import MatchedSentences, read_matched_sentences
from speechnlp_tl.embeddings.normalisation import unit_rows
from speechnlp_tl.embeddings.training import TrainingSettings
from speechnlp_tl.embeddings.vectors import WordVectors
from speechnlp_tl.errors import InputError
from tests.embeddings.made_languages import WORDS, made_sentences, translations

SETTINGS = TrainingSettings(dimension=30, epochs=12, window=4, workers=1, subsample=0.0, negative=5)


def precision(source: WordVectors, target: WordVectors, language: str) -> float:
    """The share of the words of language `a` whose nearest word is their translation."""
    entries = translations(language)
    similar = unit_rows(source.matrix[source.rows([a for a, _ in entries])]) @ unit_rows(target.matrix).T
    return float(np.mean(similar.argmax(axis=1) == target.rows([b for _, b in entries])))


@pytest.mark.parametrize("merge", ["length-ratio", "shuffle"])
def test_translations_become_nearest_in_jointly_trained_vectors(merge: str) -> None:
    pytest.importorskip("gensim")
    found = train_jointly([made_sentences(400)], SETTINGS, merge)  # type: ignore[arg-type]
    assert set(found) == {"a", "b"}
    assert sorted(found["a"].words) == sorted(word for word, _ in translations("b"))
    assert precision(found["a"], found["b"], "b") > 0.9
    again = train_jointly([made_sentences(400)], SETTINGS, merge)  # type: ignore[arg-type]
    assert again["b"].matrix.tobytes() == found["b"].matrix.tobytes()


def test_equal_strings_of_two_languages_are_two_words() -> None:
    """`w0` of one is `w1` of the other: were they one word, these would go wrong."""
    found = sentence_id_vectors([made_sentences()], dimension=WORDS)
    assert not np.allclose(found["a"]["w0"], found["b"]["w0"])
    assert precision(found["a"], found["b"], "b") == 1.0


def test_three_languages_meet_in_one_space_though_no_corpus_has_all_of_them() -> None:
    corpora = [made_sentences(400, "ab"), made_sentences(400, "ac", seed=1)]
    found = fold_in_translations(random_vectors(corpora, dimension=100), corpora)
    assert set(found) == {"a", "b", "c"}
    assert precision(found["a"], found["b"], "b") == 1.0
    assert precision(found["a"], found["c"], "c") == 1.0
    together = sentence_id_vectors([made_sentences(400, "abc")], dimension=WORDS)
    assert precision(together["a"], together["c"], "c") == 1.0


def test_translations_are_folded_in_by_the_share_of_their_links() -> None:
    """Each word is one word of the other language, every time: v(a) + 2 v(b), by hand."""
    corpus = MatchedSentences({"a": [["x"], ["y"]] * 3, "b": [["u"], ["v"]] * 3})
    start = {
        "a": WordVectors(["x", "y"], np.array([[2, 0, 0], [0, 3, 0]], np.float32), "a"),
        "b": WordVectors(["u", "v"], np.array([[0, 0, 1], [0, 0, -1]], np.float32), "b"),
    }
    found = fold_in_translations(start, [corpus], weight=2.0)
    assert np.allclose(found["a"].matrix * np.sqrt(5), [[1, 0, 2], [0, 1, -2]], atol=1e-6)
    assert np.allclose(found["b"].matrix * np.sqrt(5), [[2, 0, 1], [0, 2, -1]], atol=1e-6)
    assert np.array_equal(start["a"].matrix, [[2, 0, 0], [0, 3, 0]]), "the argument stays as it is"
    assert np.allclose(fold_in_translations(start, [corpus], weight=0.0)["a"].matrix, np.eye(3)[:2])
    links = translation_links([corpus], {language: vectors.index for language, vectors in start.items()})
    again = fold_in_translations(start, [corpus], weight=2.0, links=links)
    assert all(np.array_equal(again[language].matrix, found[language].matrix) for language in start)


def test_counts_and_order_are_those_of_the_sentences() -> None:
    corpus = MatchedSentences({"a": [["x", "y", "x"], ["x", "z"]], "b": [["u"], ["u", "v"]]})
    for found in (random_vectors([corpus], 4, min_count=1), sentence_id_vectors([corpus], 4, min_count=1)):
        assert (found["a"].words, found["b"].words) == (["x", "y", "z"], ["u", "v"])
        assert found["a"].counts is not None
        assert found["a"].counts.tolist() == [3, 1, 1]


def test_what_cannot_be_learned_from_is_refused(tmp_path: Path) -> None:
    corpus = MatchedSentences({"a": [["x"]] * 5, "b": [["u"], ["v"], ["w"], ["r"], ["s"]]})
    for learn in (sentence_id_vectors, random_vectors):
        with pytest.raises(InputError, match="no word of 'b' occurs 5 times"):
            learn([corpus])
        with pytest.raises(InputError, match="no matched sentences"):
            learn([])
    with pytest.raises(InputError, match="sentences do not match: a 1, b 2"):
        MatchedSentences({"a": [["x"]], "b": [["u"], ["v"]]})
    with pytest.raises(InputError, match="do not match"):
        MatchedSentences({"a": [["x"]]})
    one = WordVectors(["x"], np.ones((1, 2), np.float32), "a")
    with pytest.raises(InputError, match="no matched sentences in two of a, c"):
        fold_in_translations({"a": one, "c": one}, [corpus])
    with pytest.raises(InputError, match="different dimensions: a 2, b 3"):
        fold_in_translations({"a": one, "b": WordVectors(["u"], np.ones((1, 3), np.float32), "b")}, [corpus])
    (tmp_path / "a.txt").write_text("x y\nz\n")
    with pytest.raises(InputError, match=r"b\.txt: is no file"):
        read_matched_sentences(tmp_path, ["a", "b"])
    (tmp_path / "b.txt").write_text("u\nv w\n")
    assert read_matched_sentences(tmp_path, ["a", "b"]).sentences["b"] == [["u"], ["v", "w"]]
