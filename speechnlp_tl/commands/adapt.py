"""`speechnlp-tl adapt`: an existing recogniser, adapted to a data directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def adapt(
    model: Annotated[Path, typer.Option(help="Folder of the source model or experiment.")],
    data: Annotated[Path, typer.Option(help="Kaldi data directory of the new speaker.")],
    out: Annotated[Path, typer.Option(help="Folder for the adapted model or adapter.")],
    method: Annotated[
        str | None,
        typer.Option(
            help="auto (default), or finetune, layers, lhuc, lin or lora, joined by + with any of kld, l2sp, ewc; "
            "without transcripts adabn, dann, mmd, mkmmd or coral."
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of adaptation settings.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting: key=value, such as kld=0.5.")] = None,
    select: Annotated[bool, typer.Option("--select", help="Choose the strength by cross-validation.")] = False,
    unsupervised: Annotated[
        bool, typer.Option("--unsupervised", help="Learn from the model's own trusted hypotheses.")
    ] = False,
    test_data: Annotated[Path | None, typer.Option(help="Measure the error here before and after.")] = None,
    source_data: Annotated[
        Path | None,
        typer.Option(
            help="Speech of the old speakers: measure forgetting; ewc, dann, mmd, mkmmd, coral learn from it."
        ),
    ] = None,
    resample: Annotated[bool, typer.Option("--resample", help="Convert audio of other sampling rates.")] = False,
    allow_pipes: Annotated[bool, typer.Option("--allow-pipes", help="Run commands that stand in wav.scp.")] = False,
) -> None:
    """Adapt a recogniser to a new speaker from as little as one utterance.

    Without --method the strength follows the amount of speech and nothing needs tuning. lhuc, lin and lora write an
    adapter of a few kilobytes that works with its base model; the others write a whole model.
    """
    from speechnlp_tl.speech.adaptation_run import AdaptationRun

    overrides = [*(set_ or ()), *(["unsupervised=true"] if unsupervised else [])]
    if method is not None:
        overrides.append(f"method={method}")
    run = AdaptationRun.prepare(
        model, data, out, config, overrides, test_data, source_data, resample, allow_pipes, select
    )
    for line in run.adapt():
        typer.echo(line)
    for line in run.measure():
        typer.echo(line)
