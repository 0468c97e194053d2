"""Stage 4: the ten best translations of each test word. What translates it is not looked at here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from align import HUBS, read_language
from arguments import read_arguments
from corpora import dictionary, has_dictionary
from numpy.typing import NDArray
from runs import Runs
from settings import ends

from data_prep.command import run
from recipes.run_records import in_parallel, read_record, record_of, write_record
from speechnlp_tl.embeddings.retrieval import neighbours
from speechnlp_tl.embeddings.space import Space
from speechnlp_tl.embeddings.vector_files import read_vectors
from speechnlp_tl.embeddings.vectors import WordVectors

DEPTH = 10


@dataclass(frozen=True)
class Translated:
    """One run whose translations are scored."""

    system: str
    pair: str
    budget: int | str
    seed: int
    folder: Path
    """Of the alignment, or of jointly trained vectors."""
    kind: str
    """`alignment`, `hub` or `joint`."""
    retrieval: tuple[str, ...]

    def file(self, runs: Runs) -> Path:
        return runs.translations(self.folder, self.pair, list(self.retrieval))


def all_runs(runs: Runs) -> Iterator[Translated]:
    """Every run of the config, in the order of the tables; refused ones among them."""
    config = runs.config
    for pair in config.pairs:
        for name, system in config.systems.items():
            for budget in config.budgets_of(name) if pair in config.pairs_of(name) else ():
                for seed in config.seeds_of(pair, name):
                    folder = runs.alignment(name, pair, budget, seed)
                    yield Translated(name, pair, budget, seed, folder, "alignment", tuple(system.retrieval))
        for name in config.joint:
            if pair in config.pairs_of(name):
                for seed in config.seeds_of(pair, name):
                    folder = runs.joint(name, pair, seed)
                    yield Translated(name, pair, "sentences", seed, folder, "joint", ("csls", "nn"))
    for kind in HUBS if config.hub else ():
        for pair in hub_pairs(runs):
            for seed in range(config.seeds):
                folder = runs.hub(kind, seed)
                assert config.hub is not None
                yield Translated(f"hub, {kind}", pair, config.hub.words, seed, folder, "hub", ("csls",))


def hub_pairs(runs: Runs) -> list[str]:
    """Pairs of the hub's languages that have a dictionary to test on; of the two directions one."""
    config = runs.config.hub
    assert config is not None
    names = config.languages
    pairs = [f"{one}-{other}" for one in names for other in names if one != other]
    there = [pair for pair in pairs if has_dictionary(runs.data, pair, "test")]
    first: dict[frozenset[str], str] = {}
    for pair in there:
        first.setdefault(frozenset(ends(pair)), pair)
    return list(first.values())


def _work() -> None:
    arguments = read_arguments(__doc__)
    runs = arguments.runs
    work = [(runs, each) for each in all_runs(runs) if not each.file(runs).is_file()]
    work = [item for item in work if not refused(item[1])]
    in_parallel(_translate, work, arguments.jobs)


def refused(each: Translated) -> str | None:
    """Why there is no alignment; None where there is one."""
    return read_record(record_of(each.folder), 3).get("refused")


def languages(runs: Runs, each: Translated) -> tuple[WordVectors, WordVectors]:
    """The vectors of the source and the target, as they were before the alignment."""
    names = ends(each.pair)
    if each.kind == "joint":
        one, other = (read_vectors(each.folder / name, runs.config.limit, name=name) for name in names)
    else:
        one, other = (read_language(runs, name, each.seed) for name in names)
    return one, other


def mapped(each: Translated, source: WordVectors, target: WordVectors) -> tuple[NDArray[np.float32], ...]:
    if each.kind == "joint":
        return source.matrix, target.matrix
    between = Space.load(each.folder).between(source.name, target.name)
    return between.map_source(source.matrix), between.map_target(target.matrix)


def _translate(item: tuple[Runs, Translated]) -> str:
    runs, each = item
    source, target = languages(runs, each)
    known = dictionary(runs.data, each.pair, "test").pairs(source, target).rows
    rows = np.unique(known[:, 0])
    x, y = mapped(each, source, target)
    record: dict[str, Any] = {"rows": rows.tolist(), "best": {}}
    for retrieval in each.retrieval:
        best = neighbours(x[rows], y, DEPTH, retrieval, sources=x).rows  # type: ignore[arg-type]
        record["best"][retrieval] = [" ".join(map(str, row)) for row in best.tolist()]
    write_record(each.file(runs), record)
    return f"{each.pair}: {each.system}, {each.budget}, seed {each.seed}: {len(rows)} words"


if __name__ == "__main__":
    run(_work)
