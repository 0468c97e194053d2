"""What an adaptation keeps beside its result until that is there: checkpoints to go on from, and records."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from speechnlp_tl.core.checkpoint import MANIFEST
from speechnlp_tl.core.tracking import METRICS
from speechnlp_tl.errors import InputError

DIGITS = 16


@contextmanager
def unfinished_run(out: Path, digest: str) -> Iterator[Path]:
    """A folder beside `out` for a run with this digest, removed with those of other runs once the result is saved.

    After bad input it is kept only where it has a checkpoint; after any other interruption always.
    """
    folder = out.with_name(f".{out.name}.adapting-{digest[:DIGITS]}")
    try:
        yield folder
    except InputError:
        if not any(folder.rglob(MANIFEST)):  # no checkpoint to go on from
            shutil.rmtree(folder, ignore_errors=True)
        raise
    for left in folder.parent.glob(f"{folder.name[:-DIGITS]}*"):
        shutil.rmtree(left, ignore_errors=True)


def take_over_records(unfinished: Path, folder: Path) -> None:
    """Copy the records of a run into the folder of its result."""
    for record in sorted(unfinished.rglob(METRICS)):
        place = folder / record.relative_to(unfinished)
        place.parent.mkdir(exist_ok=True)
        shutil.copyfile(record, place)
