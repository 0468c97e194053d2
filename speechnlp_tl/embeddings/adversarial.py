"""Alignment without a dictionary by adversarial training (Conneau, Lample, Ranzato, Denoyer and Jégou 2018).

A linear map W is trained such that a classifier cannot tell mapped source words from target words, with the very terms
that make sentiment features forget their domain (`transfer.adversarial`), on the one training loop (`core.trainer`).
The two players only find the rotation that is nearest to where they begin, so the map begins with the languages'
principal axes laid upon each other. Then Procrustes refines the map on the mutual CSLS neighbours that it finds. The
epoch, the restart and the round of refinement are chosen by the unsupervised score alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from speechnlp_tl.core.config import StrictModel, TrainConfig
from speechnlp_tl.core.task import Step, Task
from speechnlp_tl.core.trainer import Trainer
from speechnlp_tl.embeddings.alignment import Alignment
from speechnlp_tl.embeddings.closed_forms import inner, nearest_orthogonal
from speechnlp_tl.embeddings.induction import induce
from speechnlp_tl.embeddings.normalisation import Normalisation, NormalisationStep, Vectors, check_vectors
from speechnlp_tl.embeddings.ranking import LinearMap
from speechnlp_tl.embeddings.self_learning import mean_cosine
from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.word_translation import validation_score
from speechnlp_tl.transfer.adversarial import DANN, AdversarialTerm, DomainConfusion

MAPPED = "mapped"
"""The layer that is to forget its language."""
TERMS: dict[str, type[AdversarialTerm]] = {"dann": DANN, "domain_confusion": DomainConfusion}


class AdversarialSettings(StrictModel):
    """How the map is trained and refined."""

    words: PositiveInt = 20000
    """The most frequent words of each language, from which both players see words at random."""
    scored_words: PositiveInt = 5000
    """Of them, those that the unsupervised score is measured on and the refinement learns from."""
    term: Literal["dann", "domain_confusion"] = "dann"
    hidden: tuple[PositiveInt, ...] = (512,)
    """Layers of the classifier."""
    rate: PositiveFloat = 5.0
    """How many times the map's learning rate the classifier takes."""
    batch_size: PositiveInt = 64
    """Words of each language in a step."""
    steps: PositiveInt = 500
    """Of an epoch, after which the map is scored."""
    epochs: PositiveInt = 10
    learning_rate: PositiveFloat = 1e-3
    """Of Adam, falling linearly to zero."""
    orthogonality: Annotated[float, Field(ge=0, le=0.5)] = 0.01
    """The beta of W <- (1 + beta) W - beta (W W^T) W after each step, which keeps the map nearly orthogonal."""
    restarts: PositiveInt = 3
    """Trainings from other first maps, of which the best by score is refined. Adversarial training is unstable."""
    refinements: NonNegativeInt = 10
    """Rounds of Procrustes at most; they end when the score falls."""
    neighbourhood: PositiveInt = 10
    normalise: tuple[NormalisationStep, ...] = ("unit", "centre", "unit")
    seed: NonNegativeInt = 0


@dataclass(frozen=True)
class AdversarialAlignment:
    """Where adversarial training ended, and what shows whether it has found anything."""

    alignment: Alignment
    pairs: NDArray[np.int64]
    """(p, 2): mutual CSLS neighbours of the final map among the scored words."""
    similarity: float
    """Mean cosine of these pairs."""
    words: int
    """The most pairs that there could be."""
    restart_scores: list[float]
    """Unsupervised score of each restart's best map, before refinement."""
    refined_scores: list[float]
    """Of the chosen map and after each round of refinement."""

    @property
    def mutual_share(self) -> float:
        """Induced pairs per word, 0 to 1."""
        return len(self.pairs) / self.words


def unsupervised_score(mapped_source: Vectors, target: Vectors, neighbourhood: int = 10) -> float:
    """Mean cosine of all source words (n, d) to their CSLS translations among the target words (m, d).

    The validation criterion of Conneau et al. 2018, over the words that are given.
    """
    found = induce(mapped_source, target, neighbourhood)
    return validation_score(mapped_source, target, found.forward)


