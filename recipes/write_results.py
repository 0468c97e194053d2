"""results.json and RESULTS.md of a recipe with one score a system: what `score --json` and `train` left behind.

    python ../write_results.py --recipe an4 --corpus an4 --system best --scores exp/scores.json --model exp/model \
        --out exp --publish false

With `--publish true` the records are merged into the results.json beside the recipe, replacing those of the same
system and corpus, and its RESULTS.md is rendered anew.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from data_prep.command import run
from speechnlp_tl.atomic import write_text
from speechnlp_tl.evaluation.results import (
    Record,
    TableSpec,
    environment,
    read_results,
    render_results,
    write_results,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("recipe", "corpus", "system"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--scores", type=Path, required=True, help="JSON file of speechnlp-tl score")
    parser.add_argument("--model", type=Path, required=True, help="experiment folder of speechnlp-tl train")
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json and RESULTS.md")
    parser.add_argument("--publish", choices=("true", "false"), default="false")
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    records = make_records(arguments)
    folders = [arguments.out]
    if arguments.publish == "true":
        folders.append(Path(__file__).parent / arguments.recipe)
    for folder in folders:
        publish(records, folder, arguments.recipe)
    print(f"WER {records[0].value:.2f} %; {arguments.out / 'RESULTS.md'}")


def make_records(arguments: argparse.Namespace) -> list[Record]:
    """The test error rate, and the dev error rate that the search weights were chosen by."""
    scores = json.loads(arguments.scores.read_text(encoding="utf-8"))
    facts = json.loads((arguments.model / "run.json").read_text(encoding="utf-8"))
    common = {
        "recipe": arguments.recipe,
        "corpus": arguments.corpus,
        "synthetic": arguments.corpus == "synthetic",
        "system": arguments.system,
        "seeds": 1,
        "commit": json.loads((arguments.model / "environment.json").read_text(encoding="utf-8")).get("commit"),
        "notes": f"{facts['parameters'] / 1e6:.2f} M parameters, {facts['steps']} steps",
    }
    dev = arguments.model / "dev.json"
    selection = "dev" if dev.is_file() else "fixed"
    measured = {"wall_s": facts["wall_s"], "peak_mb": facts["peak_mb"], "selection": selection}
    ci95 = tuple(scores["ci95"]) if scores["ci95"] else None
    words = scores["words"]
    records = [
        Record(**common, **measured, target="test", metric="wer", value=scores["wer"], ci95=ci95, n=words),
        Record(**common, target="test", metric="cer", value=scores["cer"], n=words),
    ]
    if dev.is_file():
        found = json.loads(dev.read_text(encoding="utf-8"))
        records.append(Record(**common, target="dev", metric="wer", value=found["wer"], selection="dev"))
    return records


def publish(records: list[Record], folder: Path, recipe: str) -> None:
    """Merge into the folder's results.json, and render its RESULTS.md."""
    path = folder / "results.json"
    new = {(record.system, record.corpus) for record in records}
    kept = [old for old in read_results(path) if (old.system, old.corpus) not in new] if path.is_file() else []
    merged = [*kept, *records]
    write_results(path, merged)
    prose_file = Path(__file__).parent / recipe / "local" / "results.md"
    prose = prose_file.read_text(encoding="utf-8") if prose_file.is_file() else ""
    rows = ("system", "corpus")
    tables = [
        TableSpec(f"{name} error rate (%) on the test set", rows, where={"target": "test", "metric": metric})
        for name, metric in (("Word", "wer"), ("Character", "cer"))
    ]
    if any(record.target == "dev" for record in merged):
        tables.append(
            TableSpec(
                "Word error rate (%) on the held-out training speech that the search weights were chosen on",
                rows=("system", "corpus"),
                where={"target": "dev", "metric": "wer"},
            )
        )
    costs = ["| system | corpus | training | peak memory | size |", "|---|---|---|---|---|"]
    for record in merged:
        if record.wall_s is not None and record.peak_mb is not None:
            minutes = f"{record.wall_s / 60:.1f} min"
            costs.append(
                f"| {record.system} | {record.corpus} | {minutes} | {record.peak_mb:.0f} MB | {record.notes} |"
            )
    text = render_results(
        merged,
        f"{recipe}: results",
        f"recipes/{recipe}/run.sh --publish true   # and the options in README.md for the other rows",
        environment(),
        tables,
        prose + "\n\n" + "\n".join(costs),
    )
    write_text(folder / "RESULTS.md", text)


if __name__ == "__main__":
    main()
