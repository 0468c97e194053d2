"""`speechnlp-tl merge`: an adapter becomes plain weights that say the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speechnlp_tl.speech.data_dir import DataDir
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.models import load_recogniser
from speechnlp_tl.speech.recogniser import FILES
from speechnlp_tl.transfer.adapters import attached
from tests.tiny import TinyCorpus


@pytest.mark.parametrize("kind", ["lhuc", "lin", "lora"])
def test_a_merged_model_says_what_the_adapter_said(
    run, tiny_experiment: Path, tiny_corpus: TinyCorpus, tmp_path: Path, kind: str
):
    source = ("--model", tiny_experiment, "--data", tiny_corpus.adaptation)
    assert run("adapt", *source, "--out", tmp_path / "adapter", "--method", kind, "--set", "steps=10").code == 0
    merged = run("merge", "--model", tmp_path / "adapter", "--out", tmp_path / "merged")
    assert merged.code == 0, merged.err
    assert merged.out == f"{tmp_path / 'merged'}: {kind} merged\n"
    assert {path.name for path in (tmp_path / "merged").iterdir()} == {*FILES, "README.md"}

    texts = [
        run("transcribe", "--model", tmp_path / name, "--data", tiny_corpus.test).out for name in ("adapter", "merged")
    ]
    assert texts[0] == texts[1]
    adapted, plain = load_recogniser(tmp_path / "adapter"), load_recogniser(tmp_path / "merged")
    assert not attached(plain.model)
    dataset = SpeechDataset(list(DataDir.read(tiny_corpus.test)), plain.config.features)
    base = dict(load_recogniser(tiny_experiment).scores(dataset))
    one, other = dict(adapted.scores(dataset)), dict(plain.scores(dataset))
    largest = max(float(np.abs(one[name] - base[name]).max()) for name in base)
    assert largest > 0.05, "the adapter must do something"
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=2e-4)


def test_an_adapter_whose_base_moved_is_merged_on_it(run, tiny_experiment, tiny_corpus, tmp_path: Path):
    (tmp_path / "base").symlink_to(tiny_experiment / "model")
    source = ("--model", tmp_path / "base", "--data", tiny_corpus.adaptation)
    assert run("adapt", *source, "--out", tmp_path / "a", "--method", "lhuc", "--set", "steps=1").code == 0
    merged = run("merge", "--model", tmp_path / "a", "--base", tiny_experiment, "--out", tmp_path / "merged")
    assert merged.code == 0, merged.err
