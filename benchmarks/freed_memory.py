"""A training on the CPU that keeps the memory it frees, against one that hands it back to the system.

    python benchmarks/freed_memory.py [--steps 60] [--rounds 5]

The training of `translation_speed.py` through `Trainer`, in batches of the size that the recipes take on a CPU, as it
is and without `keep_freed_memory`, each in a process of its own with one thread, in turn.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from unittest import mock

from _harness import commit, in_turn, measured, median, ratio, store
from _report import FREED_BACK, FREED_KEPT, FREED_RATIO

from speechnlp_tl.evaluation.results import Record

BATCH_TOKENS = 800


def work(steps: int, kept: bool) -> None:
    from translation_speed import steps_per_second

    from speechnlp_tl.core import trainer

    usual = trainer.keep_freed_memory
    with mock.patch.object(trainer, "keep_freed_memory", usual if kept else lambda: False):
        print(json.dumps({"steps": steps_per_second(steps, BATCH_TOKENS)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="of a training")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--freed", choices=(FREED_KEPT, FREED_BACK), help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.steps, arguments.freed == FREED_KEPT)
        return
    sides = {
        name: partial(measured, __file__, "--steps", str(arguments.steps), "--freed", name, threads=1)
        for name in (FREED_KEPT, FREED_BACK)
    }
    answers, peaks = in_turn(sides, arguments.rounds)
    store("freed_memory", records({name: [each["steps"] for each in own] for name, own in answers.items()}, peaks))


def records(found: dict[str, list[float]], peaks: dict[str, list[float]]) -> list[Record]:
    rows = [(name, "steps per second", *median(values)) for name, values in found.items()]
    rows.append((FREED_KEPT, FREED_RATIO, *ratio(found[FREED_KEPT], found[FREED_BACK])))
    return [
        Record(recipe="freed_memory", corpus="made", system=name, metric=metric, value=value, ci95=interval,
               peak_mb=max(peaks[name]), commit=commit())
        for name, metric, value, interval in rows
    ]  # fmt: skip


if __name__ == "__main__":
    main()
