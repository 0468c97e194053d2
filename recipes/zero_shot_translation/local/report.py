"""Stage 6: RESULTS.md, and the published results beside the recipe."""

from __future__ import annotations

from pathlib import Path

from settings import RECIPE
from tables import sections

from recipes.results_page import ResultsPage, main, publishing

PAGE = ResultsPage(
    folder=Path(__file__).parent.parent,
    title="Zero-shot translation: results",
    command=publishing(
        RECIPE,
        "--conf conf/longer.yaml --name multi30k",
        "--conf conf/networks.yaml --name multi30k",
        "--conf conf/czech.yaml --name multi30k",
        "--leaky",
        "--corpus tatoeba",
    ),
    sections=sections,
    pictures={"interlingua": "encodings of test sentences in three languages (t-SNE)"},
)

if __name__ == "__main__":
    main(PAGE, __doc__)
