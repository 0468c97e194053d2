"""The recipe's DANN on raw counts with one seed, on all 12 pairs of Amazon domains, by the clock.

    python benchmarks/twelve_tasks.py [--system dann] [--jobs 2]

What is timed is the recipe's own command, `recipes/cross_domain_sentiment/local/run_systems.py`, with the settings of
its `conf/amazon.yaml`; all that is left out is the other systems and seeds, and the measurements beside the
predictions (the proxy A-distance, the scores of the selection rules).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from _corpora import prepared
from _harness import ROOT, commit, run, store
from _report import TABLE_CPU, TABLE_SECONDS

from speechnlp_tl.atomic import write_text
from speechnlp_tl.core.config import dump_config, load_config
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.results import Record

RECIPE = ROOT / "recipes" / "cross_domain_sentiment"


def only(config: Any, system: str) -> Any:
    """The recipe's config with one system, one seed, and predictions as all that is made.

    Raises:
        InputError: the config has no such network.
    """
    chosen = config.systems.get(system)
    if chosen is None or chosen.kind != "network":
        networks = [name for name, each in config.systems.items() if each.kind == "network"]
        raise InputError(Problem(f"there is no network '{system}'", remedy=f"one of: {', '.join(networks)}"))
    chosen = chosen.model_copy(update={"distance": False, "scored": False})
    return config.model_copy(update={"seeds": 1, "source": {}, "transfer": {system: chosen}, "choices": {}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", default="dann", help="a network of conf/amazon.yaml")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    sys.path.insert(0, str(RECIPE / "local"))  # the recipe's modules know each other by plain names
    from measurements import ACCURACY, read_cells
    from settings import RecipeConfig

    config = only(load_config(RECIPE / "conf" / "amazon.yaml", RecipeConfig), arguments.system)
    data = prepared("amazon")
    with tempfile.TemporaryDirectory() as folder:
        conf, runs = Path(folder) / "conf.yaml", Path(folder) / "runs"
        write_text(conf, dump_config(config))
        places = ["--conf", conf, "--part", "transfer", "--data", data, "--out", runs]
        done = run([sys.executable, RECIPE / "local" / "run_systems.py", *places, "--jobs", str(arguments.jobs)])
        (cells,) = read_cells(config, runs, data).values()
    print(done.output, end="")
    accuracy = sum(cell.accuracy for cell in cells.values()) / len(cells)
    common = {"recipe": "twelve_tasks", "corpus": "amazon", "system": arguments.system, "commit": commit()}
    common |= {"budget": f"{len(cells)} pairs, {arguments.jobs} jobs"}
    store(
        "twelve_tasks",
        [
            Record(**common, metric=TABLE_SECONDS, value=done.wall_s, peak_mb=done.peak_mb),
            Record(**common, metric=TABLE_CPU, value=done.processor_s),
            Record(**common, metric=ACCURACY, value=accuracy),
        ],
    )


if __name__ == "__main__":
    main()
