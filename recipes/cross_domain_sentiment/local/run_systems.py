"""Run the systems of a config on every pair of domains: predictions of the target's test reviews, one file a run.

A run that is there already with the same settings is not run again, so a killed sweep goes on where it stopped.
"""

from __future__ import annotations

import argparse
import time
from itertools import combinations
from pathlib import Path

from linear_systems import run_linear
from pairs import Pair, read_pair
from run_record import RunName, is_done, settings_of, write_run
from settings import RecipeConfig

from data_prep.command import run
from speechnlp_tl.core.config import load_config
from speechnlp_tl.evaluation.results import peak_mb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conf", type=Path, required=True)
    parser.add_argument("--part", choices=("source", "transfer"), required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.conf, RecipeConfig)
    systems = getattr(config, arguments.part)
    began = time.monotonic()
    pairs = list(combinations(config.domains, 2))
    total = sum(2 * len(pairs) * seeds_of(config, system) for system in systems)
    done = 0
    for one, two in pairs:
        pair = read_pair(arguments.data, one, two, config.msda)
        for source, target in ((one, two), (two, one)):
            for system in systems:
                for seed in range(seeds_of(config, system)):
                    line = _run(config, pair, RunName(system, source, target, seed), arguments.out)
                    done += 1
                    if line:
                        print(f"{done}/{total} {line} ({time.monotonic() - began:.0f} s)", flush=True)


def seeds_of(config: RecipeConfig, system: str) -> int:
    return config.seeds if config.systems[system].kind == "network" else config.linear_seeds


def _run(config: RecipeConfig, pair: Pair, name: RunName, folder: Path) -> str | None:
    """One run, unless it is there; a line for the console."""
    file, settings = name.file(folder), settings_of(config, name.system)
    if is_done(file, settings):
        return None
    system = config.systems[name.system]
    begin, fitted = time.monotonic(), pair.fit_seconds
    if system.kind == "network":
        from network_systems import run_network  # PyTorch's modules take seconds to load

        outcome = run_network(system, config, pair, name.source, name.seed)
    else:
        outcome = run_linear(system, pair, name.source, config.held_out, name.seed)
    # features that are fitted once for a pair count where they were fitted
    wall = time.monotonic() - begin
    write_run(file, name, settings, outcome, wall, peak_mb())
    told = "" if outcome.validation_accuracy is None else f", {outcome.selection} {outcome.validation_accuracy:.1f} %"
    extra = f", of which mSDA {pair.fit_seconds:.1f} s" if pair.fit_seconds != fitted else ""
    return f"{name.source} -> {name.target}: {name.system}, seed {name.seed}: {wall:.1f} s{extra}{told}"


if __name__ == "__main__":
    main()
