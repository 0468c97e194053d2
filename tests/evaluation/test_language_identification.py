from __future__ import annotations

import math
from collections import Counter

import pytest

from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.language_identification import LanguageIdentifier, ngrams

TEXT = {
    "de": ["ein Hund läuft durch den Schnee", "zwei Männer stehen auf der Straße", "das Kind spielt im Wasser"],
    "en": ["a dog runs through the snow", "two men are standing in the street", "the child plays in the water"],
    "fr": ["un chien court dans la neige", "deux hommes sont dans la rue", "l'enfant joue dans l'eau"],
}


def test_lines_are_taken_for_what_they_are():
    identifier = LanguageIdentifier.fit(TEXT)
    held_out = {
        "de": ["die Männer spielen auf der Straße"],
        "en": ["the men run in the water"],
        "fr": ["deux enfants dans l'eau"],
    }
    assert identifier.accuracy(held_out) == 100
    assert identifier.accuracy({"de": held_out["en"], "en": held_out["en"]}) == 50


def test_the_score_is_that_of_the_formula():
    identifier = LanguageIdentifier.fit({"a": ["xy x"], "b": ["y"]})
    known = {"a": Counter([*ngrams("xy x")]), "b": Counter([*ngrams("y")])}
    size = len(set(known["a"]) | set(known["b"]))
    for line in ("x", "y", "xy", "zz y"):
        scores = {
            language: sum(math.log((c[g] + 1) / (sum(c.values()) + size)) for g in ngrams(line))
            for language, c in known.items()
        }
        assert identifier.identify(line) == max(scores, key=lambda language: scores[language])


def test_the_off_target_rate_counts_other_languages_and_nothing():
    identifier = LanguageIdentifier.fit(TEXT)
    lines = [TEXT["de"][0], TEXT["en"][1], "", TEXT["de"][2]]
    assert identifier.off_target_rate(lines, "de") == 50
    assert identifier.off_target_rate(lines, "fr") == 100


def test_what_cannot_be_told_is_refused():
    with pytest.raises(InputError, match="from two on"):
        LanguageIdentifier.fit({"de": ["ein"]})
    with pytest.raises(InputError, match="no text of language 'fr'"):
        LanguageIdentifier.fit({"de": ["ein"], "fr": ["  "]})
    with pytest.raises(InputError, match="language 'es'"):
        LanguageIdentifier.fit(TEXT).off_target_rate(["a"], "es")
