"""The listing that readers of NIST's sclite know: aligned utterances (REF, HYP, Eval), then a table by speaker."""

from __future__ import annotations

import statistics
import unicodedata
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from speechnlp_tl.evaluation.wer import Counts, Score, UtteranceScore

_LINE_WIDTH = 110
_NO_SPEAKER = "(all)"


def sclite_text(score: Score, title: str = "hyp") -> str:
    """All alignments by speaker, and the summary by speaker. Words stay as they are (sclite upper-cases wrong ones).

    Where one side has no word it shows asterisks; Eval names each error S, D or I. Lines wrap at about 110 columns,
    continued by `>>`. In the summary Corr, Sub, Del and Ins are percent of the reference words, S.Err is the percentage
    of utterances with an error; Mean, S.D. and Median are over speakers, Sum/Avg is over words and is the headline.
    """
    by_speaker: dict[str, list[UtteranceScore]] = {}
    for name, group in groupby(score.utterances, key=_speaker):
        by_speaker.setdefault(name, []).extend(group)
    lines = []
    for number, (name, utterances) in enumerate(sorted(by_speaker.items())):
        lines += [f"Speaker sentences {number:3d}:  {name}   #utts: {len(utterances)}"]
        for utterance in utterances:
            lines += _utterance(utterance, score.unit)
    lines += _summary(dict(sorted(by_speaker.items())), title, score.unit)
    return "\n".join(lines) + "\n"


def _speaker(utterance: UtteranceScore) -> str:
    return _NO_SPEAKER if utterance.speaker is None else utterance.speaker


def _utterance(utterance: UtteranceScore, unit: str) -> list[str]:
    counts = utterance.counts
    lines = [f"id: ({utterance.id})" + ("   no hypothesis: all deleted" if utterance.missing else "")]
    tally = f"{counts.correct} {counts.substitutions} {counts.deletions} {counts.insertions}"
    lines.append(f"Scores: (#C #S #D #I) {tally}")
    prompt = ""
    for columns in _wrap([_column(spoken, heard, unit) for spoken, heard in utterance.alignment]):
        for row, label in enumerate(("REF: ", "HYP: ", "Eval:")):
            lines.append(f"{prompt}{label} {' '.join(column[row] for column in columns)}".rstrip())
        prompt = ">> "
    return [*lines, ""]


def _column(spoken: str, heard: str, unit: str) -> tuple[str, str, str]:
    """A reference word, the word against it and the name of the error, padded to one width."""
    mark = "" if spoken == heard else "I" if not spoken else "D" if not heard else "S"
    if unit == "char":
        # a space would be invisible; a box stands for it
        spoken, heard = spoken.replace(" ", "␣"), heard.replace(" ", "␣")
    width = max(display_width(spoken), display_width(heard), len(mark))
    return (
        _pad(spoken or "*" * width, width),
        _pad(heard or "*" * width, width),
        _pad(mark, width),
    )


def _wrap(columns: list[tuple[str, str, str]]) -> Iterator[list[tuple[str, str, str]]]:
    line: list[tuple[str, str, str]] = []
    used = 0
    for column in columns:
        width = display_width(column[0]) + 1
        if line and used + width > _LINE_WIDTH:
            yield line
            line, used = [], 0
        line.append(column)
        used += width
    yield line


def display_width(text: str) -> int:
    """Columns that `text` takes in a terminal: two for wide East Asian characters, none for combining marks."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _pad(text: str, width: int) -> str:
    return text + " " * (width - display_width(text))


class _Row(NamedTuple):
    """One line of the summary; `rates` are its six percentages, None without reference words."""

    name: str
    utterances: float
    words: float
    rates: list[float] | None

    def render(self, width: int) -> str:
        size = "".join(f"{value:6d}" if isinstance(value, int) else f"{value:6.1f}" for value in self[1:3])
        cells = f"{'-':>6} " * 6 if self.rates is None else "".join(f"{value:6.1f} " for value in self.rates)
        return f"| {_pad(self.name, width)} |{size} |{cells}|"


def _summary(by_speaker: dict[str, list[UtteranceScore]], title: str, unit: str) -> list[str]:
    rows = [_row(name, utterances) for name, utterances in by_speaker.items()]
    everything = _row("Sum/Avg", [utterance for utterances in by_speaker.values() for utterance in utterances])
    width = max(7, *(display_width(row.name) for row in rows))
    units = "# Chr" if unit == "char" else "# Wrd"
    header = f"| {'SPKR':<{width}} | # Snt {units} |  Corr    Sub    Del    Ins    Err  S.Err |"
    rule = "|" + "-" * (width + 2) + "+" + "-" * 13 + "+" + "-" * 42 + "|"
    inner = len(header) - 2
    lines = ["," + "-" * inner + ".", f"|{title[:inner]:^{inner}}|", "|" + "-" * inner + "|", header, rule]
    lines += [row.render(width) for row in rows]
    lines += [rule.replace("-", "="), everything.render(width), rule.replace("-", "=")]
    statistic: list[tuple[str, Callable[[list[float]], float]]] = [
        ("Mean", statistics.fmean),
        ("S.D.", lambda values: statistics.stdev(values) if len(values) > 1 else 0.0),
        ("Median", statistics.median),
    ]
    rated = [row.rates for row in rows if row.rates is not None]
    for name, function in statistic:
        utterances = function([float(row.utterances) for row in rows])
        words = function([float(row.words) for row in rows])
        rates = [function(list(column)) for column in zip(*rated, strict=True)]
        lines.append(_Row(name, utterances, words, rates).render(width))
    return [*lines, "`" + "-" * inner + "'"]


def _row(name: str, utterances: list[UtteranceScore]) -> _Row:
    counts: Counts = utterances[0].counts
    for utterance in utterances[1:]:
        counts = counts + utterance.counts
    wrong = sum(utterance.counts.errors > 0 for utterance in utterances)
    if not counts.words:
        return _Row(name, len(utterances), 0, None)
    values = (counts.correct, counts.substitutions, counts.deletions, counts.insertions, counts.errors)
    rates = [100.0 * value / counts.words for value in values] + [100.0 * wrong / len(utterances)]
    return _Row(name, len(utterances), counts.words, rates)
