from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechnlp_tl.text.words import split_words


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("fr", "L''Éternel dit-il : « Qu’est-ce aujourd'hui ? »", "l' éternel dit il qu' est ce aujourd'hui"),
        ("fr", "Y a-t-il un arc-en-ciel là-bas, donne-le-moi !", "y a il un arc-en-ciel là-bas donne le moi"),
        ("fr", "quelqu'un d'autre", "quelqu'un d' autre"),
        ("it", "L’artefice dell'uomo", "l' artefice dell' uomo"),
        (
            "en",
            "The man's dog doesn't ‘know’ U.S. prices: 3,500.50!",
            "the man 's dog doesn't know u s prices 3,500.50",
        ),
        ("de", "Die Straße, die er baut", "die straße die er baut"),
        ("es", "¿Y púsolas Dios, á la Noche?", "y púsolas dios á la noche"),
        ("pt", "Disse-lhe: fez-se a luz, guarda-chuva", "disse lhe fez se a luz guarda-chuva"),
        ("xx", "E\u0301te\u0301 soft\u00adhyphen a_b", "été softhyphen a b"),
    ],
)
def test_words_are_those_of_a_dictionary(language: str, text: str, words: str) -> None:
    assert split_words(text, language) == words.split()


@given(st.text(max_size=60), st.sampled_from(["en", "fr", "de", "es", "it", "pt"]))
def test_words_hold_no_space_and_are_the_words_of_themselves(text: str, language: str) -> None:
    words = split_words(text, language)
    assert all(word and word.split() == [word] for word in words)
    assert all(split_words(word, language) == [word] for word in words if not word.endswith(("'", "'s")))
