"""results.json, RESULTS.md and the pictures of the speaker adaptation recipe, from the runs of sweep.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import tables
from measurements import UNADAPTED, Measurements
from pictures import draw

from data_prep.command import run
from speechnlp_tl.atomic import write_text
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
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--publish", choices=("true", "false"), default="false")
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    measured = Measurements.read(arguments.runs)
    commit = environment().get("commit")
    records = [record.model_copy(update={"commit": commit}) for record in make_records(measured, arguments.corpus)]
    write_results(arguments.out / "results.json", records)
    draw(measured, arguments.out / "figures", arguments.corpus)
    text = "\n\n".join(tables.sections(measured, arguments.corpus))
    _render(arguments.out, records, [text])
    if arguments.publish == "true":
        _publish(arguments, records, text)
    write_text(arguments.out / "table.md", tables.main_table(measured, arguments.corpus) + "\n")
    print(arguments.out / "RESULTS.md")


def make_records(measured: Measurements, corpus: str) -> list[Record]:
    """Target and source error rates of every method at every budget; the default's also by target speaker."""
    common = {"recipe": RECIPE, "corpus": corpus, "synthetic": corpus == "synthetic", "metric": "wer"}
    records = []
    for method, budget in measured.cells:
        cell = measured.cell(method, budget)
        fixed = {**common, "system": method, "budget": budget, "seeds": cell.seeds, "selection": "fixed"}
        timing = {} if cell.wall_s is None else {"wall_s": round(cell.wall_s, 2)}
        target, old = cell.target, cell.old
        records.append(
            Record(**fixed, **timing, target="new speakers", value=target.wer, ci95=target.ci95, n=target.words)
        )
        records.append(Record(**fixed, target="old speakers", value=old.wer, ci95=old.ci95, n=old.words))
        if method in (UNADAPTED, "default"):
            for speaker, rate in cell.by_speaker.items():
                records.append(Record(**fixed, target=speaker, value=rate.wer, n=rate.words))
    return records


def _render(folder: Path, records: Sequence[Record], sections: Sequence[str]) -> None:
    recipe = "recipes/speaker_adaptation/run.sh --publish true"
    command = f"{recipe} --corpus fsdd\n    {recipe} --corpus an4"
    text = render_results(records, "Speaker adaptation: results", command, environment(), [], "\n\n".join(sections))
    write_text(folder / "RESULTS.md", text)


def _publish(arguments: argparse.Namespace, records: list[Record], text: str) -> None:
    """Merge this corpus into the results beside the recipe; its tables and pictures replace the earlier ones."""
    folder = Path(__file__).parent.parent
    path = folder / "results.json"
    kept = [old for old in read_results(path) if old.corpus != arguments.corpus] if path.is_file() else []
    write_results(path, [*kept, *records])
    pictures = folder / "figures"
    draw(Measurements.read(arguments.runs), pictures, arguments.corpus)
    write_text(pictures / f"{arguments.corpus}.md", text + "\n")
    sections = [path.read_text(encoding="utf-8") for path in sorted(pictures.glob("*.md"), reverse=True)]
    discussion = folder / "local" / "discussion.md"
    if discussion.is_file():
        sections.insert(0, discussion.read_text(encoding="utf-8"))
    _render(folder, [*kept, *records], sections)


if __name__ == "__main__":
    main()
