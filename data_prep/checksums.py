"""SHA-256 lists of corpora: one line `<hex digest>  <path below the corpus' folder>` for each file that is checked.

The lists lie beside this file. `python -m data_prep.checksums FOLDER` prints the list of a folder; compare it with an
independent copy before it is committed.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from speechnlp_tl.errors import InputError, Problem

_MOST_LISTED = 20


def read_list(path: Path) -> dict[str, str]:
    """Path below the corpus' folder -> expected SHA-256.

    Raises:
        InputError: a line that is not a digest and a path, with its number.
    """
    expected, problems = {}, []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        match = re.fullmatch(r"([0-9a-f]{64})  (\S.*)", line)
        if match is None:
            problems.append(Problem("is not '<SHA-256>  <path>'", file=path, line=number))
        else:
            expected[match[2]] = match[1]
    if problems:
        raise InputError(problems)
    return expected


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha.update(chunk)
    return sha.hexdigest()


def check_files(root: Path, expected: Mapping[str, str], shown: str | Path, remedy: str) -> None:
    """Compare the files below `root` with a list; files that are not listed are not looked at.

    Args:
        root: the corpus' folder.
        expected: what `read_list` gave.
        shown: what a message calls `root` (it may be a temporary folder).
        remedy: what a message tells the user to do.

    Raises:
        InputError: files that are missing or differ; the first 20 of them by name, the rest as a number.
    """
    problems = []
    for name, wanted in expected.items():
        path = root / name
        place = f"{shown}/{name}"
        try:
            if not path.is_file():
                problems.append(Problem("file is missing", file=place, remedy=remedy))
            elif digest(path) != wanted:
                problems.append(Problem("file is damaged: its SHA-256 is not upstream's", file=place, remedy=remedy))
        except OSError as error:
            problems.append(Problem(f"file cannot be read: {error.strerror or error}", file=place, remedy=remedy))
    if len(problems) > _MOST_LISTED:
        rest = len(problems) - _MOST_LISTED
        problems = [*problems[:_MOST_LISTED], Problem(f"{rest} more files are missing or damaged", file=shown)]
    if problems:
        raise InputError(problems)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        print(f"{digest(file)}  {file.relative_to(folder).as_posix()}")
