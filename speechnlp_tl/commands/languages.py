"""`speechnlp-tl language`: the languages of a multilingual recogniser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)

Model = Annotated[Path, typer.Option(help="Folder of a multilingual model or experiment.")]
Out = Annotated[Path, typer.Option(help="Folder for the changed model.")]


@app.command(name="list")
def list_(model: Model) -> None:
    """Print each language with its words, phones, head and parameters of its own."""
    from speechnlp_tl.speech.models import load_multilingual

    recognisers = load_multilingual(model)
    shared = sum(weight.numel() for weight in recognisers.model.encoder.parameters())
    typer.echo(f"shared layers: {shared} parameters")
    for name, own in recognisers.languages.items():
        parts = [recognisers.model.heads[own.head]]
        column = own.head in recognisers.config.columns
        parts += [recognisers.model.columns[own.head]] if column else []
        size = sum(weight.numel() for part in parts for weight in part.parameters())
        known = f"{len(own.lexicon)} words, {len(own.config.phones)} phones"
        kind = " with a column of its own" if column else ""
        typer.echo(f"{name}\t{known}, head {own.head}{kind}, {size} parameters")


@app.command()
def add(
    model: Model,
    data: Annotated[Path, typer.Option(help="Kaldi data directory of the new language.")],
    lang: Annotated[str, typer.Option(help="Name of the new language.")],
    out: Out,
    method: Annotated[
        str, typer.Option(help="As of 'speechnlp-tl adapt'; this one leaves the other languages exactly as they are.")
    ] = "new-language+frozen",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting: key=value, such as words.lexicon=lexicon.txt.")
    ] = None,
) -> None:
    """Teach the model one more language: `speechnlp-tl adapt --method new-language+frozen`, which has more options."""
    from speechnlp_tl.commands.adapt import adapt
    from speechnlp_tl.speech.new_language import parse_new_language

    parse_new_language(method)  # adapt has others, which add no language
    adapt(model, data, out, method=method, lang=lang, set_=set_)


@app.command()
def rename(
    model: Model,
    old: Annotated[str, typer.Argument(help="The language.")],
    new: Annotated[str, typer.Argument(help="Its new name.")],
    out: Out,
) -> None:
    """Write the model with another name for a language."""
    from speechnlp_tl.speech.models import load_multilingual

    changed = load_multilingual(model).renamed(old, new)
    changed.save(out)
    typer.echo(f"{out}: {', '.join(changed.languages)}")


@app.command()
def remove(model: Model, lang: Annotated[str, typer.Argument(help="The language.")], out: Out) -> None:
    """Write the model without a language. The others' outputs stay the same."""
    from speechnlp_tl.speech.models import load_multilingual

    changed = load_multilingual(model).without(lang)
    changed.save(out)
    typer.echo(f"{out}: {', '.join(changed.languages)}")


@app.command()
def extract(model: Model, lang: Annotated[str, typer.Argument(help="The language.")], out: Out) -> None:
    """Write one language as a model of its own, which can be adapted to a speaker like any other."""
    from speechnlp_tl.speech.models import load_multilingual

    load_multilingual(model).alone(lang).save(out)
    typer.echo(f"{out}: {lang}")
