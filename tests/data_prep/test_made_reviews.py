"""Made reviews: the same arguments give the same bytes, and the planted shift is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from data_prep.amazon import read_prepared
from data_prep.made_reviews import PRODUCTS, prepare
from speechnlp_tl.errors import InputError


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = prepare(tmp_path / "one", 20, seed=3), prepare(tmp_path / "two", 20, seed=3)
    other = prepare(tmp_path / "other", 20, seed=4)
    for product in PRODUCTS:
        for name in ("train.npz", "test.labels.txt"):
            assert (one[product] / name).read_bytes() == (two[product] / name).read_bytes()
        assert (one[product] / "train.npz").read_bytes() != (other[product] / "train.npz").read_bytes()


def test_a_classifier_does_worse_on_other_products_than_on_its_own(tmp_path: Path) -> None:
    folders = prepare(tmp_path / "made")
    reviews = {name: read_prepared(folder, features=None) for name, folder in folders.items()}
    for source in PRODUCTS:
        train = reviews[source]["train"]
        assert train.labels.mean() == 0.5
        model = LogisticRegression(max_iter=1000).fit(train.counts, train.labels)
        own = {name: model.score(part["test"].counts, part["test"].labels) for name, part in reviews.items()}
        others = [accuracy for name, accuracy in own.items() if name != source]
        assert own[source] > max(others) + 0.05
        assert np.mean(others) > 0.55


def test_too_few_reviews_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 10"):
        prepare(tmp_path / "made", 2)
