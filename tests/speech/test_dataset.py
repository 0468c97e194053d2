"""Rows of features: augmentation that depends on nothing but seed, epoch and row; lengths known from headers."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from speechnlp_tl.speech.audio import read_audio
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.features import AugmentConfig, Fbank, FeatureConfig, change_speed

FEATURES = FeatureConfig(rate=8000, bins=16)
AUGMENT = AugmentConfig(
    speeds=[0.9, 1.0, 1.1], warps=[0.9, 1.0, 1.1], time_masks=2, frequency_masks=2, frequency_mask_bins=4
)
ROWS, EPOCHS = range(6), range(3)


def dataset(utterances: list[Utterance], seed: int = 5, cache_mb: float = 600.0) -> SpeechDataset:
    return SpeechDataset(utterances[:6], FEATURES, AUGMENT, seed, cache_mb)


def all_of(data: SpeechDataset) -> dict[tuple[int, int], Tensor]:
    return {(epoch, row): data.perturbed(row, epoch) for epoch in EPOCHS for row in ROWS}


def test_augmentation_is_a_function_of_seed_epoch_and_row(utterances: list[Utterance]) -> None:
    forward, backward = dataset(utterances), dataset(utterances)
    expected = all_of(forward)
    for epoch in reversed(EPOCHS):
        for row in reversed(ROWS):
            backward.plain(row)
            np.random.default_rng().random()
            assert torch.equal(backward.perturbed(row, epoch), expected[epoch, row])
            assert torch.equal(forward.perturbed(row, epoch), expected[epoch, row])


def test_every_epoch_seed_and_row_is_perturbed_in_its_own_way(utterances: list[Utterance]) -> None:
    drawn, other = all_of(dataset(utterances)), all_of(dataset(utterances, seed=6))
    same = [torch.equal(drawn[0, row], drawn[epoch, row]) for row in ROWS for epoch in (1, 2)]
    assert not any(same)
    assert not any(torch.equal(drawn[key], other[key]) for key in drawn)
    # the same recording on two rows is two rows
    twice = SpeechDataset([utterances[0], utterances[0]], FEATURES, AUGMENT, seed=5)
    assert not torch.equal(twice.perturbed(0, 0), twice.perturbed(1, 0))


def test_the_cache_changes_nothing_but_the_time(utterances: list[Utterance], monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str | Path] = []

    def counting(path: str | Path, *arguments: object, **settings: object) -> np.ndarray:
        reads.append(path)
        return read_audio(path, *arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr("speechnlp_tl.speech.dataset.read_audio", counting)
    # room for all, for some, for none
    cached, partly, uncached = (dataset(utterances, cache_mb=size) for size in (600.0, 0.02, 0.0))
    for _ in range(2):
        expected = all_of(uncached)
        for data in (cached, partly):
            found = all_of(data)
            assert all(torch.equal(found[key], expected[key]) for key in expected)
    reads.clear()
    all_of(cached)
    assert reads == []
    all_of(partly)
    some = len(reads)
    reads.clear()
    all_of(uncached)
    assert 0 < some < len(reads) == len(ROWS) * len(EPOCHS)


def test_what_a_caller_does_to_its_features_does_not_reach_the_cache(utterances: list[Utterance]) -> None:
    data = SpeechDataset(utterances[:1], FEATURES)
    expected = data.plain(0).clone()
    data.plain(0).zero_()
    data.perturbed(0, 0).zero_()
    assert torch.equal(data.plain(0), expected)


def test_other_processes_load_the_same_rows(utterances: list[Utterance]) -> None:
    data = dataset(utterances)
    keys = [(row, epoch) for epoch in EPOCHS for row in ROWS]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.starmap(data.perturbed, keys, chunksize=3)
    for (row, epoch), features in zip(keys, found, strict=True):
        assert torch.equal(features, data.perturbed(row, epoch))


def test_speeds_and_warps_are_those_asked_for(utterances: list[Utterance]) -> None:
    augment = AugmentConfig(speeds=[0.8, 1.25], warps=[0.9, 1.1])
    features = FeatureConfig(rate=8000, bins=16, cmvn="none")
    data = SpeechDataset(utterances[:1], features, augment)
    samples = read_audio(utterances[0].audio)
    fbank = Fbank(features)
    candidates = {
        (speed, warp): fbank(torch.from_numpy(change_speed(samples, 8000, speed)), warp).half().float()
        for speed in augment.speeds
        for warp in augment.warps
    }
    drawn = []
    for epoch in range(40):
        found = data.perturbed(0, epoch)
        drawn += [key for key, expected in candidates.items() if torch.equal(expected, found)]
    assert len(drawn) == 40
    assert set(drawn) == set(candidates)


@pytest.mark.parametrize(("rate", "resample"), [(8000, False), (16000, True), (11025, True)])
def test_frames_are_known_from_headers_for_recordings_and_segments(tmp_path: Path, rate: int, resample: bool) -> None:
    generator = np.random.default_rng(0)
    path = str(tmp_path / "noise.wav")
    soundfile.write(path, generator.uniform(-0.1, 0.1, 2 * rate + 77), rate)
    whole = Utterance("whole", "s", path)
    segments = [replace(whole, id="end", start=1.5, end=2.005), replace(whole, id="beyond", start=0.1, end=2.0129)]
    for number in range(200):
        start, end = sorted(generator.uniform(0, 2.005, 2).round(4).tolist())
        if end - start > 0.03:
            segments.append(replace(whole, id=f"segment{number}", start=start, end=end))
    if not resample:  # frames that begin and end where a sample does
        segments += [replace(whole, id=f"edge{n}", start=0.1, end=0.1 + (200 + n) / 8000) for n in (80, 159, 160, 161)]
    one_sided = [replace(whole, id="from", start=0.7), replace(whole, id="to", end=0.7)]
    utterances = [whole, *segments, *one_sided]
    data = SpeechDataset(utterances, FeatureConfig(rate=8000, bins=16, resample=resample))
    found = {utterance.id: len(data.plain(row)) for row, utterance in enumerate(utterances)}
    assert dict(zip(found, data.frames, strict=True)) == found


def kaldi_free(utterance: Utterance) -> Tensor:
    return Fbank(FEATURES)(torch.from_numpy(read_audio(utterance.audio)))


@pytest.mark.parametrize("variance", [True, False])
def test_cmvn_by_utterance_and_by_speaker_equal_their_closed_forms(utterances: list[Utterance], variance: bool) -> None:
    some = utterances[:4] + utterances[-3:]
    raw = [kaldi_free(utterance) for utterance in some]
    for cmvn in ("utterance", "speaker", "none"):
        data = SpeechDataset(some, FeatureConfig(rate=8000, bins=16, cmvn=cmvn, variance=variance), AUGMENT)  # type: ignore[arg-type]
        data.perturbed(0, 0)  # perturbed speech does not count in a speaker's statistics
        for row, utterance in enumerate(some):
            group = [raw[other] for other, rival in enumerate(some) if rival.speaker == utterance.speaker]
            frames = torch.cat([raw[row]] if cmvn == "utterance" else group).double()
            scale = frames.std(dim=0, correction=0) if variance else 1.0
            expected = raw[row].double() if cmvn == "none" else (raw[row].double() - frames.mean(dim=0)) / scale
            torch.testing.assert_close(data.plain(row).double(), expected, atol=2e-3, rtol=1e-3)


def test_waveforms_are_perturbed_as_features_are(utterances: list[Utterance]) -> None:
    config = FeatureConfig(rate=8000, bins=16)
    loader = SpeechDataset(utterances[:6], config, AUGMENT, seed=5)
    for epoch in EPOCHS:
        for row in ROWS:
            samples, warp, masks = loader.waveform(row, epoch)
            features = loader.perturbed(row, epoch)
            raw = Fbank(config)(samples, warp)
            assert raw.shape == features.shape
            expected = (raw - raw.mean(0)) / raw.std(0, correction=0)
            for axis, start, end in masks:
                expected[(slice(start, end), slice(None)) if axis == 0 else (slice(None), slice(start, end))] = 0
            torch.testing.assert_close(features, expected, atol=1e-3, rtol=1e-3)
    samples, warp, masks = loader.waveform(0)
    assert (warp, masks) == (1.0, [])
    np.testing.assert_array_equal(samples, read_audio(utterances[0].audio))
