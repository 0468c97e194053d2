"""The commands of the task pages do what the pages say: every `sh` block runs, in order, in a fresh folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = {
    "adapt-to-my-speaker.md": 6,
    "bring-my-own-corpus.md": 6,
    "adapt-a-text-classifier.md": 4,
    "align-embeddings.md": 5,
    "carry-a-classifier-over.md": 3,
    "translate.md": 2,
    "recognise-several-languages.md": 4,
}
"""Pages with commands, and the fewest blocks of them."""


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(page: str, tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= PAGES[page]
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, module in (("python", ""), ("speechnlp-tl", "-m speechnlp_tl.cli ")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module}"$@"\n')
        (programs / name).chmod(0o755)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{programs}:{os.environ['PATH']}"}
    (tmp_path / "work").mkdir()
    for block in blocks:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=tmp_path / "work", env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for page in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    measured = [line for line in broken if "/RESULTS" not in line]  # written by runs, not by hand
    assert not measured, broken
