"""The benchmark of packed utterances: one side packs, the other does not."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def packing(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import packing

    monkeypatch.setattr(packing, "ENCODER", {"width": 8, "layers": 2})
    return packing


def test_one_side_packs_and_the_other_does_not(packing, monkeypatch) -> None:
    from speechnlp_tl.speech.packing import Packing

    packed = []
    pack = Packing.pack
    monkeypatch.setattr(Packing, "pack", lambda self, features: packed.append(features) or pack(self, features))
    found = packing.measure(rounds=3)
    assert len(packed) == 5  # with two to warm up
    assert found["padding"] == pytest.approx(21, abs=1)
    made = packing.records(found | {"ms": {packing.PACKED: [1.0, 2.0, 3.0], packing.PADDED: [2.0, 4.0, 4.0]}}, 1, 5.0)
    assert {each.value for each in made if each.metric == packing.PACKED_RATIO} == {0.5}
