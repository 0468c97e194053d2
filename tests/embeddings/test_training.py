from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speechnlp_tl.embeddings.training import TrainingSettings, train_vectors
from speechnlp_tl.errors import InputError

pytest.importorskip("gensim")
SENTENCES = [["a", "b", "c", "d"], ["a", "b"], ["a", "c", "rare"]] * 8 + [["once"]]
SMALL = TrainingSettings(dimension=8, epochs=2, min_count=8, workers=1, buckets=100)


@pytest.mark.parametrize("method", ["skip-gram", "cbow", "fasttext"])
def test_one_worker_and_a_seed_give_the_same_vectors_again(method: str) -> None:
    settings = SMALL.model_copy(update={"method": method})
    first, second = (train_vectors(SENTENCES, settings, "en") for _ in range(2))
    assert first.words == ["a", "c", "b", "d", "rare"] or set(first.words) == {"a", "b", "c", "d", "rare"}
    assert first.words[0] == "a"
    assert first.matrix.tobytes() == second.matrix.tobytes()
    assert first.counts is not None
    assert dict(zip(first.words, first.counts.tolist(), strict=True)) == {"a": 24, "b": 16, "c": 16, "d": 8, "rare": 8}
    other = train_vectors(SENTENCES, settings.model_copy(update={"seed": 1}), "en")
    assert not np.array_equal(other.matrix, first.matrix)


def test_files_are_the_sentences_in_them(tmp_path: Path) -> None:
    half = len(SENTENCES) // 2
    for name, part in (("one.txt", SENTENCES[:half]), ("two.txt", SENTENCES[half:])):
        (tmp_path / name).write_text("".join(" ".join(words) + "\n\n" for words in part))
    files = train_vectors([tmp_path / "one.txt", tmp_path / "two.txt"], SMALL)
    assert np.array_equal(files.matrix, train_vectors(SENTENCES, SMALL).matrix)


def test_long_sentences_are_not_cut_off() -> None:
    vectors = train_vectors([["a"] * 25_000 + ["b"] * 8], SMALL)
    assert vectors.counts is not None
    assert vectors.counts.tolist() == [25_000, 8]


def test_bad_text_is_an_error_in_plain_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no word occurs 8 times in 1 sentences"):
        train_vectors([["a", "b"]], SMALL)
    with pytest.raises(InputError) as error:
        train_vectors([tmp_path / "x", tmp_path / "y"], SMALL)
    assert len(error.value.problems) == 2
    (tmp_path / "latin").write_bytes(b"a b\n\xe9t\xe9\n")
    with pytest.raises(InputError, match=r"latin:2: is not UTF-8"):
        train_vectors(tmp_path / "latin", SMALL)
    with pytest.raises(InputError, match="gone after one pass"):
        train_vectors((words for words in SENTENCES), SMALL)
