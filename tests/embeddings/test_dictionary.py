from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speechnlp_tl.embeddings.dictionary import (
    WordDictionary,
    identical_numerals,
    identical_strings,
    read_dictionary,
    spelt_alike,
)
from speechnlp_tl.embeddings.vectors import WordVectors
from speechnlp_tl.errors import InputError


def vocabulary(name: str, words: str) -> WordVectors:
    return WordVectors(words.split(), np.ones((len(words.split()), 1), np.float32), name)


EN, FR = vocabulary("en", "the cat 12 paris dog 3,5 lamp"), vocabulary("fr", "le chat la paris 3,5 12 chatte")


def read(tmp_path: Path, content: str | bytes, **options: str) -> WordDictionary:
    path = tmp_path / "words.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_dictionary(path, **options)


def test_tabs_and_blanks_part_words_and_translations_may_be_several(tmp_path: Path) -> None:
    expected = [("the", "le"), ("the", "la"), ("cat", "chat")]
    for content in ("the\tle\nthe\tla\ncat\tchat\n", "\ufeffthe le\r\n\nthe  la\ncat chat\nthe le"):
        assert read(tmp_path, content).entries == expected


def test_entries_become_rows_and_what_is_missing_is_counted_and_listed() -> None:
    entries = [("the", "le"), ("the", "la"), ("Cat", "Chat"), ("dog", "chien"), ("moon", "lune"), ("cat", "chat")]
    found = WordDictionary(entries).pairs(EN, FR)
    assert found.rows.tolist() == [[0, 0], [0, 2], [1, 1]]
    assert (found.unknown_source, found.unknown_target, found.untranslatable) == (["moon"], ["chien"], ["dog"])
    assert found.source_words == 5
    assert found.coverage == pytest.approx(2 / 5)
    assert found.report() == (
        "2 of 5 dictionary words are in both vocabularies (3 pairs); 1 without a vector: moon; "
        "1 whose translations have none: dog"
    )


def test_an_empty_intersection_is_an_error_that_knows_when_languages_are_swapped() -> None:
    with pytest.raises(InputError, match=r"no entry is in both vocabularies .en. and .fr. .it begins a - b"):
        WordDictionary([("a", "b")]).pairs(EN, FR)
    dictionary = WordDictionary([("le", "the"), ("chat", "cat")], "fr-en.tsv")
    with pytest.raises(InputError, match=r"the other way round.*swap the languages"):
        dictionary.pairs(EN, FR)
    assert dictionary.swapped().pairs(EN, FR).rows.tolist() == [[0, 0], [1, 1]]


def test_the_first_words_bring_all_their_translations() -> None:
    dictionary = WordDictionary([("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")])
    assert dictionary.first(2).entries == [("a", "1"), ("b", "2"), ("a", "3")]
    assert len(dictionary.first(99)) == 4


def test_shared_strings_and_numerals_are_seeds() -> None:
    assert identical_strings(EN, FR).entries == [(word, word) for word in ("12", "paris", "3,5")]
    assert identical_numerals(EN, FR).entries == [("12", "12"), ("3,5", "3,5")]
    with pytest.raises(InputError, match="share no strings"):
        identical_strings(EN, vocabulary("ru", "кот"))
    with pytest.raises(InputError, match="share no numerals"):
        identical_numerals(EN, vocabulary("de", "paris"))


def test_bad_lines_are_named_and_entries_of_several_words_never_vanish(tmp_path: Path) -> None:
    content = b"one\n\tb\na\tb\tc\nof course\tbien s\xc3\xbbr\n\xe9t\xe9\tsummer\nx y z\n"
    with pytest.raises(InputError) as error:
        read(tmp_path, content)
    assert [problem.line for problem in error.value.problems] == [1, 2, 3, 4, 5, 6]
    kept = read(tmp_path, "of course\tbien sûr\nthe\tle\n", several_words="drop")
    assert (kept.entries, kept.several_words) == ([("the", "le")], ["of course\tbien sûr"])
    with pytest.raises(InputError, match="holds no entries"):
        read(tmp_path, "\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_dictionary(tmp_path / "nothing")
    with pytest.raises(InputError, match="10 more lines are bad"):
        read(tmp_path, "one\n" * 30)


def test_words_spelt_alike_are_long_enough_and_the_most_frequent_first(monkeypatch: pytest.MonkeyPatch) -> None:
    one = vocabulary("en", "the paris 1234 don david l'an is rome")
    other = vocabulary("fr", "rome david is 1234 paris don l'an")
    assert spelt_alike(one, other).tolist() == [[1, 4], [4, 1], [7, 0]]
    monkeypatch.setattr("speechnlp_tl.embeddings.dictionary.ALIKE_MOST", 2)
    assert spelt_alike(one, other).tolist() == [[1, 4], [4, 1]]
    assert spelt_alike(one, vocabulary("ru", "кот")).shape == (0, 2)
