"""Learning-rate schedules as pure functions of the step, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math

INITIAL_DIVISOR = 25.0
"""One-cycle runs start at 1/25 of the peak ..."""
FINAL_DIVISOR = 25.0 * 1e4
"""... and end at 1/250000 of it, as in the paper's reference settings and in PyTorch."""


def learning_rate_factor(step: float, total: int, name: str = "constant", warmup: int | float = 0) -> float:
    """What the peak learning rate is multiplied with in optimiser step `step` (the first is 0) of `total`.

    With w warm-up steps and t = (step - w) / (total - w) behind them:

    - warm-up: (step + 1) / w, except for `onecycle`
    - constant: 1
    - linear: 1 - t
    - cosine: (1 + cos(pi t)) / 2  (Loshchilov and Hutter 2017, eq. 5, without restarts)
    - inverse-sqrt: sqrt(w / (step + 1)), with w at least 1  (Vaswani et al. 2017, eq. 3, scaled to a peak of 1)
    - onecycle: a cosine from 1/25 up to 1 over the warm-up (30 % of the run when none is given), then a cosine down
      to 1/250000 in the last step (Smith and Topin 2018)

    Args:
        warmup: steps (int) or a fraction of the run (float).
    """
    warmup_steps = round(warmup * total) if isinstance(warmup, float) else min(warmup, total)
    step = min(max(step, 0), total)
    if name == "onecycle":
        return _one_cycle(step, total, warmup_steps or 0.3 * total)
    if step < warmup_steps:
        return min((step + 1) / warmup_steps, 1.0)
    behind = (step - warmup_steps) / max(total - warmup_steps, 1)
    if name == "constant":
        return 1.0
    if name == "linear":
        return 1 - behind
    if name == "cosine":
        return (1 + math.cos(math.pi * behind)) / 2
    if name == "inverse-sqrt":
        return math.sqrt(max(warmup_steps, 1) / (step + 1))
    raise ValueError(f"unknown schedule {name!r}")


def _one_cycle(step: float, total: int, warmup_steps: float) -> float:
    peak, end = max(warmup_steps - 1, 0.0), max(total - 1, 1)
    if step < peak:
        return _cosine(1 / INITIAL_DIVISOR, 1.0, step / peak)
    return _cosine(1.0, 1 / FINAL_DIVISOR, min((step - peak) / max(end - peak, 1), 1.0))


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2
