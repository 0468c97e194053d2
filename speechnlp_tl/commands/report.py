"""`speechnlp-tl report`: one self-contained HTML file about experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    experiments: Annotated[list[Path], typer.Argument(metavar="EXP...", help="Experiment folders, results.json.")],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
    title: Annotated[str, typer.Option(help="Heading of the report.")] = "speechnlp_tl report",
) -> None:
    """Show scores, tables, pictures, training curves, speakers and worst utterances in one HTML file."""
    from speechnlp_tl.atomic import write_text
    from speechnlp_tl.evaluation.report import build_report

    write_text(out, build_report(experiments, title))
    typer.echo(f"report: {out}")
