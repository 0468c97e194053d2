"""Memory that a training on the CPU frees stays with the process."""

from __future__ import annotations

import ctypes
import platform

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's mallopt(3)."""
KEPT = {TRIM_THRESHOLD: 1 << 30, TOP_PAD: 64 << 20, MMAP_THRESHOLD: 32 << 20}
"""In bytes. Larger tensors are still given back one by one: glibc takes no higher threshold."""


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed, up to a gigabyte, for the rest of the process.

    Each training step frees tensors of some megabytes and wants as many again. What goes back to the system in between
    comes as pages that are zeroed and mapped one by one when they are touched.

    Returns:
        False where the C library is another than glibc and nothing was done.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(parameter, value) == 1 for parameter, value in KEPT.items())
