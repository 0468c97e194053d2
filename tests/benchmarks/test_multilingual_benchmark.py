"""The benchmark of multilingual training: all sides train on the same speech."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_all_sides_train_on_as_much_speech(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import multilingual_speed

    monkeypatch.setattr(multilingual_speed, "ENCODER", {"width": 16, "layers": 3})
    found = multilingual_speed.measure(tmp_path, minutes=9.6, rounds=1)
    assert len(found["wall"]) == len(found["speech"]) == 4
    assert set(found["steps"].values()) == {4}
    assert {len(times) for times in found["wall"].values()} == {1}
    assert all(seconds == pytest.approx(576, rel=0.02) for seconds in found["speech"].values()), found["speech"]


def test_a_head_that_is_not_used_has_no_gradient(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import multilingual_speed

    monkeypatch.setattr(multilingual_speed, "ENCODER", {"width": 16, "layers": 3})
    task = multilingual_speed.make_task(multilingual_speed.make_speech(tmp_path, 0.3), 9, 1)
    task.step(task.model, task.load([0, 1], 0)).loss.backward()
    used = [name for name in task.model.heads if next(task.model.head(name).parameters()).grad is not None]
    assert used == ["l0"]
