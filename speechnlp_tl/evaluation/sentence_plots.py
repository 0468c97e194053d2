"""Pictures of an interlingua: where an encoder puts a sentence and its translations (Johnson et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.domain_plots import CLASS_MARKERS, DOMAIN_COLORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURED = 25
"""Sentences that get a colour of their own in the lower row."""


@dataclass(frozen=True)
class Encodings:
    """Sentences of several languages in one representation."""

    name: str
    rows: Mapping[str, NDArray[Any]]
    """Language -> (n, width); row i of each is the same sentence."""


def sentence_clouds(panels: Sequence[Encodings], seed: int = 0, title: str = "") -> Figure:
    """t-SNE (van der Maaten and Hinton 2008) of each representation, coloured by language above and by sentence below.

    The places are the same above and below. Of the sentences below, the first ones are coloured and their translations
    joined; the others are grey.

    Raises:
        InputError: no panels, more languages than can be told apart, or languages with different numbers of sentences
            or fewer than 4.
    """
    from matplotlib.figure import Figure
    from sklearn.manifold import TSNE

    for panel in panels:
        counts = {len(rows) for rows in panel.rows.values()}
        if len(panel.rows) > len(DOMAIN_COLORS) or len(counts) != 1 or min(counts) < 4:
            what = f"{len(panel.rows)} languages with {sorted(counts)} sentences"
            most = len(DOMAIN_COLORS)
            raise InputError(f"{panel.name}: at most {most} languages with 4 sentences or more, the same, not {what}")
    if not panels:
        raise InputError("a picture needs a panel at least")
    figure = Figure(figsize=(4.2 * len(panels), 8.2), layout="constrained")
    grid = figure.subplots(2, len(panels), squeeze=False)
    for column, panel in enumerate(panels):
        stacked = np.concatenate([np.asarray(rows) for rows in panel.rows.values()])
        perplexity = min(30.0, (len(stacked) - 1) / 3)
        places = TSNE(random_state=seed, perplexity=perplexity, init="pca").fit_transform(stacked)
        places = places.reshape(len(panel.rows), -1, 2)
        _by_language(grid[0][column], places, list(panel.rows))
        _by_sentence(grid[1][column], places)
        grid[0][column].set_title(panel.name, fontsize=10)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color("#CCCCCC")
    grid[0][0].set_ylabel("colour: language", fontsize=9)
    grid[1][0].set_ylabel("colour: sentence, shape: language", fontsize=9)
    handles, told = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, told, loc="outside lower center", ncols=5, frameon=False, fontsize=9, markerscale=2.5)
    figure.suptitle(title, fontsize=11)
    return figure


def _by_language(axes: Any, places: NDArray[Any], names: Sequence[str]) -> None:
    for own, color, marker, name in zip(places, DOMAIN_COLORS, CLASS_MARKERS, names, strict=False):
        axes.scatter(*own.T, s=7, c=color, marker=marker, linewidths=0, alpha=0.6, label=name)


def _by_sentence(axes: Any, places: NDArray[Any]) -> None:
    from matplotlib import colormaps

    shown = min(COLOURED, places.shape[1])
    colors = colormaps["hsv"](np.linspace(0, 1, shown, endpoint=False))
    axes.scatter(*places[:, shown:].reshape(-1, 2).T, s=4, c="#CCCCCC", linewidths=0, alpha=0.5)
    for number in range(shown):
        axes.plot(*places[[*range(len(places)), 0], number].T, color=colors[number], linewidth=0.7, alpha=0.6)
    for own, marker in zip(places, CLASS_MARKERS, strict=False):
        axes.scatter(*own[:shown].T, s=22, c=colors, marker=marker, linewidths=0)
