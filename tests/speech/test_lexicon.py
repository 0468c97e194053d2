from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.lexicon import Lexicon


def lexicon_file(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "lexicon.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_several_pronunciations_are_kept_in_order_without_duplicates(tmp_path: Path) -> None:
    lexicon = Lexicon.read(lexicon_file(tmp_path, "the DH AH\na AH\nthe DH IY\nthe DH AH\n"))
    assert lexicon.words == ("a", "the")
    assert lexicon.pronunciations("the") == (("DH", "AH"), ("DH", "IY"))
    assert lexicon.phones == ("AH", "DH", "IY")


def test_cmu_dictionary_layout_is_understood(tmp_path: Path) -> None:
    text = ";;; a comment\n# another\nA  AH0\nA(2)\tEY1 # the letter\nD'ARTAGNAN D AH0 R # place, french\n"
    path = lexicon_file(tmp_path, text)
    assert Lexicon.read(path).pronunciations("A") == (("AH0",), ("EY1",))
    assert Lexicon.read(path, strip_stress=True).phones == ("AH", "D", "EY", "R")


def test_byte_order_mark_and_windows_line_ends_do_not_matter(tmp_path: Path) -> None:
    lexicon = Lexicon.read(lexicon_file(tmp_path, b"\xef\xbb\xbfone W AH N\r\n\r\ntwo T UW\r\n"))
    assert lexicon == Lexicon({"one": [("W", "AH", "N")], "two": [("T", "UW")]})


def test_all_bad_lines_are_listed_at_once(tmp_path: Path) -> None:
    path = lexicon_file(tmp_path, "good G UH D\nbad\nweighted 0.5 W EY\npause P SIL Z\n")
    with pytest.raises(InputError) as raised:
        Lexicon.read(path)
    assert [(problem.line, problem.file) for problem in raised.value.problems] == [(2, path), (3, path), (4, path)]


def test_silence_and_boundary_entries_are_skipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lexicon = Lexicon.read(lexicon_file(tmp_path, "!SIL SIL\n<s> SIL\n</s>\n<sil> sil\nyes Y EH S\n"))
    assert lexicon.words == ("yes",)
    assert "!SIL, <s>, </s>, <sil>" in caplog.text


@pytest.mark.parametrize("content", ["", "\n;;; only comments\n", b"caf\xe9 K AE F EY\n"])
def test_unusable_files_name_the_file(tmp_path: Path, content: str | bytes) -> None:
    path = lexicon_file(tmp_path, content)
    with pytest.raises(InputError) as raised:
        Lexicon.read(path)
    assert str(path) in str(raised.value)


def test_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        Lexicon.read(tmp_path / "absent.txt")


def test_unusable_entries_are_refused_together() -> None:
    entries = {"<s>": [("A",)], "none": [], "empty": [()], "pause": [("SIL",)], "two words": [("A",)], "text": ["A B"]}
    with pytest.raises(InputError) as raised:
        Lexicon(entries)  # type: ignore[arg-type]
    assert len(raised.value.problems) == 6


def test_subset_missing_and_merge() -> None:
    lexicon = Lexicon({"a": [("A",)], "b": [("B",)]})
    assert lexicon.missing(["c", "a", "c", "B"]) == ["B", "c"]
    assert lexicon.subset(["b", "c"]).words == ("b",)
    assert lexicon.subset(["b"]).phones == ("B",)
    merged = lexicon.merge(Lexicon({"a": [("E",), ("A",)], "c": [("C",)]}))
    assert merged.pronunciations("a") == (("A",), ("E",))
    assert merged.words == ("a", "b", "c")
    assert lexicon.words == ("a", "b")


names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=4).map(lambda name: name + "x")


@given(st.dictionaries(names, st.lists(st.lists(names, min_size=1, max_size=4).map(tuple), min_size=1, max_size=3)))
def test_a_written_lexicon_reads_back_equal_and_is_sorted(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, list[tuple[str, ...]]]
) -> None:
    entries["word"] = [("W",)]
    path = tmp_path_factory.mktemp("lexicon") / "lexicon.txt"
    lexicon = Lexicon(entries)
    lexicon.write(path)
    assert Lexicon.read(path) == lexicon
    first = [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines()]
    assert first == sorted(first)
