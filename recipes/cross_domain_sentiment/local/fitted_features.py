"""Features of a pair of domains that are learnt from its texts: mSDA and stacked denoising autoencoders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from settings import Autoencoder, Denoiser

from speechnlp_tl.text.compact import CompactRows
from speechnlp_tl.text.features import Weighting, weigh_counts
from speechnlp_tl.transfer.denoising import MarginalisedDenoiser


@dataclass(frozen=True)
class FittedFeatures:
    """Of two domains."""

    train: NDArray[Any]
    """The training rows of both, one domain after the other."""
    test: dict[str, NDArray[Any]]
    compact: CompactRows | None = None
    """Of `train`, where rows are longer than there are of them."""


def denoised(
    train: Any, test: Mapping[str, Any], weighting: Weighting, options: Denoiser, fitted: MarginalisedDenoiser | None
) -> FittedFeatures:
    """The input and the layers of mSDA: of `fitted`, or of one that is fitted on `train` here."""
    rows = weigh_counts(train, weighting)
    if fitted is None:
        fitted = MarginalisedDenoiser(**options.model_dump())
        made = fitted.fit_transform(rows)
    else:
        made = fitted.transform(rows)
    tests = {name: fitted.transform(weigh_counts(counts, weighting)) for name, counts in test.items()}
    return FittedFeatures(made, tests, CompactRows(made))


def encoded(train: Any, test: Mapping[str, Any], options: Autoencoder) -> FittedFeatures:
    """Words, 0 or 1, and the codes of a stacked denoising autoencoder trained on `train`."""
    from speechnlp_tl.core.config import TrainConfig
    from speechnlp_tl.transfer.stacked_autoencoder import TRAINING, StackedAutoencoder

    shape = options.model_dump()
    changes = {name: shape.pop(name) for name in ("epochs", "learning_rate")}
    config = TrainConfig(**TRAINING.model_dump() | changes | {"device": "cpu"})
    words = weigh_counts(train, "binary")
    autoencoder = StackedAutoencoder(**shape, train=config).fit(words)
    tests = {name: autoencoder.transform(weigh_counts(counts, "binary")) for name, counts in test.items()}
    return FittedFeatures(autoencoder.transform(words), tests)
