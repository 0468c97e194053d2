"""Plain words of running text: lower-cased, without punctuation, as dictionaries and word vectors have them.

Apostrophes and hyphens are what languages differ in: French and Italian articles and pronouns end in an apostrophe and
are words of their own (`l'homme` -> `l'`, `homme`), as are the English 's and the pronouns that French and Portuguese
hang on a verb with a hyphen (`dit-il` -> `dit`, `il`); anything else between letters stays (`aujourd'hui`, `don't`,
`arc-en-ciel`).
"""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['-][^\W\d_]+)*")
_APOSTROPHES = re.compile("['’‘`´ʼ]+")
_WITH_APOSTROPHE = frozenset({"aujourd'hui", "quelqu'un", "quelqu'une", "prud'homme", "presqu'île", "d'abord"})
_HUNG_ON = {
    "fr": frozenset(
        {"je", "tu", "il", "elle", "on", "nous", "vous", "ils", "elles", "ce", "le", "la", "les", "lui", "leur", "moi"}
        | {"toi", "y", "en", "t"}
    ),
    "pt": frozenset(
        {"me", "te", "se", "nos", "vos", "o", "a", "os", "as", "lo", "la", "los", "las", "na", "lhe", "lhes"}
    ),
}
_ELIDED = frozenset({"fr", "it", "pt"})
"""Languages in which what stands before an apostrophe is a word."""


def split_words(text: str, language: str) -> list[str]:
    """The words of a text in one language (`en`, `fr`, `de`, `es`, `it`, `pt`, or another, without special rules).

    Numbers are words (`3,5`); letters with accents are composed (NFC). The same text always gives the same words.
    """
    normal = unicodedata.normalize("NFC", text).replace("\u00ad", "").replace("‐", "-").replace("‑", "-").lower()
    words: list[str] = []
    for word in _WORD.findall(_APOSTROPHES.sub("'", normal)):
        if "'" in word or "-" in word:
            words += _parts(word, language)
        else:
            words.append(word)
    return words


def _parts(word: str, language: str) -> list[str]:
    """The words in something with apostrophes or hyphens in it."""
    if language == "en" and word.endswith("'s"):
        return [*_parts(word[:-2], language), "'s"]
    if language in _ELIDED and "'" in word and word not in _WITH_APOSTROPHE:
        before, _, after = word.partition("'")
        return [before + "'", *_parts(after, language)]
    hung_on = _HUNG_ON.get(language)
    before, hyphen, last = word.rpartition("-")
    if hung_on and hyphen and last in hung_on:
        parts = [*_parts(before, language), last]
        return [part for part in parts if part != "t"] if language == "fr" else parts  # a-t-il: t is but a sound
    return [word]
