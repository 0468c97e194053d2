"""The Python on the documentation pages of the methods runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = (
    "add-a-method.md",
    "methods-conservative.md",
    "methods-layers.md",
    "methods-adapters.md",
    "methods-domain.md",
    "methods-features.md",
    "methods-alignment.md",
    "adapt-a-text-classifier.md",
)


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    # one of the project's own files, in one namespace as a reader would type it
    exec(compile("\n".join(blocks), page, "exec", dont_inherit=True), {"__name__": page})
