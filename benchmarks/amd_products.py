"""PyTorch on an AMD processor: as it is, and with the AVX-512 matrix products that its MKL holds for others alone.

    python benchmarks/amd_products.py [--steps 12] [--rounds 5]

Float32 products of 1024 x 1024 matrices, and a training of `translation_speed.py` through `Trainer`, each in a process
of its own with one thread, in turn. How it is done, and what else it changes, stands in docs/speed.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path
from unittest import mock

from _harness import WORK, commit, in_turn, measured, median, ratio, skip, store
from _report import AMD_PRELOADED, AMD_PRODUCTS, AMD_RATIO, AMD_TRAINING, AMD_USUAL

from speechnlp_tl.evaluation.results import Record

ANSWER = "int mkl_serv_intel_cpu_true(void) { return 1; }\n"
SIZE, TIMES = 1024, 20


def lacking() -> str | None:
    """Why it cannot be measured here."""
    cpu = Path("/proc/cpuinfo")
    told = cpu.read_text() if cpu.is_file() else ""
    if "AuthenticAMD" not in told or "avx512f" not in told:
        return "it takes Linux and an AMD processor with AVX-512"
    return None if shutil.which("cc") else "no C compiler 'cc'"


def make_library(folder: Path) -> Path:
    """The one function that is answered before MKL answers it."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "mkl-on-amd.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(made)], input=ANSWER.encode(), check=True)
    return made


def work(steps: int) -> None:
    import torch
    from translation_speed import steps_per_second

    torch.manual_seed(0)
    matrix = torch.randn(SIZE, SIZE)
    for _ in range(3):
        matrix @ matrix
    begin = time.perf_counter()
    for _ in range(TIMES):
        matrix @ matrix
    product = 2 * SIZE**3 * TIMES / (time.perf_counter() - begin) / 1e9
    print(json.dumps({"product": product, "steps": steps_per_second(steps)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12, help="of a training")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.steps)
        return
    if (reason := lacking()) is not None:
        skip(reason)
    preloads = {AMD_USUAL: "", AMD_PRELOADED: str(make_library(WORK / "amd_products"))}

    def run(preload: str) -> tuple[dict[str, float], float]:
        with mock.patch.dict(os.environ, {"LD_PRELOAD": preload}):
            return measured(__file__, "--steps", str(arguments.steps), threads=1)

    sides = {name: partial(run, preload) for name, preload in preloads.items()}
    store("amd_products", records(*in_turn(sides, arguments.rounds)))


def records(found: dict[str, list[dict[str, float]]], peaks: dict[str, list[float]]) -> list[Record]:
    made = []
    for budget, key, unit in ((AMD_PRODUCTS, "product", "GFLOP/s"), (AMD_TRAINING, "steps", "steps per second")):
        sides = {name: [each[key] for each in rounds] for name, rounds in found.items()}
        rows = [(name, unit, *median(values)) for name, values in sides.items()]
        rows.append((AMD_PRELOADED, AMD_RATIO, *ratio(sides[AMD_PRELOADED], sides[AMD_USUAL])))
        made += [
            Record(recipe="amd_products", corpus="made", system=name, budget=budget, metric=metric, value=value,
                   ci95=interval, peak_mb=max(peaks[name]), commit=commit())
            for name, metric, value, interval in rows
        ]  # fmt: skip
    return made


if __name__ == "__main__":
    main()
