"""RESULTS.md of a recipe whose tables it makes itself, of cells that it forms, and the published results beside it.

A recipe's `local/report.py` is a `ResultsPage` and `main(page)`; it takes --results, --figures, --out and --publish. A
`discussion.md` beside it stands above the tables. With `--publish true` the records replace those of their corpora in
the results.json beside the recipe, and its RESULTS.md is rendered anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.command import run
from speechnlp_tl.atomic import atomic_file, write_text
from speechnlp_tl.evaluation.results import Record, environment, read_results, render_results, write_results


@dataclass(frozen=True)
class ResultsPage:
    """What is particular to a recipe."""

    folder: Path
    """Of the recipe."""
    title: str
    command: str
    """That makes what is published."""
    sections: Callable[[Sequence[Record], str], list[str]]
    """All tables of a corpus, in Markdown."""
    pictures: Mapping[str, str]
    """Name of a picture behind the corpus -> what it shows."""

    def render(self, folder: Path, records: Sequence[Record]) -> None:
        """Write `RESULTS.md` into a folder that may have pictures in `figures/`."""
        discussion = self.folder / "local" / "discussion.md"
        parts = [discussion.read_text(encoding="utf-8")] if discussion.is_file() else []
        for corpus in sorted({record.corpus for record in records}):
            parts += self.sections(records, corpus)
            parts += [
                f"![{told}](figures/{corpus}-{name}.png)"
                for name, told in self.pictures.items()
                if (folder / "figures" / f"{corpus}-{name}.png").is_file()
            ]
        text = render_results(records, self.title, self.command, environment(), [], "\n\n".join(parts))
        write_text(folder / "RESULTS.md", text)

    def publish(self, records: Sequence[Record], figures: Path) -> None:
        """Put records and pictures of their corpora in the place of earlier ones beside the recipe."""
        corpora = {record.corpus for record in records}
        for figure in sorted(path for corpus in corpora for path in figures.glob(f"{corpus}-*.png")):
            with atomic_file(self.folder / "figures" / figure.name) as temporary:
                temporary.write_bytes(figure.read_bytes())
        path = self.folder / "results.json"
        earlier = read_results(path) if path.is_file() else []
        merged = [*(old for old in earlier if old.corpus not in corpora), *records]
        write_results(path, merged)
        self.render(self.folder, merged)


def publishing(recipe: str, *configurations: str) -> str:
    """The command lines that make what is published: one as it is, and one for each of other options of `run.sh`."""
    return "\n    ".join(
        f"recipes/{recipe}/run.sh{more and f' {more}'} --publish true" for more in ("", *configurations)
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, of cells as they are."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def interval(record: Record, form: str = ".1f") -> str:
    """`[low, high]` of a record; empty where it has none."""
    return "" if record.ci95 is None else f"[{record.ci95[0]:{form}}, {record.ci95[1]:{form}}]"


def significant(record: Record | None) -> bool:
    """Whether a record of a difference, whose `notes` end with `p <value>`, has p < 0.05."""
    return record is not None and float((record.notes or "p 1").rpartition("p ")[2]) < 0.05


def main(page: ResultsPage, description: str | None) -> None:
    """The command line of a recipe's `local/report.py`."""
    parser = argparse.ArgumentParser(description=description)
    for name in ("results", "figures", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--publish", choices=("true", "false"), default="false")
    arguments = parser.parse_args()

    def work() -> None:
        records = read_results(arguments.results)
        page.render(arguments.out, records)
        if arguments.publish == "true":
            page.publish(records, arguments.figures)
        print(arguments.out / "RESULTS.md")

    run(work)
