"""Imports point one way: recipes -> cli, commands -> {speech, text, translation, embeddings} -> {transfer, core}."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "speechnlp_tl"

GROUND = {"errors", "atomic"}
MODALITIES = {"speech", "text", "translation", "embeddings"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "atomic": {"errors"},
    "evaluation": GROUND,
    "core": GROUND,
    "transfer": GROUND | {"core"},
    **{modality: GROUND | MODALITIES | {"core", "transfer", "evaluation"} for modality in MODALITIES},
    "data_prep": GROUND | MODALITIES | {"core", "evaluation"},
    "commands": GROUND | MODALITIES | {"core", "transfer", "evaluation", "data_prep"},
    "cli": GROUND | MODALITIES | {"core", "transfer", "evaluation", "data_prep", "commands"},
}
"""What each room may import besides itself. `__init__` and `__main__` of the package are the house's door."""


def imported_modules(source: str, module: str, is_package: bool) -> list[tuple[int, str]]:
    """(line, absolute dotted name) of every import anywhere in `source`, those inside functions included."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".") if is_package else module.split(".")[:-1]
                kept = parents[: len(parents) - node.level + 1]
                base = ".".join([*kept, base] if base else kept)
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            found += [(node.lineno, a.value) for a in node.args if isinstance(a, ast.Constant) and "." in str(a.value)]
    return found


def room_of(module: str) -> str | None:
    """The room that a dotted name is in; None outside the project."""
    parts = module.split(".")
    if parts[0] in ("data_prep", "recipes", "tests", "benchmarks"):
        return parts[0]
    return parts[1] if parts[0] == PACKAGE and len(parts) > 1 else None


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    room = room_of(module)
    if room is None or room.startswith("__"):
        return []
    if room not in ALLOWED:
        return [f"{module}: the room '{room}' has no place in ALLOWED"]
    problems = []
    for line, name in imported_modules(source, module, is_package):
        other = room_of(name)
        if other not in (None, room, "__version__") and other not in ALLOWED[room]:
            problems.append(f"{module}:{line} imports {name}, but {room} may not import {other}")
    return problems


def project_files() -> list[Path]:
    return sorted([*(ROOT / PACKAGE).rglob("*.py"), *(ROOT / "data_prep").rglob("*.py")])


def test_imports_point_one_way():
    files = project_files()
    assert len(files) > 10
    problems = []
    for path in files:
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        problems += violations(path.read_text(encoding="utf-8"), module, is_package)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("room", ["core", "transfer"])
@pytest.mark.parametrize(
    "line",
    [
        "import speechnlp_tl.speech.hmm",
        "from speechnlp_tl.speech.hmm import x",
        "from speechnlp_tl import speech",
        "from ..text import vocabulary",
        "from .. import translation",
        "def f():\n    from speechnlp_tl.embeddings import vectors",
        "import importlib\nimportlib.import_module('speechnlp_tl.commands.train')",
        "import data_prep.an4",
    ],
)
def test_an_import_that_climbs_up_is_found(room, line):
    assert len(violations(line, f"{PACKAGE}.{room}.module")) == 1


def test_imports_that_go_down_or_outside_are_fine():
    for line in (
        "import torch",
        "from speechnlp_tl import __version__",
        "from ..core.task import Term",
        "from . import x",
    ):
        assert violations(line, f"{PACKAGE}.transfer.module") == []
    assert violations("from .task import Term", f"{PACKAGE}.core", is_package=True) == []
    assert len(violations("from speechnlp_tl.transfer import layers", f"{PACKAGE}.core.trainer")) == 1
    assert len(violations("from speechnlp_tl.core import task", f"{PACKAGE}.evaluation.wer")) == 1
    assert len(violations("", f"{PACKAGE}.attic.module")) == 1
