"""Reading audio files: whole or a segment, one channel, at the wanted rate, or a clear error.

Everything libsndfile reads is read (wav, FLAC, NIST sphere, ogg, mp3). Features live in `speech.features`; whether a
recording is silent is a question for `speech.data_checks`, not for the reader.
"""

from __future__ import annotations

import io
import re
import struct
import subprocess
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from speechnlp_tl.errors import InputError, Problem

SEGMENT_TOLERANCE = 0.01
"""Seconds by which a segment may end after its recording: segment times are usually rounded to 10 ms."""

_LARGEST_PEAK = 8.0
# Programs that write a wav into a pipe do not know its size yet and promise about 2 or 4 GB instead.
_UNKNOWN_WAV_SIZE = 0x7FFFF000
_LARGEST_OGG_PAGE = 65307


class AudioError(InputError):
    """Audio that cannot be read as asked. `code` says why in one word: missing, empty, truncated, format, channels,
    rate, shorten, samples, segment, pipe."""

    def __init__(self, code: str, what: str, source: str, remedy: str | None = None) -> None:
        super().__init__(Problem(what, file=source, remedy=remedy))
        self.code = code


def is_pipe(source: str) -> bool:
    """Whether a wav.scp entry is a shell command (`sph2pipe -f wav x.sph |`) and not a file."""
    return source.rstrip().endswith("|")


def read_audio(
    path: str | Path,
    rate: int | None = None,
    start: float | None = None,
    end: float | None = None,
    channel: int | None = None,
    resample: bool = False,
    allow_pipes: bool = False,
) -> np.ndarray:
    """Read one channel of a recording, or of a segment of it.

    Args:
        path: an audio file, or with `allow_pipes` a command that ends in `|` and writes audio to its output.
        rate: the sampling rate wanted, in Hz; None takes the file's.
        start: beginning of the segment in seconds; None is the beginning of the recording.
        end: end of the segment in seconds; None is the end of the recording.
        channel: which channel to take, from 0; needed when there are several.
        resample: convert to `rate` (with soxr) when the file has another; otherwise that is an error.
        allow_pipes: run `path` in a shell when it is a pipe. Only for commands you wrote yourself.

    Returns:
        (samples,) float32 in [-1, 1].

    Raises:
        AudioError: (an InputError) the file is missing, empty, truncated or not audio, has several channels and none
            was chosen, has another rate, is a shorten-compressed sphere, holds values that are not numbers, or ends
            before the segment does.
    """
    return read_audio_and_rate(path, rate, start, end, channel, resample, allow_pipes)[0]


def read_audio_and_rate(
    path: str | Path,
    rate: int | None = None,
    start: float | None = None,
    end: float | None = None,
    channel: int | None = None,
    resample: bool = False,
    allow_pipes: bool = False,
) -> tuple[np.ndarray, int]:
    """`read_audio` for a caller who does not know the rate: the samples and their rate in Hz."""
    source = str(path)
    with _open(source, allow_pipes) as stream:
        size = _check_header(stream, source)
        try:
            with soundfile.SoundFile(stream if is_pipe(source) else source) as file:
                file_rate = file.samplerate
                _check_layout(file, source, rate, channel, resample)
                first, count = _frames(file, source, start, end)
                if first:
                    file.seek(first)
                samples = file.read(count, dtype="float32", always_2d=True)[:, channel or 0]
        except soundfile.LibsndfileError as error:
            raise _unreadable(source, size, error) from error
    if len(samples) < count:
        raise AudioError(
            "truncated",
            f"is truncated: {len(samples)} of {count} samples could be read",
            source,
            "copy or download it again",
        )
    samples = _check_samples(samples, source)
    if rate is not None and rate != file_rate:
        import soxr

        samples = np.clip(soxr.resample(samples, file_rate, rate), -1.0, 1.0)
        file_rate = rate
    return np.ascontiguousarray(samples, dtype=np.float32), file_rate


def audio_info(path: str | Path, allow_pipes: bool = False) -> tuple[int, int, int]:
    """The sampling rate in Hz, the number of channels and the number of frames (samples per channel), from the header.

    Raises:
        AudioError: (an InputError) the file is missing, empty, truncated, not audio or a shorten-compressed sphere.
    """
    source = str(path)
    with _open(source, allow_pipes) as stream:
        size = _check_header(stream, source)
        try:
            with soundfile.SoundFile(stream if is_pipe(source) else source) as file:
                if file.frames <= 0:
                    raise _empty(source)
                return file.samplerate, file.channels, file.frames
        except soundfile.LibsndfileError as error:
            raise _unreadable(source, size, error) from error


