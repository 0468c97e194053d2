"""`speechnlp-tl adapt`: an existing recogniser, adapted to a data directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from speechnlp_tl.errors import InputError, Problem


def adapt(
    model: Annotated[Path, typer.Option(help="Folder of the source model or experiment.")],
    data: Annotated[Path, typer.Option(help="Kaldi data directory of the new speaker or language.")],
    out: Annotated[Path, typer.Option(help="Folder for the adapted model or adapter.")],
    method: Annotated[
        str | None,
        typer.Option(
            help="auto (default), or finetune, layers, lhuc, lin or lora, joined by + with any of kld, l2sp, ewc; "
            "without transcripts adabn, dann, mmd, mkmmd or coral. For a language: new-language, alone or joined by + "
            "with one of frozen, layers, progressive and any of kld, ewc, l2sp."
        ),
    ] = None,
    lang: Annotated[
        str | None, typer.Option(help="The new language; or, of a multilingual model, the language to adapt.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of adaptation settings.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting: key=value, such as kld=0.5.")] = None,
    select: Annotated[bool, typer.Option("--select", help="Choose the strength by cross-validation.")] = False,
    unsupervised: Annotated[
        bool, typer.Option("--unsupervised", help="Learn from the model's own trusted hypotheses.")
    ] = False,
    test_data: Annotated[Path | None, typer.Option(help="Measure the error here before and after.")] = None,
    source_data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Speech of the old speakers or languages: measure forgetting; ewc, dann, mmd, mkmmd, coral learn "
            "from it. May be given several times."
        ),
    ] = None,
    dev_data: Annotated[
        Path | None, typer.Option(help="Of a new language: choose the search weights here, by fewest errors.")
    ] = None,
    resample: Annotated[bool, typer.Option("--resample", help="Convert audio of other sampling rates.")] = False,
    allow_pipes: Annotated[bool, typer.Option("--allow-pipes", help="Run commands that stand in wav.scp.")] = False,
) -> None:
    """Adapt a recogniser to a new speaker from as little as one utterance, or teach it a new language.

    Without --method the strength follows the amount of speech and nothing needs tuning. lhuc, lin and lora write an
    adapter of a few kilobytes that works with its base model; the others write a whole model.

    With --method new-language a model of several languages gets one more, named by --lang; its lexicon is
    --set words.lexicon=FILE, or --set words.language=CODE lets espeak-ng pronounce the words.
    """
    from speechnlp_tl.speech.adaptation_run import AdaptationRun
    from speechnlp_tl.speech.new_language import is_new_language

    if method is not None and any(each.split("=")[0].strip() == "method" for each in set_ or ()):
        raise InputError(Problem("--set names a method, and --method another", remedy="leave one of them out"))
    overrides = [*(set_ or ()), *(["unsupervised=true"] if unsupervised else [])]
    spoken = source_data or []
    if method is not None:
        overrides.append(f"method={method}")
    if is_new_language(method or _method_of(config)):
        if select or unsupervised:
            raise InputError("--select and --unsupervised are for speakers; a new language is learned from transcripts")
        _learn_language(model, data, out, lang, config, overrides, test_data, spoken, resample, allow_pipes, dev_data)
        return
    if dev_data is not None:
        raise InputError("--dev-data is for a new language; a speaker keeps the search weights of the source model")
    run = AdaptationRun.prepare(
        model, data, out, config, overrides, test_data, spoken, resample, allow_pipes, select, lang
    )
    for line in run.adapt():
        typer.echo(line)
    for line in run.measure():
        typer.echo(line)


def _method_of(config: Path | None) -> str | None:
    """The method that a settings file names."""
    from speechnlp_tl.core.config import read_key

    named = read_key(config, "method")[0] if config is not None else None
    return named if isinstance(named, str) else None


def _learn_language(
    model: Path,
    data: Path,
    out: Path,
    lang: str | None,
    config: Path | None,
    overrides: list[str],
    test_data: Path | None,
    source_data: Sequence[Path],
    resample: bool,
    allow_pipes: bool,
    dev_data: Path | None,
) -> None:
    import os

    from speechnlp_tl.core.config import load_config
    from speechnlp_tl.speech.new_language import NewLanguageConfig
    from speechnlp_tl.speech.new_language_run import NewLanguageRun

    if lang is None:
        raise InputError(Problem("--method new-language needs the language's name", remedy="say it with --lang"))
    settings = load_config(config or os.devnull, NewLanguageConfig, overrides)
    run = NewLanguageRun.prepare(
        model, data, out, lang, settings, test_data, source_data, resample, allow_pipes, dev_data
    )
    for line in run.learn():
        typer.echo(line)
    for line in run.measure():
        typer.echo(line)
