from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from speechnlp_tl.embeddings.vector_files import read_vectors
from speechnlp_tl.errors import InputError

fasttext = pytest.importorskip("gensim.models.fasttext")
SENTENCES = [["one", "été", "three", "日本", "the", "the"], ["the", "one", "two", "été"]] * 5


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    """A model trained and saved by gensim in fastText's format, and the path."""
    path = tmp_path_factory.mktemp("model") / "model.bin"
    model = fasttext.FastText(SENTENCES, vector_size=7, min_count=1, bucket=50, epochs=1, workers=1, seed=1)
    fasttext.save_facebook_model(model, str(path))
    return model, path


def test_words_have_the_vectors_that_gensim_makes_of_their_subwords(trained) -> None:
    model, path = trained
    vectors = read_vectors(path)
    assert vectors.words == model.wv.index_to_key
    for word in vectors.words:
        assert np.allclose(vectors[word], model.wv[word], atol=1e-6)
    assert vectors.counts is not None
    assert vectors.counts.tolist() == [model.wv.get_vecattr(word, "count") for word in vectors.words]
    first = read_vectors(path, 2)
    assert first.words == vectors.words[:2]
    assert np.array_equal(first.matrix, vectors.matrix[:2])


def test_gensim_s_reader_is_an_independent_oracle(trained) -> None:
    theirs = fasttext.load_facebook_vectors(str(trained[1]))
    ours = read_vectors(trained[1])
    assert np.allclose(ours.matrix, np.array([theirs[word] for word in ours.words]), atol=1e-6)


def test_a_cut_file_is_refused_wherever_it_is_cut(trained, tmp_path: Path) -> None:
    """gensim's reader never returns from some of these."""
    content = trained[1].read_bytes()
    table = 8 + 56 + 28  # the dictionary starts here
    for length in (4, 8, 20, 60, table - 1, table, table + 1, table + 5, table + 40, table + 90, 300, 800):
        (tmp_path / "cut.bin").write_bytes(content[:length])
        with pytest.raises(InputError):
            read_vectors(tmp_path / "cut.bin")


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (4, struct.pack("<i", 13), "has version 13"),
        (8, struct.pack("<i", 0), "says its vectors have 0 numbers"),
        (8, struct.pack("<i", 8), "7 numbers where"),
        (64, struct.pack("<i", 2_000_000_000), "words, but ends after|ends too early"),
        (64 + 4, struct.pack("<i", 3), "says 3 words, but has"),
        (64 + 20, struct.pack("<q", 5), "is quantised"),
    ],
)
def test_a_model_that_lies_about_itself_is_refused(
    trained, place: int, value: bytes, said: str, tmp_path: Path
) -> None:
    content = bytearray(trained[1].read_bytes())
    content[place : place + len(value)] = value
    (tmp_path / "lie.bin").write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_vectors(tmp_path / "lie.bin")


def test_words_in_another_encoding_are_named(trained, tmp_path: Path) -> None:
    content = trained[1].read_bytes().replace("été\0".encode(), b"\xe9t\xe9ab\0")
    (tmp_path / "latin.bin").write_bytes(content)
    with pytest.raises(InputError, match=r"word \d is not utf-8"):
        read_vectors(tmp_path / "latin.bin")
    assert "étéab" in read_vectors(tmp_path / "latin.bin", encoding="latin-1").words
    told: list[str] = []
    vectors = read_vectors(tmp_path / "latin.bin", on_drop=told.append)
    assert len(vectors) == len({word for sentence in SENTENCES for word in sentence}) - 1
    assert "1 words in another encoding" in told[0]
