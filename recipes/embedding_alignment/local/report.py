"""Stage 6: RESULTS.md, and the published results beside the recipe."""

from __future__ import annotations

from pathlib import Path

from score import RECIPE
from tables import sections

from recipes.results_page import ResultsPage, main, publishing

PAGE = ResultsPage(
    folder=Path(__file__).parent.parent,
    title="Words across languages: results",
    command=publishing(RECIPE, "--conf conf/editions.yaml"),
    sections=sections,
    pictures={
        "tsne": "words and their translations, before and after (t-SNE)",
        "dictionary": "P@1 against dictionary size",
    },
)

if __name__ == "__main__":
    main(PAGE, __doc__)
