"""The picture of two languages: what is joined, what is written, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.word_plots import WordPairs, joined_pairs

ROWS = np.random.default_rng(0).standard_normal((12, 5)).astype(np.float32)


def test_every_pair_is_joined_by_a_line_from_word_to_translation() -> None:
    pytest.importorskip("sklearn")
    panels = [WordPairs("before", ROWS, -ROWS), WordPairs("after", ROWS, ROWS + 0.01)]
    figure = joined_pairs(panels, ("en", "fr"), [("house", "maison")])
    assert [axes.get_title() for axes in figure.axes] == ["before", "after"]
    for axes in figure.axes:
        points = [np.asarray(each.get_offsets()) for each in axes.collections]
        lines = np.stack([line.get_xydata() for line in axes.lines])
        assert lines.shape == (12, 2, 2)
        assert np.allclose(lines[:, 0], points[0], atol=1e-3)
        assert np.allclose(lines[:, 1], points[1], atol=1e-3)
        assert [text.get_text() for text in axes.texts] == ["house", "maison"]


def test_sides_of_unlike_length_and_too_few_pairs_are_refused() -> None:
    for panel in (WordPairs("a", ROWS, ROWS[:5]), WordPairs("a", ROWS[:5], ROWS[:5])):
        with pytest.raises(InputError, match="10 pairs or more"):
            joined_pairs([panel], ("en", "fr"))
