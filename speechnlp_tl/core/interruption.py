"""Ctrl-C and SIGTERM as a request that the training loop answers between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Whether the run was asked to stop."""

    def __init__(self) -> None:
        self.requested = False

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt("stopped at once, without a checkpoint of this step")
        self.requested = True


@contextmanager
def interruption(listen: bool) -> Iterator[Interruption]:
    """While the block runs and `listen`, the first SIGINT or SIGTERM only sets `requested`; a second stops at once.

    Outside the main thread Python allows no handlers, and signals stay what they are.
    """
    asked = Interruption()
    if not listen or threading.current_thread() is not threading.main_thread():
        yield asked
        return
    previous = {number: signal.signal(number, asked._ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
