"""Stage 3: the words of the source and of each target in one space, in every way that the config names."""

from __future__ import annotations

import time

from corpora import dictionary, matched
from runs import Runs, read_arguments

from data_prep.command import run
from recipes.run_records import in_parallel, record_of, write_record
from speechnlp_tl.atomic import atomic_directory
from speechnlp_tl.embeddings import joint_training
from speechnlp_tl.embeddings.dictionary import identical_strings
from speechnlp_tl.embeddings.methods import fit_method, method_settings
from speechnlp_tl.embeddings.space import Space, SpaceFacts
from speechnlp_tl.embeddings.vector_files import read_vectors
from speechnlp_tl.embeddings.vectors import WordVectors
from speechnlp_tl.evaluation.results import peak_mb
from speechnlp_tl.text.word_vector_features import WordVectorFeatures


def _work() -> None:
    runs, jobs = read_arguments(__doc__)
    config = runs.config
    work = [
        (runs, name, target, split)
        for split in range(config.splits)
        for target in config.targets
        for name in config.spaces
    ]
    in_parallel(_align, [item for item in work if not record_of(runs.space(*item[1:])).is_file()], jobs)


def _align(item: tuple[Runs, str, str, int]) -> str:
    runs, name, target, split = item
    began, folder = time.monotonic(), runs.space(name, target, split)
    if not folder.is_dir():
        learn = _together if runs.config.spaces[name].method is None else _aligned
        features = learn(runs, name, target, split)
        with atomic_directory(folder) as temporary:
            features.save(temporary)
    seconds = time.monotonic() - began
    write_record(record_of(folder), {"wall_s": round(seconds, 1), "peak_mb": round(peak_mb(), 1)})
    return f"{runs.config.source}-{target}, division {split}: {name}: {seconds:.0f} s"


def _together(runs: Runs, name: str, target: str, split: int) -> WordVectorFeatures:
    """Vectors that are learned together from matched sentences."""
    config, own = runs.config, runs.config.spaces[name]
    corpora = matched(runs.data, runs.verses(config.source), runs.verses(target), runs.division(split))
    settings = own.training.model_copy(update={"seed": split, "workers": 1})
    if own.merged:
        found = joint_training.train_jointly(corpora, settings)
    else:
        found = joint_training.random_vectors(corpora, settings.dimension, settings.min_count, split)
    return WordVectorFeatures.of(joint_training.fold_in_translations(found, corpora))


def _aligned(runs: Runs, name: str, target: str, split: int) -> WordVectorFeatures:
    """Vectors of each language by itself, brought together by a dictionary, by words spelt alike, or by nothing; then,
    where the config says so, by matched sentences."""
    config, own = runs.config, runs.config.spaces[name]
    one, other = (_vectors(runs, language, split) for language in (config.source, target))
    pairs = None
    if own.link == "identical":
        pairs = identical_strings(one, other).pairs(one, other).rows
    elif own.link == "dictionary":
        sides = (runs.verses(config.source), runs.verses(target))
        entries = dictionary(runs.data, *sides, runs.division(split), config.words)
        pairs = entries.pairs(one, other).rows
    assert own.method is not None
    alignment = fit_method(
        own.method, one.matrix, other.matrix, pairs, method_settings(own.method, split, **own.settings)
    )
    facts = SpaceFacts(method=own.method, link=own.link)
    if own.fold_in:
        mapped = {
            one.name: WordVectors(one.words, alignment.map_source(one.matrix), one.name, one.counts),
            other.name: WordVectors(other.words, alignment.map_target(other.matrix), other.name, other.counts),
        }
        corpora = matched(runs.data, runs.verses(config.source), runs.verses(target), runs.division(split))
        return WordVectorFeatures.of(joint_training.fold_in_translations(mapped, corpora))
    return WordVectorFeatures.of({v.name: v for v in (one, other)}, Space(target, {one.name: alignment}, facts))


def _vectors(runs: Runs, language: str, split: int) -> WordVectors:
    return read_vectors(runs.vectors(language, split), name=language)


def read_space(runs: Runs, name: str, target: str, split: int) -> WordVectorFeatures:
    """What stage 3 made."""
    folder = runs.space(name, target, split) / "words"
    return WordVectorFeatures({each: read_vectors(folder / each, name=each) for each in (runs.config.source, target)})


if __name__ == "__main__":
    run(_work)
