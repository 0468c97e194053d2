"""A network that classifies documents, sparse or dense. How it is trained is in `classification`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.core.evaluation_mode import evaluating
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.text.features import Rows, SparseRows, take
from speechnlp_tl.text.token_rows import TokenBatch
from speechnlp_tl.transfer.normalization import domains_of_rows

Inputs = SparseRows | Tensor | TokenBatch
"""B documents: sparse rows, (B, features), or tokens for a model that begins with a transformer."""


class ClassifierConfig(StrictModel):
    """Shape of a DocumentClassifier."""

    hidden: list[PositiveInt] = Field([50], min_length=1, description="units of each hidden layer")
    activation: Literal["relu", "sigmoid", "tanh"] = "relu"
    norm: Literal["none", "batch"] = Field("none", description="batch: normalisation before each activation")
    dropout: float = Field(0.0, ge=0, lt=1, description="after each activation")


@dataclass(frozen=True)
class ClassifierOutput:
    """What a DocumentClassifier makes of B documents."""

    logits: Tensor
    """(B, classes)."""
    hidden: dict[str, Tensor]
    """`hidden.0`, `hidden.1`, ...: the activations of each hidden layer (B, units), before dropout."""


class SparseLinear(nn.Module):
    """nn.Linear for rows that are mostly zero: y = x W + b, in time and memory of the entries of x.

    Args:
        inputs: features of a row.
        outputs: units.

    `weight` is (inputs, outputs), so that a feature's weights lie together. Initialised as nn.Linear is. Dense (B,
    inputs) tensors are taken, too.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        like = nn.Linear(inputs, outputs)
        self.weight = nn.Parameter(like.weight.detach().T.contiguous())
        self.bias = nn.Parameter(like.bias.detach().clone())

    def forward(self, rows: Inputs) -> Tensor:
        width = rows.shape[-1] if isinstance(rows, Tensor) else rows.width
        if width != len(self.weight) or isinstance(rows, TokenBatch):
            what = f"documents have {width} features, the model was made for {len(self.weight)}"
            raise InputError(Problem(what, remedy="make them with the vocabulary of the model"))
        if isinstance(rows, Tensor):
            return rows @ self.weight + self.bias
        if not len(rows):
            return self.bias.expand(0, -1)
        on_cpu = self.weight.device.type == "cpu" and self.weight.dtype in (torch.float32, torch.float64)
        if on_cpu:
            return _SparseAffine.apply(self.weight, self.bias, rows)  # type: ignore[no-any-return, no-untyped-call]
        return _product(self.weight, rows) + self.bias


def _product(weight: Tensor, rows: SparseRows) -> Tensor:
    """x W of sparse rows x (B, inputs)."""
    return F.embedding_bag(
        rows.indices,
        weight,
        rows.offsets,
        mode="sum",
        per_sample_weights=rows.values.to(weight.dtype),
        include_last_offset=True,
    )


class _SparseAffine(torch.autograd.Function):
    """`_product` + b, its gradient x^T G by scipy: that of embedding_bag sorts and takes five times as long."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, rows: SparseRows) -> Tensor:
        ctx.rows = rows
        return _product(weight, rows).add_(bias)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        from scipy import sparse

        rows: SparseRows = ctx.rows
        entries = rows.values.numpy(), rows.indices.numpy(), rows.offsets.numpy()
        # the rows of x are the columns of its transpose
        transposed = sparse.csc_matrix(entries, shape=(rows.width, len(rows)))
        return torch.from_numpy(transposed @ gradient.numpy()), gradient.sum(0), None


class DocumentClassifier(nn.Module):
    """A feed-forward network over the features of documents, of which the first layer may be sparse.

    Args:
        inputs: features of a document.
        classes: how many; two have two outputs like any other number.
        config: shape.
        seed: of the initial weights.

    Raises:
        InputError: no features or less than two classes; in `forward`, other features.
    """

    rows_at_once: int = 1024
    """Documents that `predict` runs together."""

    def __init__(self, inputs: int, classes: int = 2, config: ClassifierConfig | None = None, seed: int = 0) -> None:
        if inputs < 1 or classes < 2:
            raise InputError(f"a classifier needs features and at least two classes, not {inputs} and {classes}")
        super().__init__()
        self.config = config = config or ClassifierConfig()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.input = SparseLinear(inputs, config.hidden[0])
            self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(config.hidden))
            self.output = nn.Linear(config.hidden[-1], classes)
        norm = nn.BatchNorm1d if config.norm == "batch" else nn.Identity
        self.norms = nn.ModuleList(norm(width) for width in config.hidden)
        self.activation = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}[config.activation]()
        self.dropout = nn.Dropout(config.dropout)

    @property
    def inputs(self) -> int:
        """Features of a document."""
        return len(self.input.weight)

    @property
    def classes(self) -> int:
        return self.output.out_features

    @property
    def hidden_layers(self) -> dict[str, int]:
        """Name and width of each layer in `ClassifierOutput.hidden`, for the terms of `transfer`."""
        return {f"hidden.{number}": width for number, width in enumerate(self.config.hidden)}

    def forward(self, inputs: Inputs) -> ClassifierOutput:
        hidden: dict[str, Tensor] = {}
        sums = self.input(inputs)
        for number, norm in enumerate(self.norms):
            hidden[f"hidden.{number}"] = activations = self.activation(norm(sums))
            following = self.layers[number] if number < len(self.layers) else self.output
            sums = following(self.dropout(activations))
        return ClassifierOutput(sums, hidden)


def predict(model: DocumentClassifier, rows: Rows, domain: int | None = None) -> NDArray[np.float32]:
    """(n, classes) probabilities of (n, features) documents, in eval mode.

    Args:
        domain: of the documents, for a model with AutoDIAL layers; None is the target's.
    """
    found = [output.logits.softmax(-1) for output in _run(model, rows, domain)]
    return _joined(found, model.classes)


def hidden_activations(
    model: DocumentClassifier, rows: Rows, layer: str, domain: int | None = None
) -> NDArray[np.float32]:
    """(n, units) activations of a layer on (n, features) documents, in eval mode; `domain` as for `predict`.

    Raises:
        InputError: the model has no such layer.
    """
    if layer not in model.hidden_layers:
        remedy = f"it has: {', '.join(model.hidden_layers)}"
        raise InputError(Problem(f"the model has no hidden layer '{layer}'", remedy=remedy))
    found = [output.hidden[layer] for output in _run(model, rows, domain)]
    return _joined(found, model.hidden_layers[layer])


@torch.no_grad()
def _run(model: DocumentClassifier, rows: Rows, domain: int | None) -> Iterator[ClassifierOutput]:
    device = model.output.weight.device
    with evaluating(model):
        for begin in range(0, rows.shape[0], model.rows_at_once):
            batch = take(rows, slice(begin, begin + model.rows_at_once)).to(device)
            told = nullcontext() if domain is None else domains_of_rows(model, torch.full((len(batch),), domain))
            with told:
                output = model(batch)
            yield output


def _joined(parts: Sequence[Tensor], width: int) -> NDArray[np.float32]:
    if not parts:
        return np.zeros((0, width), np.float32)
    joined: NDArray[np.float32] = torch.cat(list(parts)).float().cpu().numpy()
    return joined
