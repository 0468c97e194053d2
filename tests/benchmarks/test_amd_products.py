"""The benchmark of matrix products on AMD processors: what it preloads, what it measures, what it makes of it."""

from __future__ import annotations

import ctypes
import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def products(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import amd_products

    return amd_products


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler 'cc'")
def test_the_library_answers_yes(products, tmp_path):
    library = ctypes.CDLL(str(products.make_library(tmp_path / "new")))
    assert library.mkl_serv_intel_cpu_true() == 1


def test_the_page_tells_of_the_very_library(products):
    assert f"echo '{products.ANSWER.strip()}' | cc" in (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")


def test_a_worker_measures_products_and_a_training(products, monkeypatch, capsys):
    import translation_speed

    small = {"width": 16, "heads": 2, "feedforward": 32, "encoder_layers": 1, "decoder_layers": 1, "dropout": 0.1}
    monkeypatch.setattr(translation_speed, "SHAPE", small)
    monkeypatch.setattr(translation_speed, "PIECES", 450)
    monkeypatch.setattr(products, "SIZE", 64)
    products.work(1)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(found) == {"product", "steps"}
    assert min(found.values()) > 0


def test_the_ratio_is_that_of_the_rounds(products):
    usual, preloaded = products.AMD_USUAL, products.AMD_PRELOADED
    rounds = {
        usual: [{"product": 100.0, "steps": 2.0}, {"product": 50.0, "steps": 4.0}, {"product": 80.0, "steps": 2.0}],
        preloaded: [
            {"product": 200.0, "steps": 3.0},
            {"product": 150.0, "steps": 6.0},
            {"product": 80.0, "steps": 3.0},
        ],
    }
    made = products.records(rounds, {usual: [1.0, 2.0], preloaded: [3.0]})
    ratios = {each.budget: each.value for each in made if each.metric == products.AMD_RATIO}
    assert ratios == {products.AMD_PRODUCTS: 2.0, products.AMD_TRAINING: 1.5}
    assert {each.peak_mb for each in made if each.system == usual} == {2.0}
