"""The benchmark of memory that is freed: both sides train, the ratio is that of the rounds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def freed(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import freed_memory

    return freed_memory


@pytest.mark.parametrize("kept", [True, False])
def test_a_worker_trains_with_what_it_measures_or_without(freed, monkeypatch, capsys, kept: bool) -> None:
    import translation_speed

    from speechnlp_tl.core import trainer

    asked = []
    small = {"width": 16, "heads": 2, "feedforward": 32, "encoder_layers": 1, "decoder_layers": 1, "dropout": 0.1}
    monkeypatch.setattr(translation_speed, "SHAPE", small)
    monkeypatch.setattr(translation_speed, "PIECES", 450)
    monkeypatch.setattr(trainer, "keep_freed_memory", lambda: asked.append("kept"))
    freed.work(1, kept)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["steps"] > 0
    assert bool(asked) == kept


def test_the_ratio_is_that_of_the_rounds(freed) -> None:
    kept, back = freed.FREED_KEPT, freed.FREED_BACK
    made = freed.records({kept: [3.0, 4.0, 9.0], back: [2.0, 2.0, 3.0]}, {kept: [1.0, 5.0], back: [2.0]})
    assert {each.value for each in made if each.metric == freed.FREED_RATIO} == {2.0}
    assert {each.peak_mb for each in made if each.system == kept} == {5.0}
