"""`speechnlp-tl transcribe`: speech to text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def transcribe(
    model: Annotated[Path, typer.Option(help="Folder of a model, an experiment or an adapter.")],
    audio: Annotated[list[Path] | None, typer.Argument(help="Recordings.")] = None,
    data: Annotated[Path | None, typer.Option(help="Kaldi data directory, instead of recordings.")] = None,
    out: Annotated[Path | None, typer.Option(help="Kaldi text file to write; printed when not given.")] = None,
    base: Annotated[Path | None, typer.Option(help="Base model of an adapter that was moved.")] = None,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Print each utterance's confidence, 0 to 1.")
    ] = False,
    resample: Annotated[bool, typer.Option("--resample", help="Convert audio of other sampling rates.")] = False,
    allow_pipes: Annotated[bool, typer.Option("--allow-pipes", help="Run commands that stand in wav.scp.")] = False,
) -> None:
    """Recognise recordings, or the utterances of a data directory."""
    from speechnlp_tl.atomic import write_text
    from speechnlp_tl.errors import InputError, Problem
    from speechnlp_tl.speech.audio_check import check_audio
    from speechnlp_tl.speech.data_dir import DataDir, Utterance
    from speechnlp_tl.speech.models import load_recogniser

    if confidence and out is not None:
        raise InputError(
            "--confidence is for reading, a Kaldi text file has no place for it; leave --confidence or --out out"
        )
    if (data is None) == (not audio):
        raise InputError(Problem("give either recordings or --data", remedy="see speechnlp-tl transcribe --help"))
    recogniser = load_recogniser(model, base)
    recogniser = recogniser.resampling() if resample else recogniser
    if data is not None:
        utterances = list(DataDir.read(data, allow_pipes))
    else:
        # an utterance id ends at the first space
        named = {"_".join(str(path).split()): str(path) for path in audio or []}
        if len(named) < len(audio or []):
            raise InputError(Problem("two recordings have the same name", remedy="name each recording once"))
        utterances = [Utterance(name, path, path) for name, path in named.items()]
    check_audio(utterances, recogniser.config.features)
    found = recogniser.transcribe(utterances, allow_pipes, confidence)
    lines = []
    for name, hypothesis in found.items():
        scored = [f"{hypothesis.confidence:.3f}"] if confidence else []
        lines.append(" ".join([name, *scored, *hypothesis.words]))
    if out is None:
        typer.echo("\n".join(lines))
    else:
        write_text(out, "".join(f"{line}\n" for line in lines))
        typer.echo(f"{out}: {len(lines)} utterances")
