"""SHA-256 lists of corpora: one line `<hex digest>  <path below the corpus' folder>` for each file that is checked.

A listed file may also lie there compressed, under its name with `.xz` or `.gz`; the digest is that of its contents.
The lists lie beside this file. `python -m data_prep.checksums FOLDER [HIDDEN_ELEMENT...]` prints the list of a folder;
compare it with an independent copy before it is committed.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

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


def find_listed(root: Path, name: str) -> Path | None:
    """The listed file `name` below `root`, as it is or compressed; None when it is not there."""
    candidates = (root / name, root / f"{name}.xz", root / f"{name}.gz")
    return next((path for path in candidates if path.is_file()), None)


@contextmanager
def open_listed(root: Path, name: str) -> Iterator[IO[bytes]]:
    """Read the contents of a listed file, compressed or not.

    Raises:
        OSError: there is no such file, it cannot be read, or what is compressed is damaged.
    """
    path = find_listed(root, name)
    if path is None or path.name == Path(name).name:
        with (root / name).open("rb") as file:
            yield file
        return
    if path.suffix == ".gz":
        try:
            with gzip.open(path) as unzipped:
                yield unzipped  # type: ignore[misc]
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise OSError(f"{path.name} is damaged: {error}") from error
        return
    try:
        import lzma
    except ImportError as error:
        raise OSError(f"this Python reads no xz files; unpack {path.name} beside it") from error
    try:
        with lzma.open(path) as file:
            yield file
    except (lzma.LZMAError, EOFError) as error:
        raise OSError(f"{path.name} is damaged: {error}") from error


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return _digest(file)


def digest_of_all(root: Path, files: Iterable[Path]) -> str:
    """SHA-256 of files together, in their order: of each its name below `root` and what is in it."""
    together = hashlib.sha256()
    for file in files:
        together.update(file.relative_to(root).as_posix().encode() + b"\0")
        together.update(bytes.fromhex(digest(file)))
    return together.hexdigest()


def _digest(file: IO[bytes]) -> str:
    sha = hashlib.sha256()
    while chunk := file.read(1 << 20):
        sha.update(chunk)
    return sha.hexdigest()


def digest_without(file: IO[bytes], hidden: Sequence[str]) -> str:
    """The SHA-256 of a file of `<tag>` lines without the elements `hidden`, and with plain line ends.

    Copies from which such elements (names, places) were taken out have the digest of the original.
    """
    content = file.read().replace(b"\r\n", b"\n")
    for tag in hidden:
        name = re.escape(tag.encode())
        content = re.sub(rb"^<" + name + rb">\n.*?^</" + name + rb">\n", b"", content, flags=re.MULTILINE | re.DOTALL)
    return hashlib.sha256(content).hexdigest()


def check_files(
    root: Path, expected: Mapping[str, str], shown: str | Path, remedy: str, hidden: Sequence[str] = ()
) -> None:
    """Compare the files below `root` with a list; files that are not listed are not looked at.

    Args:
        root: the corpus' folder.
        expected: what `read_list` gave.
        shown: what a message calls `root` (it may be a temporary folder).
        remedy: what a message tells the user to do.
        hidden: elements of the files that do not count, see `digest_without`.

    Raises:
        InputError: files that are missing or differ; the first 20 of them by name, the rest as a number.
    """
    problems = []
    for name, wanted in expected.items():
        place = f"{shown}/{name}"
        try:
            if find_listed(root, name) is None:
                problems.append(Problem("file is missing", file=place, remedy=remedy))
                continue
            with open_listed(root, name) as file:
                found = digest_without(file, hidden) if hidden else _digest(file)
            if found != wanted:
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
        with file.open("rb") as content:
            found = digest_without(content, sys.argv[2:]) if sys.argv[2:] else _digest(content)
        print(f"{found}  {file.relative_to(folder).as_posix()}")
