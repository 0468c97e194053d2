"""results.json, RESULTS.md and the pictures of the speaker adaptation recipe, from the runs of sweep.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import tables
from measurements import UNADAPTED, Measurements
from pictures import draw
from settings import SweepConfig

from data_prep.command import run
from speechnlp_tl.atomic import write_text
from speechnlp_tl.core.config import load_config
from speechnlp_tl.evaluation.results import (
    Record,
    environment,
    read_results,
    render_results,
    write_results,
)

RECIPE = "speaker_adaptation"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--conf", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--publish", choices=("true", "false"), default="false")
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.conf, SweepConfig)
    measured = Measurements.read(arguments.runs)
    commit = environment().get("commit")
    records = [one.model_copy(update={"commit": commit}) for one in make_records(measured, arguments.corpus, config)]
    write_results(arguments.out / "results.json", records)
    name, edition = (arguments.conf.stem, config.edition) if config.edition else (arguments.corpus, "")
    labels = config.labels
    draw(measured, arguments.out / "figures", arguments.corpus, name, labels[0].capitalize())
    text = "\n\n".join(tables.sections(measured, arguments.corpus, labels, name))
    _render(arguments.out / "RESULTS.md", records, [text], edition)
    if arguments.publish == "true":
        folder = Path(__file__).parent.parent
        draw(measured, folder / "figures", arguments.corpus, name, labels[0].capitalize())
        _publish(folder, arguments.corpus, edition, name, records, text)
    write_text(arguments.out / "table.md", tables.main_table(measured, arguments.corpus, labels) + "\n")
    print(arguments.out / "RESULTS.md")


def make_records(measured: Measurements, corpus: str, config: SweepConfig) -> list[Record]:
    """Target and source error rates of every method at every budget; the default's also by target speaker."""
    common = {"recipe": RECIPE, "corpus": corpus, "synthetic": corpus == "synthetic", "metric": "wer"}
    whose = ("telephone", "clean") if config.channel else ("new speakers", "old speakers")
    records = []
    for method, budget in measured.cells:
        cell = measured.cell(method, budget)
        fixed = {**common, "system": method, "budget": budget, "seeds": cell.seeds, "selection": "fixed"}
        timing = {} if cell.wall_s is None else {"wall_s": round(cell.wall_s, 2)}
        target, old = cell.target, cell.old
        records.append(Record(**fixed, **timing, target=whose[0], value=target.wer, ci95=target.ci95, n=target.words))
        records.append(Record(**fixed, target=whose[1], value=old.wer, ci95=old.ci95, n=old.words))
        if method in (UNADAPTED, "default") and not config.channel:
            for speaker, rate in cell.by_speaker.items():
                records.append(Record(**fixed, target=speaker, value=rate.wer, n=rate.words))
    return records


def _render(path: Path, records: Sequence[Record], sections: Sequence[str], edition: str) -> None:
    recipe = "recipes/speaker_adaptation/run.sh --publish true"
    command = f"{recipe} --corpus fsdd\n    {recipe} --corpus an4"
    if edition:
        command = f"{recipe} --conf conf/fsdd-unsupervised.yaml\n    {recipe} --corpus an4 --conf conf/an4-channel.yaml"
    title = f"Speaker adaptation{', ' + edition if edition else ''}: results"
    write_text(path, render_results(records, title, command, environment(), [], "\n\n".join(sections)))


def _publish(folder: Path, corpus: str, edition: str, name: str, records: list[Record], text: str) -> None:
    """Merge this corpus into the edition's results beside the recipe; its tables replace the earlier ones."""
    suffix = f"-{edition}" if edition else ""
    path = folder / f"results{suffix}.json"
    kept = [old for old in read_results(path) if old.corpus != corpus] if path.is_file() else []
    write_results(path, [*kept, *records])
    tables_of = folder / "figures" / edition
    tables_of.mkdir(exist_ok=True)
    write_text(tables_of / f"{name}.md", text + "\n")
    sections = [path.read_text(encoding="utf-8") for path in sorted(tables_of.glob("*.md"), reverse=True)]
    discussion = folder / "local" / f"discussion{suffix}.md"
    if discussion.is_file():
        sections.insert(0, discussion.read_text(encoding="utf-8"))
    _render(folder / f"RESULTS{suffix}.md", [*kept, *records], sections, edition)


if __name__ == "__main__":
    main()
