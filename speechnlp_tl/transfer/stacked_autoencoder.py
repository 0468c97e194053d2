"""Stacked denoising autoencoders (SDA): codes that survive the loss of features, learnt layer by layer without labels.

Which rows they are learnt on, and what is done with the codes, is the caller's business. The relative in closed form,
without codes, is in `denoising.py`; one layer and its training task are in `autoencoder_layer.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import sparse

from speechnlp_tl.core.config import TrainConfig
from speechnlp_tl.core.trainer import Trainer
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.transfer.autoencoder_layer import (
    ACTIVATIONS,
    DECODERS,
    Activation,
    Autoencoder,
    AutoencoderTask,
    Decoder,
    EncodingLayer,
)
from speechnlp_tl.transfer.denoising_layer import Rows, as_rows, blocks_of_rows
from speechnlp_tl.transfer.feature_files import damaged, read_features, write_features

FORMAT = "stacked denoising autoencoder 1"
TRAINING = TrainConfig(epochs=20, learning_rate=1e-3, weight_decay=0.0, evaluate_every=None, tensorboard=False)
"""How each layer is trained where nothing else is said."""


class StackedAutoencoder:
    """SDA (Vincent, Larochelle, Bengio and Manzagol 2008) for domain adaptation (Glorot, Bordes and Bengio, ICML 2011).

    Each layer is trained to restore its input x from a copy x~ in which every feature was set to zero with probability
    `noise`, drawn anew in each epoch, with one matrix for both ways:

        h = s(x~ W + b),    x^ = d(h W^T + c)

    The next layer is trained on the codes h of all rows, uncorrupted. How they are restored (Glorot, Bordes and Bengio,
    AISTATS 2011, compare these) is `decoder`:

    - "sigmoid" with the cross-entropy -sum_j x_j ln x^_j + (1 - x_j) ln (1 - x^_j), for values between 0 and 1 (word or
      no word). Codes of "relu" and "softplus" are divided by the largest value of their unit, for the next layer and in
      the output: their recipe for text.
    - "softplus" with the squared error ||x - x^||^2, for values of 0 or more.
    - "linear" with the squared error, for any.

    Args:
        units: of each layer, from the first to the last.
        noise: the probability of losing a feature, 0 <= noise < 1.
        activation: s, one of "relu", "softplus", "sigmoid", "tanh".
        decoder: d and its loss, as above.
        include_input: whether `transform` puts the input features before the codes.
        batch_size: rows of one step.
        train: how each layer is trained; None is `TRAINING`.
        seed: of initial weights, orders and noise.

    Raises:
        InputError: settings out of range, or that do not go together.
    """

    def __init__(
        self,
        units: Sequence[int] = (500,),
        noise: float = 0.5,
        *,
        activation: Activation = "relu",
        decoder: Decoder = "sigmoid",
        include_input: bool = True,
        batch_size: int = 64,
        train: TrainConfig | None = None,
        seed: int = 0,
    ) -> None:
        problems = []
        if not units or min(units) < 1 or batch_size < 1:
            problems.append(
                f"units={list(units)} must name a layer or more, each number, like batch_size={batch_size}, at least 1"
            )
        if not 0 <= noise < 1:
            problems.append(f"noise is the probability of losing a feature, 0 <= noise < 1, not {noise}")
        if activation not in ACTIVATIONS:
            problems.append(f"activation is one of {', '.join(ACTIVATIONS)}, not {activation!r}")
        if decoder not in DECODERS:
            problems.append(f"decoder is one of {', '.join(DECODERS)}, not {decoder!r}")
        if activation == "tanh" and decoder != "linear" and len(units) > 1:
            problems.append(f"codes of tanh can be below 0, which decoder={decoder!r} cannot restore: take 'linear'")
        if problems:
            raise InputError(problems)
        self.units, self.noise, self.activation, self.decoder = tuple(units), noise, activation, decoder
        self.include_input, self.batch_size, self.seed = include_input, batch_size, seed
        self.train = train or TRAINING
        self.fitted: list[EncodingLayer] = []
        self.losses: list[float] = []
        """Of each layer after training: the mean loss of a row under noise."""

    @property
    def features(self) -> int:
        """Width of the input."""
        return self._stack()[0].weight.shape[0]

    @property
    def width(self) -> int:
        """Width of the output of `transform`."""
        return self.include_input * self.features + sum(self.units)

    def fit(self, rows: Rows) -> StackedAutoencoder:
        """Train on (n, features) unlabelled rows, dense or scipy sparse; all domains together. Returns itself.

        Sparse rows are made dense one batch at a time. The same seed, rows and settings give the same weights.

        Raises:
            InputError: no rows, or values that are not finite or out of the decoder's range.
        """
        rows = as_rows(rows)
        if 0 in rows.shape:
            raise InputError(f"an autoencoder needs rows and features, there are {rows.shape[0]} and {rows.shape[1]}")
        self._check_range(rows)
        fitted, losses = [], []
        hidden = rows
        for number, units in enumerate(self.units):
            seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
            model = Autoencoder(_mean(hidden), units, self.activation, self.decoder, seed)
            task = AutoencoderTask(model, hidden, self.noise, self.batch_size, seed)
            result = Trainer(task, self.train.model_copy(update={"seed": self.seed}), None, quiet=True).fit()
            layer = EncodingLayer.of(model)
            hidden = _encoded(layer, hidden)
            if self.decoder == "sigmoid" and self.activation in ("relu", "softplus"):
                largest = hidden.max(axis=0)
                layer.scale[:] = np.divide(1, largest, out=np.ones_like(largest), where=largest > 0)
                hidden *= layer.scale
            fitted.append(layer)
            losses.append(result.history[-1]["dev"]["reconstruction"])
        self.fitted, self.losses = fitted, losses
        return self

    def transform(self, rows: Rows) -> Any:
        """(n, features) rows -> (n, width): the input (where included), then each layer's codes, float32.

        Sparse rows with `include_input` come back as a sparse matrix in CSR form, anything else as an array.

        Raises:
            InputError: other features than were fitted, or values that are not finite.
        """
        rows = self._checked(rows)
        parts, hidden = [], rows
        for layer in self._stack():
            hidden = _encoded(layer, hidden)
            parts.append(hidden)
        if not self.include_input:
            return np.concatenate(parts, axis=1)
        if sparse.issparse(rows):
            return sparse.hstack([rows, *map(sparse.csr_matrix, parts)], format="csr")
        return np.concatenate([rows, *parts], axis=1)

    def reconstruct(self, rows: Rows) -> NDArray[np.float32]:
        """(n, features) rows -> (n, features), up through all layers and down again."""
        hidden = self._checked(rows)
        for layer in self._stack():
            hidden = _encoded(layer, hidden)
        for layer in reversed(self._stack()):
            hidden = layer.decode(hidden)
        return np.asarray(hidden)

    def save(self, path: str | Path) -> None:
        """Write weights and settings as one safetensors file; no training row is in it."""
        tensors = {f"{name}.{i}": value for i, layer in enumerate(self._stack()) for name, value in vars(layer).items()}
        arrays = {name: value for name, value in tensors.items() if isinstance(value, np.ndarray)}
        settings = {name: getattr(self, name) for name in _SETTINGS} | {"train": self.train.model_dump(mode="json")}
        write_features(path, FORMAT, settings | {"losses": self.losses}, arrays)

    @classmethod
    def load(cls, path: str | Path) -> StackedAutoencoder:
        """What `save` wrote.

        Raises:
            InputError: the file is missing, damaged, or something else.
        """
        settings, tensors = read_features(path, FORMAT)
        try:
            train = TrainConfig.model_validate(settings["train"])
            loaded = cls(**{name: settings[name] for name in _SETTINGS}, train=train)
            loaded.losses = [float(loss) for loss in settings["losses"]]
            for number in range(len(loaded.units)):
                arrays = {name: tensors[f"{name}.{number}"] for name in _ARRAYS}
                loaded.fitted.append(EncodingLayer(**arrays, activation=loaded.activation, decoder=loaded.decoder))
            loaded._check_shapes()
        except (KeyError, TypeError, ValueError, ValidationError, InputError) as error:
            raise damaged(path, FORMAT) from error
        return loaded

    def _checked(self, rows: Rows) -> Rows:
        rows = as_rows(rows)
        if rows.shape[1] != self.features:
            what = f"rows have {rows.shape[1]} features, the autoencoder was fitted on {self.features}"
            raise InputError(Problem(what, remedy="make the rows with the vocabulary of the fit"))
        return rows

    def _check_range(self, rows: Rows) -> None:
        """Whether the first layer's decoder can say these values."""
        if self.decoder == "linear":
            return
        low, high = float(rows.min()), float(rows.max())
        if low < 0 or (self.decoder == "sigmoid" and high > 1):
            wanted = "between 0 and 1" if self.decoder == "sigmoid" else "of 0 or more"
            what = f"decoder={self.decoder!r} restores values {wanted}, the rows hold {low:g} to {high:g}"
            raise InputError(Problem(what, remedy="take word or no word (0 and 1), or decoder='linear'"))

    def _stack(self) -> list[EncodingLayer]:
        if not self.fitted:
            raise ValueError("the autoencoder is not fitted: call fit or load")
        return self.fitted

    def _check_shapes(self) -> None:
        inputs = self.features
        for layer, units in zip(self.fitted, self.units, strict=True):
            found = layer.weight.shape, layer.bias.shape, layer.scale.shape, layer.decoder_bias.shape
            if found != ((inputs, units), (units,), (units,), (inputs,)):
                raise ValueError(found)
            inputs = units


_SETTINGS = ("units", "noise", "activation", "decoder", "include_input", "batch_size", "seed")
_ARRAYS = ("weight", "bias", "scale", "decoder_bias")


def _mean(rows: Rows) -> NDArray[np.float32]:
    return np.asarray(rows.mean(axis=0), dtype=np.float32).reshape(-1)


def _encoded(layer: EncodingLayer, rows: Rows) -> NDArray[np.float32]:
    parts = [layer(rows[begin:end]) for begin, end in blocks_of_rows(rows.shape[0])]
    return np.concatenate(parts) if parts else np.zeros((0, layer.weight.shape[1]), np.float32)
