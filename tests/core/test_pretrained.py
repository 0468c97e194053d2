from __future__ import annotations

import pytest

from speechnlp_tl.core.pretrained import folder_digest, load_pretrained, save_pretrained
from speechnlp_tl.errors import InputError
from tests.tiny_text import make_transformer

pytest.importorskip("transformers")


def test_the_digest_of_a_folder_follows_its_weights_and_settings(tmp_path):
    folder = make_transformer(tmp_path / "bert")
    found = [folder_digest(folder)]
    (folder / "README.md").write_text("not loaded")
    assert folder_digest(folder) == found[0]
    for name in ("config.json", "model.safetensors"):
        path = folder / name
        path.write_bytes(path.read_bytes() + b" ")
        found.append(folder_digest(folder))
    assert len(set(found)) == 3


def test_a_model_that_is_saved_is_loaded_from_its_folder_alone(tmp_path):
    model, tokenizer = load_pretrained("AutoModel", str(make_transformer(tmp_path / "bert")))
    save_pretrained(model, tokenizer, tmp_path / "copy")
    copied, _ = load_pretrained("AutoModel", str(tmp_path / "copy"), local=True)
    theirs = copied.state_dict()
    assert all((tensor == theirs[name]).all() for name, tensor in model.state_dict().items())


def test_a_model_of_another_kind_and_a_name_of_nothing_are_refused(tmp_path):
    folder = make_transformer(tmp_path / "bert")
    with pytest.raises(InputError, match="the transformer in this folder cannot be loaded"):
        load_pretrained("AutoModelForSeq2SeqLM", str(folder))
    with pytest.raises(InputError, match="does not exist"):
        load_pretrained("AutoModel", str(tmp_path / "missing"))
