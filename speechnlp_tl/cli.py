"""The command line: `speechnlp-tl VERB ...`. Every verb parses, calls and prints; the work is in the packages."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from speechnlp_tl.commands.adapt import adapt
from speechnlp_tl.commands.classify import classify
from speechnlp_tl.commands.data import app as data
from speechnlp_tl.commands.embed import app as embed
from speechnlp_tl.commands.languages import app as language
from speechnlp_tl.commands.merge import merge
from speechnlp_tl.commands.report import report
from speechnlp_tl.commands.score import score
from speechnlp_tl.commands.train import train
from speechnlp_tl.commands.transcribe import transcribe
from speechnlp_tl.commands.translate import translate
from speechnlp_tl.errors import InputError


class Verbs(TyperGroup):
    """The verbs, with exit codes of our own where typer's say nothing: 130 when interrupted, 141 for a closed pipe."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("interrupted; run the same command again to go on where it stopped", file=sys.stderr)
            sys.exit(130)
        except BrokenPipeError:
            # the reader of our output (head, less) has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)


app = typer.Typer(
    cls=Verbs,
    help="Adapt speech and text models to a new speaker, language or domain.",
    epilog="With --debug an error shows where in the program it came from.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data, name="data", help="Kaldi data directories: validate, fix, split, import.")
app.add_typer(embed, name="embed", help="Word vectors across languages: train, align, translate, evaluate.")
app.add_typer(language, name="language", help="Languages of a multilingual recogniser: list, add, rename, remove.")
for verb in (train, adapt, merge, transcribe, classify, translate, score, report):
    app.command()(verb)


def main() -> None:
    """Run a verb. Exit code 0 when all of it worked, 2 for bad usage or input. `--debug` shows where it came from."""
    # threads that wait for work by spinning slow down whatever else the machine does
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        sys.exit(app(args=arguments, prog_name="speechnlp-tl", standalone_mode=True))
    except InputError as error:
        if debug:
            raise
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
