"""Stage 6: RESULTS.md, and the published results beside the recipe."""

from __future__ import annotations

from pathlib import Path

from settings import RECIPE
from tables import sections

from recipes.results_page import ResultsPage, main, publishing

PAGE = ResultsPage(
    folder=Path(__file__).parent.parent,
    title="Multilingual speech recognition: results",
    command=publishing(RECIPE, "--conf conf/longer.yaml", "--conf conf/layers.yaml", "--corpus made"),
    sections=sections,
    pictures={
        "curve-ar-arabic": "Arabic as a new language",
        "curve-zh-mandarin": "Mandarin as a new language",
        "curve-en-an4": "English as a new language",
        "curve-en-fsdd": "English as a new language, digits",
        "curve-he-yesno": "Hebrew as a new language",
        "layers-ar-arabic": "layers copied, Arabic",
        "layers-zh-mandarin": "layers copied, Mandarin",
        "layers-en-an4": "layers copied, English",
        "layers-en-fsdd": "layers copied, English digits",
        "layers-he-yesno": "layers copied, Hebrew",
        "languages": "frames by language",
        "phones": "frames by phone",
    },
)

if __name__ == "__main__":
    main(PAGE, __doc__)
