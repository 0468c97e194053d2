"""An acoustic model's encoder on utterances of different length: one behind the other, against rows that are padded.

    python benchmarks/packing.py [--rounds 21] [--threads 1]

Forward and backward through the same encoder with the same batch, in turn. The utterances are as different as those of
four languages in a step of the multilingual recipe, whose batches are padding to a quarter.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from typing import Any
from unittest import mock

from _harness import commit, interleaved, median, ratio, store, worker
from _report import PACKED, PACKED_RATIO, PADDED

from speechnlp_tl.evaluation.results import Record

SECONDS = (5.2, 5.1, 5.0, 4.2, 4.1, 2.6, 2.5)
ENCODER = {"width": 288, "layers": 6}
BINS = 40


def measure(rounds: int) -> dict[str, Any]:
    """Milliseconds of each side, and the share of the padded batch that is padding."""
    import torch

    from speechnlp_tl.speech import encoder as encoder_module

    lengths = torch.tensor([round(100 * seconds) for seconds in SECONDS])
    features = torch.randn(len(lengths), int(lengths.max()), BINS)
    torch.manual_seed(0)
    encoder = encoder_module.Encoder(BINS, encoder_module.EncoderConfig(**ENCODER)).train()

    def step(worth: float) -> None:
        with mock.patch.object(encoder_module, "WORTH_PACKING", worth):
            outputs, _ = encoder(features, lengths)
        outputs[-1].sum().backward()

    sides = {PACKED: partial(step, 10.0), PADDED: partial(step, 0.0)}  # always and never
    wall = interleaved(sides, rounds, warm_up=2).wall
    padding = 100 * (1 - float(lengths.sum()) / features[..., 0].numel())
    return {"ms": {name: [1000 * each for each in times] for name, times in wall.items()}, "padding": padding}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measure(arguments.rounds)))
        return
    finished = worker(__file__, "--rounds", str(arguments.rounds), threads=arguments.threads)
    store("packing", records(finished.answer, arguments.threads, finished.peak_mb))


def records(found: dict[str, Any], threads: int, peak_mb: float) -> list[Record]:
    ms, budget = found["ms"], f"{found['padding']:.0f} % padding, {threads} thread{'s' * (threads > 1)}"
    rows = [(name, "ms", *median(times)) for name, times in ms.items()]
    rows.append((PACKED, PACKED_RATIO, *ratio(ms[PACKED], ms[PADDED])))
    return [
        Record(recipe="packing", corpus="noise", synthetic=True, system=name, budget=budget, metric=metric, value=value,
               ci95=interval, peak_mb=peak_mb, commit=commit())
        for name, metric, value, interval in rows
    ]  # fmt: skip


if __name__ == "__main__":
    main()
