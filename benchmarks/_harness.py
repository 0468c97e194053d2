"""What the benchmarks share: timing side by side, child processes with their peak memory, and the record of results.

Two things are compared by running them in turn in one process, round after round, so that whatever else the machine
does hits both; the ratio is the median over rounds. What is measured runs in a child process, whose peak memory the
system reports when it ends: importing this module must stay light, because a child's count starts with its parent's.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from speechnlp_tl.atomic import write_text
from speechnlp_tl.evaluation.results import Record, environment, read_results, write_results

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results.json"
WORK = ROOT / "exp" / "benchmarks"
"""Prepared corpora and models, kept from one run to the next."""
CLI = (sys.executable, "-m", "speechnlp_tl.cli")


@dataclass(frozen=True)
class Finished:
    """A child process that ended well."""

    output: str
    wall_s: float
    peak_mb: float
    """The largest of it and its own children."""
    processor_s: float
    """Of all of them together."""

    @property
    def answer(self) -> Any:
        """What a worker printed in its last line."""
        return json.loads(self.output.splitlines()[-1])


def run(command: Sequence[str | Path], threads: int | None = None, one_core: bool = False) -> Finished:
    """Run a command to its end; `threads` for PyTorch, `one_core` pins it to a single core where the system can.

    Raises:
        SystemExit: the command failed; its messages have been printed.
    """
    environment_ = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), *_python_path()]))
    if threads is not None:
        environment_ |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    cores = os.sched_getaffinity(0) if one_core and hasattr(os, "sched_setaffinity") else None
    if cores:
        os.sched_setaffinity(0, {max(cores)})
    try:
        begin = time.perf_counter()
        child = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, env=environment_)
        assert child.stdout is not None
        output = child.stdout.read().decode()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - begin
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        shown = " ".join(str(part) for part in command)
        raise SystemExit(f"exit code {child.returncode} of: {shown}\n{output}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Finished(output, wall, usage.ru_maxrss * unit / 1e6, usage.ru_utime + usage.ru_stime)


def worker(
    script: str,
    *arguments: str | Path,
    threads: int | None = None,
    one_core: bool = False,
    python: str | None = None,
) -> Finished:
    """Run `script --worker ARGUMENTS`: the part of a benchmark that does the work, in a process of its own."""
    return run([python or sys.executable, script, "--worker", *arguments], threads, one_core)


def measured(script: str, *arguments: str | Path, threads: int | None = None) -> tuple[Any, float]:
    """What a worker answers, and its peak memory in megabytes."""
    finished = worker(script, *arguments, threads=threads)
    return finished.answer, finished.peak_mb


def _python_path() -> list[str]:
    return [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]


@dataclass(frozen=True)
class Timings:
    """Seconds of each side in each round, by the clock on the wall and of the processor."""

    wall: dict[str, list[float]]
    processor: dict[str, list[float]]


def interleaved(sides: Mapping[str, Callable[[], Any]], rounds: int, warm_up: int = 1) -> Timings:
    """Run all sides in turn in each round, the other way round in every second one."""
    timings = Timings({name: [] for name in sides}, {name: [] for name in sides})
    for number in range(-warm_up, rounds):
        for name in list(sides) if number % 2 == 0 else reversed(sides):
            wall, processor = time.perf_counter(), time.process_time()
            sides[name]()
            if number >= 0:
                timings.wall[name].append(time.perf_counter() - wall)
                timings.processor[name].append(time.process_time() - processor)
    return timings


def in_turn(
    sides: Mapping[str, Callable[[], tuple[Any, float]]], rounds: int
) -> tuple[dict[str, list[Any]], dict[str, list[float]]]:
    """Answers and peak memory of each side's workers, round by round; a worker says itself how long its parts took."""
    answers: dict[str, list[Any]] = {name: [] for name in sides}
    peaks: dict[str, list[float]] = {name: [] for name in sides}

    def run(name: str) -> None:
        answer, peak = sides[name]()
        answers[name].append(answer)
        peaks[name].append(peak)

    interleaved({name: partial(run, name) for name in sides}, rounds, warm_up=0)
    return answers, peaks


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Median of the rounds' ratios and its distribution-free 95 % interval (order statistics of the sign test)."""
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    return statistics.median(ratios), _median_interval(ratios)


def median(values: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Median and its distribution-free 95 % interval."""
    return statistics.median(values), _median_interval(sorted(values))


def _median_interval(ordered: Sequence[float]) -> tuple[float, float]:
    """Between the k-th smallest and the k-th largest, k as large as the binomial law allows; the range if too few."""
    count, below, tail = len(ordered), 0, 0.0
    while True:
        tail += math.comb(count, below) / 2**count
        if tail > 0.025:
            break
        below += 1
    below = max(below - 1, 0)
    return ordered[below], ordered[count - 1 - below]


def store(benchmark: str, records: Sequence[Record]) -> None:
    """Put a benchmark's records in the place of its earlier ones, in results.json and RESULTS.md."""
    from _report import render  # it needs this module

    earlier = read_results(RESULTS) if RESULTS.is_file() else []
    kept = [record for record in earlier if record.recipe != benchmark]
    write_results(RESULTS, [*kept, *records])
    write_text(HERE / "RESULTS.md", render(read_results(RESULTS)))
    for record in records:
        low, high = record.ci95 or (record.value, record.value)
        interval = f" [{low:.4g}, {high:.4g}]" if record.ci95 else ""
        print(f"{record.system}, {record.budget or record.corpus}: {record.metric} {record.value:.4g}{interval}")


def commit() -> str | None:
    found = environment().get("commit")
    return None if found is None else str(found)


def skip(reason: str) -> None:
    """End a benchmark that cannot be run here; the others go on."""
    print(f"skipped: {reason}")
    sys.exit(0)
