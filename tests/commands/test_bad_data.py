"""Bad recordings, transcripts and data directories: exit code 2, an error for each problem, nothing half-written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.refusal import nothing_written, refused, truncate
from tests.tiny import RATE

TRAINED_BY = ("train", "adapt", "transcribe")


# Audio.


def silence(path: Path) -> None:
    soundfile.write(path, np.zeros(RATE), RATE)


def no_samples(path: Path) -> None:
    soundfile.write(path, np.zeros(0), RATE)


def stereo(path: Path) -> None:
    samples, _ = soundfile.read(path)
    soundfile.write(path, np.stack([samples, samples], axis=1), RATE)


def other_rate(path: Path) -> None:
    samples, _ = soundfile.read(path)
    soundfile.write(path, samples, 2 * RATE)


def shorten(path: Path) -> None:
    fields = (
        "sample_count -i 8000\nchannel_count -i 1\nsample_n_bytes -i 2\nsample_coding -s26 pcm,embedded-shorten-v2.00\n"
    )
    path.write_bytes(f"NIST_1A\n   1024\n{fields}end_head\n".encode().ljust(1024) + b"ajkg" + bytes(4000))


def not_finite(path: Path) -> None:
    samples, _ = soundfile.read(path)
    samples[100] = np.nan
    soundfile.write(path, samples, RATE, subtype="FLOAT")


BAD_AUDIO: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "does not exist"),
    "truncated": (truncate, "truncated"),
    "silent": (silence, "silent"),
    "empty": (lambda path: path.write_bytes(b""), "empty"),
    "without samples": (no_samples, "no samples"),
    "stereo": (stereo, "2 channels"),
    "wrong rate": (other_rate, "16000 Hz"),
    "shorten": (shorten, "shorten"),
    "not audio": (lambda path: path.write_text("these are words\n" * 100), "not audio"),
    "not finite": (not_finite, "not numbers"),
}


@pytest.mark.parametrize("kind", BAD_AUDIO)
@pytest.mark.parametrize("verb", TRAINED_BY)
def test_bad_audio_is_named_before_anything_is_computed(verbs, data: Path, tmp_path: Path, verb: str, kind: str):
    spoil, said = BAD_AUDIO[kind]
    spoil(tmp_path / "audio" / "me-1.wav")
    spoil(tmp_path / "audio" / "me-3.wav")
    outcome = verbs[verb]()
    refused(outcome, said, "me-1.wav", "me-3.wav")
    assert len(outcome.errors) == 2, "each bad file once, good ones never"
    assert nothing_written(tmp_path)


@pytest.mark.parametrize("kind", BAD_AUDIO)
def test_validate_finds_bad_audio_and_says_where(verbs, data: Path, tmp_path: Path, kind: str):
    spoil, said = BAD_AUDIO[kind]
    spoil(tmp_path / "audio" / "me-1.wav")
    outcome = verbs["validate"]()
    assert outcome.code == 2
    (finding,) = [line for line in outcome.out.splitlines() if line.startswith("error")]
    assert f"{data}/wav.scp:2: " in finding
    assert said in finding
    assert "1 errors" in outcome.out


@pytest.mark.parametrize("kind", sorted(BAD_AUDIO))
def test_a_bad_recording_is_named(run, data: Path, tmp_path: Path, tiny_experiment: Path, kind: str):
    good, bad = tmp_path / "audio" / "me-0.wav", tmp_path / "audio" / "me-1.wav"
    spoil, said = BAD_AUDIO[kind]
    spoil(bad)
    outcome = run("transcribe", "--model", tiny_experiment, good, bad)
    refused(outcome, said, str(bad))
    assert str(good) not in outcome.err
    assert outcome.out == ""


def test_a_recording_shorter_than_a_frame_is_named(run, tmp_path: Path, tiny_experiment: Path):
    soundfile.write(tmp_path / "click.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 80), RATE)
    refused(run("transcribe", "--model", tiny_experiment, tmp_path / "click.wav"), "click.wav", "10 ms")


def test_audio_of_another_rate_is_converted_when_that_is_asked_for(verbs, tmp_path: Path):
    other_rate(tmp_path / "audio" / "me-1.wav")
    assert verbs["transcribe"]("--resample").code == 0
    assert len((tmp_path / "out").read_text().splitlines()) == 4
    (tmp_path / "out").unlink()
    assert verbs["adapt"]("--resample").code == 0


# The text files of a data directory.


def swap_lines(text: str) -> str:
    first, second, *rest = text.splitlines(keepends=True)
    return "".join([second, first, *rest])


BAD_FILES: dict[str, tuple[str, Callable[[str], str], tuple[str, ...]]] = {
    "unsorted": ("text", swap_lines, ("text:2: ", "not sorted")),
    "duplicated": ("text", lambda text: text.splitlines(keepends=True)[0] + text, ("text:2: ", "stands already")),
    "contradicted": ("text", lambda text: "me-0 sam\n" + text, ("text:2: ", "other content")),
    "without audio": ("text", lambda text: text + "me-9 asi\n", ("text:5: ", "me-9", "no audio")),
    "without transcript": ("text", lambda text: text.replace("me-2 asi mui\n", ""), ("me-2 has no transcript",)),
    "without speaker": ("utt2spk", lambda text: text.replace("me-2 me\n", ""), ("me-2 has no speaker",)),
    "empty transcript": ("text", lambda text: text.replace("me-2 asi mui", "me-2"), ("text:3: ", "empty transcript")),
    "Windows line ends": ("text", lambda text: text.replace("\n", "\r\n"), ("text:1: ", "Windows line ends")),
    "byte-order mark": ("utt2spk", lambda text: "\ufeff" + text, ("utt2spk:1: ", "byte-order mark")),
    "tabs": ("text", lambda text: text.replace("me-1 ", "me-1\t"), ("text:2: ", "tabs")),
    "a pipe": ("wav.scp", lambda text: text.replace("me-1.wav", "me-1.wav | tee marker |"), ("wav.scp:2: ", "command")),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_data_files_are_named_by_line(verbs, data: Path, tmp_path: Path, kind: str):
    name, spoil, said = BAD_FILES[kind]
    before = (data / name).read_text(encoding="utf-8")
    (data / name).write_bytes(spoil(before).encode())
    for verb in TRAINED_BY:
        refused(verbs[verb](), str(data), *said)
    outcome = verbs["validate"]()
    assert outcome.code == 2
    assert all(words in outcome.out for words in said), outcome.out
    assert nothing_written(tmp_path)


def test_all_problems_are_listed_at_once(verbs, data: Path, tmp_path: Path):
    (data / "text").write_text(swap_lines((data / "text").read_text()) + "me-9 asi\n")
    (tmp_path / "audio" / "me-0.wav").unlink()
    refused(verbs["adapt"](), "not sorted", "me-9", "me-0.wav does not exist")


@pytest.mark.parametrize("verb", TRAINED_BY)
def test_commands_in_data_run_only_when_allowed(verbs, data: Path, tmp_path: Path, verb: str):
    audio = tmp_path / "audio" / "me-1.wav"
    entry = f"touch {tmp_path}/marker; cat {audio} |"
    (data / "wav.scp").write_text((data / "wav.scp").read_text().replace(str(audio), entry))
    refused(verbs[verb](), "wav.scp:2", "--allow-pipes")
    assert not (tmp_path / "marker").exists()
    allowed = verbs[verb]("--allow-pipes")
    assert allowed.code == 0, allowed.err
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("verb", ["train", "adapt"])
def test_a_transcript_too_long_for_its_audio_is_named(verbs, data: Path, tmp_path: Path, verb: str):
    (data / "text").write_text((data / "text").read_text().replace("me-1 asi mui", "me-1" + " asi" * 40))
    refused(verbs[verb](), "me-1", "40 words", "240 frames")
    assert nothing_written(tmp_path)
    assert "too long for" in verbs["validate"]().out


@pytest.mark.parametrize("verb", ["train", "adapt"])
def test_words_without_pronunciation_are_all_named(verbs, data: Path, tmp_path: Path, verb: str):
    (data / "text").write_text((data / "text").read_text().replace("asi mui", "asi yes no"))
    outcome = verbs[verb]()
    refused(outcome, "yes", "no", "lexicon")
    assert "asi" not in outcome.err
    assert nothing_written(tmp_path)


@pytest.mark.parametrize("verb", [*TRAINED_BY, "validate"])
def test_a_data_directory_that_is_none_is_named(verbs, data: Path, tmp_path: Path, verb: str):
    (data / "wav.scp").unlink()
    refused(verbs[verb](), str(data), "no wav.scp")
    shutil.rmtree(data)
    refused(verbs[verb](), str(data), "does not exist")
    assert nothing_written(tmp_path)


def test_adaptation_data_without_transcripts_need_unsupervised(verbs, data: Path, tmp_path: Path):
    (data / "text").unlink()
    refused(verbs["adapt"](), "me-0", "me-3", "--unsupervised")
    refused(verbs["train"](), "me-0", "no transcript")
    assert nothing_written(tmp_path)


@pytest.mark.parametrize("option", ["--test-data", "--source-data"])
def test_bad_data_to_measure_on_is_found_before_adapting(verbs, data: Path, tmp_path: Path, option: str):
    refused(verbs["adapt"](option, tmp_path / "nowhere"), "nowhere")
    other = tmp_path / "data" / "other"
    shutil.copytree(data, other)
    (other / "text").unlink()
    refused(verbs["adapt"](option, other), str(other), "no transcript")
    assert nothing_written(tmp_path)
