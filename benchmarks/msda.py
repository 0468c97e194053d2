"""Five layers of mSDA on one pair of Amazon domains against a plain numpy version that solves by LU.

    python benchmarks/msda.py [--rounds 3]

The plain version writes the equations of Chen et al. 2012 down as they are printed: dense float64 with the constant
as a row, `numpy.linalg.solve`, products in full. Both must give the same features on a small part before they are
timed, in turn, by the clock and by the processor: the second hardly depends on what else the machine does. A wide
vocabulary of made counts, reduced by blocks, is timed once. Without the Amazon corpus, made counts of the same density
are taken.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from _corpora import prepared
from _harness import Finished, commit, interleaved, median, ratio, store, worker
from _report import LU_CPU, LU_PEAK, LU_RATIO, LU_SECONDS, MSDA_BLOCKS, MSDA_CPU

from data_prep.fetch import CORPORA, is_available
from speechnlp_tl.evaluation.results import Record

NOISE, RIDGE = 0.5, 1e-5
PAIR = ("books", "dvd")
DENSITY = 0.018
"""Share of entries that are not zero in the Amazon counts."""


WIDE_FEATURES, WIDE_BLOCKS = 20_000, 4


def made_counts(rows: int, features: int, density: float = DENSITY) -> Any:
    import numpy as np
    from scipy import sparse

    generator = np.random.default_rng(0)
    entries = {"random_state": generator, "data_rvs": lambda size: generator.geometric(0.7, size)}
    return sparse.random(rows, features, density, "csr", dtype="float32", **entries)


def counts(rows: int, features: int) -> Any:
    """The first rows and features of both domains' training rows, as scipy CSR."""
    from scipy import sparse

    if not is_available(CORPORA["amazon"]):
        return made_counts(rows, features)
    from data_prep.amazon import read_prepared

    both = [read_prepared(prepared("amazon") / domain)["train"].counts for domain in PAIR]
    return sparse.vstack([part[: rows // 2] for part in both], format="csr")[:, :features]


def plain(rows: Any, layers: int) -> Any:
    """All hidden layers, (n, layers * features), the way the paper prints them."""
    import numpy as np

    hidden, parts = rows.toarray().astype(float).T, []
    for _ in range(layers):
        ones = np.vstack([hidden, np.ones(hidden.shape[1])])
        scatter = ones @ ones.T
        keep = np.append(np.full(len(hidden), 1 - NOISE), 1.0)
        q = scatter * np.outer(keep, keep)
        np.fill_diagonal(q, keep * np.diag(scatter))
        q[np.diag_indices(len(hidden))] += RIDGE
        weight = np.linalg.solve(q.T, (scatter[:-1] * keep).T).T
        hidden = np.tanh(weight @ ones)
        parts.append(hidden.T)
    return np.hstack(parts)


def ours(rows: Any, layers: int, blocks: int = 1, frequent: int | None = None) -> Any:
    from speechnlp_tl.transfer.denoising import MarginalisedDenoiser

    denoiser = MarginalisedDenoiser(layers, NOISE, RIDGE, include_input=False, blocks=blocks, frequent=frequent)
    return denoiser.fit_transform(rows)


def measure(rows: int, features: int, layers: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of both sides in every round, of the wall's clock and of the processor's."""
    import numpy as np

    small = counts(300, 400)
    np.testing.assert_allclose(ours(small, layers), plain(small, layers), atol=2e-3)
    data = counts(rows, features)
    sides = {"ours": lambda: ours(data, layers), "plain": lambda: plain(data, layers)}
    timings = interleaved(sides, rounds, warm_up=0)
    return {"wall": timings.wall, "processor": timings.processor}


def work(arguments: argparse.Namespace) -> None:
    """What a child process does; its peak memory is that of the one thing it did."""
    rows, features, layers = arguments.rows, arguments.features, arguments.layers
    if arguments.only == "ours":
        ours(counts(rows, features), layers)
    elif arguments.only == "plain":
        plain(counts(rows, features), 1)  # the second layer would need no more
    elif arguments.only == "blocks":
        wide = made_counts(rows, WIDE_FEATURES, DENSITY / WIDE_BLOCKS)
        begin = time.perf_counter()
        ours(wide, layers, WIDE_BLOCKS, features)
        print(json.dumps(time.perf_counter() - begin))
    else:
        print(json.dumps(measure(rows, features, layers, arguments.rounds)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="a round takes about two minutes on two cores")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--features", type=int, default=5000)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=("ours", "plain", "blocks"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
        return
    corpus = f"amazon, {' and '.join(PAIR)}" if is_available(CORPORA["amazon"]) else "made counts"
    sizes = [f"--rows={arguments.rows}", f"--features={arguments.features}", f"--layers={arguments.layers}"]

    def child(*options: str) -> Finished:
        return worker(__file__, *sizes, *options, threads=arguments.threads)

    peak, plain_peak = child("--only=ours").peak_mb, child("--only=plain").peak_mb
    timed = child(f"--rounds={arguments.rounds}").answer
    wide = child("--only=blocks")
    wall, processor = timed["wall"], timed["processor"]
    shape = f"{arguments.rows} rows x {arguments.features} features, {arguments.layers} layers"
    budget = f"{shape}, {arguments.threads} threads"
    common = {"recipe": "msda", "commit": commit(), "system": "MarginalisedDenoiser"}
    pair = common | {"corpus": corpus, "budget": budget}
    seconds, interval = median(wall["ours"])
    records = [Record(**pair, metric="seconds", value=seconds, ci95=interval, peak_mb=peak)]
    for metric, (value, ci95) in (
        (MSDA_CPU, median(processor["ours"])),
        (LU_SECONDS, median(wall["plain"])),
        (LU_CPU, median(processor["plain"])),
        (LU_RATIO, ratio(wall["plain"], wall["ours"])),
    ):
        records.append(Record(**pair, metric=metric, value=value, ci95=ci95))
    # not as peak_mb: the promise about memory is ours
    records.append(Record(**pair, metric=LU_PEAK, value=plain_peak))
    budget = f"{budget}; {WIDE_FEATURES} features in {WIDE_BLOCKS} blocks"
    made = common | {"corpus": "made counts", "synthetic": True, "budget": budget}
    records.append(Record(**made, metric=MSDA_BLOCKS, value=wide.answer, peak_mb=wide.peak_mb))
    store("msda", records)


if __name__ == "__main__":
    main()
