"""The benchmarks of word vectors: the made vectors, and that what is timed is the whole work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speechnlp_tl.embeddings.retrieval import neighbours
from speechnlp_tl.evaluation.results import Record

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _plain_names(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def test_the_rotation_takes_made_words_to_their_translations_and_csls_beats_the_nearest_neighbour():
    from _made_vectors import made_languages

    source, target, turn = made_languages(3000, 60)
    words, mapped = np.arange(0, 3000, 5), source @ turn
    nearest = neighbours(mapped[words], target, 1).rows[:, 0] == words
    csls = neighbours(mapped[words], target, 1, "csls", sources=mapped).rows[:, 0] == words
    assert 0.1 < nearest.mean() < csls.mean() < 0.95
    unmapped = neighbours(source[words], target, 1).rows[:, 0] == words
    assert unmapped.mean() < 0.02


def test_every_way_to_translate_is_measured_against_the_exact_means(tmp_path, monkeypatch):
    import csls

    monkeypatch.setattr(csls, "SHAPES", ((64, 128),))
    monkeypatch.setattr(csls, "FREQUENT", 300)
    csls.make(tmp_path, 900)
    exact = csls.measure_exact(tmp_path, 50)
    assert {len(exact[name]) for name in (csls.CSLS_SECONDS, csls.CSLS_BARE, csls.CSLS_BARE_HALF)} == {csls.SLICES + 1}
    source, target, rows = csls.load(tmp_path, 50)
    expected = neighbours(source[rows], target, csls.NEIGHBOURS, "csls", sources=source).rows
    np.testing.assert_array_equal(np.load(tmp_path / "exact-rows.npy"), expected)
    for name in csls.ways(tmp_path, 50):
        if name.startswith("faiss"):
            pytest.importorskip("faiss")
        agreement = csls.measure_way(tmp_path, 50, name)[csls.CSLS_AGREEMENT]
        exactly = name.startswith(("exact, 10", "exact, the", "means known"))
        assert agreement == 100 if exactly else agreement > 50


def test_gensim_and_we_translate_the_same_words():
    pytest.importorskip("gensim")
    from _made_vectors import made_languages
    from alignment_speed import ours, peer

    source, target, _ = made_languages(2000, 40)
    pairs = np.stack([np.arange(0, 2000, 4)] * 2, axis=1)
    words = np.arange(1, 2000, 40)
    both = ours(source, target, pairs, words)(), peer(source, target, pairs, words)()
    assert (both[0][:, 0] == both[1][:, 0]).mean() > 0.95


def test_memory_is_held_against_the_claim_of_its_benchmark():
    from _report import CLAIMS

    records = [
        Record(recipe=recipe, corpus="c", system="s", metric="seconds", value=1.0, peak_mb=peak)
        for recipe, peak in (("csls", 3000.0), ("msda", 1000.0))
    ]
    rows = [claim.row(records) for claim in CLAIMS if claim.metric == "peak_mb"]
    assert ["3e+03 MB | yes" in row for row in rows] == [True, False, False]
    assert "not measured" in rows[1]
    assert "1e+03 MB | yes" in rows[2]