@dataclass
class WordBatch:
    """Some words of each language."""

    ids: list[str]
    units: float
    source: Tensor
    """(B, d)"""
    target: Tensor
    """(C, d)"""

    def to(self, device: torch.device) -> WordBatch:
        return replace(self, source=self.source.to(device), target=self.target.to(device))


class AdversarialTask(Task):
    """Words of two languages, the source's mapped, as one layer with two domains; the loss is the term's business.

    Args:
        model: the map, square, trained in place.
        x: (n, d) normalised source vectors, most frequent first.
        y: (m, d) normalised target vectors.
        settings: of the training.
        seed: of the words drawn.
    """

    model: nn.Module

    def __init__(
        self, model: LinearMap, x: NDArray[np.float32], y: NDArray[np.float32], settings: AdversarialSettings, seed: int
    ) -> None:
        self.model, self.settings, self.seed = model, settings, seed
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)

    def batches(self, epoch: int) -> list[list[int]]:
        """Source words have their row as number, target words theirs behind the last source word."""
        generator = np.random.default_rng([self.seed, epoch])
        shape = (self.settings.steps, self.settings.batch_size)
        source = generator.integers(len(self.x), size=shape)
        target = generator.integers(len(self.y), size=shape) + len(self.x)
        return np.concatenate([source, target], axis=1).tolist()  # type: ignore[no-any-return]

    def load(self, rows: list[int], epoch: int) -> WordBatch:
        numbers = torch.tensor(rows)
        ours = numbers < len(self.x)
        ids = [f"source {row}" if row < len(self.x) else f"target {row - len(self.x)}" for row in rows]
        return WordBatch(ids, float(len(rows)), self.x[numbers[ours]], self.y[numbers[~ours] - len(self.x)])

    def step(self, model: nn.Module, batch: WordBatch) -> Step:
        # unit rows of d dimensions have coordinates of about d^-1/2: brought to the size of ones
        mapped = torch.cat([model(batch.source), batch.target]) * batch.target.shape[1] ** 0.5
        domain = torch.zeros(len(mapped), dtype=torch.int64, device=mapped.device)
        domain[len(batch.source) :] = 1
        mask = torch.ones_like(domain, dtype=torch.bool)
        return Step(mapped.sum() * 0, mapped, mask, {MAPPED: mapped}, domain)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """`score`: see `unsupervised_score`."""
        count = self.settings.scored_words
        with torch.no_grad():
            weight = nearest_orthogonal(model.weight.cpu().numpy()).astype(np.float32)  # type: ignore[union-attr, operator]
        score = unsupervised_score(self.x[:count].numpy() @ weight, self.y[:count].numpy(), self.settings.neighbourhood)
        return {"score": score}

    def end_step(self, total: Callable[[Tensor], Tensor]) -> None:
        beta = self.settings.orthogonality
        assert isinstance(self.model, LinearMap)
        with torch.no_grad():
            w = self.model.weight
            w.copy_((1 + beta) * w - beta * (w @ w.T) @ w)


def align_adversarially(
    source: Vectors, target: Vectors, settings: AdversarialSettings | None = None
) -> AdversarialAlignment:
    """Align two languages without any link between them.

    Args:
        source: (n, d), rows are words, most frequent first.
        target: (m, d).
        settings: the defaults when None.

    Raises:
        InputError: vectors that cannot be used, or of unlike dimensions.
        TrainingError: losses that are not finite.
    """
    settings = settings or AdversarialSettings()
    check_vectors(source, "source")
    check_vectors(target, "target")
    if source.shape[1] != target.shape[1]:
        raise InputError(
            f"adversarial alignment needs vectors of like dimensions, not {source.shape[1]} and {target.shape[1]}"
        )
    left, right = Normalisation.fit(source, settings.normalise), Normalisation.fit(target, settings.normalise)
    x, y = left(source[: settings.words]), right(target[: settings.words])
    trained = [
        train_map(x, y, first_map(x, y, restart, settings.seed), settings, settings.seed + restart)
        for restart in range(settings.restarts)
    ]
    scores = [score for _, score in trained]
    start = trained[int(np.argmax(scores))][0]
    x, y = x[: settings.scored_words], y[: settings.scored_words]
    weight, refined = refine(x, y, start, settings.refinements, settings.neighbourhood)
    mapped = x @ weight
    pairs = induce(mapped, y, settings.neighbourhood).mutual
    alignment = Alignment(left, right, weight, None)
    return AdversarialAlignment(alignment, pairs, mean_cosine(mapped, y, pairs), min(len(x), len(y)), scores, refined)


