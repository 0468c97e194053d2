"""Speech through a telephone: band-pass, line noise, G.711 codec. The same speech always sounds the same afterwards.

A made channel, to adapt to: what it does to the signal is known, and the speech behind it is there for comparison.
"""

from __future__ import annotations

import hashlib
import io
from functools import lru_cache

import numpy as np
import soundfile
import soxr
from pydantic import Field, model_validator

from speechnlp_tl.core.config import StrictModel

CODEC_RATE = 8000
"""Hz: what G.711 carries."""


class ChannelConfig(StrictModel):
    """A telephone line."""

    low_hz: float = Field(300.0, gt=0, description="lower edge of the band")
    high_hz: float = Field(3400.0, gt=0, le=3800.0, description="upper edge of the band")
    snr: float | None = Field(20.0, description="speech to noise in dB, both in the band; null is a line without noise")
    codec: bool = Field(True, description="8 kHz and 8 bits a sample, G.711 mu-law")
    seed: int = Field(0, ge=0, description="of the noise, with the utterance's id")

    @model_validator(mode="after")
    def _is_a_band(self) -> ChannelConfig:
        if self.low_hz >= self.high_hz:
            raise ValueError("'low_hz' must be below 'high_hz'")
        return self


def telephone(samples: np.ndarray, rate: int, config: ChannelConfig, name: str) -> np.ndarray:
    """Samples (n,) in [-1, 1] at the far end of the line, at the same rate, as many of them, float32.

    Args:
        rate: Hz; at least twice the band's upper edge.
        name: the utterance's id. Noise is a function of the seed and of the name, whatever else is made beside it.
    """
    heard = band_pass(samples, rate, config.low_hz, config.high_hz)
    if config.snr is not None:
        digest = hashlib.sha256(f"{config.seed} {name}".encode()).digest()
        noise = np.random.default_rng(int.from_bytes(digest[:8], "little")).standard_normal(len(samples))
        heard = heard + at_snr(band_pass(noise, rate, config.low_hz, config.high_hz), heard, config.snr)
    if config.codec:
        narrow = soxr.resample(heard, rate, CODEC_RATE) if rate != CODEC_RATE else heard
        coded = through_g711(narrow)
        heard = soxr.resample(coded, CODEC_RATE, rate) if rate != CODEC_RATE else coded
    whole = np.zeros(len(samples), dtype=np.float32)
    kept = min(len(heard), len(whole))  # resampling there and back may lose or gain a sample
    whole[:kept] = np.clip(heard[:kept], -1.0, 1.0)
    return whole


def band_pass(samples: np.ndarray, rate: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Samples (n,) between two frequencies, without delay, float64: a Hamming-windowed sinc of 32 ms."""
    kernel = _band_pass_kernel(rate, low_hz, high_hz)
    size = 1 << (len(samples) + len(kernel) - 2).bit_length()
    spectrum = np.fft.rfft(np.asarray(samples, dtype=np.float64), size) * np.fft.rfft(kernel, size)
    middle = len(kernel) // 2
    return np.asarray(np.fft.irfft(spectrum, size)[middle : middle + len(samples)])


@lru_cache(maxsize=8)
def _band_pass_kernel(rate: int, low_hz: float, high_hz: float) -> np.ndarray:
    half = round(0.016 * rate)
    time = np.arange(-half, half + 1) / rate
    kernel = 2 * high_hz * np.sinc(2 * high_hz * time) - 2 * low_hz * np.sinc(2 * low_hz * time)
    return np.asarray(kernel * np.hamming(2 * half + 1) / rate)


def at_snr(noise: np.ndarray, speech: np.ndarray, snr: float) -> np.ndarray:
    """`noise` as loud as makes the ratio of the two mean powers `snr` dB; silence stays silence."""
    power = float(np.mean(np.square(noise)))
    wanted = float(np.mean(np.square(speech))) / 10 ** (snr / 10)
    return noise * np.sqrt(wanted / power) if power > 0 else noise


def through_g711(samples: np.ndarray) -> np.ndarray:
    """Samples coded as 8-bit mu-law and decoded (ITU-T G.711), by libsndfile; what exceeds [-1, 1] is clipped."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(samples, -1.0, 1.0), CODEC_RATE, format="WAV", subtype="ULAW")
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float64")
    return np.asarray(decoded)
