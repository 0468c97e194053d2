"""A transformer as the input of the document classifier, with a random BERT made on the spot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from speechnlp_tl.errors import InputError
from speechnlp_tl.text.classifier import ClassifierConfig, predict
from speechnlp_tl.text.features import take
from speechnlp_tl.text.token_rows import TokenRows
from speechnlp_tl.text.transformer_encoder import TransformerClassifier, TransformerConfig, TransformerEncoder
from tests.tiny_text import make_transformer

pytest.importorskip("transformers")

TEXTS = ["good book", "the pan is really sturdy and sharp and quick", "unheard-of words", "bad"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_transformer(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def config(folder: Path) -> TransformerConfig:
    return TransformerConfig(model=str(folder), max_tokens=8)


@pytest.fixture
def encoder(config: TransformerConfig) -> TransformerEncoder:
    return TransformerEncoder.pretrained(config)


def test_a_document_is_the_mean_of_its_own_tokens_whatever_it_is_batched_with(encoder, folder):
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    expected = []
    for text in TEXTS:
        ids = tokenizer(text, truncation=True, max_length=8, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            expected.append(model(input_ids=ids).last_hidden_state[0].mean(0).numpy())
    np.testing.assert_allclose(encoder.encode(TEXTS), np.stack(expected), atol=1e-5)
    assert encoder.tokens(TEXTS).shape == (4, encoder.vocabulary_size)
    assert max(map(len, encoder.tokens(TEXTS).ids)) == 8


def test_token_rows_behave_like_a_matrix_of_rows():
    rows = TokenRows([np.arange(n, dtype=np.int32) + 1 for n in (1, 3, 2)], width=9, padding=7)
    assert (rows.shape, len(rows[np.array([2, 0])]), len(rows[1:])) == ((3, 9), 2, 2)
    batch = rows[[1, 0]].batch()
    assert batch.ids.tolist() == [[1, 2, 3], [1, 7, 7]]
    assert batch.mask.tolist() == [[True, True, True], [True, False, False]]
    joined = TokenRows.joined([rows[:1], rows[1:]])
    assert [ids.tolist() for ids in joined.ids] == [ids.tolist() for ids in rows.ids]


def test_the_gradient_reaches_the_transformer_and_predictions_do_not_depend_on_the_batch(encoder):
    model = TransformerClassifier(encoder, 3, ClassifierConfig(hidden=[5], norm="batch"))
    rows = encoder.tokens(TEXTS)
    model(take(rows, [0, 1, 2, 3])).logits.sum().backward()
    assert encoder.model.embeddings.word_embeddings.weight.grad.abs().sum() > 0
    together = predict(model, rows)
    model.rows_at_once = 1
    np.testing.assert_allclose(predict(model, rows), together, atol=1e-6)
    assert (model.inputs, model.hidden_layers) == (encoder.vocabulary_size, {"hidden.0": 5})


def test_a_saved_encoder_loads_without_the_first_folder_and_without_pickles(encoder, config, tmp_path):
    encoder.save(tmp_path)
    names = {path.suffix for path in (tmp_path / "encoder").iterdir()}
    assert names <= {".json", ".txt", ".safetensors"}
    elsewhere = config.model_copy(update={"model": "nobody/nothing"})
    again = TransformerEncoder.load(tmp_path, elsewhere)
    np.testing.assert_array_equal(again.encode(TEXTS), encoder.encode(TEXTS))


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def with_code(folder: Path) -> None:
    path = folder / "config.json"
    extra = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    path.write_text(json.dumps(json.loads(path.read_text()) | extra))
    (folder / "own.py").write_text("raise SystemExit('the code of a model was run')")


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:200])


def without_a_layer(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "layer.1." not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def a_list_for_a_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def a_list_for_a_tokenizer(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text("[]")


def a_word_for_a_number(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hidden_size": "x"}))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (a_list_for_a_config, "bert/config.json: is damaged: it holds no JSON object; get the model again, whole"),
        (a_list_for_a_tokenizer, "bert/tokenizer_config.json: is damaged: it holds no JSON object"),
        (a_word_for_a_number, "bert: the transformer in this folder cannot be loaded: .*hidden_size.*; name a folder"),
    ],
)
def test_damaged_settings_are_named_with_their_file(tmp_path, spoil, said):
    make_transformer(tmp_path / "bert")
    spoil(tmp_path / "bert")
    with pytest.raises(InputError, match=said):
        TransformerEncoder.pretrained(TransformerConfig(model=str(tmp_path / "bert"), max_tokens=8))


def test_a_folder_has_no_revision(config):
    with pytest.raises(InputError, match=r"has no revision 'main'; leave the revision out"):
        TransformerEncoder.pretrained(config.model_copy(update={"revision": "main"}))


@pytest.mark.parametrize(
    "spoil", [without_a_layer, pickled, with_code, truncated, lambda folder: (folder / "config.json").unlink()]
)
def test_pickles_code_and_damage_are_refused(tmp_path, spoil):
    make_transformer(tmp_path / "bert")
    spoil(tmp_path / "bert")
    with pytest.raises(InputError, match=r"cannot be loaded|lacks 16 weights, such as encoder.layer.1"):
        TransformerEncoder.pretrained(TransformerConfig(model=str(tmp_path / "bert"), max_tokens=8))


def test_a_decoder_too_long_documents_and_a_missing_folder_are_refused(tmp_path, config):
    make_transformer(tmp_path / "decoder", is_decoder=True)
    with pytest.raises(InputError, match="is not an encoder"):
        TransformerEncoder.pretrained(config.model_copy(update={"model": str(tmp_path / "decoder")}))
    with pytest.raises(InputError, match="takes 64 tokens, not 65; lower max_tokens"):
        TransformerEncoder.pretrained(config.model_copy(update={"max_tokens": 65}))
    with pytest.raises(InputError, match="does not exist"):
        TransformerEncoder.pretrained(config.model_copy(update={"model": "./absent/folder"}))