def refine(
    x: NDArray[np.float32], y: NDArray[np.float32], weight: NDArray[np.float32], rounds: int, neighbourhood: int = 10
) -> tuple[NDArray[np.float32], list[float]]:
    """Procrustes on the mutual CSLS neighbours of a map, again and again while the unsupervised score grows.

    Args:
        x: (n, d) normalised source vectors.
        y: (m, d) normalised target vectors.
        weight: (d, d) the map to begin with.
        rounds: at most so many.

    Returns:
        The map of the best score, and the scores from the first map on.
    """
    scores = [unsupervised_score(x @ weight, y, neighbourhood)]
    for _ in range(rounds):
        pairs = induce(x @ weight, y, neighbourhood).mutual
        if not len(pairs):
            break
        better = nearest_orthogonal(x[pairs[:, 0]].T @ y[pairs[:, 1]]).astype(np.float32)
        scores.append(unsupervised_score(x @ better, y, neighbourhood))
        if scores[-1] <= scores[-2]:
            break
        weight = better
    return weight, scores


def first_map(x: NDArray[np.float32], y: NDArray[np.float32], restart: int = 0, seed: int = 0) -> NDArray[np.float64]:
    """(d, d) orthogonal: the principal axes of the source laid upon those of the target, the widest upon the widest.

    An axis has no direction of its own: each is turned such that the words' third moment along it is positive. Where
    that is small it says little, so restarts after the first turn a random quarter of the axes round.
    """
    axes = []
    for rows in (x, y):
        directions = np.linalg.eigh(inner(rows, rows))[1][:, ::-1]
        skewed = ((rows @ directions) ** 3).sum(0)
        axes.append(directions * np.where(skewed < 0, -1.0, 1.0))
    if restart:
        turned = np.random.default_rng([seed, restart]).random(x.shape[1]) < 0.25
        axes[0] = axes[0] * np.where(turned, -1.0, 1.0)
    return np.asarray(axes[0] @ axes[1].T)


def train_map(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    start: NDArray[np.floating],
    settings: AdversarialSettings,
    seed: int,
) -> tuple[NDArray[np.float32], float]:
    """One adversarial training.

    Args:
        x: (n, d) normalised source vectors, most frequent first.
        y: (m, d) normalised target vectors.
        start: (d, d) the map to begin with.
        settings: of the training.
        seed: of the words drawn and the classifier.

    Returns:
        The map of the epoch with the best unsupervised score, made orthogonal, and the score.
    """
    width = x.shape[1]
    # the term's schedule is constant: nothing but the term moves the map
    term = TERMS[settings.term](
        MAPPED, width, hidden=settings.hidden, schedule=None, rate=settings.rate, seed=seed
    )  # fmt: skip
    task = AdversarialTask(LinearMap(start), x, y, settings, seed)
    config = TrainConfig(
        seed=seed,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        weight_decay=0.0,
        betas=(0.5, 0.999),  # the other player moves: old gradients are soon out of date
        schedule="linear",
        metric="score",
        mode="max",
        log_every=settings.steps,
    )
    result = Trainer(task, config, terms=[term], quiet=True).fit()
    assert isinstance(task.model, LinearMap)
    assert result.best is not None
    weight = nearest_orthogonal(task.model.weight.detach().cpu().numpy()).astype(np.float32)
    return weight, result.best