def _open(source: str, allow_pipes: bool) -> BinaryIO:
    if is_pipe(source):
        return io.BytesIO(_run_pipe(source, allow_pipes))
    try:
        return Path(source).open("rb")
    except FileNotFoundError as error:
        raise AudioError("missing", "audio file does not exist", source, "check the path in wav.scp") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioError("missing", f"audio file cannot be opened: {reason}", source) from error


def _run_pipe(source: str, allow_pipes: bool) -> bytes:
    if not allow_pipes:
        raise AudioError(
            "pipe",
            "is a shell command, and data must not run commands",
            source,
            "convert the audio to files once, or give --allow-pipes if you trust this data",
        )
    # A shell is what a Kaldi pipe means; this line is reached only when the user asked for it.
    result = subprocess.run(source.rstrip()[:-1], shell=True, capture_output=True, check=False)
    if result.returncode != 0:
        message = result.stderr.decode(errors="replace").strip().splitlines()
        raise AudioError(
            "pipe",
            f"command failed with exit code {result.returncode}" + (f": {message[-1]}" if message else ""),
            source,
            "run the command by hand to see why",
        )
    return result.stdout


def _check_header(stream: BinaryIO, source: str) -> int:
    """Compare what the header promises with the size of the file; rewinds. Returns the size in bytes.

    libsndfile silently shortens a truncated wav or sphere file, so that a broken copy would train as if it were whole.
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if size == 0:
        raise AudioError("empty", "is an empty file (0 bytes)", source, "copy or download it again")
    magic = stream.read(12)
    promised = None
    if magic.startswith(b"NIST_1A"):
        promised = _promised_by_sphere(stream, source)
    elif magic[:4] == b"RIFF" and magic[8:12] == b"WAVE":
        promised = _promised_by_wav(stream, size)
    elif magic[:4] == b"FORM" and magic[8:11] == b"AIF":
        promised = 8 + int(struct.unpack(">I", magic[4:8])[0])
    elif magic[:4] == b"ajkg":
        raise _shorten(source)
    elif magic[:4] == b"OggS":
        _check_last_page(stream, source, size)
    else:
        promised = _promised_by_others(magic, stream)
    if promised is not None and promised > size:
        raise AudioError(
            "truncated",
            f"is truncated: its header promises {promised} bytes, the file has {size}",
            source,
            "copy or download it again",
        )
    stream.seek(0)
    return size


def _promised_by_sphere(stream: BinaryIO, source: str) -> int | None:
    """Bytes of a whole NIST sphere file, from its header; None when the header does not say."""
    stream.seek(0)
    lines = stream.read(16).split(b"\n")
    length = int(lines[1]) if len(lines) > 1 and lines[1].strip().isdigit() else 1024
    stream.seek(0)
    header = stream.read(length).decode("latin-1").split("end_head")[0]
    fields = dict(re.findall(r"^(\w+) -\w+ (.*?)\s*$", header, flags=re.MULTILINE))
    if "embedded" in fields.get("sample_coding", ""):
        raise _shorten(source)
    try:
        counts = [int(fields[name]) for name in ("sample_count", "channel_count", "sample_n_bytes")]
    except (KeyError, ValueError):
        return None
    return length + counts[0] * counts[1] * counts[2]


def _promised_by_wav(stream: BinaryIO, size: int) -> int | None:
    """Bytes up to the end of a wav file's samples, from its chunk headers; None when the header does not say."""
    position = 12
    while position + 8 <= size:
        stream.seek(position)
        name, length = struct.unpack("<4sI", stream.read(8))
        if name == b"data":
            return None if length >= _UNKNOWN_WAV_SIZE else position + 8 + length
        position += 8 + length + length % 2
    return position + 8 if position < _UNKNOWN_WAV_SIZE else None


