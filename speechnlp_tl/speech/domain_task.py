"""Transcribed source speech and a target's audio in the same batches: what domain adaptation of a recogniser trains on.

The target has no transcripts here: whatever `Utterance.text` says is never looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from speechnlp_tl.core.batching import batches_by_cost
from speechnlp_tl.speech.asr_task import SOURCE, TARGET, AsrTask
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.features import AugmentConfig
from speechnlp_tl.speech.recogniser import Recogniser


class DomainAsrTask(AsrTask):
    """Each step is half source speech, which has the loss, and half target audio, which only has features.

    Rows 0 to n - 1 are the source's, those from n on the target's. An epoch passes once over the target, beside as
    many batches of source speech, drawn anew in each epoch.

    Args:
        recogniser: the model is trained in place.
        source: utterances with transcripts.
        target: audio; statistics of its speakers are its own, also where a source speaker has the same name.
        augment: perturbations of both.
        batch_seconds: padded speech of one optimiser step, both halves together.
        seed: of the order of rows and their perturbations.
        allow_pipes: run commands that stand in wav.scp.

    Raises:
        InputError: as `AsrTask`, of the source.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        source: Sequence[Utterance],
        target: Sequence[Utterance],
        augment: AugmentConfig,
        batch_seconds: float = 30.0,
        seed: int = 0,
        allow_pipes: bool = False,
    ) -> None:
        features = recogniser.config.features
        spoken = SpeechDataset(source, features, augment, seed, allow_pipes=allow_pipes)
        super().__init__(recogniser, source, (), augment, batch_seconds, seed, spoken, keep_prior=True)
        self.target = SpeechDataset(target, features, augment, seed, allow_pipes=allow_pipes)

    def batches(self, epoch: int) -> list[list[int]]:
        half = 50 * self.batch_seconds
        targets = batches_by_cost(self.target.frames, half, self.seed, epoch, longest_first=False)
        sources = batches_by_cost(self.train.frames, half, self.seed, epoch, longest_first=False)
        first = len(self.train)
        # one after the other: a part of a step that is split over processes, every n-th row, then has both
        return [
            [*sources[number % len(sources)], *(first + row for row in rows)] for number, rows in enumerate(targets)
        ]

    def place(self, row: int) -> tuple[SpeechDataset, int]:
        first = len(self.train)
        return (self.train, row) if row < first else (self.target, row - first)

    def domains(self, rows: list[int]) -> Tensor | None:
        return torch.tensor([SOURCE if row < len(self.train) else TARGET for row in rows])
