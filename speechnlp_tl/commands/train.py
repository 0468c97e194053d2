"""`speechnlp-tl train`: train a model from one config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[Path, typer.Argument(help="YAML file of the experiment.")],
    out: Annotated[Path, typer.Option(help="Experiment folder; one with checkpoints is continued.")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override: key=value, such as train.seed=1.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    allow_pipes: Annotated[bool, typer.Option("--allow-pipes", help="Run commands that stand in wav.scp.")] = False,
) -> None:
    """Train a recogniser; run it again after an interruption and it goes on where it stopped.

    The finished model is in OUT/model. Several GPUs: torchrun --nproc_per_node 4 -m speechnlp_tl.cli train ...
    """
    from speechnlp_tl.speech.experiment import load_experiment
    from speechnlp_tl.speech.experiment import train as run

    trained = run(load_experiment(config, set_ or ()), out, quiet, allow_pipes)
    if not trained.main:
        return
    if trained.result is None:
        typer.echo(f"{trained.model_dir}: finished already")
    else:
        result = trained.result
        typer.echo(
            f"{trained.model_dir}: {result.steps} steps, {result.wall_s / 60:.1f} minutes, {result.peak_mb:.0f} MB"
        )
    if trained.dev_wer is not None:
        decode = trained.recogniser.config.decode
        chosen = f"LM weight {decode.lm_scale:g}, insertion penalty {decode.insertion_penalty:g}, chosen there"
        typer.echo(f"WER {trained.dev_wer:.2f} % on the dev data ({chosen})")
