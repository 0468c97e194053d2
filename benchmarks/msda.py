"""Five layers of mSDA on one pair of Amazon domains against a plain numpy version that solves by LU.

    python benchmarks/msda.py [--rounds 3]

The plain version writes the equations of Chen et al. 2012 down as they are printed: dense float64 with the constant
as a row, `numpy.linalg.solve`, products in full. Both must give the same features on a small part before they are
timed. Without the Amazon corpus, made counts of the same density are taken.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from _corpora import prepared
from _harness import commit, interleaved, median, ratio, store, worker
from _report import LU_RATIO, LU_SECONDS

from data_prep.fetch import CORPORA, is_available
from speechnlp_tl.evaluation.results import Record

NOISE, RIDGE = 0.5, 1e-5
PAIR = ("books", "dvd")
DENSITY = 0.018
"""Share of entries that are not zero in the Amazon counts."""


def counts(rows: int, features: int) -> Any:
    """The first rows and features of both domains' training rows, as scipy CSR."""
    import numpy as np
    from scipy import sparse

    if not is_available(CORPORA["amazon"]):
        generator = np.random.default_rng(0)
        entries = {"random_state": generator, "data_rvs": lambda size: generator.geometric(0.7, size)}
        return sparse.random(rows, features, DENSITY, "csr", dtype="float32", **entries)
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


def ours(rows: Any, layers: int) -> Any:
    from speechnlp_tl.transfer.denoising import MarginalisedDenoiser

    return MarginalisedDenoiser(layers, NOISE, RIDGE, include_input=False).fit_transform(rows)


def measure(rows: int, features: int, layers: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of both sides in every round."""
    import numpy as np

    small = counts(300, 400)
    np.testing.assert_allclose(ours(small, layers), plain(small, layers), atol=2e-3)
    data = counts(rows, features)
    sides = {"ours": lambda: ours(data, layers), "plain": lambda: plain(data, layers)}
    return interleaved(sides, rounds, warm_up=0).wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="a round takes about two minutes on two cores")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--features", type=int, default=5000)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    rows, features, layers = arguments.rows, arguments.features, arguments.layers
    if arguments.worker:
        if arguments.memory:
            ours(counts(rows, features), layers)
        else:
            print(json.dumps(measure(rows, features, layers, arguments.rounds)))
        return
    corpus = f"amazon, {' and '.join(PAIR)}" if is_available(CORPORA["amazon"]) else "made counts"
    sizes = [f"--rows={rows}", f"--features={features}", f"--layers={layers}"]
    # the plain version needs more memory: ours is counted in a process of its own
    peak = worker(__file__, "--memory", *sizes, threads=arguments.threads).peak_mb
    timed = worker(__file__, *sizes, "--rounds", str(arguments.rounds), threads=arguments.threads).answer
    shape = f"{rows} rows x {features} features, {layers} layers, {arguments.threads} threads"
    common = {"recipe": "msda", "corpus": corpus, "budget": shape, "commit": commit(), "system": "MarginalisedDenoiser"}
    seconds, interval = median(timed["ours"])
    records = [Record(**common, metric="seconds", value=seconds, ci95=interval, peak_mb=peak)]
    for metric, (value, ci95) in (
        (LU_SECONDS, median(timed["plain"])),
        (LU_RATIO, ratio(timed["plain"], timed["ours"])),
    ):
        records.append(Record(**common, metric=metric, value=value, ci95=ci95))
    store("msda", records)


if __name__ == "__main__":
    main()
