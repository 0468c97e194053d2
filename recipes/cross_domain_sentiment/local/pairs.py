"""Pairs of domains as the systems see them: labelled source, unlabelled target, test reviews without labels."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from settings import Autoencoder, Denoiser

from data_prep.amazon import Reviews, read_prepared
from speechnlp_tl.text.classification import Documents
from speechnlp_tl.text.compact import CompactRows
from speechnlp_tl.text.features import Weighting, weigh_counts
from speechnlp_tl.transfer.denoising import MarginalisedDenoiser


@dataclass(frozen=True)
class Features:
    """One kind of features of one pair."""

    source: Documents
    """Labelled."""
    target: Any
    """(m, features) training rows of the target, without labels."""
    test: Any
    """(k, features) test rows of the target, without labels."""
    compact: CompactRows | None = None
    """Of the source's rows and then the target's, where they are long and dense."""


@dataclass
class Pair:
    """Two domains, of which either can be the source; what is fitted on both is fitted once.

    The labels of test reviews are not in here.
    """

    names: tuple[str, str]
    train: dict[str, Reviews]
    test: dict[str, Any]
    msda: Denoiser
    sda: Autoencoder
    fit_seconds: float = field(default=0.0, init=False)
    _denoised: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _encoded: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _compact: CompactRows | None = field(default=None, init=False, repr=False)

    def counts(self, source: str, weighting: Weighting, unit_length: bool) -> Features:
        target = self._other(source)
        rows = [self.train[source].counts, self.train[target].counts, self.test[target]]
        first, second, third = (weigh_counts(part, weighting, unit_length) for part in rows)
        return Features(Documents(first, self.train[source].labels, 0, source), second, third)

    def denoised(self, source: str) -> Features:
        """Features of mSDA, fitted on the training reviews of both domains."""
        self._fit()
        return self._features(self._denoised, source, self._compact)

    def encoded(self, source: str) -> Features:
        """Words and codes of a stacked denoising autoencoder trained on the training reviews of both domains."""
        if not self._encoded:
            self._encode()
        return self._features(self._encoded, source)

    def target_labels(self, source: str) -> NDArray[np.int64]:
        """Of the target's training reviews: for the ceiling only."""
        return self.train[self._other(source)].labels

    def compact_rows(self, source: str) -> tuple[Any, Any]:
        """The compact rows of the source and of the target."""
        assert self._compact is not None
        border = len(self.train[self.names[0]].labels)
        halves = self._compact.rows[:border], self._compact.rows[border:]
        return halves if source == self.names[0] else halves[::-1]

    def _fit(self) -> None:
        if self._denoised:
            return
        from scipy import sparse

        begin = time.monotonic()
        denoiser = MarginalisedDenoiser(**self.msda.model_dump())
        both = sparse.vstack([self.train[name].counts for name in self.names], format="csr")
        self._denoised["train"] = denoiser.fit_transform(both)
        self.fit_seconds += time.monotonic() - begin
        for name in self.names:
            self._denoised[name] = denoiser.transform(self.test[name])
        self._compact = CompactRows(self._denoised["train"])

    def _encode(self) -> None:
        from scipy import sparse

        from speechnlp_tl.core.config import TrainConfig
        from speechnlp_tl.transfer.stacked_autoencoder import TRAINING, StackedAutoencoder

        begin = time.monotonic()
        options = self.sda.model_dump()
        changes = {name: options.pop(name) for name in ("epochs", "learning_rate")}
        train = TrainConfig(**TRAINING.model_dump() | changes | {"device": "cpu"})
        words = {name: weigh_counts(self.train[name].counts, "binary") for name in self.names}
        both = sparse.vstack([words[name] for name in self.names], format="csr")
        autoencoder = StackedAutoencoder(**options, train=train).fit(both)
        self._encoded["train"] = autoencoder.transform(both)
        self.fit_seconds += time.monotonic() - begin
        for name in self.names:
            self._encoded[name] = autoencoder.transform(weigh_counts(self.test[name], "binary"))

    def _features(self, made: dict[str, Any], source: str, compact: CompactRows | None = None) -> Features:
        """Of the "train" rows of both domains, one after the other, and each domain's test rows under its name."""
        border, target = len(self.train[self.names[0]].labels), self._other(source)
        halves = made["train"][:border], made["train"][border:]
        own, other = halves if source == self.names[0] else halves[::-1]
        return Features(Documents(own, self.train[source].labels, 0, source), other, made[target], compact)

    def _other(self, source: str) -> str:
        one, two = self.names
        return two if source == one else one


def read_pair(data: Path, one: str, two: str, msda: Denoiser, sda: Autoencoder | None = None) -> Pair:
    """The pair of two domains, the labels of their test reviews dropped."""
    reviews = {name: read_prepared(data / name, features=None) for name in (one, two)}
    train = {name: splits["train"] for name, splits in reviews.items()}
    test = {name: splits["test"].counts for name, splits in reviews.items()}
    return Pair((one, two), train, test, msda, sda or Autoencoder())


def held_out(count: int, share: float, seed: int) -> NDArray[np.int64]:
    """Numbers of the labelled documents to choose on: a random share, the same for every system of one seed."""
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[: max(1, round(share * count))])
