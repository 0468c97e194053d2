"""Adapt a recogniser to audio without transcripts: the methods of `transfer` on acoustic models.

`adabn` gives batch normalisation the statistics of the target's frames. `dann`, `mmd`, `mkmmd` and `coral` train on
transcribed source speech and make the frames of an encoder layer look alike in source and target; their task is
`DomainAsrTask`, their terms those of `transfer.domain_methods` with the weights and layers that suit speech.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from speechnlp_tl.core.batching import batches_by_cost
from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.core.task import Term
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.acoustic_model import AcousticModel
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.recogniser import Recogniser
from speechnlp_tl.transfer import domain_methods
from speechnlp_tl.transfer.domain_methods import COMPARE_SAMPLES, DomainMethod
from speechnlp_tl.transfer.normalization import adapt_batch_norm

WEIGHTS = {"dann": 1.0, "mmd": 30.0, "mkmmd": 30.0, "coral": 100.0}
"""Of the terms, beside a task loss of one unit a frame; chosen on FSDD's adaptation pools."""
BATCH_SECONDS = 60.0


class DomainConfig(StrictModel):
    """Settings of the methods that need no transcripts."""

    layers: list[str] | None = Field(
        None, min_length=1, description="encoder layers whose frames are to look alike: layer1, layer2, ..."
    )
    weight: float | None = Field(None, ge=0, description="of the term; for dann the final lambda")
    max_units: PositiveInt = Field(500, ge=2, description="frames of each domain in a step that mmd and coral compare")
    source_seconds: float = Field(
        5.0, ge=0, description="adabn: seconds of speech that the source's statistics count for beside the target's"
    )

    def filled(self, method: str) -> DomainConfig:
        """With the weight that the method has by default, if none was given."""
        return self.model_copy(update={"weight": WEIGHTS[method]}) if self.weight is None else self


def domain_terms(method: str, config: DomainConfig, model: AcousticModel, seed: int) -> list[Term]:
    """The term that makes source and target look alike.

    Args:
        method: `dann`, `mmd` (one kernel), `mkmmd` (five kernels) or `coral`.
        config: what is None has a default that depends on the method.

    Raises:
        InputError: a layer that the encoder has not, or several for `dann`.
    """
    width = model.encoder.config.width
    layers = {f"layer{number}": width for number in range(1, model.encoder.config.layers + 1)}
    chosen = {
        "name": method,
        "weight": config.filled(method).weight,
        "layers": config.layers or default_layers(method, list(layers)),
        "max_units": config.max_units if method in COMPARE_SAMPLES else None,
    }
    return domain_methods.domain_terms([DomainMethod.model_validate(chosen)], layers, seed)


def default_layers(method: str, known: Sequence[str]) -> list[str]:
    return [known[-1]] if method == "dann" else list(known)


def adapt_statistics(
    recogniser: Recogniser, utterances: Sequence[Utterance], source_seconds: float, allow_pipes: bool = False
) -> tuple[Recogniser, float]:
    """The recogniser with the statistics of `utterances` in its batch normalisations (AdaBN), and their seconds.

    Audio is all that is looked at, unperturbed; padding takes no part.

    Raises:
        InputError: the encoder has no batch normalisation, or there is no speech.
    """
    if recogniser.config.encoder.norm != "batch":
        remedy = "train the source model with encoder.norm: batch, or take mmd or dann"
        raise InputError(Problem("adabn needs batch normalisation, which this encoder has not", remedy=remedy))
    dataset = SpeechDataset(utterances, recogniser.config.features, allow_pipes=allow_pipes)
    device = next(recogniser.model.parameters()).device
    batches = []
    for rows in batches_by_cost(dataset.frames, 100 * BATCH_SECONDS, 0, 0, shuffle=False):
        features = [dataset.plain(row) for row in rows]
        lengths = torch.tensor([len(item) for item in features])
        batches.append((pad_sequence(features, batch_first=True).to(device), lengths.to(device)))
    seconds = sum(dataset.frames) / 100.0
    frames = int(recogniser.model.output_lengths(torch.tensor(dataset.frames)).sum())

    def run(model: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
        model(*batch)

    counted = source_seconds * frames / seconds if seconds else 0.0
    model = adapt_batch_norm(run, recogniser.model, batches, counted)
    assert isinstance(model, AcousticModel)
    return recogniser.with_model(model), seconds
