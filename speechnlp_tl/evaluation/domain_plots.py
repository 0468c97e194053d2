"""Pictures of domain adaptation: how well domains are told apart over a run, and where their rows lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOMAIN_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
CLASS_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")


@dataclass(frozen=True)
class Cloud:
    """Rows of several domains in one representation."""

    name: str
    rows: NDArray[Any]
    """(n, width)."""
    domain: Sequence[str]
    """(n,) names."""
    labels: Sequence[str] | None = None
    """(n,) classes, shown by the marker."""


def domain_accuracy_curves(
    curves: Mapping[str, Sequence[float]], chance: float = 50.0, title: str = "", label: str = "one pair"
) -> Figure:
    """The domain classifier's accuracy over the epochs of each run, their mean, and the level of guessing.

    Args:
        curves: name of a run -> accuracy in percent after each epoch; all of one length.
        label: what one thin line is.

    Raises:
        InputError: no runs, or runs of unequal length.
    """
    from matplotlib.figure import Figure

    if len({len(values) for values in curves.values()}) != 1:
        raise InputError(f"curves need runs of one length, not {sorted({len(values) for values in curves.values()})}")
    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    axes = figure.subplots()
    style(axes)
    values = np.array(list(curves.values()), dtype=float)
    epochs = np.arange(1, values.shape[1] + 1)
    for index, row in enumerate(values):
        axes.plot(epochs, row, color="#999999", linewidth=0.8, label=f"{label} ({len(values)})" if not index else None)
    axes.plot(epochs, values.mean(0), color=DOMAIN_COLORS[0], linewidth=2.2, label="mean")
    axes.axhline(chance, color="#222222", linewidth=1.2, linestyle=(0, (4, 3)), label="guessing")
    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy of the domain classifier (%)")
    axes.set_title(title, fontsize=11)
    axes.legend(frameon=False, fontsize=9)
    return figure


def clouds(panels: Sequence[Cloud], seed: int = 0, title: str = "") -> Figure:
    """t-SNE (van der Maaten and Hinton 2008) of each representation in a panel of its own: colour is the domain.

    Panels are embedded one by one: compare how mixed the colours are, not places.

    Raises:
        InputError: no panels, one with fewer than 10 rows, or more domains or classes than can be told apart.
    """
    from matplotlib.figure import Figure
    from sklearn.manifold import TSNE

    domains = sorted({name for panel in panels for name in panel.domain})
    classes = sorted({label for panel in panels for label in panel.labels or [""]})
    if len(domains) > len(DOMAIN_COLORS) or len(classes) > len(CLASS_MARKERS):
        most = f"{len(DOMAIN_COLORS)} colours and {len(CLASS_MARKERS)} markers"
        raise InputError(f"{len(domains)} domains and {len(classes)} classes in all panels, there are {most}")
    if not panels or min(len(panel.rows) for panel in panels) < 10:
        raise InputError(f"t-SNE needs panels of 10 rows or more, not {[len(panel.rows) for panel in panels]}")
    figure = Figure(figsize=(4.4 * len(panels), 4.6), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(grid, panels, strict=True):
        perplexity = min(30.0, (len(panel.rows) - 1) / 3)
        places = TSNE(random_state=seed, perplexity=perplexity, init="pca").fit_transform(np.asarray(panel.rows))
        _scatter(axes, places, panel, domains, classes)
    # outside the panels: points fill these
    legends = [axes.get_legend_handles_labels() for axes in grid]
    shown = {name: handle for legend in legends for handle, name in zip(*legend, strict=True)}
    told = sorted(shown)
    handles = [shown[name] for name in told]
    figure.legend(handles, told, loc="outside lower center", ncols=4, frameon=False, fontsize=9, markerscale=2.5)
    figure.suptitle(title, fontsize=11)
    return figure


def _scatter(axes: Any, places: NDArray[Any], panel: Cloud, domains: Sequence[str], classes: Sequence[str]) -> None:
    domain = np.asarray(panel.domain)
    labels = np.asarray(panel.labels if panel.labels is not None else [""] * len(domain))
    for color, name in zip(DOMAIN_COLORS, domains, strict=False):
        for marker, label in zip(CLASS_MARKERS, classes, strict=False):
            chosen = places[(domain == name) & (labels == label)]
            if not len(chosen):
                continue
            told = f"{name}, {label}" if label else name
            axes.scatter(*chosen.T, s=6, c=color, marker=marker, linewidths=0, alpha=0.6, label=told)
    axes.set_title(panel.name, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#CCCCCC")
