"""Two or three made languages: the same sentences, word for word, in another order, with a few strings they share."""

from __future__ import annotations

import numpy as np

from speechnlp_tl.embeddings.matched_sentences import MatchedSentences

WORDS = 40


def made_sentences(count: int = 600, languages: str = "ab", seed: int = 0) -> MatchedSentences:
    """Word n of a language is `<language><n>`, but words 0 to 4 are `w<n>` in every language, and mean n + 1 mod 5 in
    all but the first: an equal string is no translation."""
    generator = np.random.default_rng(seed)
    numbers = [generator.choice(WORDS, generator.integers(3, 8), replace=False).tolist() for _ in range(count)]
    sentences = {
        language: [[word(language, n, language == languages[0]) for n in roll(row, i)] for row in numbers]
        for i, language in enumerate(languages)
    }
    return MatchedSentences(sentences)


def word(language: str, number: int, first: bool) -> str:
    """How a language says the concept of a number."""
    if number < 5:
        return f"w{number if first else (number + 1) % 5}"
    return f"{language}{number}"


def roll(row: list[int], places: int) -> list[int]:
    """The sentence in the order of another language."""
    return [*row[places:], *row[:places]] if len(row) > 4 else row


def translations(language: str) -> list[tuple[str, str]]:
    """The dictionary from language `a` to another."""
    return [(word("a", n, True), word(language, n, False)) for n in range(WORDS)]
