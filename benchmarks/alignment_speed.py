"""Alignment of two whole vocabularies with the clock, and against gensim's TranslationMatrix.

    python benchmarks/alignment_speed.py [--rows 200000] [--cut-off 20000]

With a dictionary: all steps of the preset `vecmap` from 5000 pairs, and both vocabularies mapped. Without one:
self-learning at a vocabulary cut-off, to its end, and both vocabularies mapped; the languages have half the noise, so
that there is something to find. gensim does less, and we do the same
beside it: least squares of unit vectors from the pairs, then the nearest neighbours of some words among all targets,
which must be the same words. All from vectors in memory; they are made, see `_made_vectors`.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from _harness import WORK, commit, interleaved, measured, ratio, skip, store
from _report import (
    ALIGN_FREE,
    ALIGN_FREE_S,
    ALIGN_GENSIM,
    ALIGN_OURS,
    ALIGN_PEER_RATIO,
    ALIGN_PEER_SECONDS,
    ALIGN_SUPERVISED,
    ALIGN_SUPERVISED_S,
)

from speechnlp_tl.evaluation.results import Record

PAIRS = 5000
NEIGHBOURS = 10
NOISE = {"noisy": 1.0, "quiet": 0.5}
"""Pairs of languages that are made."""


def make(folder: Path, rows: int) -> None:
    import numpy as np
    from _made_vectors import made_languages

    for name, noise in NOISE.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        source, target, _ = made_languages(rows, noise=noise)
        np.save(folder / name / "source.npy", source)
        np.save(folder / name / "target.npy", target)


def load(folder: Path, words: int, languages: str = "noisy") -> tuple[Any, Any, Any, Any]:
    """Source and target vectors, the dictionary's pairs, and other words to translate; frequent ones more often."""
    import numpy as np

    source, target = (np.load(folder / languages / f"{name}.npy") for name in ("source", "target"))
    chance = 1.0 / np.arange(100, len(source) + 100)
    drawn = np.random.default_rng(0).choice(len(source), PAIRS + words, replace=False, p=chance / chance.sum())
    pairs = np.stack([drawn[:PAIRS], drawn[:PAIRS]], axis=1)
    return source, target, pairs, drawn[PAIRS:]


def translated(source: Any, target: Any, words: Any) -> float:
    """P@1 in percent, by the nearest neighbour; row i translates row i."""
    from speechnlp_tl.embeddings.retrieval import neighbours

    return 100.0 * float((neighbours(source[words], target, 1).rows[:, 0] == words).mean())


def measure_supervised(folder: Path, words: int, cut_off: int) -> dict[str, float]:
    from speechnlp_tl.embeddings.alignment import fit_alignment, preset

    source, target, pairs, tested = load(folder, words)
    begin = time.perf_counter()
    alignment = fit_alignment(source, target, pairs, preset("vecmap"))
    mapped = alignment.map_source(source), alignment.map_target(target)
    seconds = time.perf_counter() - begin
    return {ALIGN_SUPERVISED_S: seconds, "p@1": translated(*mapped, tested)}


def measure_free(folder: Path, words: int, cut_off: int) -> dict[str, float]:
    from speechnlp_tl.embeddings.self_learning import SelfLearningSettings, self_learn

    source, target, _, tested = load(folder, words, "quiet")
    begin = time.perf_counter()
    found = self_learn(source, target, settings=SelfLearningSettings(words=cut_off))
    mapped = found.alignment.map_source(source), found.alignment.map_target(target)
    seconds = time.perf_counter() - begin
    return {
        ALIGN_FREE_S: seconds,
        "rounds": float(len(found.rounds)),
        "p@1": translated(*mapped, tested),
        "mutual pairs, %": 100.0 * found.mutual_share,
    }


def peer(source: Any, target: Any, pairs: Any, words: Any) -> Callable[[], Any]:
    """gensim's translation of the words (words, NEIGHBOURS), learned from the pairs each time it is called."""
    import numpy as np
    from gensim.models import KeyedVectors, TranslationMatrix

    keyed = []
    for array in (source, target):
        vectors = KeyedVectors(array.shape[1])
        vectors.add_vectors([str(row) for row in range(len(array))], array)
        keyed.append(vectors)
    named = [(str(a), str(b)) for a, b in pairs]
    asked = [str(row) for row in words]

    def run() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = TranslationMatrix(*keyed, named)
            found = model.translate(asked, NEIGHBOURS, source_lang_vec=keyed[0], target_lang_vec=keyed[1])
        return np.array([[int(word) for word in found[name]] for name in asked])

    return run


