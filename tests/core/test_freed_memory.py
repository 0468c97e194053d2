"""Memory that stays with the process."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from speechnlp_tl.core import freed_memory

FREE = """
import ctypes, sys
import torch
from speechnlp_tl.core.freed_memory import keep_freed_memory

class Mallinfo(ctypes.Structure):
    # mallinfo(3)
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]

if sys.argv[1] == "kept":
    assert keep_freed_memory()
tensor = torch.ones(5_000_000)
mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Mallinfo
mapped = mallinfo2().hblkhd
del tensor
print(mapped / 1e6, mallinfo2().fordblks / 1e6)
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="no glibc from 2.33 on"
)
def test_what_is_freed_stays_with_the_process() -> None:
    found = {}
    for mode in ("usual", "kept"):
        told = subprocess.run([sys.executable, "-c", FREE, mode], capture_output=True, text=True, check=True).stdout
        found[mode] = [float(each) for each in told.split()]
    # a tensor of 20 MB is usually mapped for itself, and given back with it
    assert found["usual"][0] >= 20
    assert found["kept"][0] < 20
    assert found["kept"][1] >= 20


def test_other_libraries_are_left_alone(monkeypatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(freed_memory.ctypes, "CDLL", lambda _: pytest.fail("asked for a C library"))
    assert freed_memory.keep_freed_memory() is False
