"""`speechnlp-tl score`: error rates of recognised text, with intervals, and against a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def score(
    ref: Annotated[Path, typer.Option(help="Kaldi text file: what was said.")],
    hyp: Annotated[Path, typer.Option(help="Kaldi text file: what was recognised.")],
    utt2spk: Annotated[Path | None, typer.Option(help="Speaker of each utterance; intervals are over them.")] = None,
    baseline: Annotated[Path | None, typer.Option(help="What another system recognised, to compare with.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the scores there for machines.")] = None,
    cer: Annotated[bool, typer.Option("--cer", help="Print the character error rate, too.")] = False,
    alignments: Annotated[Path | None, typer.Option(help="Write every utterance aligned, in sclite's look.")] = None,
) -> None:
    """Word error rate with a 95 % interval over speakers, by speaker, and paired against a baseline.

    Missing hypotheses count as deletions; hypotheses of utterances that are not in the reference are an error.
    Without --utt2spk the file utt2spk beside the reference is used if there is one.
    """
    from json import dumps

    from speechnlp_tl.atomic import write_text
    from speechnlp_tl.errors import InputError
    from speechnlp_tl.evaluation.sclite import sclite_text
    from speechnlp_tl.evaluation.summary import summarise
    from speechnlp_tl.evaluation.transcripts import read_transcripts, read_utt2spk

    beside = ref.parent / "utt2spk"
    if utt2spk is None and beside.is_file():
        utt2spk = beside
    problems = []
    texts = []
    for path in (ref, hyp, baseline):
        try:
            texts.append(None if path is None else read_transcripts(path))
        except InputError as error:
            problems += error.problems
    try:
        speakers = None if utt2spk is None else read_utt2spk(utt2spk)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    reference, hypothesis, baseline_hypothesis = texts
    summary = summarise(reference or {}, hypothesis or {}, speakers, baseline_hypothesis)

    if note := summary.missing_note():
        typer.echo(f"warning: {note}", err=True)
    for unit in ("word", "char") if cer else ("word",):
        typer.echo(summary.headline(unit))
        if baseline is not None:
            typer.echo(summary.baseline_line(unit))
    typer.echo(summary.interval_note())
    if table := summary.speaker_table():
        typer.echo(f"\n{table}")
    if json is not None:
        write_text(json, dumps(summary.to_json(), indent=2, ensure_ascii=False) + "\n")
    if alignments is not None:
        write_text(alignments, sclite_text(summary.word, title=str(hyp)))
