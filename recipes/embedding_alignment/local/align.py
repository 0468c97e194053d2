"""Stage 3: alignments of every system, with as many dictionary words as it may have; and all languages in one space."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from itertools import permutations
from typing import Any

import numpy as np
from arguments import read_arguments
from corpora import has_dictionary, train_and_test
from numpy.typing import NDArray
from runs import Runs
from settings import HELD_OUT_FROM, SystemConfig, ends

from data_prep.command import run
from recipes.run_records import in_parallel, record_of, write_record
from speechnlp_tl.embeddings.alignment import Alignment
from speechnlp_tl.embeddings.dictionary import WordDictionary, identical_numerals, identical_strings, spelt_alike
from speechnlp_tl.embeddings.hub import align_jointly, align_pairwise
from speechnlp_tl.embeddings.methods import fit_method, method_settings
from speechnlp_tl.embeddings.soundness import Soundness, soundness
from speechnlp_tl.embeddings.space import Space, SpaceFacts
from speechnlp_tl.embeddings.vector_files import read_vectors
from speechnlp_tl.embeddings.vectors import WordVectors
from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.results import peak_mb

HUBS = ("pairwise", "joint")


def _work() -> None:
    arguments = read_arguments(__doc__)
    runs, config = arguments.runs, arguments.runs.config
    work: list[Any] = [
        (runs, system, pair, budget, seed)
        for pair in config.pairs
        for system in config.systems
        if pair in config.pairs_of(system)
        for budget in config.budgets_of(system)
        for seed in config.seeds_of(pair, system)
    ]
    work = [item for item in work if not record_of(runs.alignment(*item[1:])).is_file()]
    in_parallel(_align, work, arguments.jobs)
    if config.hub is not None:
        hubs = [(runs, kind, seed) for kind in HUBS for seed in range(config.seeds)]
        in_parallel(_hub, [item for item in hubs if not record_of(runs.hub(*item[1:])).is_file()], arguments.jobs)


def _align(item: tuple[Runs, str, str, int, int]) -> str:
    runs, name, pair, budget, seed = item
    system, folder = runs.config.systems[name], runs.alignment(name, pair, budget, seed)
    source, target = (read_language(runs, language, seed) for language in ends(pair))
    train = train_and_test(runs.data, pair)[0]
    began = time.monotonic()
    told = f"{pair}: {name}, {budget} words, seed {seed}"
    try:
        pairs, held_out = linked(system, train, source, target, budget, seed)
        settings = method_settings(system.method, seed, **system.settings)
        alignment = fit_method(system.method, source.matrix, target.matrix, pairs, settings, held_out)
    except InputError as error:
        # too few words for this method is a result, and is shown as one
        write_record(record_of(folder), {"refused": str(error)})
        return f"{told}: refused: {error}"
    seconds = time.monotonic() - began
    record: dict[str, Any] = {
        "wall_s": round(seconds, 2),
        "peak_mb": round(peak_mb(), 1),
        "pairs": None if pairs is None else len(pairs),
    }
    warning = None
    if system.link != "dictionary":
        found = judged(system, alignment, source, target, seed)
        warning = found.warning
        record |= {"soundness": asdict(found), "warning": warning}
    if not folder.is_dir():
        facts = SpaceFacts(method=system.method, link=system.link, warnings=[warning] if warning else [])
        Space(target.name, {source.name: alignment}, facts).save(folder)
    write_record(record_of(folder), record)
    return f"{told}: {seconds:.0f} s" + (f", warning: {warning}" if warning else "")


def judged(
    system: SystemConfig, alignment: Alignment, source: WordVectors, target: WordVectors, seed: int
) -> Soundness:
    """What shows whether an alignment without a dictionary has found anything."""
    seen = getattr(method_settings(system.method, seed, **system.settings), "words", 0)
    alike = None if system.link == "identical" else spelt_alike(source, target)
    return soundness(
        alignment.map_source(source.matrix), alignment.map_target(target.matrix), seen, seed=seed, alike=alike
    )


def read_language(runs: Runs, language: str, seed: int) -> WordVectors:
    """The vectors of a language, cut off as the config says."""
    return read_vectors(runs.vectors(language, seed), runs.config.limit, name=language)


def linked(
    system: SystemConfig, train: WordDictionary, source: WordVectors, target: WordVectors, budget: int, seed: int
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """The pairs that a system learns from, and those of the training dictionary that it chooses its epoch on."""
    if system.link == "none":
        return None, None
    if system.link != "dictionary":
        seeds = identical_strings if system.link == "identical" else identical_numerals
        return seeds(source, target).pairs(source, target).rows, None
    rows = first_words(train.pairs(source, target).rows, budget)
    if system.method not in ("margin", "rcsls") or budget < HELD_OUT_FROM:
        return rows, None
    words = np.unique(rows[:, 0])
    chosen = np.random.default_rng(seed).choice(words, len(words) // 10, replace=False)
    held = np.isin(rows[:, 0], chosen)
    return rows[~held], rows[held]


def first_words(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The pairs of the first `count` source words, in the dictionary's order."""
    words = list(dict.fromkeys(rows[:, 0].tolist()))[:count]
    return rows[np.isin(rows[:, 0], words)]


def _hub(item: tuple[Runs, str, int]) -> str:
    runs, kind, seed = item
    config, folder = runs.config.hub, runs.hub(kind, seed)
    assert config is not None
    vectors = {language: read_language(runs, language, seed) for language in config.languages}
    matrices = {language: found.matrix for language, found in vectors.items()}
    dictionaries = hub_dictionaries(runs, vectors)
    began = time.monotonic()
    align = align_pairwise if kind == "pairwise" else align_jointly
    hub = align(matrices, dictionaries, config.hub)
    seconds = time.monotonic() - began
    if not folder.is_dir():
        others = [language for language in config.languages if language != config.hub]
        counts = {f"{one}-{other}": len(pairs) for (one, other), pairs in dictionaries.items()}
        facts = SpaceFacts(method=f"hub, {kind}", link="dictionary", pairs=counts)
        Space(config.hub, {name: hub.alignment(name, config.hub) for name in others}, facts).save(folder)
    write_record(record_of(folder), {"wall_s": round(seconds, 2), "peak_mb": round(peak_mb(), 1)})
    return f"hub {config.hub}, {kind}, seed {seed}: {len(dictionaries)} dictionaries, {seconds:.0f} s"


def hub_dictionaries(runs: Runs, vectors: Mapping[str, WordVectors]) -> dict[tuple[str, str], NDArray[np.int64]]:
    """Training pairs of every two languages that have a dictionary, each pair once."""
    config = runs.config.hub
    assert config is not None
    found: dict[tuple[str, str], NDArray[np.int64]] = {}
    for one, other in permutations(config.languages, 2):
        pair = f"{one}-{other}"
        both = all(has_dictionary(runs.data, pair, part) for part in ("train", "test"))
        if (other, one) not in found and both:
            train = train_and_test(runs.data, pair)[0]
            found[one, other] = first_words(train.pairs(vectors[one], vectors[other]).rows, config.words)
    return found


if __name__ == "__main__":
    run(_work)
