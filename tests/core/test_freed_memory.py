"""Memory that stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from speechnlp_tl.core import freed_memory

TOUCH = """
import resource, sys
import torch
from speechnlp_tl.core.freed_memory import keep_freed_memory

def touch():
    for _ in range(20):
        [torch.ones(1_000_000) for _ in range(8)]

if sys.argv[1] == "kept":
    assert keep_freed_memory()
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")
def test_what_was_freed_is_not_fetched_again() -> None:
    faults = {
        mode: int(
            subprocess.run([sys.executable, "-c", TOUCH, mode], capture_output=True, text=True, check=True).stdout
        )
        for mode in ("usual", "kept")
    }
    assert faults["kept"] < faults["usual"] / 10


def test_other_libraries_are_left_alone(monkeypatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(freed_memory.ctypes, "CDLL", lambda _: pytest.fail("asked for a C library"))
    assert freed_memory.keep_freed_memory() is False
