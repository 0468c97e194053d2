"""Which language a line is in, by its letters; and how often a translator answers in another one than was asked for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from speechnlp_tl.errors import InputError, Problem

LONGEST = 4
"""Letters of the longest n-gram."""


@dataclass(frozen=True)
class LanguageIdentifier:
    """Naive Bayes over n-grams of 1 to 4 letters within words, languages alike likely (Cavnar and Trenkle 1994 for the
    n-grams). With c(g, l) the count of n-gram g in language l, V n-grams in all and |l| of them in the text of l:

        language(line) = argmax_l sum over n-grams g of the line of log (c(g, l) + 1) / (|l| + V)
    """

    counts: Mapping[str, Counter[str]]
    vocabulary: int

    @classmethod
    def fit(cls, text: Mapping[str, Sequence[str]]) -> LanguageIdentifier:
        """Learn from lines of each language.

        Raises:
            InputError: fewer than two languages, or one without text.
        """
        if len(text) < 2:
            raise InputError("languages are told apart from two on")
        counts = {
            language: Counter(gram for line in lines for gram in ngrams(line)) for language, lines in text.items()
        }
        empty = [language for language, grams in counts.items() if not grams]
        if empty:
            raise InputError([Problem(f"there is no text of language '{language}'") for language in empty])
        return cls(counts, len(set().union(*counts.values())))

    def identify(self, line: str) -> str | None:
        """The likeliest language; None for a line without text."""
        grams = list(ngrams(line))
        if not grams:
            return None
        scores = {
            language: sum(math.log(known[gram] + 1) for gram in grams)
            - len(grams) * math.log(self._totals[language] + self.vocabulary)
            for language, known in self.counts.items()
        }
        return max(scores, key=lambda language: scores[language])

    @cached_property
    def _totals(self) -> dict[str, int]:
        return {language: known.total() for language, known in self.counts.items()}

    def accuracy(self, text: Mapping[str, Sequence[str]]) -> float:
        """Percent of lines, held out, that are taken for what they are; the mean over languages."""
        shares = [
            sum(self.identify(line) == language for line in lines) / len(lines) for language, lines in text.items()
        ]
        return 100 * sum(shares) / len(shares)

    def off_target_rate(self, lines: Sequence[str], target: str) -> float:
        """Percent of lines that are not in `target`; an empty one is not.

        Raises:
            InputError: no lines, or a language that was not learnt.
        """
        if target not in self.counts or not lines:
            known = ", ".join(self.counts)
            raise InputError(f"{len(lines)} lines and language '{target}': lines are needed and one of {known}")
        return 100 * sum(self.identify(line) != target for line in lines) / len(lines)


def ngrams(line: str) -> Iterator[str]:
    """N-grams of each word of the line, in small letters, with a blank before and behind the word."""
    for word in line.lower().split():
        padded = f" {word} "
        for length in range(1, LONGEST + 1):
            yield from (padded[at : at + length] for at in range(len(padded) - length + 1))