def _promised_by_others(magic: bytes, stream: BinaryIO) -> int | None:
    """Bytes of a whole Sun AU, RF64 or Wave64 file; None for other formats and where the header does not say."""
    stream.seek(0)
    header = stream.read(28)
    if magic[:4] == b".snd":
        offset, length = struct.unpack(">II", header[4:12])
        return None if length == 0xFFFFFFFF else int(offset + length)
    if magic[:4] == b"RF64" and header[12:16] == b"ds64":
        return 8 + int(struct.unpack("<Q", header[20:28])[0])
    if magic[:4] == b"riff":
        return int(struct.unpack("<Q", header[16:24])[0])
    return None


def _check_last_page(stream: BinaryIO, source: str, size: int) -> None:
    """The last page of an Ogg file must be whole and carry the mark that it is the last (RFC 3533)."""
    start = stream.seek(max(0, size - _LARGEST_OGG_PAGE))
    tail = stream.read()
    page = tail[tail.rfind(b"OggS") :] if b"OggS" in tail else b""
    segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
    whole = len(page) > 26 and len(segments) == page[26] and len(page) >= 27 + len(segments) + sum(segments)
    if not whole or not page[5] & 4:
        what = f"is truncated: the page at byte {start + len(tail) - len(page)} of {size} is not the last"
        raise AudioError("truncated", what, source, "copy or download it again")


def _check_layout(
    file: soundfile.SoundFile, source: str, rate: int | None, channel: int | None, resample: bool
) -> None:
    """Channels and rate must be what the caller asked for."""
    if channel is None and file.channels > 1:
        raise AudioError(
            "channels",
            f"has {file.channels} channels where one is expected",
            source,
            "write the channel with the speech to a file of its own",
        )
    if channel is not None and not 0 <= channel < file.channels:
        raise AudioError("channels", f"has no channel {channel}: channels are 0 to {file.channels - 1}", source)
    if rate is not None and file.samplerate != rate and not resample:
        raise AudioError(
            "rate", f"is sampled at {file.samplerate} Hz, not at {rate} Hz", source, "resample it, or allow resampling"
        )


def _frames(file: soundfile.SoundFile, source: str, start: float | None, end: float | None) -> tuple[int, int]:
    """The first frame and the number of frames of a segment of an open file."""
    if file.frames <= 0:
        raise _empty(source)
    duration = file.frames / file.samplerate
    begin, finish = start or 0.0, duration if end is None else end
    if not 0 <= begin < finish:
        raise AudioError("segment", f"segment from {begin:g} s to {finish:g} s is empty or negative", source)
    if finish > duration + SEGMENT_TOLERANCE:
        raise AudioError(
            "segment",
            f"segment from {begin:g} s to {finish:g} s ends after the recording ({duration:.2f} s)",
            source,
            "correct the segment's times",
        )
    first = round(begin * file.samplerate)
    count = min(round(finish * file.samplerate), file.frames) - first
    if count <= 0:
        raise AudioError("empty", f"segment from {begin:g} s to {finish:g} s holds no samples", source)
    return first, count


def _check_samples(samples: np.ndarray, source: str) -> np.ndarray:
    """Samples as numbers in [-1, 1]; decoders of lossy formats overshoot a little, which is clipped."""
    if not np.isfinite(samples).all():
        count = int(np.count_nonzero(~np.isfinite(samples)))
        raise AudioError("samples", f"holds {count} samples that are not numbers (NaN or infinite)", source)
    peak = float(np.abs(samples).max())
    if peak > _LARGEST_PEAK:
        raise AudioError(
            "samples",
            f"holds samples as large as {peak:g} where -1 to 1 is expected",
            source,
            "divide by the largest integer of its original format, or write it as 16-bit PCM",
        )
    return np.clip(samples, -1.0, 1.0) if peak > 1 else samples


def _empty(source: str) -> AudioError:
    return AudioError("empty", "holds no samples", source, "record or copy it again, or remove the utterance")


def _shorten(source: str) -> AudioError:
    return AudioError(
        "shorten",
        "is a NIST sphere file compressed with shorten, which libsndfile cannot read",
        source,
        "convert it once: sph2pipe -f wav IN.sph OUT.wav",
    )


def _unreadable(source: str, size: int, error: Exception) -> AudioError:
    reason = str(getattr(error, "error_string", error)).rstrip(".")
    if "lost sync" in reason:
        return AudioError("truncated", f"is truncated or damaged: {reason}", source, "copy or download it again")
    return AudioError(
        "format", f"is not audio that libsndfile reads ({size} bytes: {reason})", source, "convert it to wav or FLAC"
    )
