"""Utterances as normalised features: read, perturbed, cached.

Perturbation of a row is a pure function of (seed, epoch, row), so that it does not matter which process loads it, in
which order, or whether the run was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from speechnlp_tl.speech.audio import audio_info, read_audio
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.features import (
    AugmentConfig,
    Fbank,
    FeatureConfig,
    apply_masks,
    change_speed,
    draw_masks,
    normalise,
)

NO_AUGMENTATION = AugmentConfig()


class SpeechDataset:
    """Rows of features.

    Args:
        utterances: the rows.
        features: what to compute.
        augment: perturbations of training rows.
        seed: of the perturbations.
        cache_mb: memory for features that have been computed once; beyond it they are computed again.
        allow_pipes: run commands that stand in wav.scp.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        features: FeatureConfig,
        augment: AugmentConfig = NO_AUGMENTATION,
        seed: int = 0,
        cache_mb: float = 600.0,
        allow_pipes: bool = False,
    ) -> None:
        self.utterances = list(utterances)
        self.config = features
        self.augment = augment
        self.seed = seed
        self.allow_pipes = allow_pipes
        self.fbank = Fbank(features)
        self._cache: dict[tuple[int, float, float], Tensor] = {}
        self._room = cache_mb * 1e6

    def __len__(self) -> int:
        return len(self.utterances)

    @cached_property
    def frames(self) -> list[int]:
        """Feature frames of each row at its own speed, from the files' headers."""
        return [self.fbank.num_frames(self._samples(utterance)) for utterance in self.utterances]

    def plain(self, row: int) -> Tensor:
        """(T, bins) unperturbed features of a row."""
        return self._features(row, 1.0, 1.0)

    def perturbed(self, row: int, epoch: int, showing: int = 0) -> Tensor:
        """(T, bins) features of a row as training sees them in `epoch`, the first time or once more."""
        generator = self._generator(row, epoch, showing)
        speed = float(generator.choice(self.augment.speeds))
        warp = float(generator.choice(self.augment.warps))
        features = self._features(row, speed, warp)
        return apply_masks(features, draw_masks(self.augment, len(features), self.config.bins, generator))

    def waveform(
        self, row: int, epoch: int | None = None, showing: int = 0
    ) -> tuple[Tensor, float, list[tuple[int, ...]]]:
        """Samples, warp factor and masks of a row, for features computed on the device; plain without an `epoch`."""
        samples = self._read(row)
        if epoch is None:
            return torch.from_numpy(samples), 1.0, []
        generator = self._generator(row, epoch, showing)
        speed = float(generator.choice(self.augment.speeds))
        warp = float(generator.choice(self.augment.warps))
        samples = change_speed(samples, self.config.rate, speed)
        frames = self.fbank.num_frames(len(samples))
        masks = draw_masks(self.augment, frames, self.config.bins, generator)
        return torch.from_numpy(samples), warp, masks

    def _generator(self, row: int, epoch: int, showing: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch, row, *([showing] if showing else [])])

    def speaker_statistics(self, row: int) -> tuple[Tensor, Tensor]:
        """What to subtract from the features of a row's speaker and what to divide them by: (bins,) each."""
        mean, scale = self._speaker_statistics[self.utterances[row].speaker]
        return mean, scale if self.config.variance else torch.ones_like(scale)

    def _features(self, row: int, speed: float, warp: float) -> Tensor:
        key = (row, speed, warp)
        if key not in self._cache:
            samples = change_speed(self._read(row), self.config.rate, speed)
            # half precision halves the cache; every pass sees the same rounded numbers, cached or not
            features = self._normalise(row, self.fbank(torch.from_numpy(samples), warp)).half()
            size = features.nelement() * 2
            if size > self._room:
                return features.float()
            self._room -= size
            self._cache[key] = features
        return self._cache[key].float()

    def _normalise(self, row: int, features: Tensor) -> Tensor:
        if self.config.cmvn == "none" or not len(features):
            return features
        if self.config.cmvn == "utterance":
            return normalise(features, variance=self.config.variance)
        mean, scale = self.speaker_statistics(row)
        return (features - mean) / scale

    @cached_property
    def _speaker_statistics(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Mean and standard deviation of each speaker's unperturbed frames, in the rows at hand."""
        sums: dict[str, list[Tensor]] = {}
        for row, utterance in enumerate(self.utterances):
            frames = self.fbank(torch.from_numpy(self._read(row))).double()
            moments = torch.stack([torch.ones_like(frames), frames, frames.square()]).sum(dim=1)
            sums.setdefault(utterance.speaker, []).append(moments)
        statistics = {}
        for speaker, moments_of in sums.items():
            count, first, second = torch.stack(moments_of).sum(dim=0)
            mean = first / count
            scale = (second / count - mean.square()).clamp_min(1e-6).sqrt()
            statistics[speaker] = (mean.float(), scale.float())
        return statistics

    def _read(self, row: int) -> np.ndarray:
        utterance = self.utterances[row]
        return read_audio(
            utterance.audio,
            rate=self.config.rate,
            start=utterance.start,
            end=utterance.end,
            resample=self.config.resample,
            allow_pipes=self.allow_pipes,
        )

    def _samples(self, utterance: Utterance) -> int:
        rate, _, samples = audio_info(utterance.audio, self.allow_pipes)
        # rounded where the reader rounds, so that the frames are exactly those that will be read
        first = round((utterance.start or 0.0) * rate)
        last = samples if utterance.end is None else min(round(utterance.end * rate), samples)
        return int((last - first) * self.config.rate / rate + 0.5)
