"""Maps trained by gradient to rank the right translation first: the max-margin loss and RCSLS.

Both start from the orthogonal Procrustes map and go through `core.trainer`. The losses are plain functions of tensors.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from speechnlp_tl.core.config import StrictModel, TrainConfig
from speechnlp_tl.core.task import Step, Task
from speechnlp_tl.core.trainer import Trainer
from speechnlp_tl.embeddings.alignment import Alignment
from speechnlp_tl.embeddings.closed_forms import orthogonal_procrustes
from speechnlp_tl.embeddings.normalisation import Normalisation, NormalisationStep, Vectors, check_pairs, check_vectors
from speechnlp_tl.embeddings.retrieval import neighbours

Pairs = NDArray[np.int64]


def margin_ranking_loss(mapped: Tensor, translation: Tensor, negatives: Tensor, margin: float) -> Tensor:
    """The max-margin ranking loss (Lazaridou, Dinu and Baroni 2015), of each pair.

        sum over negatives y' of max(0, margin - cos(x W, y) + cos(x W, y'))

    Args:
        mapped: (B, e) the x W.
        translation: (B, e) the y.
        negatives: (B, k, e) wrong translations.

    Returns:
        (B,)
    """
    right = F.cosine_similarity(mapped, translation, dim=-1)
    wrong = F.cosine_similarity(mapped.unsqueeze(1), negatives, dim=-1)
    return (margin - right.unsqueeze(1) + wrong).clamp_min(0).sum(1)


def rcsls_loss(mapped: Tensor, translation: Tensor, near_targets: Tensor, near_sources: Tensor) -> Tensor:
    """RCSLS (Joulin, Bojanowski, Mikolov, Jégou and Grave 2018, equation 5), of each pair.

        -2 x W y^T + mean over y' near x W of x W y'^T + mean over x' W near y of x' W y^T

    Args:
        mapped: (B, e) the x W, from x of unit length.
        translation: (B, e) the y, of unit length.
        near_targets: (B, k, e) the target vectors of highest product with x W.
        near_sources: (B, k, e) the mapped source vectors of highest product with y.

    Returns:
        (B,)
    """
    ahead = torch.einsum("be,bke->bk", mapped, near_targets).mean(1)
    back = torch.einsum("bke,be->bk", near_sources, translation).mean(1)
    return -2 * (mapped * translation).sum(1) + ahead + back


class _Training(StrictModel):
    """What the training of both losses has in common."""

    normalise: tuple[NormalisationStep, ...] = ("unit", "centre", "unit")
    words: PositiveInt = 20000
    """The most frequent words of each language, among which wrong translations and neighbours are looked for."""
    epochs: PositiveInt = 10
    batch_size: PositiveInt = 512
    learning_rate: PositiveFloat = 1e-3
    """Of Adam, falling linearly to zero."""
    seed: NonNegativeInt = 0


class MarginSettings(_Training):
    """How the max-margin map is trained."""

    margin: PositiveFloat = 0.1
    negatives: PositiveInt = 10
    """Wrong translations of each pair and step."""
    choice: Literal["random", "intruders"] = "intruders"
    """Of the negatives: any words, or those of highest cos(x W, y') - cos(y, y'), which come near x W and are not near
    the right translation (the intruders of Lazaridou et al.)."""


class RcslsSettings(_Training):
    """How the RCSLS map is trained."""

    neighbours: PositiveInt = 10


class LinearMap(nn.Module):
    """x -> x W."""

    def __init__(self, weight: NDArray[np.floating]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float32))
        """(d, e)"""

    def forward(self, rows: Tensor) -> Tensor:
        return rows @ self.weight


@dataclass
class PairBatch:
    """Some pairs of a dictionary, with what their loss compares them to."""

    ids: list[str]
    units: float
    source: Tensor
    """(B, d)"""
    target: Tensor
    """(B, e)"""
    source_words: Tensor
    """(n, d) the most frequent words."""
    target_words: Tensor
    """(m, e)"""
    drawn: Tensor
    """(B, k) rows of `target_words`, at random."""

    def to(self, device: torch.device) -> PairBatch:
        names = ("source", "target", "source_words", "target_words", "drawn")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


class PairTask(Task):
    """Train a linear map on the pairs of a dictionary.

    Args:
        model: trained in place.
        x: (n, d) normalised source vectors.
        y: (m, e) normalised target vectors.
        pairs: (p, 2) rows of translations.
        settings: of the training.
        held_out: pairs on which `evaluate` measures `precision`, P@1 by CSLS in percent among the frequent words.
    """

    model: nn.Module
    draws = 0

    def __init__(
        self,
        model: LinearMap,
        x: NDArray[np.float32],
        y: NDArray[np.float32],
        pairs: Pairs,
        settings: _Training,
        held_out: Pairs | None = None,
    ) -> None:
        self.model, self.pairs, self.held_out = model, pairs, held_out
        self.seed, self.batch_size, self.words = settings.seed, settings.batch_size, settings.words
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)

    @abstractmethod
    def losses(self, mapped: Tensor, batch: PairBatch, weight: Tensor) -> Tensor:
        """(B,) of the mapped source vectors (B, e)."""

    def batches(self, epoch: int) -> list[list[int]]:
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.pairs))
        return [part.tolist() for part in np.array_split(order, max(1, len(order) // self.batch_size))]

    def load(self, rows: list[int], epoch: int) -> PairBatch:
        source, target = self.pairs[rows].T
        target_words = self.y[: self.words]
        # of each row by itself, so that a batch may be parted over processes
        drawn = [
            np.random.default_rng([self.seed, epoch, row]).integers(len(target_words), size=self.draws) for row in rows
        ]
        return PairBatch(
            ids=[f"pair {row}" for row in rows],
            units=float(len(rows)),
            source=self.x[torch.from_numpy(source)],
            target=self.y[torch.from_numpy(target)],
            source_words=self.x[: self.words],
            target_words=target_words,
            drawn=torch.from_numpy(np.array(drawn, dtype=np.int64)),
        )

    def step(self, model: nn.Module, batch: PairBatch) -> Step:
        assert isinstance(model, LinearMap)
        mapped = model(batch.source)
        mask = torch.ones(len(mapped), dtype=torch.bool, device=mapped.device)
        return Step(self.losses(mapped, batch, model.weight).sum(), mapped, mask, {"mapped": mapped})

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        if self.held_out is None:
            return {}
        assert isinstance(model, LinearMap)
        weight = model.weight.detach().cpu()
        queries = (self.x[torch.from_numpy(self.held_out[:, 0])] @ weight).numpy()
        return {
            "precision": _precision(queries, (self.x[: self.words] @ weight).numpy(), self.y.numpy(), self.held_out)
        }


class MarginTask(PairTask):
    """The max-margin ranking loss over a dictionary; see `margin_ranking_loss`."""

    def __init__(self, model: LinearMap, x: NDArray[np.float32], y: NDArray[np.float32], pairs: Pairs,
                 settings: MarginSettings, held_out: Pairs | None = None) -> None:  # fmt: skip
        super().__init__(model, x, y, pairs, settings, held_out)
        self.margin = settings.margin
        self.negatives = min(settings.negatives, len(self.y[: self.words]))
        self.draws = self.negatives if settings.choice == "random" else 0

    def losses(self, mapped: Tensor, batch: PairBatch, weight: Tensor) -> Tensor:
        rows = batch.drawn if self.draws else self._intruders(mapped.detach(), batch)
        return margin_ranking_loss(mapped, batch.target, batch.target_words[rows], self.margin)

    def _intruders(self, mapped: Tensor, batch: PairBatch) -> Tensor:
        """(B, k)"""
        words = F.normalize(batch.target_words, dim=1)
        near = (F.normalize(mapped, dim=1) - F.normalize(batch.target, dim=1)) @ words.T
        return near.topk(self.negatives, dim=1, sorted=False).indices


class RcslsTask(PairTask):
    """RCSLS over a dictionary, the neighbours those of the present map; see `rcsls_loss`."""

    def __init__(self, model: LinearMap, x: NDArray[np.float32], y: NDArray[np.float32], pairs: Pairs,
                 settings: RcslsSettings, held_out: Pairs | None = None) -> None:  # fmt: skip
        super().__init__(model, x, y, pairs, settings, held_out)
        self.neighbours = min(settings.neighbours, len(self.x), len(self.y))

    def losses(self, mapped: Tensor, batch: PairBatch, weight: Tensor) -> Tensor:
        with torch.no_grad():
            near_target = (mapped @ batch.target_words.T).topk(self.neighbours, dim=1, sorted=False).indices
            # y (X W)^T = (y W^T) X^T: the map is turned round rather than the whole vocabulary mapped
            near_source = (
                (batch.target @ weight.T @ batch.source_words.T).topk(self.neighbours, dim=1, sorted=False).indices
            )
        near_sources = batch.source_words[near_source] @ weight
        return rcsls_loss(mapped, batch.target, batch.target_words[near_target], near_sources)


def fit_margin(
    source: Vectors, target: Vectors, pairs: Pairs, settings: MarginSettings | None = None,
    held_out: Pairs | None = None,
) -> Alignment:  # fmt: skip
    """Align with the max-margin ranking loss (Lazaridou, Dinu and Baroni 2015).

    Args:
        source: (n, d), rows are words, most frequent first.
        target: (m, e).
        pairs: (p, 2) dictionary.
        settings: the defaults when None.
        held_out: (q, 2) other pairs, which choose the epoch whose map is kept; the last when None.

    Raises:
        InputError: vectors or pairs that cannot be used.
    """
    return _fit(source, target, pairs, settings or MarginSettings(), held_out, MarginTask)


def fit_rcsls(
    source: Vectors, target: Vectors, pairs: Pairs, settings: RcslsSettings | None = None,
    held_out: Pairs | None = None,
) -> Alignment:  # fmt: skip
    """Align by relaxed CSLS (Joulin et al. 2018), without the spectral constraint. For arguments see `fit_margin`."""
    return _fit(source, target, pairs, settings or RcslsSettings(), held_out, RcslsTask)


def _fit(
    source: Vectors, target: Vectors, pairs: Pairs, settings: _Training, held_out: Pairs | None, task: type[PairTask]
) -> Alignment:
    sizes = (len(source), len(target))
    pairs = check_pairs(pairs, sizes)
    held_out = None if held_out is None else check_pairs(held_out, sizes)
    check_vectors(source, "source")
    check_vectors(target, "target")
    left, right = (Normalisation.fit(side, settings.normalise) for side in (source, target))
    x, x_pairs = _needed(source, left, pairs[:, 0], settings.words, held_out, 0)
    y, y_pairs = _needed(target, right, pairs[:, 1], settings.words, held_out, 1)
    rows = np.stack([x_pairs, y_pairs], axis=1)
    train, dev = rows[: len(pairs)], None if held_out is None else rows[len(pairs) :]
    model = LinearMap(orthogonal_procrustes(x[train[:, 0]], y[train[:, 1]]))
    config = TrainConfig(
        seed=settings.seed,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        weight_decay=0.0,
        schedule="linear",
        metric=None if dev is None else "precision",
        mode="max",
        evaluate_every=None if dev is None else 1,
    )
    Trainer(task(model, x, y, train, settings, dev), config, quiet=True).fit()
    return Alignment(left, right, model.weight.detach().cpu().numpy().copy(), None)


def _needed(
    vectors: Vectors,
    normalisation: Normalisation,
    rows: NDArray[np.int64],
    words: int,
    held_out: Pairs | None,
    side: int,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The frequent words and, behind them, the rarer ones that some pair names; and where each pair's word is there."""
    named = rows if held_out is None else np.concatenate([rows, held_out[:, side]])
    words = min(words, len(vectors))
    rarer = np.unique(named[named >= words])
    places = np.where(named < words, named, words + np.searchsorted(rarer, named))
    return np.concatenate([normalisation(vectors[:words]), normalisation(vectors[rarer])]), places


def _precision(
    queries: NDArray[np.float32], sources: NDArray[np.float32], targets: NDArray[np.float32], pairs: Pairs
) -> float:
    """P@1 by CSLS in percent; a pair is right where any of its source word's translations is found."""
    from speechnlp_tl.embeddings.retrieval import neighbourhood_means

    means = neighbourhood_means(targets, sources)
    found = neighbours(queries, targets, 1, "csls", query_means=np.zeros(len(queries)), target_means=means).rows[:, 0]
    known = {(int(a), int(b)) for a, b in pairs}
    right = [(int(a), int(b)) in known for a, b in zip(pairs[:, 0], found, strict=True)]
    return 100 * float(np.mean(right))
