"""results.json and RESULTS.md of the cross-domain sentiment recipe, from the runs of run_systems.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from choices import chosen_cells
from measurements import make_records, read_cells
from settings import RecipeConfig
from tables import sections

from data_prep.command import run
from speechnlp_tl.atomic import atomic_file, write_text
from speechnlp_tl.core.config import load_config
from speechnlp_tl.evaluation.results import Record, environment, read_results, render_results, write_results

RECIPE = "cross_domain_sentiment"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    for name in ("conf", "data", "runs", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--publish", choices=("true", "false"), default="false")
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.conf, RecipeConfig)
    common = {"recipe": RECIPE, "corpus": arguments.corpus, "synthetic": arguments.corpus == "synthetic"}
    common |= {"commit": environment().get("commit")}
    cells = read_cells(config, arguments.runs, arguments.data)
    for choice, among in config.choices.items():
        for rule, chosen in chosen_cells(among, cells).items():
            cells[f"{choice} by {rule}"] = chosen
    records = make_records(cells, common)
    write_results(arguments.out / "results.json", records)
    _render(arguments.out, records)
    if arguments.publish == "true":
        _publish(records, arguments.corpus, arguments.out / "figures")
    print(arguments.out / "RESULTS.md")


def _publish(records: list[Record], corpus: str, figures: Path) -> None:
    """Merge into the results beside the recipe: what was measured now replaces its earlier records, and those of
    systems that no configuration names any more go."""
    folder = Path(__file__).parent.parent
    for figure in sorted(figures.glob(f"{corpus}-*.png")):
        with atomic_file(folder / "figures" / figure.name) as temporary:
            temporary.write_bytes(figure.read_bytes())
    path, new = folder / "results.json", {record.system for record in records}
    earlier = read_results(path) if path.is_file() else []
    named = _named(folder / "conf")
    kept = [old for old in earlier if old.corpus != corpus or (old.system in named and old.system not in new)]
    write_results(path, [*kept, *records])
    _render(folder, [*kept, *records])


def _named(folder: Path) -> set[str]:
    """Systems of all configurations of the recipe."""
    configs = [load_config(path, RecipeConfig) for path in sorted(folder.glob("*.yaml")) if "encoder" not in path.stem]
    return {system for config in configs for system in config.systems}


def _render(folder: Path, records: Sequence[Record]) -> None:
    discussion = Path(__file__).parent / "discussion.md"
    parts = [discussion.read_text(encoding="utf-8")] if discussion.is_file() else []
    for corpus in sorted({record.corpus for record in records}):
        parts += sections(records, corpus)
    script = f"recipes/{RECIPE}/run.sh"
    runs = ("", " --corpus amazon-text", " --conf conf/amazon-linear.yaml   # linear systems only")
    command = "\n    ".join(f"{script} --publish true{which}" for which in runs)
    pictures = {
        "tsne": "hidden layer before and after (t-SNE)",
        "domain-classifier": "the domain classifier under DANN",
    }
    parts += [
        f"![{told}](figures/{corpus}-{name}.png)"
        for corpus in sorted({record.corpus for record in records})
        for name, told in pictures.items()
        if (folder / "figures" / f"{corpus}-{name}.png").is_file()
    ]
    text = render_results(records, "Cross-domain sentiment: results", command, environment(), [], "\n\n".join(parts))
    write_text(folder / "RESULTS.md", text)


if __name__ == "__main__":
    main()
