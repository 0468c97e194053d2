"""Pictures of two languages' words: where they lie before and after an alignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.domain_plots import DOMAIN_COLORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEWEST = 10


@dataclass(frozen=True)
class WordPairs:
    """Words and their translations in one space; row n of one is translated by row n of the other."""

    name: str
    source: NDArray[Any]
    """(n, k)."""
    target: NDArray[Any]
    """(n, k)."""


def joined_pairs(
    panels: Sequence[WordPairs],
    names: tuple[str, str],
    words: Sequence[tuple[str, str]] = (),
    seed: int = 0,
    title: str = "",
) -> Figure:
    """t-SNE (van der Maaten and Hinton 2008) of each panel: colour is the language, a line joins a translation pair.

    Panels are embedded one by one: compare how long the lines are, not places.

    Args:
        names: of the two languages.
        words: of the first pairs, written beside them.

    Raises:
        InputError: no panels, sides of unlike shape, or one with fewer than 10 pairs.
    """
    from matplotlib.figure import Figure
    from sklearn.manifold import TSNE

    if not panels or any(panel.source.shape != panel.target.shape or len(panel.source) < _FEWEST for panel in panels):
        shapes = [(panel.source.shape, panel.target.shape) for panel in panels]
        raise InputError(f"a picture of pairs needs panels of {_FEWEST} pairs or more with like sides, not {shapes}")
    figure = Figure(figsize=(5.2 * len(panels), 5.4), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        rows = np.concatenate([np.asarray(side, np.float32) for side in (panel.source, panel.target)])
        # cosine is what words are compared by
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        perplexity = min(30.0, (len(rows) - 1) / 3)
        places = TSNE(random_state=seed, perplexity=perplexity, init="pca").fit_transform(rows)
        _draw(axes, places, panel.name, names, words)
    handles, told = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, told, loc="outside lower center", ncols=2, frameon=False, fontsize=9, markerscale=2)
    figure.suptitle(title, fontsize=11)
    return figure


def _draw(axes: Any, places: NDArray[Any], name: str, names: tuple[str, str], words: Sequence[tuple[str, str]]) -> None:
    count = len(places) // 2
    for start, end in zip(places[:count], places[count:], strict=True):
        axes.plot(*np.stack([start, end]).T, color="#BBBBBB", linewidth=0.5, zorder=1)
    sides = (places[:count], places[count:])
    for side, (points, language) in enumerate(zip(sides, names, strict=True)):
        color = DOMAIN_COLORS[side]
        axes.scatter(*points.T, s=8, c=color, marker="o^"[side], linewidths=0, alpha=0.8, label=language, zorder=2)
        for point, pair in zip(points, words, strict=False):
            axes.annotate(pair[side], point, fontsize=6, color=color, zorder=3)
    axes.set_title(name, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#CCCCCC")
