"""Pairs of domains as the systems see them: labelled source, unlabelled target, test reviews without labels."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fitted_features import FittedFeatures, denoised, encoded
from numpy.typing import NDArray
from settings import RecipeConfig, SystemConfig
from shared_denoisers import denoiser_file

from data_prep.amazon import Reviews, read_prepared
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.text.classification import Documents
from speechnlp_tl.text.compact import CompactRows
from speechnlp_tl.text.features import weigh_counts
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
    """What learns the same from fewer coordinates, where rows are long and dense."""
    border: int = 0
    """How many rows of `compact` are of the first domain."""
    source_first: bool = True

    @property
    def compact_rows(self) -> tuple[Any, Any]:
        """The compact rows of the source and of the target."""
        assert self.compact is not None
        halves = self.compact.rows[: self.border], self.compact.rows[self.border :]
        return halves if self.source_first else halves[::-1]


@dataclass
class Pair:
    """Two domains, of which either can be the source; what is fitted on both is fitted once.

    The labels of test reviews are not in here. Of the fitted features only the last kind is kept: they are large.
    """

    names: tuple[str, str]
    train: dict[str, Reviews]
    test: dict[str, Any]
    config: RecipeConfig
    data: Path
    denoisers: Path
    """Folder of `shared_denoisers`."""
    fit_seconds: float = field(default=0.0, init=False)
    _kept: tuple[tuple[str, ...], FittedFeatures] | None = field(default=None, init=False, repr=False)
    _recoloured: tuple[tuple[Any, ...], NDArray[Any]] | None = field(default=None, init=False, repr=False)

    def features(self, system: SystemConfig, source: str) -> Features:
        """What a system sees when `source` is the labelled domain."""
        target = self.names[1] if source == self.names[0] else self.names[0]
        labels = self.train[source].labels
        if system.features == "counts":
            counts = [self.train[source].counts, self.train[target].counts, self.test[target]]
            one, two, three = (weigh_counts(part, system.weighting, system.unit_length) for part in counts)
            return Features(Documents(one, labels, 0, source), two, three)
        fitted, border, first = self._fitted(system), len(self.train[self.names[0]].labels), source == self.names[0]
        halves = fitted.train[:border], fitted.train[border:]
        own, other = halves if first else halves[::-1]
        return Features(Documents(own, labels, 0, source), other, fitted.test[target], fitted.compact, border, first)

    def target_labels(self, source: str) -> NDArray[np.int64]:
        """Of the target's training reviews: for the ceilings, and of a few for the systems with `known`."""
        return self.train[self.names[1] if source == self.names[0] else self.names[0]].labels

    def recoloured(self, system: SystemConfig, source: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """What `make` gives for this source, made once for all seeds that follow each other."""
        key = (kind_of_features(system), system.coral, source)
        if self._recoloured is None or self._recoloured[0] != key:
            self._recoloured = key, make()
        return self._recoloured[1]

    def _fitted(self, system: SystemConfig) -> FittedFeatures:
        kind = kind_of_features(system)
        if self._kept is None or self._kept[0] != kind:
            self._kept = None  # before the next ones are made: two kinds at once need twice the memory
            begin = time.monotonic()
            self._kept = kind, self._fit(system)
            self.fit_seconds += time.monotonic() - begin
        return self._kept[1]

    def _fit(self, system: SystemConfig) -> FittedFeatures:
        from scipy import sparse

        both = sparse.vstack([self.train[name].counts for name in self.names], format="csr")
        if system.features == "sda":
            return encoded(both, self.test, self.config.sda)
        shared = None
        if system.fitted_on != "pair":
            path = denoiser_file(self.denoisers, self.config, self.data, system.fitted_on, system.weighting)
            shared = MarginalisedDenoiser.load(path)
        return denoised(both, self.test, system.weighting, self.config.msda, shared)


def kind_of_features(system: SystemConfig) -> tuple[str, ...]:
    """What two systems must have in common to look at the same fitted features."""
    return system.features, system.fitted_on, system.weighting


def read_pair(data: Path, one: str, two: str, config: RecipeConfig, denoisers: Path) -> Pair:
    """The pair of two domains, the labels of their test reviews dropped."""
    reviews = {name: read_prepared(data / name, features=None) for name in (one, two)}
    train = {name: splits["train"] for name, splits in reviews.items()}
    test = {name: splits["test"].counts for name, splits in reviews.items()}
    return Pair((one, two), train, test, config, data, denoisers)


def held_out(count: int, share: float, seed: int) -> NDArray[np.int64]:
    """Numbers of the labelled documents to choose on: a random share, the same for every system of one seed."""
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[: max(1, round(share * count))])


def told(target: Any, labels: NDArray[np.int64], count: int, seed: int) -> tuple[Documents, Documents]:
    """So many target documents at random with their labels, the same for every system of one seed, and the rest.

    Raises:
        InputError: there are no more than that.
    """
    if count >= len(labels):
        what = f"{count} labelled target documents are asked for, of {len(labels)} that are there"
        raise InputError(Problem(what, remedy="give a smaller 'known'"))
    order = np.random.default_rng(seed).permutation(len(labels))
    known, rest = order[:count], np.sort(order[count:])
    return Documents(target[known], labels[known], 1, "labelled target"), Documents(target[rest], None, 1, "target")
