"""CSLS translation of some words among whole vocabularies, exact and approximate, against the bare matrix products.

    python benchmarks/csls.py [--rows 200000] [--words 1500]

The neighbourhood means of all targets need the product of both vocabularies, and that is nearly all there is to do. It
is parted into slices of the targets; in each slice the means and the bare products take turns, so that what else the
machine does hits both. Bare products are those of PyTorch in float32, into a buffer that stays in the cache, of the
shape that is faster here. Every other way to translate runs in a process of its own; its `agreement` is the share of
words with the same best translation as by the exact means. The vectors are made, see `_made_vectors`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from _harness import WORK, commit, interleaved, measured, ratio, store
from _report import (
    CSLS_AGREEMENT,
    CSLS_AGREEMENT_10,
    CSLS_BARE,
    CSLS_BARE_HALF,
    CSLS_CPU_RATIO,
    CSLS_EXACT,
    CSLS_FASTEST,
    CSLS_RATIO,
    CSLS_SECONDS,
)

from speechnlp_tl.evaluation.results import Record

FREQUENT = 20_000
SLICES = 8
NEIGHBOURS = 10
SHAPES = ((512, 2048), (1024, 8192), (4096, 4096))
ENOUGH = 99.0
"""Percent of agreement that the fastest way must keep."""


def make(folder: Path, rows: int) -> None:
    """Mapped source and target vectors, in float32 and float16, and the words to translate."""
    import numpy as np
    from _made_vectors import made_languages

    source, target, turn = made_languages(rows)
    source = source @ turn
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("source", source), ("target", target)):
        np.save(folder / f"{name}.npy", array)
        np.save(folder / f"{name}-half.npy", array.astype(np.float16))


def load(folder: Path, words: int, kind: str = "") -> tuple[Any, Any, Any]:
    """Source and target vectors, memory-mapped, and the rows of the words to translate, frequent ones more often."""
    import numpy as np

    source, target = (np.load(folder / f"{name}{kind}.npy", mmap_mode="c") for name in ("source", "target"))
    chance = 1.0 / np.arange(100, len(source) + 100)
    drawn = np.random.default_rng(0).choice(len(source), words, replace=False, p=chance / chance.sum())
    return source, target, np.sort(drawn)


def products(left: Any, right: Any, dtype: Any, shape: tuple[int, int]) -> Callable[[], None]:
    """The bare matrix product left right^T, tile by tile into one buffer."""
    import torch

    x, y = (torch.from_numpy(array).to(dtype) for array in (left, right))
    buffer = torch.empty(shape[0] * shape[1], dtype=dtype)

    def run() -> None:
        for rows in x.split(shape[0]):
            for columns in y.split(shape[1]):
                out = buffer[: len(rows) * len(columns)].view(len(rows), len(columns))
                torch.mm(rows, columns.T, out=out)

    return run


def fastest_shape(left: Any, right: Any, dtype: Any) -> tuple[int, int]:
    seconds = {}
    for shape in SHAPES:
        run = products(left[:4096], right[:16384], dtype, shape)
        run()
        begin = time.perf_counter()
        run()
        seconds[shape] = time.perf_counter() - begin
    return min(seconds, key=lambda shape: seconds[shape])


def measure_exact(folder: Path, words: int) -> dict[str, Any]:
    """Seconds in every slice; the last one is the translation itself, with all means known."""
    import numpy as np
    import torch

    from speechnlp_tl.embeddings.retrieval import neighbourhood_means, neighbours

    source, target, rows = load(folder, words)
    queries, means = source[rows], np.empty(len(target), dtype=np.float32)
    shapes = {dtype: fastest_shape(target, source, dtype) for dtype in (torch.float32, torch.bfloat16)}

    def bare(left: Any, right: Any, dtype: torch.dtype) -> Callable[[], None]:
        return products(left, right, dtype, shapes[dtype])

    names = (CSLS_SECONDS, CSLS_BARE, CSLS_BARE_HALF)
    seconds: dict[str, list[float]] = {name: [] for name in (*names, *(f"CPU {name}" for name in names))}
    found: list[Any] = []
    for part in [*np.array_split(np.arange(len(target)), SLICES), None]:
        if part is None:
            left, right = queries, target
            ours = lambda: found.append(neighbours(queries, target, NEIGHBOURS, "csls", target_means=means))  # noqa: E731
        else:
            left, right = target[part[0] : part[-1] + 1], source

            def ours(left: Any = left, part: Any = part) -> None:
                means[part] = neighbourhood_means(left, source)

        sides = {CSLS_SECONDS: ours}
        sides |= {CSLS_BARE: bare(left, right, torch.float32), CSLS_BARE_HALF: bare(left, right, torch.bfloat16)}
        timings = interleaved(sides, 1, warm_up=0)
        for name in sides:
            seconds[name] += timings.wall[name]
            seconds[f"CPU {name}"] += timings.processor[name]
        print(f"slice {len(seconds[CSLS_SECONDS])} of {SLICES + 1}", file=sys.stderr, flush=True)
    np.save(folder / "exact-rows.npy", found[0].rows)
    np.save(folder / "exact-means.npy", means)
    return seconds | {"P@1": 100.0 * float((found[0].rows[:, 0] == rows).mean())}


def ways(folder: Path, words: int) -> dict[str, Callable[[], Any]]:
    """What else translates the words: from arrays on the disk to rows of targets."""
    import numpy as np

    from speechnlp_tl.embeddings.approximate import approximate_means
    from speechnlp_tl.embeddings.retrieval import neighbourhood_means, neighbours

    def by(target_means: Callable[[Any, Any], Any] | None, kind: str = "", k: int = NEIGHBOURS) -> Callable[[], Any]:
        def translate() -> Any:
            source, target, rows = load(folder, words, kind)
            given: dict[str, Any] = {"sources": source}
            if target_means is not None:
                given = {"target_means": target_means(target, source)}
            return neighbours(source[rows], target, k, "csls", **given).rows

        return translate

    return {
        "exact, 10 best, means of candidates": by(None),
        "exact, the best, means of candidates": by(None, k=1),
        "exact, float16 vectors, the best": by(None, "-half", 1),
        "means known": by(lambda y, x: np.load(folder / "exact-means.npy")),
        f"means over {FREQUENT} sources": by(lambda y, x: neighbourhood_means(y, x[:FREQUENT])),
        "faiss, 8 cells": by(lambda y, x: approximate_means(y, x, probes=8)),
    }


def measure_way(folder: Path, words: int, name: str) -> dict[str, float]:
    import numpy as np

    from speechnlp_tl.embeddings.exact_search import fastest_precision

    fastest_precision(2)  # import and the trial are no part of a translation
    begin = time.perf_counter()
    found = ways(folder, words)[name]()
    seconds = time.perf_counter() - begin
    exact = np.load(folder / "exact-rows.npy")
    result = {CSLS_SECONDS: seconds, CSLS_AGREEMENT: 100.0 * float((found[:, 0] == exact[:, 0]).mean())}
    if found.shape[1] == NEIGHBOURS:
        shared = [len(np.intersect1d(a, b)) for a, b in zip(found, exact, strict=True)]
        result[CSLS_AGREEMENT_10] = 100.0 * float(np.mean(shared)) / NEIGHBOURS
    return result


def work(arguments: argparse.Namespace) -> None:
    folder = Path(arguments.folder)
    if arguments.only == "make":
        make(folder, arguments.rows)
        print("null")
    elif arguments.only == "exact":
        print(json.dumps(measure_exact(folder, arguments.words)))
    elif arguments.only == "ways":
        print(json.dumps(list(ways(folder, arguments.words))))
    else:
        print(json.dumps(measure_way(folder, arguments.words, arguments.only)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000, help="words a side; the time grows with the square")
    parser.add_argument("--words", type=int, default=1500)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
        return
    folder = WORK / f"csls-{arguments.rows}"
    sizes = [f"--rows={arguments.rows}", f"--words={arguments.words}", f"--folder={folder}"]

    child = partial(measured, __file__, *sizes, threads=arguments.threads)
    child("--only=make")
    exact, peak = child("--only=exact")
    shape = f"{arguments.words} words, {arguments.rows} x 300 a side, {arguments.threads} threads"
    common = {"recipe": "csls", "corpus": "made vectors", "synthetic": True, "budget": shape, "commit": commit()}
    ours = common | {"system": CSLS_EXACT}
    total = {name: sum(values) for name, values in exact.items() if isinstance(values, list)}
    _, interval = ratio(exact[CSLS_SECONDS][:-1], exact[CSLS_BARE][:-1])
    value = total[CSLS_SECONDS] / total[CSLS_BARE]
    interval = (min(interval[0], value), max(interval[1], value))
    records = [
        Record(**ours, metric=CSLS_SECONDS, value=total[CSLS_SECONDS], peak_mb=peak),
        Record(**ours, metric=CSLS_BARE, value=total[CSLS_BARE]),
        Record(**ours, metric=CSLS_BARE_HALF, value=total[CSLS_BARE_HALF]),
        Record(**ours, metric=CSLS_RATIO, value=value, ci95=interval),
        Record(**ours, metric=CSLS_CPU_RATIO, value=total[f"CPU {CSLS_SECONDS}"] / total[f"CPU {CSLS_BARE}"]),
        Record(**ours, metric="p@1", value=exact["P@1"], n=arguments.words),
    ]
    good = {}
    for name in child("--only=ways")[0]:
        result, peak = child(f"--only={name}")
        if result[CSLS_AGREEMENT] >= ENOUGH and name != "means known":
            good[name] = result[CSLS_SECONDS]
        for metric, value in result.items():
            more = {"peak_mb": peak} if metric == CSLS_SECONDS else {}
            records.append(Record(**common, system=name, metric=metric, value=value, **more))
    if good:
        best = min(good, key=lambda name: good[name])
        records.append(Record(**common, system=best, metric=CSLS_FASTEST, value=good[best]))
    store("csls", records)


if __name__ == "__main__":
    main()
