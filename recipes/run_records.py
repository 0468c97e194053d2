"""What recipes with many runs share: names that tell what a run depends on, its record, runs side by side.

A run is kept under such a name and its record is written last, so that what has a record is done, a killed sweep goes
on where it stopped, and a changed setting runs again only what it touches.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any

from speechnlp_tl.atomic import write_text
from speechnlp_tl.errors import InputError, Problem


def plain(name: str) -> str:
    """A name for a file: names of systems hold commas and blanks, and stay different without."""
    letters = "".join(letter if letter.isalnum() else "-" for letter in name)
    return f"{letters}-{hashlib.sha256(name.encode()).hexdigest()[:4]}"


def digest_of(depends: Any) -> str:
    """Ten letters for what a run depends on, given as JSON can hold it."""
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:10]


def record_of(folder: Path) -> Path:
    """What a run cost; written last, so that a run without it is not done."""
    return folder.with_name(f"{folder.name}.json")


def write_record(file: Path, record: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def read_record(file: Path, stage: int) -> dict[str, Any]:
    """A record that `write_record` wrote.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(Problem("is missing or damaged", file=file, remedy=f"run stage {stage} again")) from error
    return found


def in_parallel(work: Callable[[Any], str], items: Sequence[Any], jobs: int) -> None:
    """Do the work of all items, `jobs` at a time, and print what each gives."""
    if not items:
        print("all done already")
        return
    # of each process; what it is not told takes all cores
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    if min(jobs, len(items)) == 1:
        for done, item in enumerate(items, start=1):
            print(f"{work(item)} ({done} of {len(items)})", flush=True)
        return
    workers = {"mp_context": get_context("spawn"), "initializer": _end_with, "initargs": (os.getpid(),)}
    with ProcessPoolExecutor(min(jobs, len(items)), **workers) as pool:  # type: ignore[arg-type]
        for done, line in enumerate(pool.map(work, items), start=1):
            print(f"{line} ({done} of {len(items)})", flush=True)


def _end_with(parent: int) -> None:
    """Let this process end when its parent does, however that was ended: nobody waits for what it computes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()
