"""Audio is read as it is, and every way in which it can be broken has one clear error."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.audio import AudioError, audio_info, is_pipe, read_audio

RATE = 8000


def tone(seconds: float = 1.0, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "tone.wav", tone(), RATE, subtype="FLOAT")
    return tmp_path / "tone.wav"


def code_of(path: Path | str, **arguments: object) -> str:
    """The code of the one error that reading raises; its message must name the file."""
    with pytest.raises(AudioError) as caught:
        read_audio(path, **arguments)
    assert isinstance(caught.value, InputError)
    assert len(caught.value.problems) == 1
    assert str(path) in str(caught.value)
    return caught.value.code


def written_as(name: str) -> dict[str, str]:
    """How soundfile names the format of a file with that ending."""
    kind = name.split(".")[-1]
    if kind == "opus":
        return {"format": "OGG", "subtype": "OPUS"}
    return {"format": {"sph": "NIST"}.get(kind, kind.upper())}


def test_samples_are_those_of_the_file(wav: Path) -> None:
    samples = read_audio(wav, RATE)
    assert samples.dtype == np.float32
    assert samples.shape == (RATE,)
    np.testing.assert_array_equal(samples, tone())
    assert audio_info(wav) == (RATE, 1, RATE)


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        *(("a.flac", 1e-4), ("a.sph", 1e-4), ("a.aiff", 1e-4), ("a.au", 1e-4), ("a.rf64", 1e-4), ("a.w64", 1e-4)),
        *(("a.ogg", 0.1), ("a.opus", 0.1)),
    ],
)
def test_every_format_reads_the_same_tone(tmp_path: Path, name: str, tolerance: float) -> None:
    soundfile.write(tmp_path / name, tone(), RATE, **written_as(name))
    samples = read_audio(tmp_path / name, RATE)
    assert samples.shape == (RATE,)
    assert np.abs(samples - tone()).max() < tolerance


@settings(max_examples=50, deadline=None)
@given(first=st.integers(0, RATE - 1), count=st.integers(1, RATE))
def test_a_segment_is_a_slice_of_the_whole(tmp_path_factory: pytest.TempPathFactory, first: int, count: int) -> None:
    path = tmp_path_factory.getbasetemp() / "slice.wav"
    if not path.exists():
        soundfile.write(path, tone(), RATE, subtype="FLOAT")
    last = min(first + count, RATE)
    np.testing.assert_array_equal(read_audio(path, start=first / RATE, end=last / RATE), tone()[first:last])


def test_resampling_keeps_the_tone_and_needs_permission(wav: Path) -> None:
    assert code_of(wav, rate=16000) == "rate"
    samples = read_audio(wav, 16000, resample=True)
    assert samples.shape == (16000,)
    np.testing.assert_allclose(samples[2000:-2000], tone(rate=16000)[2000:-2000], atol=1e-3)


def test_several_channels_need_a_choice(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([tone(hertz=440), tone(hertz=100)], axis=1), RATE, subtype="FLOAT")
    assert code_of(path) == "channels"
    assert code_of(path, channel=2) == "channels"
    np.testing.assert_array_equal(read_audio(path, channel=1), tone(hertz=100))


def test_missing_and_empty_files(tmp_path: Path) -> None:
    assert code_of(tmp_path / "none.wav") == "missing"
    assert code_of(tmp_path) == "missing"
    (tmp_path / "zero.wav").write_bytes(b"")
    assert code_of(tmp_path / "zero.wav") == "empty"
    soundfile.write(tmp_path / "header.wav", np.zeros(0), RATE)
    assert code_of(tmp_path / "header.wav") == "empty"


@pytest.mark.parametrize(
    "content", [b"not audio at all" * 50, b"RIFF", b"NIST_1A\n", b"NIST_1A\n   xyz\n", b"\0" * 300]
)
def test_what_is_not_audio(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "text.wav").write_bytes(content)
    assert code_of(tmp_path / "text.wav") in ("format", "truncated")


@pytest.mark.parametrize(
    "name", [f"a.{kind}" for kind in ("wav", "flac", "sph", "aiff", "mp3", "ogg", "opus", "au", "rf64", "w64")]
)
@pytest.mark.parametrize("kept", [0.3, 0.5, 0.9])
def test_truncated_files_are_refused_not_shortened(tmp_path: Path, name: str, kept: float) -> None:
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / name, 0.1 * rng.standard_normal(4 * RATE), RATE, **written_as(name))
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * kept)])
    assert code_of(tmp_path / name) == "truncated"


def test_a_wav_of_unknown_size_from_a_pipe_is_not_truncated(wav: Path) -> None:
    content = bytearray(wav.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = content[4:8] = b"\xff\xff\xff\xff"
    wav.write_bytes(content)
    assert len(read_audio(wav)) == RATE


def test_shorten_says_how_to_convert(tmp_path: Path) -> None:
    path = tmp_path / "a.sph"
    soundfile.write(path, tone(), RATE, format="NIST")
    header = path.read_bytes().replace(b"sample_coding -s3 pcm\n", b"sample_coding -s26 pcm,embedded-shorten-v2.00\n")
    path.write_bytes(header)
    assert code_of(path) == "shorten"
    with pytest.raises(AudioError, match="sph2pipe"):
        audio_info(path)


def test_samples_that_are_not_numbers_or_far_too_large(tmp_path: Path) -> None:
    path = tmp_path / "nan.wav"
    bad = tone()
    bad[100] = np.nan
    soundfile.write(path, bad, RATE, subtype="FLOAT")
    assert code_of(path) == "samples"
    soundfile.write(path, tone() * 32768, RATE, subtype="FLOAT")
    assert code_of(path) == "samples"
    soundfile.write(path, tone() * 2.2, RATE, subtype="FLOAT")
    assert np.abs(read_audio(path)).max() == 1.0


@pytest.mark.parametrize(("start", "end"), [(0.5, 1.5), (0.5, 0.5), (0.7, 0.2), (-0.1, 0.5), (2.0, None)])
def test_segments_outside_the_recording(wav: Path, start: float, end: float | None) -> None:
    assert code_of(wav, start=start, end=end) == "segment"


def test_a_segment_may_end_a_rounding_error_late(wav: Path) -> None:
    assert len(read_audio(wav, start=0.5, end=1.009)) == RATE // 2


def test_a_pipe_runs_only_with_permission(tmp_path: Path, wav: Path) -> None:
    witness = tmp_path / "ran"
    pipe = f"touch {witness}; cat {wav} |"
    assert is_pipe(pipe)
    assert not is_pipe(str(wav))
    assert code_of(pipe) == "pipe"
    assert not witness.exists()
    np.testing.assert_array_equal(read_audio(pipe, allow_pipes=True), tone())
    assert witness.exists()
    assert code_of("echo broken >&2; exit 3 |", allow_pipes=True) == "pipe"


def test_silence_is_no_business_of_the_reader(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(100), RATE)
    assert not read_audio(tmp_path / "silent.wav").any()


def test_an4_sphere_files_are_read_whole(tmp_path: Path) -> None:
    archive = Path(os.environ.get("SPEECHNLP_DATA", "")) / "an4_sphere.tar.gz"
    if not os.environ.get("SPEECHNLP_DATA") or not archive.is_file():
        pytest.skip("an4_sphere.tar.gz is not in $SPEECHNLP_DATA")
    with tarfile.open(archive) as tar:
        member = next(m for m in tar if m.name.endswith(".sph"))
        content = tar.extractfile(member)
        assert content is not None
        (tmp_path / "a.sph").write_bytes(content.read())
    rate, channels, frames = audio_info(tmp_path / "a.sph")
    assert (rate, channels) == (16000, 1)
    raw = np.frombuffer((tmp_path / "a.sph").read_bytes()[1024:], dtype="<i2")
    assert frames == len(raw)
    np.testing.assert_allclose(read_audio(tmp_path / "a.sph"), raw / 32768, atol=1e-7)
