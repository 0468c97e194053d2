"""Marginalised stacked denoising autoencoders (mSDA): features that survive the loss of half the words, in closed form.

Nothing here is trained by gradient. The linear algebra of one layer is in `denoising_layer.py`; which rows the features
are fitted on, and what is done with them, is the caller's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.transfer.denoising_layer import Layer, Rows, as_rows, blocks_of_rows, fit_block, fit_layer
from speechnlp_tl.transfer.feature_files import damaged, read_features, write_features

FORMAT = "marginalised denoiser 1"


class MarginalisedDenoiser:
    """mSDA (Chen, Xu, Weinberger and Sha 2012).

    Each layer is the linear map that best repairs rows in which every feature was set to zero with probability `noise`,
    in expectation over all corruptions, followed by tanh. With rows x in R^d, a constant 1 that is never corrupted
    appended, S the sum of their outer products and q_i = 1 - noise (1 for the constant),

        h = tanh(W [x; 1]),   W = P (Q + ridge I)^-1,
        P_ij = S_ij q_j,   Q_ij = S_ij q_i q_j (i != j),   Q_ii = S_ii q_i

    The ridge leaves the constant alone, as in the authors' code. The next layer is fitted on h.

    A bigger vocabulary is reduced by the first layer: the features are parted at random into
    `blocks`, each block repairs the `frequent` features that occur in most rows, and the answers are averaged. Layers
    after the first, and the input part of the output, then have the width `frequent`.

    Args:
        layers: how many.
        noise: the probability p of losing a feature, 0 <= p < 1.
        ridge: added to the diagonal of Q, which is a sum over rows and not a mean.
        include_input: whether `transform` puts the input features before the layers.
        blocks: parts of the first layer's input.
        frequent: outputs of the first layer; all features when None and there is one block, else a block's size.
        seed: of the random partition; without effect when there is one block.

    Raises:
        InputError: a setting out of range.
    """

    def __init__(
        self,
        layers: int = 5,
        noise: float = 0.5,
        ridge: float = 1e-5,
        *,
        include_input: bool = True,
        blocks: int = 1,
        frequent: int | None = None,
        seed: int = 0,
    ) -> None:
        problems = []
        if layers < 1 or blocks < 1 or (frequent is not None and frequent < 1):
            problems.append(f"layers={layers}, blocks={blocks} and frequent={frequent} must be at least 1")
        if not 0 <= noise < 1:
            problems.append(f"noise is the probability of losing a feature, 0 <= noise < 1, not {noise}")
        if not 0 <= ridge < float("inf"):
            problems.append(f"ridge must be 0 or more, not {ridge}")
        elif noise == 0 and ridge == 0:
            problems.append("without noise and without ridge there is no unique solution: set one of them above 0")
        if problems:
            raise InputError(problems)
        self.layers, self.noise, self.ridge = layers, noise, ridge
        self.include_input, self.blocks, self.frequent, self.seed = include_input, blocks, frequent, seed
        self.fitted: list[Layer] = []
        self.kept: NDArray[np.int64] | None = None
        """The features that the first layer repairs, ascending; None for all of them."""

    @property
    def features(self) -> int:
        """Width of the input."""
        return self._stack()[0].weight.shape[0]

    @property
    def width(self) -> int:
        """Width of the output of `transform`."""
        stack = self._stack()
        return (len(stack) + self.include_input) * stack[0].weight.shape[1]

    def fit(self, rows: Rows) -> MarginalisedDenoiser:
        """Fit on (n, features) unlabelled rows, dense or scipy sparse; all domains together. Returns itself.

        Raises:
            InputError: no rows, values that are not finite, more blocks or frequent features than there are features.
        """
        self._fit(as_rows(rows), None)
        return self

    def fit_transform(self, rows: Rows) -> NDArray[np.float32]:
        """`fit(rows)` and then `transform(rows)`, for the price of the first; up to rounding the same numbers."""
        rows = as_rows(rows)
        out = np.empty((rows.shape[0], (self.layers + self.include_input) * self._plan(rows)), np.float32)
        self._fit(rows, out)
        return out

    def transform(self, rows: Rows, rows_at_once: int = 1024) -> NDArray[np.float32]:
        """(n, features) rows -> (n, width): the input (where included) and every layer, from the first to the last.

        Args:
            rows: dense or scipy sparse; sparse rows stay sparse in the first product.
            rows_at_once: bounds the memory beside the result.

        Raises:
            InputError: other features than were fitted, or values that are not finite.
        """
        stack, rows = self._stack(), as_rows(rows)
        if rows.shape[1] != self.features:
            what = f"rows have {rows.shape[1]} features, the denoiser was fitted on {self.features}"
            raise InputError(Problem(what, remedy="make the rows with the vocabulary of the fit"))
        out = np.empty((rows.shape[0], self.width), np.float32)
        for begin, end in blocks_of_rows(rows.shape[0], rows_at_once):
            hidden: Rows = rows[begin:end]
            columns = self._columns(out[begin:end])
            if self.include_input:
                next(columns)[:] = self._input_part(hidden)
            for layer, part in zip(stack, columns, strict=True):
                hidden = layer(hidden)
                part[:] = hidden
        return out

    def save(self, path: str | Path) -> None:
        """Write weights and settings as one safetensors file; no training row is in it."""
        tensors = {
            f"{name}.{i}": getattr(layer, name) for i, layer in enumerate(self._stack()) for name in ("weight", "bias")
        }
        if self.kept is not None:
            tensors["kept"] = self.kept
        write_features(path, FORMAT, {name: getattr(self, name) for name in _SETTINGS}, tensors)

    @classmethod
    def load(cls, path: str | Path) -> MarginalisedDenoiser:
        """What `save` wrote.

        Raises:
            InputError: the file is missing, damaged, or something else.
        """
        settings, tensors = read_features(path, FORMAT)
        try:
            denoiser = cls(**{name: settings[name] for name in _SETTINGS})
            denoiser.kept = tensors.get("kept")
            denoiser.fitted = [Layer(tensors[f"weight.{i}"], tensors[f"bias.{i}"]) for i in range(denoiser.layers)]
            denoiser._check_shapes()
        except (KeyError, TypeError, ValueError, InputError) as error:
            raise damaged(path, FORMAT) from error
        return denoiser

    def _fit(self, rows: Rows, out: NDArray[np.float32] | None) -> None:
        """Fit all layers; the features of `rows` themselves go into `out` where it is given."""
        width = self._plan(rows)
        self.kept = _most_frequent(rows, width) if width < rows.shape[1] else None
        columns = None if out is None else self._columns(out, width)
        if columns is not None and self.include_input:
            next(columns)[:] = self._input_part(rows)
        fitted: list[Layer] = []
        hidden: Rows = rows
        for number in range(self.layers):
            if number == 0 and (self.blocks > 1 or self.kept is not None):
                layer = self._reduce(rows)
                hidden = np.concatenate([layer(rows[begin:end]) for begin, end in blocks_of_rows(rows.shape[0])])
            else:
                layer, hidden = fit_layer(hidden, self.noise, self.ridge)
            fitted.append(layer)
            if columns is not None:
                next(columns)[:] = hidden
        self.fitted = fitted

    def _plan(self, rows: Rows) -> int:
        """The width of the layers, after a look at what is to be fitted."""
        count, features = rows.shape
        if count == 0 or features == 0:
            raise InputError(f"a denoiser needs rows and features, there are {count} and {features}")
        if self.blocks > features or (self.frequent or 0) > features:
            raise InputError(f"blocks={self.blocks}, frequent={self.frequent}, but there are {features} features")
        return self.frequent or -(-features // self.blocks)

    def _reduce(self, rows: Rows) -> Layer:
        """The first layer when it reduces: the blocks' answers averaged, as one matrix in the features' own order."""
        features = rows.shape[1]
        kept = np.arange(features) if self.kept is None else self.kept
        by_column = rows.tocsc() if sparse.issparse(rows) else rows
        targets = as_rows(by_column[:, kept])
        order = np.random.default_rng(self.seed).permutation(features)
        weight, bias = np.empty((features, len(kept)), np.float32), np.zeros(len(kept), np.float32)
        for block in np.array_split(order, self.blocks):
            block = np.sort(block)
            part = fit_block(as_rows(by_column[:, block]), targets, self.noise, self.ridge)
            weight[block] = part.weight / self.blocks
            bias += part.bias / self.blocks
        return Layer(weight, bias)

    def _input_part(self, rows: Rows) -> NDArray[Any]:
        part = rows if self.kept is None else rows[:, self.kept]
        return part.toarray() if sparse.issparse(part) else part

    def _columns(self, out: NDArray[np.float32], width: int | None = None) -> Iterator[NDArray[np.float32]]:
        width = width or self._stack()[0].weight.shape[1]
        return (out[:, begin : begin + width] for begin in range(0, out.shape[1], width))

    def _stack(self) -> list[Layer]:
        if not self.fitted:
            raise ValueError("the denoiser is not fitted: call fit or load")
        return self.fitted

    def _check_shapes(self) -> None:
        width = self.fitted[0].weight.shape[1]
        for number, layer in enumerate(self.fitted):
            rows = self.features if number == 0 else width
            if layer.weight.shape != (rows, width) or layer.bias.shape != (width,):
                raise ValueError(layer.weight.shape)
        if (width if self.kept is None else len(self.kept)) != width or (self.kept is None and self.features != width):
            raise ValueError(width)
        if self.kept is not None and (self.kept.min() < 0 or self.kept.max() >= self.features):
            raise ValueError("kept")


_SETTINGS = ("layers", "noise", "ridge", "include_input", "blocks", "frequent", "seed")


def _most_frequent(rows: Rows, count: int) -> NDArray[np.int64]:
    """The `count` features that are not zero in most rows, ascending; of equals the first."""
    if sparse.issparse(rows):
        occurrences = np.bincount(rows.indices[rows.data != 0], minlength=rows.shape[1])
    else:
        occurrences = np.count_nonzero(rows, axis=0)
    return np.sort(np.argsort(-occurrences, kind="stable")[:count]).astype(np.int64)
