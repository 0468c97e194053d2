"""A telephone line does what it says to the signal, and the same to the same utterance every time."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from speechnlp_tl.speech.channel import ChannelConfig, at_snr, band_pass, telephone, through_g711

RATES = (8000, 16000, 44100)


def noise(rate: int, seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(rate * seconds))


def level(samples: np.ndarray, rate: int, low: float, high: float) -> float:
    """Power between two frequencies in dB."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequency = np.fft.rfftfreq(len(samples), 1 / rate)
    return float(10 * np.log10(power[(frequency >= low) & (frequency < high)].sum() + 1e-20))


@pytest.mark.parametrize("rate", RATES)
def test_the_band_passes_and_the_rest_is_30_decibels_down(rate: int):
    before = noise(rate)
    after = telephone(before, rate, ChannelConfig(snr=None, codec=False), "a")

    def change(low: float, high: float) -> float:
        return level(after, rate, low, high) - level(before, rate, low, high)

    assert abs(change(400, 3200)) < 0.5
    assert change(0, 200) < -30
    assert change(3600, rate / 2) < -30


def test_with_the_codec_nothing_above_four_kilohertz_is_left():
    before = noise(16000)
    after = telephone(before, 16000, ChannelConfig(), "a")
    assert level(after, 16000, 4100, 8000) - level(before, 16000, 4100, 8000) < -40


@pytest.mark.parametrize("snr", [0.0, 10.0, 25.0])
def test_noise_is_as_loud_as_asked_for(snr: float):
    speech = np.sin(2 * np.pi * 1000 * np.arange(32000) / 16000) * 0.1
    quiet = telephone(speech, 16000, ChannelConfig(snr=None, codec=False), "a")
    noisy = telephone(speech, 16000, ChannelConfig(snr=snr, codec=False), "a")
    added = noisy.astype(np.float64) - quiet
    measured = 10 * np.log10(np.mean(np.square(quiet)) / np.mean(np.square(added)))
    assert measured == pytest.approx(snr, abs=0.5)


def test_the_noise_belongs_to_the_utterance_and_the_seed():
    speech = noise(16000)

    def heard(name: str, seed: int = 0) -> np.ndarray:
        return telephone(speech, 16000, ChannelConfig(seed=seed), name)

    assert np.array_equal(heard("a"), heard("a"))
    assert not np.array_equal(heard("a"), heard("b"))
    assert not np.array_equal(heard("a"), heard("a", seed=1))


def test_g711_has_255_values_and_38_decibels():
    """ITU-T G.711: 8 bits, whose two zeros sound alike; about 38 dB for signals that fill the range."""
    speech = np.clip(0.3 * np.random.default_rng(1).standard_normal(40000), -0.99, 0.99)
    coded = through_g711(speech)
    assert len(np.unique(coded)) <= 255
    error = 10 * np.log10(np.mean(np.square(speech)) / np.mean(np.square(coded - speech)))
    assert 36 < error < 40


@pytest.mark.parametrize("count", [1, 37, 16000])
@pytest.mark.parametrize("rate", RATES)
def test_length_and_alignment_stay(rate: int, count: int):
    speech = noise(rate)[:count]
    heard = telephone(speech, rate, ChannelConfig(snr=None), "a")
    assert heard.shape == speech.shape
    assert heard.dtype == np.float32
    if count > 10000:
        band = band_pass(speech, rate, 300, 3400)
        shifts = {shift: float(np.dot(np.roll(heard, shift), band)) for shift in range(-5, 6)}
        assert max(shifts, key=shifts.__getitem__) == 0


def test_silence_stays_silent_and_finite():
    heard = telephone(np.zeros(8000), 8000, ChannelConfig(), "a")
    assert np.isfinite(heard).all()
    assert np.abs(heard).max() < 1e-3
    assert not at_snr(np.zeros(5), np.ones(5), 10.0).any()


def test_an_upside_down_band_is_refused():
    with pytest.raises(ValidationError, match="low_hz"):
        ChannelConfig(low_hz=3000, high_hz=300)
