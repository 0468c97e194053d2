"""Alignment with few words or none: map, induce a dictionary, map again (Artetxe, Labaka and Agirre 2018, ACL).

    found = self_learn(source, target)                 without any link between the languages
    found = self_learn(source, target, pairs)          from a seed dictionary: few words, or identical strings
    found.alignment, found.pairs, found.similarity

Whether an unsupervised run has found anything cannot be seen from its translations alone; `mutual` and `similarity` of
the result tell a collapsed run from a good one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.embeddings.alignment import Alignment, AlignmentSettings, fit_maps, preset
from speechnlp_tl.embeddings.induction import Induction, induce, unsupervised_pairs
from speechnlp_tl.embeddings.normalisation import Normalisation, NormalisationStep, Vectors, check_pairs, check_vectors
from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.word_translation import validation_score

Pairs = NDArray[np.int64]


class SelfLearningSettings(StrictModel):
    """How a dictionary and a map are made from each other until neither gets better."""

    words: PositiveInt = 20000
    """The most frequent words of each language take part; all are mapped in the end."""
    initial_words: PositiveInt = 4000
    """How many of them find the first dictionary where none is given."""
    neighbourhood: PositiveInt = 10
    """Of CSLS."""
    parts: PositiveInt = 10
    """Random parts in the beginning: a pair of words is considered with probability 1 / parts. Halved, down to 1,
    whenever the dictionary gets no better. 1 makes nothing random."""
    patience: PositiveInt = 10
    """Rounds without a better dictionary before the parts are halved. In one part nothing is random any more, and the
    first round that is no better ends the search."""
    threshold: Annotated[float, Field(ge=0)] = 1e-4
    """What counts as better: the mean highest cosine of a word's translations must grow by more."""
    most_rounds: PositiveInt = 1000
    seed_copies: NonNegativeInt = 1
    """How often each pair of a given dictionary stands beside the induced ones; 0 forgets it after the first map."""
    normalise: tuple[NormalisationStep, ...] = ("unit", "centre", "unit")
    final: AlignmentSettings = preset("vecmap")
    """Steps of the last map; its own `normalise` is not used. The maps on the way are orthogonal."""
    seed: NonNegativeInt = 0


@dataclass(frozen=True)
class Round:
    """What one round of self-learning gave."""

    parts: int
    similarity: float
    """Mean highest cosine, over both languages' words, among the words that were considered."""
    mutual: int
    """Pairs that are each other's best translation."""


@dataclass(frozen=True)
class SelfLearning:
    """Where self-learning ended, and what shows whether it has found anything."""

    alignment: Alignment
    pairs: Pairs
    """(p, 2): the induced dictionary, the mutual CSLS neighbours of the final map."""
    similarity: float
    """Mean cosine of these pairs after the final map."""
    words: int
    """How many words of the smaller vocabulary took part: the most pairs that there could be."""
    rounds: list[Round]

    @property
    def mutual_share(self) -> float:
        """Induced pairs per word, 0 to 1."""
        return len(self.pairs) / self.words


def self_learn(
    source: Vectors,
    target: Vectors,
    pairs: Pairs | None = None,
    settings: SelfLearningSettings | None = None,
    report: Callable[[Round], None] | None = None,
) -> SelfLearning:
    """Align two languages by self-learning.

    Args:
        source: (n, d), rows are words, most frequent first.
        target: (m, e).
        pairs: (p, 2) seed dictionary, such as identical strings; without one the first dictionary comes from the
            languages' similarity distributions, and d may differ from e.
        settings: the defaults when None.
        report: told of each round, for progress.

    Raises:
        InputError: vectors or pairs that cannot be used.
    """
    settings = settings or SelfLearningSettings()
    if pairs is not None:
        pairs = check_pairs(pairs, (len(source), len(target)))
    norms = []
    for name, vectors in (("source", source), ("target", target)):
        check_vectors(vectors, name)
        norms.append(Normalisation.fit(vectors, settings.normalise, name))
    x, y = norms[0](source[: settings.words]), norms[1](target[: settings.words])
    seeds = None if pairs is None else (norms[0](source[pairs[:, 0]]), norms[1](target[pairs[:, 1]]))
    induced, rounds = _search(x, y, seeds, settings, report)
    left, right = _matched(x, y, induced, seeds, settings)
    source_map, target_map, singular_values = fit_maps(left, right, settings.final)
    alignment = Alignment(norms[0], norms[1], source_map, target_map, singular_values)
    mapped_x, mapped_y = x @ source_map, y if target_map is None else y @ target_map
    found = induce(mapped_x, mapped_y, settings.neighbourhood).mutual
    return SelfLearning(alignment, found, mean_cosine(mapped_x, mapped_y, found), min(len(x), len(y)), rounds)


def mean_cosine(source: Vectors, target: Vectors, pairs: Pairs) -> float:
    """Mean cosine of the pairs' mapped vectors; 0 without pairs."""
    return validation_score(source[pairs[:, 0]], target, pairs[:, 1]) if len(pairs) else 0.0


def _search(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    seeds: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
    settings: SelfLearningSettings,
    report: Callable[[Round], None] | None,
) -> tuple[Induction, list[Round]]:
    """Rounds of mapping and induction; the best dictionary of those from whole vocabularies, and what each gave."""
    generator = np.random.default_rng(settings.seed)
    smaller = min(len(x), len(y))
    parts = min(settings.parts, max(1, smaller // (2 * settings.neighbourhood)))
    if seeds is None:
        if smaller < 2:
            raise InputError(f"an alignment without a dictionary needs more words than {smaller}")
        first = unsupervised_pairs(x, y, settings.initial_words, settings.neighbourhood).pairs
        left, right = x[first[:, 0]], y[first[:, 1]]
    else:
        left, right = seeds
    rounds: list[Round] = []
    best: Induction | None = None
    highest, waited = -np.inf, 0
    while True:
        u, _, vt = np.linalg.svd(left.T @ right, full_matrices=False)
        found = induce(x @ u, y @ vt.T, settings.neighbourhood, parts, generator)
        rounds.append(Round(parts, found.similarity, len(found.mutual)))
        if report is not None:
            report(rounds[-1])
        waited += 1
        if found.similarity > highest + settings.threshold:
            highest, waited = found.similarity, 0
            best = found
        last = len(rounds) >= settings.most_rounds
        if last or waited >= (1 if parts == 1 else settings.patience):
            if last or parts == 1:
                assert best is not None
                return best, rounds
            parts, highest, waited = parts // 2, -np.inf, 0
        left, right = _matched(x, y, found, seeds, settings)


def _matched(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    induced: Induction,
    seeds: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
    settings: SelfLearningSettings,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rows of the induced pairs, and of the given ones as often as the settings say."""
    pairs = induced.pairs
    left, right = x[pairs[:, 0]], y[pairs[:, 1]]
    if seeds is None or not settings.seed_copies:
        return left, right
    copies = settings.seed_copies
    return np.concatenate([left, *[seeds[0]] * copies]), np.concatenate([right, *[seeds[1]] * copies])
