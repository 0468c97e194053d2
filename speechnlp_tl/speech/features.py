"""Log-mel filterbanks, cepstral-mean-and-variance normalisation, and the augmentations that act on them.

The only module that touches torchaudio. Waveforms come in as float samples in [-1, 1]; features are Kaldi's, computed
for one utterance or for a padded batch, on the device the waveform is on.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
import torchaudio.compliance.kaldi as kaldi
from pydantic import Field
from torch import Tensor

from speechnlp_tl.core.config import StrictModel

KALDI_SCALE = 32768.0
PREEMPHASIS = 0.97
FRAME_MS, SHIFT_MS = 25.0, 10.0


class FeatureConfig(StrictModel):
    """What the model hears."""

    rate: int = Field(16000, gt=0, description="sampling rate in Hz")
    bins: int = Field(40, gt=3, description="mel filters")
    low_hz: float = 20.0
    high_hz: float = Field(0.0, description="upper edge in Hz; zero or negative counts from half the rate")
    energy_floor: float = Field(
        1.0, gt=0, description="least mel energy on Kaldi's 16-bit scale; keeps digital silence near real silence"
    )
    cmvn: Literal["utterance", "speaker", "none"] = "utterance"
    variance: bool = Field(True, description="normalise the variance too, not only the mean")
    resample: bool = Field(False, description="accept audio of other rates and convert it")
    on_device: bool = Field(False, description="compute features of a whole batch on the training device")


class AugmentConfig(StrictModel):
    """Perturbations of training speech, drawn anew for every utterance and epoch."""

    speeds: list[float] = Field([1.0], description="factors of speed perturbation (Ko et al. 2015)")
    warps: list[float] = Field([1.0], description="vocal-tract-length factors (Jaitly & Hinton 2013)")
    time_masks: int = Field(0, ge=0, description="SpecAugment (Park et al. 2019): masks along time")
    time_mask_frames: int = Field(20, ge=0, description="longest time mask")
    time_mask_share: float = Field(0.2, ge=0, le=1, description="no time mask covers more of the utterance than this")
    frequency_masks: int = Field(0, ge=0)
    frequency_mask_bins: int = Field(8, ge=0, description="widest frequency mask")


class Fbank:
    """Kaldi's log-mel filterbank: 25 ms Povey windows every 10 ms, whole windows only (snip_edges), no dither."""

    def __init__(self, config: FeatureConfig) -> None:
        self.config = config
        self.window = int(config.rate * FRAME_MS / 1000)
        self.shift = int(config.rate * SHIFT_MS / 1000)
        self.fft = 1 << (self.window - 1).bit_length()

    def num_frames(self, samples: int) -> int:
        return max(0, 1 + (samples - self.window) // self.shift)

    def __call__(self, waveform: Tensor, warp: float | Tensor = 1.0) -> Tensor:
        """Features of one utterance or of a padded batch.

        Args:
            waveform: (N,) or (B, N) samples in [-1, 1].
            warp: VTLN factor; for a batch one for all or a (B,) tensor.

        Returns:
            (T, bins) or (B, T, bins) float32, not normalised.
        """
        if waveform.shape[-1] < self.window:
            return waveform.new_zeros(*waveform.shape[:-1], 0, self.config.bins)
        frames = (waveform.float() * KALDI_SCALE).unfold(-1, self.window, self.shift)
        frames = frames - frames.mean(dim=-1, keepdim=True)
        # Kaldi's pre-emphasis takes the first sample as its own predecessor
        previous = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
        frames = (frames - PREEMPHASIS * previous) * _povey_window(self.window, waveform.device)
        spectrum = torch.fft.rfft(frames, n=self.fft)
        power = spectrum.real.square() + spectrum.imag.square()  # abs() would take a square root to square it again
        return (power @ self._filters(warp, waveform.device)).clamp_min(self.config.energy_floor).log()

    def _filters(self, warp: float | Tensor, device: torch.device) -> Tensor:
        """(bins of the FFT, mel filters), with a leading batch dimension when `warp` has one."""
        config = self.config
        settings = (config.bins, self.fft, float(config.rate), config.low_hz, config.high_hz)
        if isinstance(warp, Tensor):
            return torch.stack([_mel_filters(*settings, round(float(w), 4), device) for w in warp])
        return _mel_filters(*settings, round(warp, 4), device)


@lru_cache(maxsize=8)
def _povey_window(size: int, device: torch.device) -> Tensor:
    return torch.hann_window(size, periodic=False, device=device).pow(0.85)


@lru_cache(maxsize=256)
def _mel_filters(
    bins: int, fft: int, rate: float, low: float, high: float, warp: float, device: torch.device
) -> Tensor:
    filters, _ = kaldi.get_mel_banks(bins, fft, rate, low, high, 100.0, -500.0, warp)
    return torch.nn.functional.pad(filters, (0, 1)).T.contiguous().to(device)


def normalise(features: Tensor, lengths: Tensor | None = None, variance: bool = True) -> Tensor:
    """Cepstral mean (and variance) normalisation over each utterance.

    Args:
        features: (T, F), or (B, T, F) with `lengths` (B,).

    Returns:
        The same shape, zero beyond each utterance's end.
    """
    if lengths is None:
        mean = features.mean(dim=0)
        scale = features.std(dim=0, correction=0).clamp_min(1e-3) if variance else 1.0
        return (features - mean) / scale
    mask = (torch.arange(features.shape[1], device=features.device) < lengths.unsqueeze(1)).unsqueeze(-1)
    count = lengths.clamp_min(1).view(-1, 1, 1)
    mean = (features * mask).sum(dim=1, keepdim=True) / count
    centred = (features - mean) * mask
    if not variance:
        return centred
    return centred / (centred.square().sum(dim=1, keepdim=True) / count).sqrt().clamp_min(1e-3)


def change_speed(samples: np.ndarray, rate: int, factor: float) -> np.ndarray:
    """Play faster (factor > 1) or slower, tempo and pitch together (Ko et al. 2015)."""
    if factor == 1.0:
        return samples
    import soxr

    return np.asarray(soxr.resample(samples, rate * factor, rate), dtype=np.float32)


def draw_masks(config: AugmentConfig, frames: int, bins: int, generator: np.random.Generator) -> list[tuple[int, ...]]:
    """SpecAugment's masks for one utterance: (axis, start, end) with axis 0 for time and 1 for frequency."""
    longest = min(config.time_mask_frames, int(config.time_mask_share * frames))
    masks: list[tuple[int, ...]] = []
    plan = [(0, config.time_masks, longest, frames), (1, config.frequency_masks, config.frequency_mask_bins, bins)]
    for axis, count, widest, size in plan:
        for _ in range(count):
            width = int(generator.integers(0, min(widest, size) + 1))
            start = int(generator.integers(0, size - width + 1))
            masks.append((axis, start, start + width))
    return masks


def apply_masks(features: Tensor, masks: list[tuple[int, ...]]) -> Tensor:
    """Zero (the mean, after CMVN) the masked stretches of one utterance's (T, F) features, in a copy."""
    if not masks:
        return features
    features = features.clone()
    for axis, start, end in masks:
        features.narrow(axis, start, end - start).zero_()
    return features
