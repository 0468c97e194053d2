"""What the command lines of the corpora share: arguments, the report, exit code 2 for bad input."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from speechnlp_tl.errors import InputError


def corpus_parser(description: str | None, *, out: bool = True, corpus_dir: bool = True) -> argparse.ArgumentParser:
    """A parser with `--out` and `--corpus-dir`, and the module's docstring as its description."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    if out:
        parser.add_argument("--out", type=Path, required=True, help="folder for the data directories")
    if corpus_dir:
        parser.add_argument(
            "--corpus-dir",
            type=Path,
            help="folder or archive of the corpus (default: $SPEECHNLP_DATA, then the cache, then a download)",
        )
    return parser


def run(work: Callable[[], Any]) -> None:
    """Call `work`; print every problem of an InputError and exit with 2, with 130 on Ctrl-C."""
    try:
        result = work()
    except InputError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    if isinstance(result, Mapping):
        for name, directory in result.items():
            print(f"{name}\t{directory}")
