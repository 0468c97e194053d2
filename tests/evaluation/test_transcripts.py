from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.transcripts import read_transcripts, read_utt2spk


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "text"
    path.write_bytes(content)
    return path


def test_words_and_empty_transcripts_are_read(tmp_path):
    path = write(tmp_path, b"a one two\nb\nc\tthree  four \n")
    assert read_transcripts(path) == {"a": ["one", "two"], "b": [], "c": ["three", "four"]}


def test_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path):
    plain = read_transcripts(write(tmp_path, "a één\nb\n".encode()))
    windows = read_transcripts(write(tmp_path, b"\xef\xbb\xbf" + "a één\r\nb\r\n".encode()))
    assert windows == plain == {"a": ["één"], "b": []}


def test_last_line_needs_no_end(tmp_path):
    assert read_transcripts(write(tmp_path, b"a x\nb y")) == {"a": ["x"], "b": ["y"]}


@pytest.mark.parametrize("letter", ["\u00a0", "\u3000", "\u2028", "\u0085"])
def test_only_ascii_white_space_parts_words_and_only_line_feeds_part_lines(tmp_path, letter):
    assert read_transcripts(write(tmp_path, f"a x{letter}y z\n".encode())) == {"a": [f"x{letter}y", "z"]}


def test_all_bad_lines_are_named_at_once(tmp_path):
    path = write(tmp_path, b"a x\n\n b y\na z\nc \xff\nd one\rtwo\n\xef\xbb\xbfe x\n")
    with pytest.raises(InputError) as caught:
        read_transcripts(path)
    assert [problem.line for problem in caught.value.problems] == [2, 3, 4, 5, 6, 7]
    assert "line 1" in caught.value.problems[2].what
    assert all(problem.file == path for problem in caught.value.problems)


def test_utf16_and_folders_and_absent_files_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="UTF-16"):
        read_transcripts(write(tmp_path, "a x\n".encode("utf-16")))
    with pytest.raises(InputError, match="is a folder"):
        read_transcripts(tmp_path)
    with pytest.raises(InputError, match="nothing: cannot be read"):
        read_transcripts(tmp_path / "nothing")


def test_utt2spk_needs_exactly_one_speaker(tmp_path):
    assert read_utt2spk(write(tmp_path, b"a s1\nb s2\n")) == {"a": "s1", "b": "s2"}
    with pytest.raises(InputError) as caught:
        read_utt2spk(write(tmp_path, b"a s1\nb\nc s1 s2\n"))
    assert len(caught.value.problems) == 2


WORD = st.text(st.characters(blacklist_characters=" \t\r\f\v\n\ufeff", blacklist_categories=("Cs",)), min_size=1)


@given(st.dictionaries(WORD, st.lists(WORD)))
def test_what_is_written_is_read_back(tmp_path_factory, transcripts):
    path = tmp_path_factory.mktemp("text") / "text"
    path.write_bytes("".join(" ".join([name, *words]) + "\n" for name, words in transcripts.items()).encode())
    assert read_transcripts(path) == transcripts
