"""One layer of a stacked denoising autoencoder: the network, the task that trains it, the layer that is kept.

The stack is in `stacked_autoencoder.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from speechnlp_tl.core.task import Step, Task
from speechnlp_tl.transfer.denoising_layer import Rows, blocks_of_rows

Activation = Literal["relu", "softplus", "sigmoid", "tanh"]
Decoder = Literal["sigmoid", "softplus", "linear"]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "softplus": F.softplus,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}
DECODERS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "linear": lambda sums: sums,
}
EVALUATION = 2**31
"""The epoch whose noise `evaluate` takes: one that no training reaches."""


class Autoencoder(nn.Module):
    """Codes s(x W + b) and the sums h W^T + c that the decoder turns into a reconstruction.

    W begins as that of nn.Linear does, c where the reconstruction is the mean of each feature.

    Args:
        mean: (inputs,) of the rows.
        units: of the code.
        seed: of W.
    """

    def __init__(
        self, mean: NDArray[np.float32], units: int, activation: Activation, decoder: Decoder, seed: int
    ) -> None:
        super().__init__()
        self.activation, self.decoder = activation, decoder
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            like = nn.Linear(len(mean), units)
        self.weight = nn.Parameter(like.weight.detach().T.contiguous())
        self.bias = nn.Parameter(torch.zeros(units))
        self.decoder_bias = nn.Parameter(_before_decoder(torch.from_numpy(mean), decoder))

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(B, inputs) -> (B, units) codes and (B, inputs) sums."""
        codes = ACTIVATIONS[self.activation](rows @ self.weight + self.bias)
        return codes, F.linear(codes, self.weight, self.decoder_bias)


def reconstruction_loss(sums: Tensor, clean: Tensor, decoder: Decoder) -> Tensor:
    """The loss of `decoder` (see `StackedAutoencoder`), summed over rows and features."""
    if decoder == "sigmoid":
        return F.binary_cross_entropy_with_logits(sums, clean, reduction="sum")
    return F.mse_loss(DECODERS[decoder](sums), clean, reduction="sum")


@dataclass
class CorruptedRows:
    """B rows, and what noise left of them."""

    ids: list[str]
    units: float
    corrupted: Tensor
    """(B, inputs)."""
    clean: Tensor
    """(B, inputs)."""

    def to(self, device: torch.device) -> CorruptedRows:
        return replace(self, corrupted=self.corrupted.to(device), clean=self.clean.to(device))


class AutoencoderTask(Task):
    """Restore rows from what masking noise leaves of them; the noise depends on (seed, epoch, row) alone.

    Args:
        model: trained in place.
        rows: (n, inputs) float32, an array or a CSR matrix, dense only as a batch.
        noise: the probability of losing a feature.
        batch_size: rows of one step, or a few more: an epoch's are shared out evenly.
    """

    def __init__(self, model: Autoencoder, rows: Rows, noise: float, batch_size: int, seed: int) -> None:
        self.model: nn.Module = model
        self.decoder = model.decoder
        self.rows, self.noise, self.batch_size, self.seed = rows, noise, batch_size, seed

    def batches(self, epoch: int) -> list[list[int]]:
        count = self.rows.shape[0]
        order = np.random.default_rng([self.seed, epoch]).permutation(count)
        return [batch.tolist() for batch in np.array_split(order, max(1, count // self.batch_size))]

    def load(self, rows: list[int], epoch: int) -> CorruptedRows:
        clean = self.rows[rows]
        parts = np.diff(clean.indptr) if sparse.issparse(clean) else np.full(len(rows), clean.shape[1])
        draws = [
            np.random.default_rng([self.seed, epoch, row]).random(part, dtype=np.float32)
            for row, part in zip(rows, parts, strict=True)
        ]
        kept = np.concatenate(draws) >= self.noise
        corrupted = clean.copy()
        values = corrupted.data if sparse.issparse(clean) else corrupted.reshape(-1)
        values *= kept
        return CorruptedRows(list(map(str, rows)), float(len(rows)), _tensor(corrupted), _tensor(clean))

    def step(self, model: nn.Module, batch: CorruptedRows) -> Step:
        codes, sums = model(batch.corrupted)
        loss = reconstruction_loss(sums.float(), batch.clean, self.decoder)
        mask = torch.ones(len(codes), dtype=torch.bool, device=codes.device)
        return Step(loss, sums, mask, {"codes": codes})

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """`reconstruction`: the mean loss of a row under noise that is always the same."""
        device = cast(Autoencoder, model).weight.device
        total, count = 0.0, self.rows.shape[0]
        for begin, end in blocks_of_rows(count, 256):
            total += float(self.step(model, self.load(list(range(begin, end)), EVALUATION).to(device)).loss.detach())
        return {"reconstruction": total / count}


@dataclass(frozen=True)
class EncodingLayer:
    """A trained layer: codes are s(x weight + bias) scale."""

    weight: NDArray[np.float32]
    """(inputs, units)."""
    bias: NDArray[np.float32]
    """(units,)."""
    scale: NDArray[np.float32]
    """(units,), above 0."""
    decoder_bias: NDArray[np.float32]
    """(inputs,)."""
    activation: Activation
    decoder: Decoder

    @classmethod
    def of(cls, model: Autoencoder) -> EncodingLayer:
        weight, bias, decoder_bias = (
            value.detach().cpu().numpy().copy() for value in (model.weight, model.bias, model.decoder_bias)
        )
        return cls(weight, bias, np.ones_like(bias), decoder_bias, model.activation, model.decoder)

    def __call__(self, rows: Rows) -> NDArray[np.float32]:
        """(n, inputs) -> (n, units); sparse rows stay sparse in the product."""
        sums = np.asarray(rows @ self.weight, dtype=np.float32) + self.bias
        codes: NDArray[np.float32] = ACTIVATIONS[self.activation](torch.from_numpy(sums)).numpy()
        return codes * self.scale

    def decode(self, codes: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, units) -> (n, inputs)."""
        sums = torch.from_numpy((codes / self.scale) @ self.weight.T + self.decoder_bias)
        found: NDArray[np.float32] = DECODERS[self.decoder](sums).numpy()
        return found


def _before_decoder(mean: Tensor, decoder: Decoder) -> Tensor:
    """What the decoder turns into `mean`, away from where it would be infinite."""
    if decoder == "sigmoid":
        return torch.logit(mean, eps=1e-4)
    return mean.clamp(min=1e-4).expm1().log() if decoder == "softplus" else mean.clone()


def _tensor(rows: Any) -> Tensor:
    return torch.from_numpy(rows.toarray() if sparse.issparse(rows) else rows)
