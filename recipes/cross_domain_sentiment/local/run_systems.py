"""Run the systems of a config on every pair of domains: predictions of the target's test reviews, one file a run.

A run that is there already with the same settings is not run again, so a killed sweep goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path

from linear_systems import run_linear
from pairs import Pair, kind_of_features, read_pair
from run_record import RunName, is_done, runs_on, settings_of, write_run
from settings import RecipeConfig
from shared_denoisers import fit_shared_denoisers

from data_prep.command import run
from speechnlp_tl.core.config import load_config
from speechnlp_tl.evaluation.results import peak_mb

DENOISERS = "denoisers"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conf", type=Path, required=True)
    parser.add_argument("--part", choices=("source", "transfer"), required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2, help="pairs of domains side by side")
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.conf, RecipeConfig)
    out = runs_on(arguments.data, arguments.out)
    for line in fit_shared_denoisers(config, arguments.part, arguments.data, out / DENOISERS):
        print(line, flush=True)
    pairs = list(combinations(config.domains_in(arguments.data), 2))
    jobs = max(1, min(arguments.jobs, len(pairs)))
    # of each process; what it is not told takes all cores
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    work = [(config, arguments.part, one, two, arguments.data, out) for one, two in pairs]
    began = time.monotonic()
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for done, (pair, count) in enumerate(zip(pairs, pool.map(_run_pair, work), strict=True), start=1):
            left = (time.monotonic() - began) / done * (len(pairs) - done)
            print(
                f"{' and '.join(pair)}: {count} runs; {done} of {len(pairs)} done, {left / 60:.0f} min left", flush=True
            )


def _run_pair(work: tuple[RecipeConfig, str, str, str, Path, Path]) -> int:
    """All runs of two domains, either of them as the source; how many there were to do."""
    config, part, one, two, data, out = work
    systems = getattr(config, part)
    # systems with the same fitted features after one another: they are made once for each such row
    names = [
        RunName(system, source, target, seed)
        for system in sorted(systems, key=lambda name: kind_of_features(systems[name]))
        for source, target in ((one, two), (two, one))
        for seed in range(seeds_of(config, system))
    ]
    names = [name for name in names if not is_done(name.file(out), settings_of(config, name.system))]
    if not names:
        return 0
    pair = read_pair(data, one, two, config, out / DENOISERS)
    for name in names:
        print(_run(config, pair, name, out), flush=True)
    return len(names)


def seeds_of(config: RecipeConfig, system: str) -> int:
    return config.seeds if config.systems[system].kind == "network" else config.linear_seeds


def _run(config: RecipeConfig, pair: Pair, name: RunName, folder: Path) -> str:
    """One run; a line for the console."""
    system = config.systems[name.system]
    begin, fitted = time.monotonic(), pair.fit_seconds
    if system.kind == "network":
        from network_systems import run_network  # PyTorch's modules take seconds to load

        outcome = run_network(system, config, pair, name.source, name.seed)
    else:
        outcome = run_linear(system, pair, name.source, config.held_out, name.seed)
    # features that are fitted once for a pair count where they were fitted
    wall = time.monotonic() - begin
    write_run(name.file(folder), name, settings_of(config, name.system), outcome, wall, peak_mb())
    told = "" if outcome.validation_accuracy is None else f", {outcome.selection} {outcome.validation_accuracy:.1f} %"
    extra = f", of which fitting features {pair.fit_seconds - fitted:.1f} s" if pair.fit_seconds != fitted else ""
    return f"{name.source} -> {name.target}: {name.system}, seed {name.seed}: {wall:.1f} s{extra}{told}"


if __name__ == "__main__":
    main()
