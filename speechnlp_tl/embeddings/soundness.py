"""Has an alignment found anything? Seen from the vectors alone, without a word whose translation is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from speechnlp_tl.embeddings.induction import induce
from speechnlp_tl.embeddings.normalisation import Vectors
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

    @property
    def warning(self) -> str | None:
        """Plain words where it has most likely failed; None where it looks sound."""
        return collapse_warning(self.round_trips, self.by_chance)


def soundness(source: Vectors, target: Vectors, seen: int = 0, words: int = WORDS, seed: int = 0) -> Soundness:
    """Translate words there and back that took no part in learning the alignment: those agree, rightly or wrongly.

    Args:
        source: (n, k) mapped vectors, most frequent words first.
        target: (m, k).
        seen: how many words of each language took part.
        words: how many of the next ones are translated.
        seed: of the random rotation.
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
    )
