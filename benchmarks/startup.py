"""How long `speechnlp-tl --help` takes, as a process: the median of ten runs after a first one.

python benchmarks/startup.py [--runs 10]
"""

from __future__ import annotations

import argparse

from _harness import CLI, commit, median, run, store
from _report import COMMAND

from speechnlp_tl.evaluation.results import Record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    arguments = parser.parse_args()
    done = [run([*CLI, "--help"]) for _ in range(arguments.runs + 1)][1:]
    value, interval = median([one.wall_s for one in done])
    peak = max(one.peak_mb for one in done)
    record = Record(
        recipe="startup",
        corpus="none",
        system=COMMAND,
        metric="seconds",
        value=value,
        ci95=interval,
        peak_mb=peak,
        commit=commit(),
    )
    store("startup", [record])


if __name__ == "__main__":
    main()
