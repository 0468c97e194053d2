"""Files and directories that appear whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from speechnlp_tl.errors import InputError, Problem


@contextmanager
def atomic_file(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it onto `target` when the block succeeds, remove it when not.

    Raises:
        InputError: the disk is full or the folder cannot be written; `target` is left as it was.
    """
    target = Path(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        temporary.replace(target)
    except OSError as error:
        raise unwritable(error, target) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def atomic_directory(target: str | Path) -> Iterator[Path]:
    """Yield a temporary directory beside `target`; rename it to `target` when the block succeeds, remove it when not.

    Raises:
        InputError: `target` exists and is not empty, the disk is full or the folder cannot be written.
    """
    target = Path(target)
    if (target.is_dir() and any(target.iterdir())) or target.is_file():
        raise InputError(Problem("exists already", file=target, remedy="choose another folder or remove this one"))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                _sync(path)
        temporary.replace(target)
        _sync(target.parent)
    except OSError as error:
        raise unwritable(error, target) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(target: str | Path, text: str) -> None:
    """Write `text` (UTF-8) to `target`, whole or not at all."""
    with atomic_file(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _sync(path: Path) -> None:
    """Ask the disk to keep `path` before it gets its name: a rename may survive a crash that its contents do not."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unwritable(error: OSError, target: Path) -> InputError:
    """What to tell the user when `target` could not be written."""
    # a file of a directory that has not got its name yet: the user knows it by the name it would have
    named = [re.sub(r"^\.(.+)\.\d+\.tmp$", r"\1", part) for part in target.parts]
    return InputError(
        Problem(
            f"cannot be written: {error.strerror or error}",
            file=Path(*named),
            remedy="nothing was changed; free space or check the folder's permissions, then run the command again",
        )
    )
