from __future__ import annotations

import gzip
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from speechnlp_tl.embeddings.vector_files import Format, from_gensim, read_vectors, to_gensim, write_vectors
from speechnlp_tl.embeddings.vectors import WordVectors
from speechnlp_tl.errors import InputError

FORMATS: tuple[Format, ...] = ("text", "binary", "folder")
TEXT = "3 2\nthe 0.5 -1\nof 1e-3 2\nété 3 4.25\n"


@pytest.fixture
def vectors() -> WordVectors:
    rng = np.random.default_rng(0)
    words = ["the", "été", "l'", "наука", "日本", "a_b", "-0.5", "</s>"]
    return WordVectors(words, rng.standard_normal((8, 50)).astype(np.float32), "mine", np.arange(80, 0, -10))


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def problems(path: Path, **options: object) -> list[tuple[int | None, str]]:
    with pytest.raises(InputError) as error:
        read_vectors(path, **options)  # type: ignore[arg-type]
    return [(problem.line, problem.what) for problem in error.value.problems]


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_read_again_bit_by_bit(format: Format, vectors: WordVectors, tmp_path: Path) -> None:
    write_vectors(vectors, tmp_path / "v", format)
    again = read_vectors(tmp_path / "v", name="mine")
    assert (again.words, again.name) == (vectors.words, "mine")
    assert again.matrix.tobytes() == vectors.matrix.tobytes()
    if format == "folder":
        assert again.counts is not None
        assert again.counts.tolist() == [80, 70, 60, 50, 40, 30, 20, 10]


finite = st.floats(allow_nan=False, allow_infinity=False, width=32, allow_subnormal=True)


