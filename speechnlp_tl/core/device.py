"""The device on which a finished model works."""

from __future__ import annotations

import torch


def usual_device() -> torch.device:
    """The GPU where one is visible, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
