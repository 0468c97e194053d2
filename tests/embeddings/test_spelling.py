from __future__ import annotations

import numpy as np
import pytest

from speechnlp_tl.embeddings.spelling import append_spelling
from speechnlp_tl.embeddings.vectors import WordVectors
from speechnlp_tl.errors import InputError


def vectors() -> dict[str, WordVectors]:
    english = ["separation", "musician", "dog", "tree"]
    french = ["chien", "musicien", "séparation", "arbre"]
    rng = np.random.default_rng(0)
    return {
        "en": WordVectors(english, rng.standard_normal((4, 6)).astype(np.float32), "en", np.arange(4)),
        "fr": WordVectors(french, rng.standard_normal((4, 6)).astype(np.float32), "fr"),
    }


def test_words_of_like_spelling_come_near_each_other_and_the_rest_does_not() -> None:
    found = append_spelling(vectors(), weight=1000.0, dimension=400)
    cosine = found["en"].matrix @ found["fr"].matrix.T
    assert cosine[0, 2] > 0.9  # but for an accent the same
    assert cosine[1, 1] > 0.4
    assert abs(cosine[2, 0]) < 0.2
    assert cosine[0].argmax() == 2
    assert cosine[1].argmax() == 1


def test_the_cosine_is_that_of_meaning_and_spelling_by_weight() -> None:
    start, weight = vectors(), 0.5
    both, meaning, spelling = (append_spelling(start, w, dimension=50) for w in (weight, 0.0, 1e6))
    cosines = [found["en"].matrix @ found["fr"].matrix.T for found in (both, meaning, spelling)]
    assert np.allclose(cosines[0], (cosines[1] + weight**2 * cosines[2]) / (1 + weight**2), atol=1e-5)
    assert np.allclose(np.linalg.norm(both["fr"].matrix, axis=1), 1, atol=1e-6)
    assert both["en"].dimension == 56
    assert both["en"].counts is not None
    again = append_spelling(start, weight, dimension=50)
    assert again["fr"].matrix.tobytes() == both["fr"].matrix.tobytes()


def test_impossible_n_grams_are_refused() -> None:
    with pytest.raises(InputError, match="n-grams of 4 to 2"):
        append_spelling(vectors(), shortest=4, longest=2)
    with pytest.raises(InputError, match="no spelling of 0 languages"):
        append_spelling({})
