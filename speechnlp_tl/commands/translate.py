"""`speechnlp-tl translate`: lines of one language to lines of another."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

import typer


def translate(
    model: Annotated[
        Path, typer.Option(help="Folder of a model or an experiment, or a YAML file that names a pretrained model.")
    ],
    target: Annotated[str, typer.Option("--to", help="Language wanted.")],
    source: Annotated[
        str | None, typer.Option("--from", help="Language of the lines; it can often be left out.")
    ] = None,
    input_: Annotated[
        Path | None, typer.Option("--input", help="Text, a sentence a line; standard input if not given.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; printed when not given.")] = None,
    via: Annotated[str | None, typer.Option(help="Translate to this language first, and from it to the other.")] = None,
    beam: Annotated[int, typer.Option(min=1, help="1 is greedy search, the fastest.")] = 4,
    length_penalty: Annotated[float, typer.Option(min=0.0, help="Above 0 favours longer sentences.")] = 1.0,
    batch_tokens: Annotated[int, typer.Option(min=1, help="What is translated together; bounds memory.")] = 4000,
) -> None:
    """Translate line by line: as many lines come out as go in, an empty one for an empty one.

    Lines over the model's limit are cut, and named on standard error.
    """
    from speechnlp_tl.atomic import write_text
    from speechnlp_tl.core.device import usual_device
    from speechnlp_tl.errors import InputError, Problem
    from speechnlp_tl.translation.parallel_text import listed
    from speechnlp_tl.translation.translation_model import SearchConfig, load_translation_model

    loaded = load_translation_model(model)
    loaded.transformer.to(usual_device())
    for wanted in [via, target] if via is not None else [target]:
        loaded.check_languages(source, wanted)
    if input_ is None and sys.stdin is None:
        raise InputError(Problem("standard input is closed", remedy="name the text with --input"))
    try:
        contents = sys.stdin.buffer.read() if input_ is None else input_.read_bytes()
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror or error}", input_)) from error
    if not math.isfinite(length_penalty):
        raise InputError(Problem(f"--length-penalty {length_penalty:g} is no number", remedy="1 is usual"))
    text = contents.decode("utf-8-sig", errors="replace")
    # only the newline ends a line: as many come out as other programs count
    lines = text.removesuffix("\n").split("\n") if text else []
    bad = [number for number, line in enumerate(contents.split(b"\n"), 1) if not _is_utf8(line)]
    if bad:
        typer.echo(f"note: {len(bad)} lines are not UTF-8 text, translated as far as they are: {listed(bad)}", err=True)
    search = SearchConfig(beam=beam, length_penalty=length_penalty, batch_tokens=batch_tokens)
    found = (
        loaded.translate(lines, target, search, source, show=True)
        if via is None
        else loaded.pivot(lines, via, target, search, source, show=True)
    )
    if found.cut:
        what = f"{len(found.cut)} lines were longer than {loaded.config.max_length} pieces and were cut"
        typer.echo(f"note: {what}: {listed(list(found.cut))}", err=True)
    written = "".join(f"{line}\n" for line in found.lines)
    if out is None:
        sys.stdout.buffer.write(written.encode("utf-8"))
    else:
        write_text(out, written)
        typer.echo(f"{out}: {len(found.lines)} lines", err=True)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
