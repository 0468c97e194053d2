"""Word and character error rates: what was said against what was recognised, with every error attributed.

Rates are errors over reference words, summed over utterances first (never a mean of utterances' rates), in percent.
Intervals and significance are in `significance`, the sclite-like listing in `sclite`, reading files in `transcripts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.sclite import sclite_text
from speechnlp_tl.evaluation.transcripts import read_transcripts, read_utt2spk

__all__ = ["Counts", "Score", "UtteranceScore", "read_transcripts", "read_utt2spk", "sclite_text", "score"]

Unit = Literal["word", "char"]

GAP = ""
"""Stands in an alignment where one side has nothing. No word and no character is the empty string."""


@dataclass(frozen=True)
class Counts:
    """Reference words (or characters) and the errors made on them."""

    words: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def correct(self) -> int:
        return self.words - self.substitutions - self.deletions

    @property
    def wer(self) -> float:
        """Percent; above 100 when many words are inserted; NaN without reference words."""
        return 100.0 * self.errors / self.words if self.words else float("nan")

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.words + other.words,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


@dataclass(frozen=True)
class UtteranceScore:
    """One utterance: its counts and the alignment they were read off, pairs (reference, hypothesis) with `GAP`s."""

    id: str
    speaker: str | None
    counts: Counts
    alignment: tuple[tuple[str, str], ...]
    missing: bool
    """There was no hypothesis at all."""


@dataclass(frozen=True)
class Score:
    """A scored test set. Utterances are sorted by id."""

    unit: Unit
    utterances: tuple[UtteranceScore, ...]

    @cached_property
    def counts(self) -> Counts:
        return sum((utterance.counts for utterance in self.utterances), Counts())

    @property
    def wer(self) -> float:
        """Percent. For unit "char" this is the character error rate."""
        return self.counts.wer

    @property
    def errors(self) -> int:
        return self.counts.errors

    @property
    def words(self) -> int:
        """Reference words; reference characters for unit "char"."""
        return self.counts.words

    @property
    def substitutions(self) -> int:
        return self.counts.substitutions

    @property
    def deletions(self) -> int:
        return self.counts.deletions

    @property
    def insertions(self) -> int:
        return self.counts.insertions

    @cached_property
    def per_utterance(self) -> dict[str, Counts]:
        return {utterance.id: utterance.counts for utterance in self.utterances}

    @cached_property
    def per_speaker(self) -> dict[str, Counts]:
        """Sorted by speaker; empty when speakers were not given."""
        totals: dict[str, Counts] = {}
        for utterance in self.utterances:
            if utterance.speaker is not None:
                totals[utterance.speaker] = totals.get(utterance.speaker, Counts()) + utterance.counts
        return dict(sorted(totals.items()))

    @property
    def speakers(self) -> list[str] | None:
        """The speaker of each utterance, or None when speakers were not given."""
        names = [utterance.speaker for utterance in self.utterances if utterance.speaker is not None]
        return names or None

    @property
    def missing(self) -> list[str]:
        """Utterances without a hypothesis; their words count as deletions."""
        return [utterance.id for utterance in self.utterances if utterance.missing]


def score(
    reference: Mapping[str, Sequence[str]],
    hypothesis: Mapping[str, Sequence[str]],
    speakers: Mapping[str, str] | None = None,
    unit: Unit = "word",
) -> Score:
    """Align every hypothesis with its reference and count the errors.

    The alignment has the fewest errors (Levenshtein: substitution, deletion and insertion cost 1 each). A missing
    hypothesis counts as deletions; an empty reference contributes its insertions. With unit "char" an utterance is its
    words joined by single spaces and every Unicode code point counts, spaces included: a wrong word boundary is an
    error. (jiwer and ESPnet count alike.) Neither case, punctuation nor Unicode form is normalised.

    Args:
        reference: words of every utterance of the test set.
        hypothesis: recognised words; may lack utterances, may not name others.
        speakers: speaker of each utterance; may name further utterances.

    Raises:
        InputError: hypotheses of unknown utterances, utterances without a speaker, no reference words at all.
    """
    problems = [
        Problem(f"hypothesis {name} is not in the reference", remedy="score against the reference it was made for")
        for name in sorted(set(hypothesis) - set(reference))
    ]
    if speakers is not None:
        problems += [
            Problem(f"utterance {name} has no speaker", remedy="add it to utt2spk")
            for name in sorted(set(reference) - set(speakers))
        ]
    if not any(reference.values()):
        remedy = "an error rate is errors over reference words, and there are none"
        problems.append(Problem("the reference holds no words", remedy=remedy))
    if problems:
        raise InputError(problems)
    utterances = []
    for name in sorted(reference):
        alignment = _align(_tokens(reference[name], unit), _tokens(hypothesis.get(name, ()), unit))
        speaker = None if speakers is None else speakers[name]
        utterances.append(UtteranceScore(name, speaker, _count(alignment), alignment, name not in hypothesis))
    return Score(unit, tuple(utterances))


def _tokens(words: Sequence[str], unit: Unit) -> list[str]:
    return list(" ".join(words)) if unit == "char" else list(words)


def _align(reference: list[str], hypothesis: list[str]) -> tuple[tuple[str, str], ...]:
    import kaldialign

    return tuple(kaldialign.align(reference, hypothesis, GAP))


def _count(alignment: tuple[tuple[str, str], ...]) -> Counts:
    words = sum(spoken != GAP for spoken, _ in alignment)
    deletions = sum(heard == GAP for _, heard in alignment)
    insertions = len(alignment) - words
    substitutions = sum(spoken != heard for spoken, heard in alignment) - deletions - insertions
    return Counts(words, substitutions, deletions, insertions)
