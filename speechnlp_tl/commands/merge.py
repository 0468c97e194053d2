"""`speechnlp-tl merge`: an adapter folded into its base model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def merge(
    model: Annotated[Path, typer.Option(help="Adapter folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the merged model.")],
    base: Annotated[Path | None, typer.Option(help="Base model of an adapter that was moved.")] = None,
) -> None:
    """Fold an adapter into its base model's weights: a plain model with the same outputs."""
    from speechnlp_tl.speech.models import load_recogniser
    from speechnlp_tl.transfer.adapters import attached
    from speechnlp_tl.transfer.adapters import merge as fold

    recogniser = load_recogniser(model, base)
    kinds = ", ".join(adapter.kind for adapter in attached(recogniser.model)) or "no adapter"
    fold(recogniser.model)
    recogniser.save(out)
    typer.echo(f"{out}: {kinds} merged")
