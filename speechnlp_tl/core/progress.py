"""Progress of work that is no training: a bar on the error stream, where that is a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def shown(items: Sequence[T], what: str, show: bool = True) -> Iterable[T]:
    """The items, with a bar of how many are done and how long the rest will take. One bar at a time."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if not show or not console.is_terminal:
        return items
    return track(items, description=what, console=console, transient=True)
