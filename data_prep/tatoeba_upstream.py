"""A selection of Tatoeba as manythings.org packs it: `<language>.txt`, which is called by both languages here."""

from __future__ import annotations

import shutil
from pathlib import Path

from speechnlp_tl.errors import InputError, Problem


def rename_pairs(language: str, upstream: Path, out: Path) -> None:
    """Copy `<language>.txt` of the unpacked archive to `eng-<language>.tsv`.

    Raises:
        InputError: it is not there.
    """
    source = upstream / f"{language}.txt"
    if not source.is_file():
        raise InputError(Problem("file is missing in the archive", file=source.name, remedy="fetch it again"))
    shutil.copyfile(source, out / f"eng-{language}.tsv")
