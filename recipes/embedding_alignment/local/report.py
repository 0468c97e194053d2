"""Stage 6: RESULTS.md, and the published results beside the recipe."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from score import RECIPE
from tables import sections

from data_prep.command import run
from speechnlp_tl.atomic import atomic_file, write_text
from speechnlp_tl.evaluation.results import Record, environment, read_results, render_results, write_results

PICTURES = {
    "tsne": "words and their translations, before and after (t-SNE)",
    "dictionary": "P@1 against dictionary size",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    for name in ("results", "figures", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--publish", choices=("true", "false"), default="false")
    run(lambda: _work(parser.parse_args()))


def _work(arguments: argparse.Namespace) -> None:
    records = read_results(arguments.results)
    _render(arguments.out, records)
    if arguments.publish == "true":
        folder = Path(__file__).parent.parent
        for figure in sorted(arguments.figures.glob(f"{arguments.corpus}-*.png")):
            with atomic_file(folder / "figures" / figure.name) as temporary:
                temporary.write_bytes(figure.read_bytes())
        path = folder / "results.json"
        earlier = read_results(path) if path.is_file() else []
        merged = [*(old for old in earlier if old.corpus != arguments.corpus), *records]
        write_results(path, merged)
        _render(folder, merged)
    print(arguments.out / "RESULTS.md")


def _render(folder: Path, records: Sequence[Record]) -> None:
    discussion = Path(__file__).parent / "discussion.md"
    parts = [discussion.read_text(encoding="utf-8")] if discussion.is_file() else []
    for corpus in sorted({record.corpus for record in records}):
        parts += sections(records, corpus)
        parts += [
            f"![{told}](figures/{corpus}-{name}.png)"
            for name, told in PICTURES.items()
            if (folder / "figures" / f"{corpus}-{name}.png").is_file()
        ]
    command = f"recipes/{RECIPE}/run.sh --conf conf/quick.yaml --publish true"
    title = "Words across languages: results"
    write_text(folder / "RESULTS.md", render_results(records, title, command, environment(), [], "\n\n".join(parts)))


if __name__ == "__main__":
    main()
