"""Filterbanks against two independent implementations, normalisation and augmentation against their definitions."""

import math

import kaldi_native_fbank
import numpy as np
import pytest
import torch
import torchaudio.compliance.kaldi as torchaudio_kaldi
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from speechnlp_tl.speech.features import (
    AugmentConfig,
    Fbank,
    FeatureConfig,
    apply_masks,
    change_speed,
    draw_masks,
    normalise,
)

EPSILON = float(torch.finfo(torch.float32).eps)
"""Kaldi's floor of a mel energy."""


def speech_like(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """Glottal pulses through gliding formants, and quiet stretches, as 16 bits hold them: samples in [-1, 1]."""
    generator = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = np.zeros_like(time)
    for harmonic in range(1, int(rate / 2 / 160)):
        frequency = harmonic * pitch
        formants = (600 + 200 * np.sin(2 * np.pi * time), 1500 + 400 * np.cos(3 * time), 2700)
        strength = sum(np.exp(-(((frequency - formant) / 150) ** 2)) for formant in formants)
        voice += (strength + 0.002) * np.sin(harmonic * phase)
    loudness = np.clip(np.sin(2 * np.pi * 1.3 * time), 0.001, 1)
    samples = 0.1 * loudness * (voice + 0.05 * generator.standard_normal(len(time)))
    samples += 1e-3 * generator.standard_normal(len(time))  # a room and a microphone
    return (np.round(samples * 32768) / 32768).astype(np.float32)


def kaldi_fbank(samples: np.ndarray, rate: int, bins: int, low: float = 20.0, high: float = 0.0) -> np.ndarray:
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = rate
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = bins
    options.mel_opts.low_freq = low
    options.mel_opts.high_freq = high
    computer = kaldi_native_fbank.OnlineFbank(options)
    computer.accept_waveform(rate, (samples * 32768).tolist())
    computer.input_finished()
    return np.array([computer.get_frame(frame) for frame in range(computer.num_frames_ready)])


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("bins", [40, 80])
def test_fbank_equals_kaldi(rate: int, bins: int) -> None:
    samples = speech_like(2.0, rate)
    ours = Fbank(FeatureConfig(rate=rate, bins=bins, energy_floor=EPSILON))(torch.from_numpy(samples))
    theirs = torch.from_numpy(kaldi_fbank(samples, rate, bins)).float()
    assert ours.dtype == torch.float32
    # single precision leaves both of them a little noise in filters ten million times quieter than the frame's loudest
    heard = theirs > theirs.amax(dim=1, keepdim=True) - math.log(1e7)
    torch.testing.assert_close(ours[heard], theirs[heard], atol=1e-3, rtol=0)
    torch.testing.assert_close(ours[~heard], theirs[~heard], atol=1e-2, rtol=0)
    assert heard.float().mean() > 0.9


@pytest.mark.parametrize(("low", "high"), [(60.0, 3800.0), (100.0, -200.0)])
def test_edges_of_the_filters_mean_what_they_mean_in_kaldi(low: float, high: float) -> None:
    samples = speech_like(1.0, 8000)
    config = FeatureConfig(rate=8000, bins=23, energy_floor=EPSILON, low_hz=low, high_hz=high)
    theirs = torch.from_numpy(kaldi_fbank(samples, 8000, 23, low, high)).float()
    torch.testing.assert_close(Fbank(config)(torch.from_numpy(samples)), theirs, atol=1e-3, rtol=0)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100])
@pytest.mark.parametrize("warp", [0.85, 0.95, 1.0, 1.12])
def test_fbank_and_its_warps_equal_torchaudio(rate: int, warp: float) -> None:
    samples = torch.from_numpy(speech_like(0.5, rate))
    ours = Fbank(FeatureConfig(rate=rate, bins=40, energy_floor=EPSILON))(samples, warp)
    theirs = torchaudio_kaldi.fbank(
        samples[None] * 32768, num_mel_bins=40, sample_frequency=rate, low_freq=20.0, vtln_warp=warp
    )
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


def test_a_warp_is_the_same_for_one_utterance_and_in_a_batch_of_different_warps() -> None:
    fbank = Fbank(FeatureConfig(rate=8000, bins=40))
    warps = [0.9, 1.0, 1.1]
    samples = [torch.from_numpy(speech_like(seconds, 8000, seed)) for seed, seconds in enumerate((0.7, 0.31, 0.5))]
    batch = torch.nn.utils.rnn.pad_sequence(samples, batch_first=True)
    together = fbank(batch, torch.tensor(warps))
    for row, warp in enumerate(warps):
        alone = fbank(samples[row], warp)
        torch.testing.assert_close(together[row, : len(alone)], alone, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(together[0], fbank(batch)[0], atol=0.1)
    torch.testing.assert_close(together[1], fbank(batch, 1.0)[1])


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100])
def test_the_number_of_frames_is_known_before_they_are_computed(rate: int) -> None:
    fbank = Fbank(FeatureConfig(rate=rate, bins=20))
    window, shift = rate * 25 // 1000, rate * 10 // 1000
    counts = {0, 1, 2}
    for frames in (1, 2, 3, 10):
        edge = window + (frames - 1) * shift
        counts |= {edge - 1, edge, edge + 1}
        assert fbank.num_frames(edge) == frames
        assert fbank.num_frames(edge - 1) == frames - 1
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, max(counts)).astype(np.float32))
    for count in sorted(counts):
        assert fbank(noise[:count]).shape == (fbank.num_frames(count), 20)
        assert fbank(noise[:count].expand(2, -1)).shape == (2, fbank.num_frames(count), 20)
        if count:
            assert fbank.num_frames(count) == len(kaldi_fbank(noise[:count].numpy(), rate, 20))


