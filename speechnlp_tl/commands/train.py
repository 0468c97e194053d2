"""`speechnlp-tl train`: train a model from one config."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from speechnlp_tl.core.state import TrainResult

TEXT = "text-classification"
TRANSLATION = "translation"
MULTILINGUAL = "multilingual-asr"


def train(
    config: Annotated[Path, typer.Argument(help="YAML file of the experiment.")],
    out: Annotated[Path, typer.Option(help="Experiment folder; one with checkpoints is continued.")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override: key=value, such as train.seed=1.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    allow_pipes: Annotated[bool, typer.Option("--allow-pipes", help="Run commands that stand in wav.scp.")] = False,
) -> None:
    """Train a model; run it again after an interruption and it goes on where it stopped.

    A config with `task: text-classification` makes a text classifier, one with `task: translation` a translator, one
    with `task: multilingual-asr` a recogniser of several languages, one without a task a recogniser of one. The
    finished model is in OUT/model.

    Several GPUs: torchrun --nproc_per_node 4 -m speechnlp_tl.cli train ...
    """
    from speechnlp_tl.core.config import read_key
    from speechnlp_tl.errors import InputError, Problem

    task, line = read_key(config, "task")
    if task == TEXT:
        _train_text(config, out, set_ or [], quiet)
    elif task == TRANSLATION:
        _train_translation(config, out, set_ or [], quiet)
    elif task == MULTILINGUAL:
        _train_multilingual(config, out, set_ or [], quiet, allow_pipes)
    elif task is None:
        _train_speech(config, out, set_ or [], quiet, allow_pipes)
    else:
        named = f"'task: {TEXT}', 'task: {TRANSLATION}' or 'task: {MULTILINGUAL}'"
        remedy = f"write {named}, or leave it out for a recogniser of one language"
        raise InputError(Problem(f"there is no task '{task}'", config, line, remedy))


def _train_speech(config: Path, out: Path, overrides: list[str], quiet: bool, allow_pipes: bool) -> None:
    from speechnlp_tl.speech.experiment import load_experiment
    from speechnlp_tl.speech.experiment import train as run

    trained = run(load_experiment(config, overrides), out, quiet, allow_pipes)
    if not trained.main:
        return
    _say_cost(trained.model_dir, trained.result)
    if trained.dev_wer is not None:
        decode = trained.recogniser.config.decode
        chosen = f"LM weight {decode.lm_scale:g}, insertion penalty {decode.insertion_penalty:g}, chosen there"
        typer.echo(f"WER {trained.dev_wer:.2f} % on the dev data ({chosen})")


def _train_multilingual(config: Path, out: Path, overrides: list[str], quiet: bool, allow_pipes: bool) -> None:
    from speechnlp_tl.speech.multilingual_experiment import load_experiment
    from speechnlp_tl.speech.multilingual_experiment import train as run

    experiment = load_experiment(config, overrides)
    trained = run(experiment, out, quiet, allow_pipes, say=lambda line: typer.echo(line, err=True))
    if not trained.main:
        return
    _say_cost(trained.model_dir, trained.result)
    for name, wer in trained.dev_wer.items():
        decode = trained.recognisers.language(name).config.decode
        chosen = f"LM weight {decode.lm_scale:g}, insertion penalty {decode.insertion_penalty:g}, chosen there"
        typer.echo(f"{name}: WER {wer:.2f} % on the dev data ({chosen})")


def _train_text(config: Path, out: Path, overrides: list[str], quiet: bool) -> None:
    from speechnlp_tl.text.experiment import load_experiment
    from speechnlp_tl.text.experiment import train as run

    experiment = load_experiment(config, overrides)
    trained = run(experiment, out, quiet, say=lambda note: typer.echo(f"note: {note}", err=True))
    if not trained.main:
        return
    _say_cost(trained.model_dir, trained.result)
    side = experiment.chosen_on
    if trained.metrics:
        accuracy, macro_f1 = (trained.metrics[f"{side}_{name}"] for name in ("accuracy", "macro_f1"))
        chosen = "" if experiment.rule == "last epoch" else f", which chose the weights ({experiment.rule})"
        what = f"documents of the {side}{chosen}"
        typer.echo(f"accuracy {accuracy:.2f} %, macro-F1 {macro_f1:.2f} % on validation {what}")


def _train_translation(config: Path, out: Path, overrides: list[str], quiet: bool) -> None:
    from speechnlp_tl.translation.experiment import load_experiment
    from speechnlp_tl.translation.experiment import train as run

    trained = run(
        load_experiment(config, overrides), out, quiet, say=lambda note: typer.echo(f"note: {note}", err=True)
    )
    if not trained.main:
        return
    _say_cost(trained.model_dir, trained.result)
    for name, value in trained.metrics.items():
        typer.echo(f"{name} {value:.3f} on the dev data, in nats a piece")


def _say_cost(model_dir: Path, result: TrainResult | None) -> None:
    if result is None:
        typer.echo(f"{model_dir}: finished already")
    else:
        typer.echo(f"{model_dir}: {result.steps} steps, {result.wall_s / 60:.1f} minutes, {result.peak_mb:.0f} MB")
