"""The benchmark of translation: both sides train the same, and both searches translate the same sentences."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("transformers")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import translation_speed

    small = {"width": 16, "heads": 2, "feedforward": 32, "encoder_layers": 1, "decoder_layers": 1, "dropout": 0.1}
    monkeypatch.setattr(translation_speed, "SHAPE", small)
    monkeypatch.setattr(translation_speed, "PIECES", 450)
    monkeypatch.setattr(translation_speed, "LEARNING_STEPS", 3)
    return translation_speed


def test_a_bare_loop_and_the_trainer_end_with_the_same_weights(speed, tmp_path):
    found = speed.measure_training(tmp_path, steps=3, rounds=1)
    assert found["apart"] < 1e-5
    assert {len(times) for times in found["wall"].values()} == {1}
    ours, theirs = found["sizes"]
    assert ours == pytest.approx(theirs, rel=0.3)


def test_both_searches_translate_every_sentence(speed, tmp_path):
    found = speed.measure_search(tmp_path, sentences=6, rounds=1)
    assert set(found["bleu"]) == set(found["wall"]) == {speed.TRANSLATION_BEAM, speed.TRANSLATION_GENERATE}
    assert found["sentences"] == 6
    # alone, for the memory, each finds the model that was trained for it
    for name in (speed.TRANSLATION_BEAM, speed.TRANSLATION_GENERATE, speed.TRANSLATION_BARE):
        speed.alone(name, tmp_path, 2, 6)


def test_the_peer_of_the_search_is_ours_in_size(speed, tmp_path):
    task, _ = speed.make_task(tmp_path)
    ours, theirs = (sum(w.numel() for w in each.parameters()) for each in (task.model, speed.m2m100()))
    assert ours == theirs
