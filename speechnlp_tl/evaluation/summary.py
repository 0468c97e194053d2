"""A whole scoring in one object: rates, intervals, speakers, baseline; as text for people and JSON for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.sclite import display_width
from speechnlp_tl.evaluation.significance import Comparison, Interval, compare, wer_interval
from speechnlp_tl.evaluation.wer import Counts, Score, Unit, score

Transcripts = Mapping[str, Sequence[str]]

_NAMED_UTTERANCES = 10


@dataclass(frozen=True)
class Summary:
    """One hypothesis against its reference, by word and by character, and against a baseline if there is one."""

    word: Score
    char: Score
    word_interval: Interval
    char_interval: Interval
    word_comparison: Comparison | None
    char_comparison: Comparison | None

    def to_json(self) -> dict[str, Any]:
        """What `speechnlp-tl score --json` writes. Rates in percent; counts, intervals and p are of words.

        `ci95` is null when one utterance is all there is, a speaker's `wer` when no words of theirs are in the
        reference, `baseline` when there is none.
        """
        baseline = None
        if self.word_comparison is not None:
            baseline = {
                "wer": self.word_comparison.wer,
                "difference": self.word_comparison.difference,
                "ci95": _listed(self.word_comparison.ci95),
                "p": self.word_comparison.p,
            }
        return {
            "wer": self.word.wer,
            "cer": self.char.wer,
            **_counts(self.word.counts),
            "ci95": _listed(self.word_interval.ci95),
            "per_speaker": {
                speaker: {"wer": counts.wer if counts.words else None, **_counts(counts)}
                for speaker, counts in self.word.per_speaker.items()
            },
            "baseline": baseline,
        }

    def headline(self, unit: Unit = "word") -> str:
        """`WER 6.34 % [5.12, 7.61] (49 errors / 773 words: 30 S, 10 D, 9 I), 130 utterances, 10 speakers`."""
        result, interval = (self.word, self.word_interval) if unit == "word" else (self.char, self.char_interval)
        name, units = ("WER", "words") if unit == "word" else ("CER", "characters")
        counts = result.counts
        ci95 = f" [{interval.low:.2f}, {interval.high:.2f}]" if interval.ci95 else ""
        speakers = f", {len(result.per_speaker)} speakers" if len(result.per_speaker) > 1 else ""
        return (
            f"{name} {result.wer:.2f} %{ci95} ({counts.errors} errors / {counts.words} {units}: "
            f"{counts.substitutions} S, {counts.deletions} D, {counts.insertions} I), "
            f"{len(result.utterances)} utterances{speakers}"
        )

    def interval_note(self) -> str:
        """What the bracketed interval is, in words."""
        interval = self.word_interval
        if not interval.ci95:
            return "no interval: a single utterance cannot be resampled"
        if interval.unit == "speakers":
            return f"95 % interval: bootstrap over {interval.n} speakers"
        reason = "only one speaker" if self.word.speakers else "no speakers given"
        return f"95 % interval: bootstrap over {interval.n} utterances ({reason}: it says nothing about other speakers)"

    def baseline_line(self, unit: Unit = "word") -> str:
        """The comparison in one line; empty without a baseline."""
        comparison = self.word_comparison if unit == "word" else self.char_comparison
        if comparison is None:
            return ""
        name = "WER" if unit == "word" else "CER"
        ci95 = f" [{comparison.low:+.2f}, {comparison.high:+.2f}]" if comparison.ci95 else ""
        return (
            f"baseline {name} {comparison.wer:.2f} %, difference {comparison.difference:+.2f} points{ci95}, "
            f"p {p_value(comparison.p)} (sign-flip permutation over {comparison.n} {comparison.unit})"
        )

    def missing_note(self) -> str:
        """Names utterances without a hypothesis; empty when there are none."""
        missing = self.word.missing
        if not missing:
            return ""
        names = ", ".join(missing[:_NAMED_UTTERANCES])
        rest = f" and {len(missing) - _NAMED_UTTERANCES} more" if len(missing) > _NAMED_UTTERANCES else ""
        total = len(self.word.utterances)
        return f"{len(missing)} of {total} utterances have no hypothesis, their words count as deleted: {names}{rest}"

    def speaker_table(self) -> str:
        """One line per speaker, aligned; empty when speakers were not given."""
        header = ["speaker", "utterances", "words", "errors", "S", "D", "I", "WER %", "CER %"]
        utterances: dict[str | None, int] = {}
        for utterance in self.word.utterances:
            utterances[utterance.speaker] = utterances.get(utterance.speaker, 0) + 1
        rows = [header]
        for speaker, counts in self.word.per_speaker.items():
            numbers = [utterances[speaker], *_counts(counts).values()]
            rates = [_rate(counts), _rate(self.char.per_speaker[speaker])]
            rows.append([speaker, *(str(number) for number in numbers), *rates])
        if len(rows) == 1:
            return ""
        widths = [max(display_width(row[column]) for row in rows) for column in range(len(header))]
        lines = []
        for row in rows:
            cells = [row[0] + " " * (widths[0] - display_width(row[0]))]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join(cells))
        return "\n".join(lines)


def summarise(
    reference: Transcripts,
    hypothesis: Transcripts,
    speakers: Mapping[str, str] | None = None,
    baseline: Transcripts | None = None,
    seed: int = 0,
) -> Summary:
    """Score `hypothesis` and, when given, compare it with `baseline`, the hypotheses of another system.

    Raises:
        InputError: see `wer.score`; unknown utterances of the baseline are listed, too.
    """
    if unknown := sorted(set(baseline or ()) - set(reference)):
        remedy = "compare with what was recognised on the same test set"
        raise InputError([Problem(f"the baseline's {name} is not in the reference", remedy=remedy) for name in unknown])
    word = score(reference, hypothesis, speakers, "word")
    char = score(reference, hypothesis, speakers, "char")
    comparisons: list[Comparison | None] = [None, None]
    if baseline is not None:
        comparisons = [
            compare(system, score(reference, baseline, speakers, system.unit), seed=seed) for system in (word, char)
        ]
    return Summary(word, char, wer_interval(word, seed=seed), wer_interval(char, seed=seed), *comparisons)


def p_value(p: float) -> str:
    """Two significant digits, and no false precision below 0.0001."""
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def _counts(counts: Counts) -> dict[str, int]:
    return {
        "words": counts.words,
        "errors": counts.errors,
        "substitutions": counts.substitutions,
        "deletions": counts.deletions,
        "insertions": counts.insertions,
    }


def _rate(counts: Counts) -> str:
    return f"{counts.wer:.2f}" if counts.words else "-"


def _listed(ci95: tuple[float, float] | None) -> list[float] | None:
    return None if ci95 is None else list(ci95)
