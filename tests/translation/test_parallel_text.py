from __future__ import annotations

import pytest

from speechnlp_tl.errors import InputError
from speechnlp_tl.translation.parallel_text import read_parallel


def files(folder, **texts):
    for language, text in texts.items():
        (folder / language).write_text(text, encoding="utf-8", newline="")
    return {language: folder / language for language in texts}


def test_lines_stand_beside_each_other(tmp_path):
    text = read_parallel(files(tmp_path, de="ein Hund\r\nzwei\u2028Hunde\n", en="a dog\ntwo dogs"))
    assert text.sentences == {"de": ["ein Hund", "zwei\u2028Hunde"], "en": ["a dog", "two dogs"]}
    assert (len(text), text.languages, text.warnings) == (2, ("de", "en"), ())


def test_every_problem_is_listed_with_its_line(tmp_path):
    wrong = files(tmp_path, de="ein\n\nzwei\n", en="one\ntwo\n", fr="", cs="a\nb\n\n")
    (tmp_path / "xx").write_bytes(b"fine\n\xff\n")
    with pytest.raises(InputError) as caught:
        read_parallel(wrong | {"xx": tmp_path / "xx", "yy": tmp_path / "yy"})
    found = {(str(p.file).rsplit("/")[-1], p.line, p.what.split(";")[0]) for p in caught.value.problems}
    lengths = "has no counterpart in another language from line 3 on"
    assert {each[:2] for each in found if each[2].startswith(lengths)} == {("de", 3), ("cs", 3)}
    assert {("de", 2, "is empty"), ("cs", 3, "is empty"), ("fr", None, "has no sentences")} <= found
    assert ("xx", 2, "is not UTF-8 text") in found
    assert any(each[0] == "yy" and "cannot be read" in each[2] for each in found)


def test_many_empty_lines_are_counted(tmp_path):
    with pytest.raises(InputError) as caught:
        read_parallel(files(tmp_path, en="a\n" + "\n" * 30))
    assert len(caught.value.problems) == 11
    assert caught.value.problems[-1].what == "20 more lines are empty"


def test_signs_are_of_no_script(tmp_path):
    text = read_parallel(files(tmp_path, fr="le nº 5 fait 3 µm et ½ ª\n" + "une phrase de lettres\n" * 50))
    assert list(text.warnings) == []


def test_lines_of_another_script_are_a_warning(tmp_path):
    text = read_parallel(files(tmp_path, en="all in latin letters\n" * 50 + "one Ж here\n"))
    (warning,) = text.warnings
    assert warning.endswith("1 lines hold letters of another script (CYRILLIC): line 51")


def test_lines_without_the_texts_own_script_are_a_warning_however_many(tmp_path):
    text = read_parallel(files(tmp_path, en=("all in latin letters\n" * 9 + "этот по-русски\n") * 5))
    (warning,) = text.warnings
    assert warning.endswith("5 lines hold letters of another script (CYRILLIC): line 10, 20, 30, 40, 50")


def test_languages_of_several_scripts_are_no_warning(tmp_path):
    japanese = "私は学生です\nコンピュータ\nこれはペンです\n東京\nありがとう\n" * 10
    russian = "он читает книгу\nвышла версия Linux\n3 + 4 = 7\n" * 10
    assert read_parallel(files(tmp_path, ja=japanese)).warnings == ()
    assert read_parallel(files(tmp_path, ru=russian)).warnings == ()
