from __future__ import annotations

import json

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from speechnlp_tl.core import checkpoint as module
from speechnlp_tl.core.checkpoint import (
    Checkpoints,
    Contents,
    load_module,
    load_optimizer,
    module_tensors,
    optimizer_contents,
)
from speechnlp_tl.errors import InputError


def contents(value: float = 1.0) -> Contents:
    return Contents({"model": {"w": torch.full((2, 3), value)}, "none": {}}, {"state": {"step": 3, "best": 0.1 + 0.2}})


def test_what_is_saved_is_loaded_and_nothing_is_a_pickle(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    path = checkpoints.save(3, contents())
    loaded = checkpoints.load(3)
    assert torch.equal(loaded.tensors["model"]["w"], torch.ones(2, 3))
    assert loaded.tensors["none"] == {}
    assert loaded.documents["state"] == {"step": 3, "best": 0.1 + 0.2}
    assert {file.suffix for file in path.iterdir()} == {".safetensors", ".json"}
    sizes = json.loads((path / "manifest.json").read_text(encoding="utf-8"))["files"]
    assert all((path / name).stat().st_size == entry["bytes"] for name, entry in sizes.items())


def test_leftovers_of_killed_writes_are_no_checkpoints_and_are_cleaned(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, contents())
    (tmp_path / ".step-00000009.123.tmp").mkdir()
    (tmp_path / "step-00000010").mkdir()
    (tmp_path / "notes").write_text("mine")
    assert checkpoints.steps() == [3]
    checkpoints.clean()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes", "step-00000003", "step-00000010"]


def test_a_full_disk_leaves_the_old_checkpoint_and_one_clear_error(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, contents())

    def full(*arguments):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(InputError, match="No space left"):
        checkpoints.save(4, contents())
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]


def test_only_the_wanted_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3, 4):
        checkpoints.save(step, contents())
    checkpoints.keep({2, 4})
    assert checkpoints.steps() == [2, 4]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["", "[]", '{"files": {"model.safetensors": 3}}', '{"files": {"../x": {}}}'])
def test_an_unreadable_manifest_is_a_damaged_checkpoint(tmp_path, damage):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(2, contents())
    path = checkpoints.save(3, contents())
    (path / "manifest.json").write_text(damage)
    with pytest.raises(InputError, match=r"damaged.*to go on from step 2"):
        checkpoints.load(3)


def test_tied_weights_are_stored_once_and_stay_tied():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.output = nn.Embedding(5, 3), nn.Linear(3, 5)
            self.output.weight = self.embedding.weight

    first, second = Tied(), Tied()
    tensors = module_tensors(first)
    assert set(tensors) == {"embedding.weight", "output.bias"}
    load_module(second, tensors)
    assert torch.equal(second.output.weight, first.embedding.weight)
    assert second.output.weight is second.embedding.weight


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_an_optimizer_goes_on_as_if_it_had_never_stopped(tmp_path, kind):
    def make(weights):
        layer = nn.Linear(3, 2)
        load_module(layer, weights)
        if kind == "adamw":
            return layer, torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)
        return layer, torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)

    def train(layer, optimizer):
        for _ in range(3):
            layer(torch.arange(6.0).reshape(2, 3)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    layer, optimizer = make(module_tensors(nn.Linear(3, 2)))
    train(layer, optimizer)
    tensors, document = optimizer_contents(optimizer)
    Checkpoints(tmp_path).save(1, Contents({"o": tensors, "m": module_tensors(layer)}, {"o": document}))
    loaded = Checkpoints(tmp_path).load(1)
    other, resumed = make(loaded.tensors["m"])
    load_optimizer(resumed, loaded.tensors["o"], loaded.documents["o"])
    train(layer, optimizer)
    train(other, resumed)
    assert torch.equal(layer.weight, other.weight)
