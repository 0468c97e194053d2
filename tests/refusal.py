"""What a refusal looks like: exit code 2, one line for each problem, nothing left behind."""

from __future__ import annotations

from pathlib import Path


def refused(outcome, *said: str) -> None:
    """Exit code 2, no traceback, and problems on the error stream that say all of `said`."""
    assert outcome.code == 2, (outcome.code, outcome.out, outcome.err)
    assert "Traceback" not in outcome.err
    assert outcome.errors, outcome.out
    assert all(line.startswith("error: ") for line in outcome.errors), outcome.err
    for words in said:
        assert words in outcome.err, outcome.err


def nothing_written(tmp_path: Path) -> bool:
    """Neither the output nor a temporary of it."""
    return {path.name for path in tmp_path.iterdir()} <= {"audio", "data", "config.yaml", "marker"}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
