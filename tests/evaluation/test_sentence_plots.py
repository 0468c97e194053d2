from __future__ import annotations

import numpy as np
import pytest

from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.sentence_plots import COLOURED, Encodings, sentence_clouds


def rows(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 6))


def test_every_sentence_is_drawn_by_language_and_by_sentence() -> None:
    same = rows(40, 0)
    panels = [Encodings("before", {"de": rows(40, 1), "en": rows(40, 2), "fr": rows(40, 3)}),
              Encodings("after", {"de": same, "en": same, "fr": same})]  # fmt: skip
    figure = sentence_clouds(panels, title="t")
    above, below = figure.axes[:2], figure.axes[2:]
    assert [axes.get_title() for axes in above] == ["before", "after"]
    for axes in above:
        assert [len(points.get_offsets()) for points in axes.collections] == [40, 40, 40]
    for axes in below:
        assert len(axes.lines) == COLOURED
        drawn = np.concatenate([points.get_offsets() for points in axes.collections])
        assert len(drawn) == 120
    # the same places above and below, and a sentence's own three joined
    places = np.stack([points.get_offsets() for points in above[0].collections])
    np.testing.assert_allclose(below[0].lines[3].get_xydata()[:3], places[:, 3])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"de": rows(40, 1), "en": rows(39, 2)}, r"2 languages with \[39, 40\]"),
        ({"de": rows(3, 1), "en": rows(3, 2)}, r"\[3\]"),
        ({str(n): rows(5, n) for n in range(6)}, "6 languages"),
    ],
)
def test_what_cannot_be_drawn_is_said(given, told) -> None:
    with pytest.raises(InputError, match=told):
        sentence_clouds([Encodings("x", given)])