def test_the_energy_floor_is_where_digital_silence_lies() -> None:
    for floor in (EPSILON, 1.0, 50.0):
        silence = Fbank(FeatureConfig(rate=8000, bins=20, energy_floor=floor))(torch.zeros(4000))
        assert silence.unique().tolist() == pytest.approx([math.log(floor)], rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=4), st.booleans(), st.integers(0, 99))
def test_normalisation_equals_its_closed_form_alone_and_in_a_batch(
    lengths: list[int], variance: bool, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    rows = [3 + 5 * generator.standard_normal((length, 4)) for length in lengths]
    padded = torch.full((len(rows), max(lengths), 4), 1e3)
    for row, values in enumerate(rows):
        padded[row, : len(values)] = torch.from_numpy(values)
    together = normalise(padded, torch.tensor(lengths), variance)
    for row, values in enumerate(rows):
        assert not together[row, len(values) :].any()
        if not len(values):
            continue
        expected = values - values.mean(axis=0)
        if variance:
            expected /= np.maximum(np.sqrt((expected**2).mean(axis=0)), 1e-3)
        np.testing.assert_allclose(together[row, : len(values)], expected, atol=2e-4)
        alone = normalise(torch.from_numpy(values).float(), variance=variance)
        np.testing.assert_allclose(alone, expected, atol=2e-4)


def test_a_constant_recording_is_normalised_to_zero_and_not_to_infinity() -> None:
    features = torch.full((1, 9, 3), -7.25)
    assert not normalise(features[0]).any()
    assert not normalise(features, torch.tensor([9])).any()


augmentations = st.builds(
    AugmentConfig,
    time_masks=st.integers(0, 4),
    time_mask_frames=st.integers(0, 30),
    time_mask_share=st.floats(0, 1),
    frequency_masks=st.integers(0, 4),
    frequency_mask_bins=st.integers(0, 50),
)


@settings(max_examples=200)
@given(augmentations, st.integers(0, 200), st.integers(4, 80), st.integers(0, 99))
def test_masks_stay_within_their_limits_and_the_features(
    config: AugmentConfig, frames: int, bins: int, seed: int
) -> None:
    masks = draw_masks(config, frames, bins, np.random.default_rng(seed))
    assert masks == draw_masks(config, frames, bins, np.random.default_rng(seed))
    assert [axis for axis, _, _ in masks] == [0] * config.time_masks + [1] * config.frequency_masks
    for axis, start, end in masks:
        size = (frames, bins)[axis]
        assert 0 <= start <= end <= size
        if axis == 0:
            assert end - start <= min(config.time_mask_frames, config.time_mask_share * frames)
        else:
            assert end - start <= config.frequency_mask_bins
    features = torch.ones(frames, bins)
    masked = apply_masks(features, masks)
    assert features.all(), "the features given are left as they are"
    expected = np.ones((frames, bins))
    for axis, start, end in masks:
        expected[(slice(start, end), slice(None)) if axis == 0 else (slice(None), slice(start, end))] = 0
    np.testing.assert_array_equal(masked, expected)


def test_masks_reach_their_widest_and_every_place() -> None:
    config = AugmentConfig(
        time_masks=1, time_mask_frames=5, time_mask_share=1.0, frequency_masks=1, frequency_mask_bins=3
    )
    generator = np.random.default_rng(0)
    drawn = [mask for _ in range(2000) for mask in draw_masks(config, 20, 6, generator)]
    for axis, widest, size in ((0, 5, 20), (1, 3, 6)):
        own = [(start, end) for a, start, end in drawn if a == axis]
        assert {end - start for start, end in own} == set(range(widest + 1))
        assert {place for start, end in own for place in range(start, end)} == set(range(size))


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_speed_changes_length_and_pitch_by_its_factor(factor: float) -> None:
    rate, hertz = 16000, 1000.0
    samples = np.sin(2 * np.pi * hertz * np.arange(rate) / rate).astype(np.float32)
    changed = change_speed(samples, rate, factor)
    assert changed.dtype == np.float32
    assert abs(len(changed) - len(samples) / factor) <= 2
    spectrum = np.abs(np.fft.rfft(changed * np.hanning(len(changed))))
    assert spectrum.argmax() * rate / len(changed) == pytest.approx(hertz * factor, abs=2.0)


def test_fbank_runs_where_the_waveform_is_and_takes_other_precisions() -> None:
    samples = torch.from_numpy(speech_like(0.3, 8000))
    fbank = Fbank(FeatureConfig(rate=8000, bins=20))
    exact: Tensor = fbank(samples)
    torch.testing.assert_close(fbank(samples.double()), exact)
    assert fbank(samples.double()).dtype == torch.float32
