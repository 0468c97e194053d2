"""Stage 6: RESULTS.md, and the published results beside the recipe."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from score import IDENTIFIER
from settings import RECIPE

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

METRICS = {"bleu": "BLEU", "chrf": "chrF", "off-target": "Translations in another language than was asked for (%)"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("results", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--publish", choices=("true", "false"), default="false")
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    records = read_results(arguments.results)
    _render(arguments.out, records)
    if arguments.publish == "true":
        folder = Path(__file__).parent.parent
        path, new = folder / "results.json", {record.corpus for record in records}
        earlier = read_results(path) if path.is_file() else []
        merged = [*(old for old in earlier if old.corpus not in new), *records]
        write_results(path, merged)
        _render(folder, merged)
    print(arguments.out / "RESULTS.md")


def _render(folder: Path, records: Sequence[Record]) -> None:
    tables = [
        TableSpec(title, rows=("corpus", "system"), columns=("source", "target"), where={"metric": metric}, decimals=1)
        for metric, title in METRICS.items()
    ]
    signatures = sorted({record.notes for record in records if record.notes})
    identifier = [record for record in records if record.system == IDENTIFIER]
    prose = "\n".join(
        [
            *(f"- sacrebleu signature: `{signature}`" for signature in signatures),
            *(
                f"- {record.corpus}: the identifier names {record.value:.2f} % of {record.n} dev sentences rightly"
                for record in identifier
            ),
        ]
    )
    command = f"recipes/{RECIPE}/run.sh --publish true"
    title = "Zero-shot translation: results"
    write_text(folder / "RESULTS.md", render_results(records, title, command, environment(), tables, prose))


if __name__ == "__main__":
    main()
