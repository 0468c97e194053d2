"""Stacked denoising autoencoders: what they learn, that they learn it the same way each time, what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import torch
from numpy.typing import NDArray
from scipy import sparse

from speechnlp_tl.core.config import TrainConfig
from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.autoencoder_layer import Autoencoder, AutoencoderTask, reconstruction_loss
from speechnlp_tl.transfer.stacked_autoencoder import StackedAutoencoder

Array = NDArray[np.float32]
QUICK = TrainConfig(epochs=30, learning_rate=1e-2, weight_decay=0.0, evaluate_every=None, device="cpu")


def paired(rows: int = 300, pairs: int = 8, seed: int = 0) -> Array:
    """Feature 2i and feature 2i + 1 are there together or not at all; the pairs know nothing of each other."""
    present = np.random.default_rng(seed).random((rows, pairs)) < 0.4
    return np.repeat(present, 2, axis=1).astype(np.float32)


def scores(model: StackedAutoencoder, rows: Array) -> tuple[float, float]:
    """Mean reconstruction of a lost feature: where its partner is there, and where it is not."""
    lost = rows.copy()
    lost[:, ::2] = 0
    found = model.reconstruct(lost)[:, ::2]
    there = rows[:, ::2] > 0
    return float(found[there].mean()), float(found[~there].mean())


@pytest.mark.parametrize("decoder", ["sigmoid", "softplus", "linear"])
@pytest.mark.parametrize("activation", ["relu", "softplus", "sigmoid", "tanh"])
def test_a_lost_feature_is_restored_from_its_partner_and_only_from_it(activation, decoder):
    model = StackedAutoencoder([12], 0.4, activation=activation, decoder=decoder, batch_size=20, train=QUICK)
    with_partner, without = scores(model.fit(paired()), paired(seed=1))
    assert with_partner > without + 0.4
    untrained = StackedAutoencoder([12], 0.4, activation=activation, decoder=decoder, train=QUICK)
    untrained.train = QUICK.model_copy(update={"epochs": 1, "learning_rate": 1e-9})
    with_partner, without = scores(untrained.fit(paired()), paired(seed=1))
    assert abs(with_partner - without) < 0.3


@pytest.mark.parametrize(("activation", "decoder"), [("relu", "sigmoid"), ("sigmoid", "linear"), ("tanh", "linear")])
def test_the_loss_of_every_layer_falls(activation, decoder):
    rows = paired()
    options = {"activation": activation, "decoder": decoder, "batch_size": 20}
    short, long = (
        StackedAutoencoder([12, 6], **options, train=QUICK.model_copy(update={"epochs": epochs})).fit(rows)
        for epochs in (1, 15)
    )
    assert long.losses[0] < 0.8 * short.losses[0]
    # the second layer's input is another one, better learnt: it is compared with itself before training
    hidden = long.transform(rows)[:, 16:28]
    model = Autoencoder(hidden.mean(0), 6, activation, decoder, 0)
    before = AutoencoderTask(model, hidden, long.noise, 20, 0).evaluate(model)["reconstruction"]
    assert long.losses[1] < 0.95 * before


def test_losses_are_those_of_the_formulas():
    sums, clean = torch.randn(4, 5, dtype=torch.float64), torch.rand(4, 5, dtype=torch.float64)
    guess = 1 / (1 + torch.exp(-sums))
    entropy = -(clean * guess.log() + (1 - clean) * (1 - guess).log()).sum()
    torch.testing.assert_close(reconstruction_loss(sums, clean, "sigmoid"), entropy)
    softplus = torch.log(1 + torch.exp(sums))
    torch.testing.assert_close(reconstruction_loss(sums, clean, "softplus"), ((softplus - clean) ** 2).sum())
    torch.testing.assert_close(reconstruction_loss(sums, clean, "linear"), ((sums - clean) ** 2).sum())


@pytest.mark.parametrize("decoder", ["sigmoid", "softplus", "linear"])
def test_training_begins_where_the_reconstruction_is_the_mean(decoder):
    rows = paired()
    model = Autoencoder(rows.mean(0), 3, "relu", decoder, seed=0)
    model.weight.data.zero_()
    _, sums = model(torch.from_numpy(rows))
    guess = {"sigmoid": torch.sigmoid, "softplus": torch.nn.functional.softplus, "linear": lambda x: x}[decoder](sums)
    np.testing.assert_allclose(guess.detach().numpy(), np.tile(rows.mean(0), (len(rows), 1)), atol=1e-4)


def test_noise_loses_the_share_it_should_anew_in_each_epoch_and_depends_on_nothing_but_seed_epoch_and_row():
    rows = np.ones((200, 50), np.float32)
    task = AutoencoderTask(Autoencoder(rows.mean(0) / 2, 3, "relu", "linear", 0), rows, 0.3, 10, seed=4)
    first, second = task.load([3, 8, 150], 0), task.load([150, 3], 0)
    assert torch.equal(first.corrupted[[2, 0]], second.corrupted)
    assert not torch.equal(first.corrupted, task.load([3, 8, 150], 1).corrupted)
    kept = float(task.load(list(range(200)), 5).corrupted.mean())
    assert kept == pytest.approx(0.7, abs=0.02)
    assert torch.equal(first.clean, torch.ones(3, 50))
    steps = task.batches(0)
    assert sorted(row for step in steps for row in step) == list(range(200))
    assert steps != task.batches(1)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    rows = paired()
    one, two, three = (
        StackedAutoencoder([6, 4], train=QUICK.model_copy(update={"epochs": 2}), seed=seed).fit(rows)
        for seed in (0, 0, 1)
    )
    for a, b, c in zip(one.fitted, two.fitted, three.fitted, strict=True):
        assert np.array_equal(a.weight, b.weight)
        assert np.array_equal(a.decoder_bias, b.decoder_bias)
        assert not np.array_equal(a.weight, c.weight)


def test_sparse_rows_learn_and_give_what_dense_rows_do():
    rows = paired()
    train = QUICK.model_copy(update={"epochs": 2})
    # noise is drawn for the entries of a sparse row: without noise the two are the same
    dense, thin = (StackedAutoencoder([6, 4], 0.0, train=train).fit(x) for x in (rows, sparse.csr_array(rows)))
    np.testing.assert_allclose(thin.fitted[1].weight, dense.fitted[1].weight, atol=1e-5)
    features = thin.transform(sparse.csc_matrix(rows))
    assert sparse.issparse(features)
    assert features.shape == (300, thin.width) == (300, 16 + 6 + 4)
    np.testing.assert_allclose(features.toarray(), dense.transform(rows), atol=1e-5)
    dense.include_input = False
    np.testing.assert_allclose(dense.transform(rows), features.toarray()[:, 16:], atol=1e-5)
    assert dense.transform(rows[:0]).shape == (0, 10)


def test_sparse_rows_are_never_dense_as_a_whole(monkeypatch):
    made_dense = []
    for kind in (sparse.csr_matrix, sparse.csr_array):
        plain = kind.toarray
        monkeypatch.setattr(kind, "toarray", lambda self, plain=plain: made_dense.append(self.shape) or plain(self))
    StackedAutoencoder([6], train=QUICK.model_copy(update={"epochs": 2})).fit(sparse.csr_matrix(paired(2000)))
    assert made_dense
    assert max(count for count, _ in made_dense) <= 256


def test_codes_for_the_cross_entropy_lie_between_0_and_1():
    model = StackedAutoencoder([12, 6], batch_size=20, train=QUICK, include_input=False).fit(paired())
    codes = model.transform(paired())
    assert codes.min() >= 0
    awake = codes.max(0)[codes.max(0) > 0]
    np.testing.assert_allclose(awake, 1, atol=1e-5)
    assert len(awake) >= 6


@pytest.mark.parametrize(
    "options", [{}, {"activation": "tanh", "decoder": "linear", "include_input": False, "seed": 3}]
)
def test_a_saved_autoencoder_gives_the_same_features(options, tmp_path: Path):
    train = QUICK.model_copy(update={"epochs": 2})
    model = StackedAutoencoder([6, 4], 0.3, train=train, **options).fit(paired())
    model.save(tmp_path / "sda.safetensors")
    loaded = StackedAutoencoder.load(tmp_path / "sda.safetensors")
    unseen = paired(seed=5)
    assert np.array_equal(loaded.transform(unseen), model.transform(unseen))
    assert np.array_equal(loaded.reconstruct(unseen), model.reconstruct(unseen))
    assert (loaded.noise, loaded.units, loaded.train, loaded.losses) == (0.3, (6, 4), train, model.losses)


@pytest.mark.parametrize("damage", ["missing", "cut", "format", "shape", "settings", "train"])
def test_a_file_that_is_no_autoencoder_is_named(damage: str, tmp_path: Path):
    path = tmp_path / "sda.safetensors"
    StackedAutoencoder([6, 4], train=QUICK.model_copy(update={"epochs": 1})).fit(paired()).save(path)
    content = safetensors.numpy.load_file(path)
    with safetensors.safe_open(str(path), framework="numpy") as file:
        metadata = dict(file.metadata())
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    elif damage == "shape":
        safetensors.numpy.save_file({**content, "weight.1": np.zeros((5, 4), np.float32)}, path, metadata)
    elif damage == "format":
        safetensors.numpy.save_file(content, path, {**metadata, "format": "marginalised denoiser 1"})
    else:
        wrong = {"settings": {"units": [6, 4, 2]}, "train": {"train": {"epochs": -1}}}[damage]
        settings = json.dumps(json.loads(metadata["settings"]) | wrong)
        safetensors.numpy.save_file(content, path, {**metadata, "settings": settings})
    with pytest.raises(InputError, match=r"sda\.safetensors: (cannot be read|is damaged or no saved stacked)"):
        StackedAutoencoder.load(path)


def test_settings_out_of_range_are_all_listed():
    with pytest.raises(InputError) as error:
        StackedAutoencoder([0], 1.0, activation="step", decoder="none")  # type: ignore[arg-type]
    assert len(error.value.problems) == 4
    with pytest.raises(InputError, match="decoder='sigmoid' cannot restore"):
        StackedAutoencoder([5, 5], activation="tanh")
    StackedAutoencoder([5], activation="tanh")


def test_rows_that_cannot_be_fitted_or_transformed_are_refused():
    rows = paired(20)
    with pytest.raises(ValueError, match="not fitted"):
        StackedAutoencoder([3]).transform(rows)
    with pytest.raises(InputError, match="restores values between 0 and 1, the rows hold 0 to 2"):
        StackedAutoencoder([3]).fit(2 * rows)
    with pytest.raises(InputError, match="of 0 or more, the rows hold -1 to 0"):
        StackedAutoencoder([3], decoder="softplus").fit(sparse.csr_matrix(-rows))
    with pytest.raises(InputError, match="not finite"):
        StackedAutoencoder([3]).fit(np.where(rows > 0, np.nan, rows))
    with pytest.raises(InputError, match="0 and 5"):
        StackedAutoencoder([3]).fit(np.zeros((0, 5)))
    model = StackedAutoencoder([3], train=QUICK.model_copy(update={"epochs": 1})).fit(rows)
    with pytest.raises(InputError, match="4 features, the autoencoder was fitted on 16"):
        model.transform(rows[:, :4])
