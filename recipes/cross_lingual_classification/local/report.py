"""Stage 6: RESULTS.md, and the published results beside the recipe."""

from __future__ import annotations

from pathlib import Path

from score import RECIPE
from tables import sections

from recipes.results_page import ResultsPage, main, publishing

PAGE = ResultsPage(
    folder=Path(__file__).parent.parent,
    title="A classifier carried over to other languages: results",
    command=publishing(RECIPE),
    sections=sections,
    pictures={"tsne": "verses of two languages before and after their words share a space (t-SNE)"},
)

if __name__ == "__main__":
    main(PAGE, __doc__)
