"""What a run shows and records: progress, `metrics.jsonl`, TensorBoard. Decides nothing about training."""

from __future__ import annotations

import json
import math
import time
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from speechnlp_tl.atomic import atomic_file, unwritable
from speechnlp_tl.errors import InputError, Problem

METRICS = "metrics.jsonl"
EVENTS = "tensorboard"
SECONDS_BETWEEN_LINES = 30.0
"""Without a terminal, progress is a line this often."""


class Tracker:
    """Progress and records of one run. Silent and without files when `directory` is None.

    Args:
        directory: where `metrics.jsonl` and the TensorBoard events go.
        start: step that the run resumes from; records behind it are dropped, because they will be made again.
        total: expected steps of the run.
        quiet: no progress on the console; files are written all the same.

    Raises:
        InputError: from any method that writes, when the disk is full.
    """

    def __init__(
        self, directory: Path | None, start: int = 0, total: int = 0, quiet: bool = False, tensorboard: bool = True
    ) -> None:
        self._directory, self._start, self._total = directory, start, total
        self._show = _make_display(start, total) if directory is not None and not quiet else None
        self._metrics = None
        self._writer: Any = None
        self._clock, self._units, self._steps = time.monotonic(), 0.0, 0
        if directory is not None:
            self._metrics = _open_metrics(directory / METRICS, start)
            self._writer = _open_events(directory / EVENTS, start) if tensorboard else None

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._show is not None:
            self._show.close()
        failure: InputError | None = None
        for name, stream in ((METRICS, self._metrics), (EVENTS, self._writer)):
            try:
                if stream is not None:
                    stream.close()
            except OSError as failed:
                assert self._directory is not None
                failure = failure or unwritable(failed, self._directory / name)
        if failure is not None and error is None:
            raise failure

    def advance(self, step: int, epoch: int, loss: float, units: float) -> None:
        """Count one finished step."""
        self._units += units
        self._steps += 1
        if self._show is not None:
            self._show.advance(step, epoch, loss, units)

    def record(self, record: dict[str, Any]) -> None:
        """Write one training record; adds the rate since the one before."""
        now = time.monotonic()
        seconds = max(now - self._clock, 1e-9)
        rates = {"units_per_s": round(self._units / seconds, 3), "steps_per_s": round(self._steps / seconds, 3)}
        self._clock, self._units, self._steps = now, 0.0, 0
        self._write(record | rates)

    def evaluation(self, record: dict[str, Any], message: str | None, seconds: float) -> None:
        """Write one evaluation, if there was something to evaluate; its time does not count as training time."""
        self._clock += seconds
        if message is not None:
            self._write(record)
            self.message(message)

    def skipped(self, record: dict[str, Any], message: str) -> None:
        self._write(record)
        self.message(message)

    def message(self, text: str) -> None:
        """Say something on the console without disturbing the progress bar."""
        if self._show is not None:
            self._show.message(text)

    def _write(self, record: dict[str, Any]) -> None:
        if self._directory is None:
            return
        try:
            if self._metrics is not None:
                self._metrics.write(json.dumps(_finite(record), ensure_ascii=False, allow_nan=False) + "\n")
                self._metrics.flush()
            if self._writer is not None:
                for name, value in _scalars(record):
                    self._writer.add_scalar(name, value, record["step"])
        except OSError as error:
            raise unwritable(error, self._directory) from error


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Records of a `metrics.jsonl`; a last line that a killed run left unfinished is left out."""
    path = Path(path)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) if path.exists() else []
    records = []
    for number, line in enumerate(lines, start=1):
        if line.endswith("\n") and line.strip():
            try:
                records.append(json.loads(line))
            except ValueError as error:
                raise InputError(Problem("is damaged", path, number, "remove that line")) from error
    return records


def _open_metrics(path: Path, start: int) -> Any:
    kept = [record for record in read_metrics(path) if record["step"] <= start and start > 0]
    with atomic_file(path) as temporary:
        temporary.write_text(
            "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept), encoding="utf-8"
        )
    return path.open("a", encoding="utf-8")


def _open_events(directory: Path, start: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter  # takes a second to import

    return SummaryWriter(str(directory), purge_step=start + 1 if directory.exists() else None)


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: None instead."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _scalars(record: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in record.items():
        if isinstance(value, dict):
            found += _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and name not in ("step", "epoch"):
            found.append((f"{prefix}{name}", float(value)))
    return found


def _make_display(start: int, total: int) -> _Bar | _Lines:
    from rich.console import Console

    console = Console(stderr=True)
    return _Bar(console, start, total) if console.is_terminal else _Lines(start, total)


class _Lines:
    """Progress in a log file: one line now and then."""

    def __init__(self, start: int, total: int) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        self._total, self._begin, self._clock, self._seen, self._units = total, start, time.monotonic(), start, 0.0

    def advance(self, step: int, epoch: int, loss: float, units: float) -> None:
        self._units += units
        seconds = time.monotonic() - self._clock
        if seconds < SECONDS_BETWEEN_LINES:
            return
        rate = (step - self._seen) / seconds
        left = timedelta(seconds=round(max(self._total - step, 0) / rate)) if rate else "?"
        self.message(
            f"step {step}/{self._total}  epoch {epoch + 1}  loss {loss:.4f}  {rate:.1f} steps/s  "
            f"{self._units / seconds:,.0f} units/s  {left} left"
        )
        self._clock, self._seen, self._units = time.monotonic(), step, 0.0

    def message(self, text: str) -> None:
        self._console.print(text)

    def close(self) -> None:
        pass


class _Bar:
    """Progress on a terminal."""

    def __init__(self, console: Any, start: int, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(
                "loss {task.fields[loss]:.4f}  {task.fields[rate]:.1f} steps/s  {task.fields[units]:,.0f} units/s"
            ),
            TimeRemainingColumn(),
            console=console,
            refresh_per_second=4,
            transient=True,
        )
        self._task = self._progress.add_task(
            "", total=total, completed=start, epoch=1, loss=float("nan"), rate=0.0, units=0.0
        )
        self._clock, self._seen, self._units, self._rates = time.monotonic(), start, 0.0, (0.0, 0.0)
        self._progress.start()

    def advance(self, step: int, epoch: int, loss: float, units: float) -> None:
        self._units += units
        seconds = time.monotonic() - self._clock
        if seconds >= 1:
            self._rates = ((step - self._seen) / seconds, self._units / seconds)
            self._clock, self._seen, self._units = time.monotonic(), step, 0.0
        self._progress.update(
            self._task, completed=step, epoch=epoch + 1, loss=loss, rate=self._rates[0], units=self._rates[1]
        )

    def message(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False)

    def close(self) -> None:
        self._progress.stop()