@settings(max_examples=25, deadline=None)
@given(matrix=arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=finite))
@pytest.mark.parametrize("format", FORMATS)
def test_any_finite_numbers_survive(
    format: Format, matrix: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> None:
    matrix[~matrix.any(axis=1)] = 1
    path = tmp_path_factory.mktemp("numbers") / "v"
    write_vectors(WordVectors([f"w{row}" for row in range(len(matrix))], matrix), path, format)
    again = read_vectors(path, format=format).matrix
    assert np.array_equal(again, matrix)


@pytest.mark.parametrize("binary", [False, True])
def test_gensim_reads_our_files_and_we_read_gensim_s(binary: bool, vectors: WordVectors, tmp_path: Path) -> None:
    models = pytest.importorskip("gensim.models")
    write_vectors(vectors, tmp_path / "ours", "binary" if binary else "text")
    theirs = models.KeyedVectors.load_word2vec_format(str(tmp_path / "ours"), binary=binary)
    assert theirs.index_to_key == vectors.words
    assert np.array_equal(theirs.vectors, vectors.matrix)
    theirs.save_word2vec_format(str(tmp_path / "theirs"), binary=binary)
    assert read_vectors(tmp_path / "theirs").words == vectors.words
    assert np.allclose(read_vectors(tmp_path / "theirs").matrix, vectors.matrix, atol=1e-6)


def test_gensim_vectors_in_memory_come_and_go_with_their_counts(vectors: WordVectors) -> None:
    pytest.importorskip("gensim")
    theirs = to_gensim(vectors)
    again = from_gensim(theirs, "mine")
    assert again.words == vectors.words
    assert again.counts is not None
    assert again.counts.tolist() == vectors.counts.tolist()  # type: ignore[union-attr]
    assert np.array_equal(again.matrix, vectors.matrix)
    assert np.shares_memory(again.matrix, theirs.vectors)


def test_a_folder_is_memory_mapped_and_its_first_words_too(vectors: WordVectors, tmp_path: Path) -> None:
    write_vectors(vectors, tmp_path / "v")
    for limit in (None, 3):
        matrix = read_vectors(tmp_path / "v", limit).matrix
        assert isinstance(matrix, np.memmap)
        assert len(matrix) == (limit or 8)
    assert len(read_vectors(tmp_path / "v", 3).counts) == 3  # type: ignore[arg-type]
    with pytest.raises(InputError, match="exists already"):
        write_vectors(vectors, tmp_path / "v")


def test_text_with_other_habits_is_read(tmp_path: Path) -> None:
    plain = read_vectors(write(tmp_path / "a.vec", TEXT))
    assert plain.words == ["the", "of", "été"]
    assert np.array_equal(plain.matrix, np.array([[0.5, -1], [1e-3, 2], [3, 4.25]], np.float32))
    habits = {
        "no_header": TEXT.partition("\n")[2],
        "spaces_at_the_end": TEXT.replace("\n", " \n"),
        "carriage_returns": TEXT.replace("\n", "\r\n"),
        "tabs": TEXT.replace(" ", "\t"),
        "more_spaces": TEXT.replace(" ", "  "),
        "byte_order_mark": "\ufeff" + TEXT,
        "no_last_line_end": TEXT.rstrip(),
    }
    for name, content in habits.items():
        again = read_vectors(write(tmp_path / name, content))
        assert again.words == plain.words, name
        assert np.array_equal(again.matrix, plain.matrix), name
    (tmp_path / "z.vec.gz").write_bytes(gzip.compress(TEXT.encode()))
    assert read_vectors(tmp_path / "z.vec.gz").words == plain.words
    latin = write(tmp_path / "latin", TEXT.encode("latin-1"))
    assert read_vectors(latin, encoding="latin-1").words == plain.words


def test_a_word_may_hold_spaces_where_the_numbers_are_complete(tmp_path: Path) -> None:
    path = write(tmp_path / "glove", "3 2\nnew york 1 2\n. . . 3 4\n1 1/2 5 6\n")
    assert read_vectors(path).words == ["new york", ". . .", "1 1/2"]


@pytest.mark.parametrize("format", ["text", "binary"])
def test_with_a_limit_the_rest_of_the_file_is_not_looked_at(format: Format, tmp_path: Path) -> None:
    vectors = WordVectors(["a", "b", "c"], np.ones((3, 2), np.float32))
    write_vectors(vectors, tmp_path / "v", format)
    content = (tmp_path / "v").read_bytes()
    (tmp_path / "v").write_bytes(content[: content.index(b"c")] + b"\xff nonsense")
    assert read_vectors(tmp_path / "v", 2, format=format).words == ["a", "b"]
    assert problems(tmp_path / "v", format=format)
    assert problems(tmp_path / "v", limit=0)[0][1] == "a limit of 0 words leaves nothing"


def test_everything_bad_in_a_text_file_is_listed_with_its_line(tmp_path: Path) -> None:
    lines = ["8 2", "a 1 2", "b 1", "c 1.5 2.5 3.5", "d 1 x", "a 3 4", "e nan 1", "f 0 0.0", "g 1 inf"]
    path = write(tmp_path / "bad.vec", "\n".join(lines).encode() + b"\nh\xe9 1 2\n")
    assert sorted(problems(path), key=lambda found: found[0] or 0) == [
        (1, "says 8 words, but 9 lines follow"),
        (3, "has 1 numbers, not 2"),
        (4, "has more than 2 numbers"),
        (5, "'x' is no number"),
        (6, "'a' stands above already"),
        (7, "the vector of 'e' is not finite"),
        (8, "the vector of 'f' is zero"),
        (9, "the vector of 'g' is not finite"),
        (10, "the word is not utf-8 (byte 2 of it)"),
    ]
    path = write(path, path.read_bytes().replace(b"8 2", b"11 2", 1))
    assert (1, "says 11 words, but 9 lines follow") in problems(path)
    with pytest.raises(InputError, match="says 1 words, but 2 lines follow"):
        read_vectors(write(path, "1 2\na 1 2\nb 3 4\n"), 2)


def test_what_is_dropped_is_counted_and_told(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.vec", "9 2\na 1 2\nb 1\na 3 4\ne nan 1\nf 0 0\nk 5 6\n")
    told: list[str] = []
    vectors = read_vectors(path, on_drop=told.append)
    assert vectors.words == ["a", "k"]
    assert vectors.matrix.tolist() == [[1, 2], [5, 6]]
    assert len(told) == 5
    assert told[-1] == f"{path}: dropped: 1 words that stand twice (line 4: 'a' stands above already)"
    nothing = write(tmp_path / "nothing.vec", "1 2\na 0 0\n")
    with pytest.raises(InputError, match="holds no vectors"):
        read_vectors(nothing, on_drop=told.append)


def test_many_bad_lines_are_a_number(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.vec", "50 2\n" + "".join(f"w{row} 0 0\n" for row in range(50)))
    found = problems(path)
    assert len(found) == 21
    assert found[-1][1] == "30 more zero vectors"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not begin with"),
        (b"hello\n", "does not begin with"),
        (b"0 5\n", "holds no vectors"),
        (b"\xff\xfe3\x00", "is UTF-16 text"),
        (b"PK\x03\x04rest", "is an archive"),
        (b"\x1f\x8bbroken", "cannot be read"),
    ],
)
def test_what_is_no_vectors_is_refused_in_plain_words(content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read_vectors(write(tmp_path / "x", content))
    with pytest.raises(InputError, match="cannot be read"):
        read_vectors(tmp_path / "nothing here")


def test_a_pickle_is_never_opened(tmp_path: Path, vectors: WordVectors) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    for protocol in (2, 3, 4, 5):
        path = write(tmp_path / "v.kv", pickle.dumps(Trap(), protocol=protocol))
        with pytest.raises(InputError, match=r"Python pickle.*save_word2vec_format"):
            read_vectors(path)
    write_vectors(vectors, tmp_path / "folder")
    buffer = io.BytesIO()
    np.save(buffer, np.array([Trap()], dtype=object), allow_pickle=True)
    (tmp_path / "folder" / "vectors.npy").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="cannot be read as vectors"):
        read_vectors(tmp_path / "folder")
    assert not (tmp_path / "ran").exists()


def test_a_binary_file_whose_header_lies_is_caught_without_asking_for_its_memory(tmp_path: Path) -> None:
    row = np.ones(2, "<f4").tobytes()
    more = write(tmp_path / "more", b"999999999999 2\na " + row + b"\nb " + row)
    assert problems(more, format="binary") == [(None, "says 999999999999 words of 2 numbers, but holds 2")]
    assert read_vectors(more, format="binary", on_drop=print).words == ["a", "b"]
    fewer = write(tmp_path / "fewer", b"1 2\na " + row + b"b " + row)
    assert problems(fewer, format="binary") == [(None, "says 1 words, but more bytes follow")]
    wide = write(tmp_path / "wide", b"2 999999999999\na " + row)
    assert problems(wide, format="binary")
    other = write(tmp_path / "other", b"2 2\na " + row + b"\xe9t\xe9 " + row)
    assert problems(other, format="binary")[0][1].startswith("word 2 is not utf-8")
    assert read_vectors(other, format="binary", encoding="latin-1").words == ["a", "été"]
    assert read_vectors(write(tmp_path / "end", b"1 2\na " + row + b"\n"), format="binary").words == ["a"]
    assert problems(write(tmp_path / "none", b"3 2\n"), format="binary")


def test_words_that_a_format_cannot_hold_are_refused_when_written(tmp_path: Path) -> None:
    spaced = WordVectors(["new york", "", "b"], np.ones((3, 2), np.float32))
    for format in ("text", "binary"):
        with pytest.raises(InputError, match="2 words are empty or hold white space"):
            write_vectors(spaced, tmp_path / "v", format)  # type: ignore[arg-type]
    write_vectors(spaced, tmp_path / "v", "folder")
    assert read_vectors(tmp_path / "v").words == ["new york", "", "b"]
    with pytest.raises(InputError, match="line break"):
        write_vectors(WordVectors(["a\nb"], np.ones((1, 2), np.float32)), tmp_path / "w", "folder")
    with pytest.raises(InputError, match="is not written"):
        write_vectors(spaced, tmp_path / "w", "fasttext")


def test_a_damaged_folder_is_refused(tmp_path: Path, vectors: WordVectors) -> None:
    write_vectors(vectors, tmp_path / "v")
    words = tmp_path / "v" / "words.txt"
    words.write_text(words.read_text(encoding="utf-8").replace("the\n", ""), encoding="utf-8")
    with pytest.raises(InputError, match="8 words of 50 numbers are announced, 7 words are there"):
        read_vectors(tmp_path / "v")
    (tmp_path / "v" / "config.yaml").write_text("kind: other\n")
    with pytest.raises(InputError, match="does not say 'kind: word-vectors'"):
        read_vectors(tmp_path / "v")
    (tmp_path / "v" / "config.yaml").write_text("!!python/object/apply:os.system ['true']\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_vectors(tmp_path / "v")
