"""Stage 2: word vectors of each language, and of each pair learned together from matched sentences."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from arguments import read_arguments
from corpora import matched_sentences, text_files
from runs import Runs
from settings import ends

from data_prep.command import run
from recipes.run_records import in_parallel, record_of, write_record
from speechnlp_tl.atomic import atomic_directory
from speechnlp_tl.embeddings import joint_training
from speechnlp_tl.embeddings.matched_sentences import MatchedSentences
from speechnlp_tl.embeddings.normalisation import concatenated
from speechnlp_tl.embeddings.spelling import append_spelling
from speechnlp_tl.embeddings.training import train_vectors
from speechnlp_tl.embeddings.vector_files import read_vectors, write_vectors
from speechnlp_tl.embeddings.vectors import WordVectors
from speechnlp_tl.evaluation.results import peak_mb


def _work() -> None:
    arguments = read_arguments(__doc__)
    runs = arguments.runs
    config = runs.config
    work: list[Any] = []
    # pair by pair, so that those that come first are there first
    for language in config.languages:
        work += [(runs, "", language, seed) for seed in config.seeds_of_language(language)]
    for pair in config.pairs:
        named = [name for name in config.joint if pair in config.pairs_of(name)]
        work += [(runs, name, pair, seed) for name in named for seed in config.seeds_of(pair, name)]
    work = [each for each in work if not record_of(place(*each)).is_file()]
    in_parallel(_train, work, arguments.jobs)


def place(runs: Runs, system: str, name: str, seed: int) -> Path:
    """Of the vectors of a language (no system) or of a pair."""
    return runs.joint(system, name, seed) if system else runs.vectors(name, seed)


def _train(item: tuple[Runs, str, str, int]) -> str:
    runs, system, name, seed = item
    began, folder = time.monotonic(), place(*item)
    if not folder.is_dir():
        if system:
            found = _jointly(runs, system, name, seed)
            with atomic_directory(folder) as temporary:
                for language, vectors in found.items():
                    write_vectors(vectors, temporary / language)
        else:
            write_vectors(_alone(runs, name, seed), folder)
    seconds = time.monotonic() - began
    write_record(record_of(folder), {"wall_s": round(seconds, 1), "peak_mb": round(peak_mb(), 1)})
    return f"{name}, seed {seed}: {system or 'vectors of their own'}: {seconds:.0f} s"


def _alone(runs: Runs, language: str, seed: int) -> WordVectors:
    text = text_files(runs.data, language)
    trained = [
        train_vectors(text, settings.model_copy(update={"seed": seed, "workers": 1}), language)
        for settings in runs.config.trainings
    ]
    if len(trained) == 1:
        return trained[0]
    # the rarest threshold of all decides which words there are
    words = [word for word in trained[0].words if all(word in other for other in trained)]
    rows = [vectors.rows(words) for vectors in trained]
    parts = [vectors.matrix[row] for vectors, row in zip(trained, rows, strict=True)]
    counts = trained[0].counts
    return WordVectors(words, concatenated(parts), language, None if counts is None else counts[np.asarray(rows[0])])


def _jointly(runs: Runs, system: str, pair: str, seed: int) -> dict[str, WordVectors]:
    config, settings = runs.config.joint[system], runs.config.joint[system].training
    corpora = matched_sentences(runs.data, pair)
    if config.base == "merged":
        settings = settings.model_copy(update={"seed": seed, "workers": 1})
        found = _trained_already(runs, system, pair, seed) or joint_training.train_jointly(corpora, settings)
    else:
        made = joint_training.random_vectors if config.base == "random" else joint_training.sentence_id_vectors
        found = made(corpora, settings.dimension, settings.min_count, seed)
    if config.fold_in:
        found = joint_training.fold_in_translations(found, corpora, links=_links(pair, corpora, found))
    return append_spelling(found, config.spelling) if config.spelling else found


_known_links: dict[tuple[object, ...], joint_training.Links] = {}


def _links(pair: str, corpora: Sequence[MatchedSentences], vectors: Mapping[str, WordVectors]) -> joint_training.Links:
    """Of a pair's sentences: the same for every seed, as long as the words are."""
    key = (pair, *(tuple(found.words) for found in vectors.values()))
    if key not in _known_links:
        _known_links.clear()  # pairs come one after the other
        words = {language: found.index for language, found in vectors.items()}
        _known_links[key] = joint_training.translation_links(corpora, words)
    return _known_links[key]


def _trained_already(runs: Runs, system: str, pair: str, seed: int) -> dict[str, WordVectors] | None:
    """The same vectors before anything is folded in, where they are a system of their own and are there."""
    changes = {"fold_in": False, "spelling": 0.0, "pairs": None, "seeds": None}
    plain = runs.config.joint[system].model_copy(update=changes)
    for name, other in runs.config.joint.items():
        folder = runs.joint(name, pair, seed)
        same = other.model_copy(update={"pairs": None, "seeds": None}) == plain
        if same and record_of(folder).is_file():
            return {language: read_vectors(folder / language, name=language) for language in ends(pair)}
    return None


if __name__ == "__main__":
    run(_work)
