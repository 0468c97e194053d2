"""A sound alignment is told from a failed one by words that took no part, without a known translation."""

from __future__ import annotations

import numpy as np
import pytest

from speechnlp_tl.embeddings.soundness import soundness

GENERATOR = np.random.default_rng(0)
SOURCE = GENERATOR.standard_normal((900, 40)).astype(np.float32) * np.linspace(2, 0.4, 40, dtype=np.float32)
TARGET = SOURCE + 0.3 * GENERATOR.standard_normal(SOURCE.shape).astype(np.float32)
WRONG = np.linalg.qr(GENERATOR.standard_normal((40, 40)))[0].astype(np.float32)


def test_a_right_alignment_is_sound_and_a_wrong_one_warns() -> None:
    right, wrong = soundness(SOURCE, TARGET), soundness(SOURCE @ WRONG, TARGET)
    assert right.warning is None
    assert right.round_trips > 80 > wrong.round_trips
    assert right.score > wrong.score
    assert wrong.warning is not None
    assert f"{wrong.round_trips:.0f} %" in wrong.warning


def test_only_words_that_took_no_part_are_asked() -> None:
    """The first 600 words agree, the others do not: that was learned, not found."""
    target = TARGET.copy()
    target[600:] = TARGET[600:] @ WRONG
    assert soundness(SOURCE, target, seen=600).warning is not None
    assert soundness(SOURCE, target, seen=600).round_trips < 60
    # with no words behind those that took part these stand in
    assert soundness(SOURCE[:620], target[:620], seen=600).round_trips > 80


def test_words_that_are_spelt_alike_tell_a_wrong_map_on_which_both_directions_agree() -> None:
    order = np.random.default_rng(1).permutation(len(SOURCE))
    agreed = TARGET[order]  # each word has one partner, and it is the wrong one
    alike = np.stack([np.arange(100)] * 2, axis=1)
    fooled = soundness(SOURCE, agreed)
    assert fooled.round_trips > 80
    assert fooled.warning is None
    told = soundness(SOURCE, agreed, alike=alike)
    assert (told.alike, told.alike_words) == (pytest.approx(0, abs=3), 100)
    assert "of 100 words that both languages spell alike" in (told.warning or "")
    right = soundness(SOURCE, TARGET, alike=alike)
    assert right.alike > 90
    assert right.warning is None
    # too few of them say nothing
    assert soundness(SOURCE, agreed, alike=alike[:20]).warning is None
    assert soundness(SOURCE, agreed, alike=alike[:0]).alike is None
