"""Has an alignment found anything? Seen without a word whose translation is known: from agreement and from spelling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.embeddings.induction import induce
from speechnlp_tl.embeddings.normalisation import Vectors
from speechnlp_tl.embeddings.retrieval import neighbours
from speechnlp_tl.evaluation.word_translation import collapse_warning, round_trips, validation_score

WORDS = 2000
"""Words of each language that are translated there and back."""
FEWEST = 100
"""Words behind those that took part; with fewer, the most frequent ones stand in, who tell less."""


@dataclass(frozen=True)
class Soundness:
    """What tells a collapsed alignment from a sound one."""

    score: float
    """Mean cosine of the words and their translations (Conneau et al. 2018): compares maps of the same vectors."""
    round_trips: float
    """Percent of the words that are the translation of their translation."""
    by_chance: float
    """The same after a random rotation in place of the map."""
    alike: float | None = None
    """Percent of the words that both languages spell alike which have each other as nearest; None without any."""
    alike_words: int = 0
    """How many these are."""

    @property
    def warning(self) -> str | None:
        """Plain words where it has most likely failed; None where it looks sound."""
        return collapse_warning(self.round_trips, self.by_chance, self.alike, self.alike_words)


def soundness(
    source: Vectors,
    target: Vectors,
    seen: int = 0,
    words: int = WORDS,
    seed: int = 0,
    alike: NDArray[np.int64] | None = None,
) -> Soundness:
    """Translate words there and back that took no part in learning the alignment: those agree, rightly or wrongly.

    Args:
        source: (n, k) mapped vectors, most frequent words first.
        target: (m, k).
        seen: how many words of each language took part.
        words: how many of the next ones are translated.
        seed: of the random rotation.
        alike: (p, 2) rows of words that both languages spell alike (`spelt_alike`). Only where the alignment did not
            learn from them.
    """
    first = seen if min(len(source), len(target)) >= seen + FEWEST else 0
    x, y = (np.asarray(side[first : first + words], np.float32) for side in (source, target))
    found = induce(x, y)
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((x.shape[1], x.shape[1])))[0]
    chance = induce(x @ rotation.astype(np.float32), y)
    return Soundness(
        validation_score(x, y, found.forward),
        round_trips(found.forward, found.backward),
        round_trips(chance.forward, chance.backward),
        None if alike is None or not len(alike) else _found(source, target, alike),
        0 if alike is None else len(alike),
    )


def _found(source: Vectors, target: Vectors, pairs: NDArray[np.int64]) -> float:
    best = neighbours(source[pairs[:, 0]], target, 1).rows[:, 0]
    return 100.0 * float((best == pairs[:, 1]).mean())
