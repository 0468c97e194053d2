"""Models and adapters found by the name of their folder, as they were saved."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.adaptation import AdaptConfig, adapt
from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.models import load_recogniser, model_folder, write_adapter
from speechnlp_tl.speech.recogniser import FILES, Recogniser
from speechnlp_tl.transfer.adapters import attached, detach
from tests.tiny import TinyCorpus


@pytest.fixture(scope="module")
def utterances(tiny_corpus: TinyCorpus) -> list[Utterance]:
    return list(DataDir.read(tiny_corpus.adaptation))[:4]


def same_weights(one: Recogniser, other: Recogniser) -> bool:
    a, b = one.model.state_dict(), other.model.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def understand_alike(one: Recogniser, other: Recogniser, utterances: list[Utterance]) -> bool:
    """Same words, and same scores but for torch's rounding, which depends on what needs a gradient."""
    a, b = one.transcribe(utterances, confidence=True), other.transcribe(utterances, confidence=True)
    return [(found.words, found.times) for found in a.values()] == [
        (found.words, found.times) for found in b.values()
    ] and all(
        abs(a[name].score - b[name].score) < 1e-3 and abs(a[name].confidence - b[name].confidence) < 1e-3 for name in a
    )


def test_an_experiment_and_the_model_in_it_are_the_same(tiny_experiment: Path):
    one, other = load_recogniser(tiny_experiment), load_recogniser(str(tiny_experiment / "model"))
    assert same_weights(one, other)
    assert model_folder(tiny_experiment) == model_folder(tiny_experiment / "model") == tiny_experiment / "model"


def test_a_recogniser_is_loaded_as_it_was_saved(tiny_recogniser: Recogniser, utterances, tmp_path: Path):
    changed = tiny_recogniser.with_decoding(0.7, 0.3)
    changed.save(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {*FILES, "README.md"}
    loaded = load_recogniser(tmp_path / "model")
    assert same_weights(loaded, tiny_recogniser)
    assert loaded.config == changed.config
    assert loaded.lexicon == tiny_recogniser.lexicon
    assert not loaded.model.training
    assert loaded.transcribe(utterances, confidence=True) == changed.transcribe(utterances, confidence=True)


def test_a_model_is_never_written_over(tiny_recogniser: Recogniser, tmp_path: Path):
    tiny_recogniser.save(tmp_path / "model")
    before = (tmp_path / "model" / "config.yaml").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        tiny_recogniser.with_decoding(9.0, 9.0).save(tmp_path / "model")
    assert (tmp_path / "model" / "config.yaml").read_bytes() == before


@pytest.mark.parametrize("kind", ["lhuc", "lin", "lora"])
def test_an_adapter_is_small_and_works_on_its_base(tiny_experiment: Path, utterances, tmp_path: Path, kind: str):
    source = load_recogniser(tiny_experiment)
    adapted = adapt(source, utterances, AdaptConfig(method=kind, steps=5)).recogniser
    folder = tmp_path / "adapter"
    folder.mkdir()
    write_adapter(adapted, folder, model_folder(tiny_experiment), {"speaker": "new"}, "# card\n")
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert size < 0.6 * (tiny_experiment / "model" / "model.safetensors").stat().st_size
    assert size < 40_000

    loaded = load_recogniser(folder)
    assert [adapter.kind for adapter in attached(loaded.model)] == [kind]
    assert same_weights(loaded, adapted)
    assert understand_alike(loaded, adapted, utterances)
    assert not understand_alike(loaded, source, utterances)
    detach(loaded.model)
    assert same_weights(loaded, source)
    assert loaded.transcribe(utterances, confidence=True) == source.transcribe(utterances, confidence=True), (
        "bit for bit"
    )


def test_an_adapter_follows_its_base_only_when_told_where_it_went(tiny_experiment: Path, utterances, tmp_path: Path):
    base = Path(shutil.copytree(tiny_experiment / "model", tmp_path / "base"))
    adapted = adapt(load_recogniser(base), utterances[:1], AdaptConfig(method="lhuc", steps=1)).recogniser
    (tmp_path / "adapter").mkdir()
    write_adapter(adapted, tmp_path / "adapter", base, {}, "")
    base.rename(tmp_path / "moved")
    with pytest.raises(InputError, match=f"{base}.*is not there now; name it with --base"):
        load_recogniser(tmp_path / "adapter")
    assert same_weights(load_recogniser(tmp_path / "adapter", tmp_path / "moved"), adapted)


def test_resampling_changes_the_features_only(tiny_recogniser: Recogniser):
    resampling = tiny_recogniser.resampling()
    assert resampling.config.features.resample
    assert not tiny_recogniser.config.features.resample
    assert resampling.model is tiny_recogniser.model