def ours(source: Any, target: Any, pairs: Any, words: Any) -> Callable[[], Any]:
    from speechnlp_tl.embeddings.alignment import fit_alignment, preset
    from speechnlp_tl.embeddings.retrieval import neighbours

    def run() -> Any:
        alignment = fit_alignment(source, target, pairs, preset("least-squares", normalise=("unit",)))
        return neighbours(alignment.map_source(source[words]), alignment.map_target(target), NEIGHBOURS).rows

    return run


def measure_peer(folder: Path, words: int, rounds: int) -> dict[str, list[float]]:
    source, target, pairs, tested = load(folder, words)
    sides = {ALIGN_OURS: ours(source, target, pairs, tested), ALIGN_GENSIM: peer(source, target, pairs, tested)}
    agree = (sides[ALIGN_OURS]()[:, 0] == sides[ALIGN_GENSIM]()[:, 0]).mean()
    assert agree > 0.99, f"the same best translation for {100 * agree:.1f} % of the words only"
    return interleaved(sides, rounds, warm_up=0).wall


def work(arguments: argparse.Namespace) -> None:
    folder, words = Path(arguments.folder), arguments.words
    if arguments.only == "make":
        make(folder, arguments.rows)
        print("null")
        return
    measures: dict[str, Callable[[], Any]] = {
        ALIGN_SUPERVISED: lambda: measure_supervised(folder, words, arguments.cut_off),
        ALIGN_FREE: lambda: measure_free(folder, words, arguments.cut_off),
        ALIGN_GENSIM: lambda: measure_peer(folder, words, arguments.rounds),
        ALIGN_OURS: lambda: bool(ours(*load(folder, words))().size),
    }
    print(json.dumps(measures[arguments.only]()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000, help="words a side")
    parser.add_argument("--words", type=int, default=500, help="words to translate")
    parser.add_argument("--cut-off", type=int, default=20_000, help="most frequent words that self-learning takes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
        return
    try:
        import gensim  # noqa: F401
    except ImportError:
        skip("gensim is not installed: pip install 'speechnlp_tl[embeddings]'")
    folder = WORK / f"alignment-{arguments.rows}"
    names = ("rows", "words", "cut_off", "rounds")
    sizes = [f"--{name.replace('_', '-')}={getattr(arguments, name)}" for name in names]

    child = partial(measured, __file__, *sizes, f"--folder={folder}", threads=arguments.threads)
    child("--only=make")
    shape = f"{arguments.rows} x 300 a side, {arguments.threads} threads"
    common = {"recipe": "alignment_speed", "corpus": "made vectors", "synthetic": True, "commit": commit()}
    records = []
    for system, seconds, budget in (
        (ALIGN_SUPERVISED, ALIGN_SUPERVISED_S, f"{PAIRS} pairs, {shape}"),
        (ALIGN_FREE, ALIGN_FREE_S, f"no pairs, cut-off {arguments.cut_off}, {shape}"),
    ):
        result, peak = child(f"--only={system}")
        for metric, value in result.items():
            more = {"peak_mb": peak} if metric == seconds else {}
            records.append(Record(**common, system=system, budget=budget, metric=metric, value=value, **more))
    timed, peer_peak = child(f"--only={ALIGN_GENSIM}")
    peak = child(f"--only={ALIGN_OURS}")[1]
    same = common | {"system": ALIGN_OURS, "budget": f"{PAIRS} pairs, {arguments.words} words, {shape}"}
    middle = sorted(timed[ALIGN_OURS])[len(timed[ALIGN_OURS]) // 2]
    theirs = sorted(timed[ALIGN_GENSIM])[len(timed[ALIGN_GENSIM]) // 2]
    value, interval = ratio(timed[ALIGN_GENSIM], timed[ALIGN_OURS])
    records += [
        Record(**same, metric="seconds", value=middle, peak_mb=peak),
        Record(**same, metric=ALIGN_PEER_SECONDS, value=theirs),
        Record(**same, metric=ALIGN_PEER_RATIO, value=value, ci95=interval),
        # not as peak_mb: the promise about memory is ours
        Record(**same, metric="peak MB, gensim and ours in one process", value=peer_peak),
    ]
    store("alignment_speed", records)


if __name__ == "__main__":
    main()
