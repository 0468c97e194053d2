"""`speechnlp-tl classify`: texts to labels."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class InputFormat(str, Enum):
    """How the input is to be read."""

    auto = "auto"
    jsonl = "jsonl"
    text = "text"


def classify(
    model: Annotated[Path, typer.Option(help="Folder of a model or an experiment.")],
    input_: Annotated[
        Path, typer.Option("--input", help="JSON Lines, or plain text with a document a line; - reads standard input.")
    ],
    out: Annotated[Path | None, typer.Option(help="JSON Lines file to write; printed when not given.")] = None,
    score: Annotated[
        bool, typer.Option("--score", help="Print accuracy and macro-F1 by domain, for documents with labels.")
    ] = False,
    format_: Annotated[
        InputFormat,
        typer.Option("--format", help="auto: JSON Lines by the name .jsonl, .ndjson or .json, or by a '{'."),
    ] = InputFormat.auto,
    text: Annotated[str, typer.Option(help="Field of the text.")] = "text",
    label: Annotated[str, typer.Option(help="Field of the label, for --score.")] = "label",
    domain: Annotated[str, typer.Option(help="Field of the domain, for --score.")] = "domain",
) -> None:
    """Label documents: one JSON object a line, in the order of the input, with each label's probability.

    With --score and without --out only the scores are printed.
    """
    from speechnlp_tl.atomic import write_text
    from speechnlp_tl.text.classification_run import check_labels, classify_documents, read_input
    from speechnlp_tl.text.document_file import FieldNames
    from speechnlp_tl.text.document_model import load_classifier

    documents = read_input(input_, format_.value, FieldNames(text=text, label=label, domain=domain))
    loaded = load_classifier(model)
    if score:
        check_labels(documents, loaded.labels)
    found = classify_documents(loaded, documents)
    if found.unknown:
        unit = loaded.features.unit
        what = f"{found.unknown} of {len(documents)} documents have no {unit} that the model knows"
        typer.echo(f"note: {what}; their labels are a guess", err=True)
    if out is not None:
        write_text(out, "".join(found.lines()))
        typer.echo(f"{out}: {len(documents)} documents")
    elif not score:
        for line in found.lines():
            typer.echo(line, nl=False)
    if score:
        for line in found.score_lines():
            typer.echo(line)
