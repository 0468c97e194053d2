"""The validator reports everything at once; the fixer leaves a directory without errors, or nothing changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.data_checks import validate
from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.data_fix import fix
from speechnlp_tl.speech.data_tables import Finding

IDS = ["a-1", "a-2", "b-1", "b-2", "b-3", "b-4"]


def noise(seconds: float = 1.0, rate: int = 8000, channels: int = 1) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal((round(seconds * rate), channels))


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A flawless data directory of two speakers, with every optional file but segments."""
    for name in IDS:
        soundfile.write(tmp_path / f"{name}.wav", noise(), 8000)
    DataDir(
        Utterance(n, n[0], str(tmp_path / f"{n}.wav"), "one two", language="en", gender="f", duration=1.0) for n in IDS
    ).write(tmp_path / "d")
    return tmp_path / "d"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_bytes(text.replace(old, new).encode())


def rate(d: Path) -> None:
    soundfile.write(d.parent / "b-4.wav", noise(rate=16000), 16000)


def stereo(d: Path) -> None:
    soundfile.write(d.parent / "b-4.wav", noise(channels=2), 8000)


def silent(d: Path) -> None:
    soundfile.write(d.parent / "b-4.wav", np.full(8000, 0.25), 8000)


def empty(d: Path) -> None:
    soundfile.write(d.parent / "b-4.wav", np.zeros(0), 8000)


def missing(d: Path) -> None:
    (d.parent / "b-4.wav").unlink()


def truncated(d: Path) -> None:
    content = (d.parent / "b-4.wav").read_bytes()
    (d.parent / "b-4.wav").write_bytes(content[:5000])


def not_audio(d: Path) -> None:
    (d.parent / "b-4.wav").write_text("hello " * 100)


def shorten(d: Path) -> None:
    header = b"NIST_1A\n   1024\nsample_count -i 8000\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n"
    (d.parent / "b-4.wav").write_bytes(header.ljust(1024) + b"ajkg" * 50)


def pipe(d: Path) -> None:
    edit(d / "wav.scp", f"b-4 {d.parent}/b-4.wav", f"b-4 cat {d.parent}/b-4.wav |")


def latin1(d: Path) -> None:
    (d / "text").write_bytes((d / "text").read_bytes().replace(b"b-4 one", b"b-4 \xe4ins"))


BREAKS: dict[str, tuple[Callable[[Path], None], str, int, bool]] = {
    # what is done, file of the finding, line, whether an utterance is lost by mending it
    "unsorted": (
        lambda d: edit(d / "text", "a-1 one two\na-2 one two\n", "a-2 one two\na-1 one two\n"),
        "text",
        2,
        False,
    ),
    "duplicate": (lambda d: edit(d / "text", "a-1 one two\n", "a-1 one two\na-1 one two\n"), "text", 2, False),
    "conflict": (lambda d: edit(d / "text", "b-4 one two\n", "b-4 one two\nb-4 three\n"), "text", 7, True),
    "crlf": (lambda d: edit(d / "text", "\n", "\r\n"), "text", 1, False),
    "bom": (lambda d: edit(d / "utt2spk", "a-1 a\n", "\ufeffa-1 a\n"), "utt2spk", 1, False),
    "whitespace": (lambda d: edit(d / "text", "a-2 one two", "a-2\tone two"), "text", 2, False),
    "blank-line": (lambda d: edit(d / "text", "a-2 ", "\na-2 "), "text", 2, False),
    "encoding": (latin1, "text", 6, True),
    "spk2utt": (lambda d: edit(d / "spk2utt", "a a-1 a-2", "a a-2 a-1"), "spk2utt", 1, False),
    "missing-file": (lambda d: (d / "spk2utt").unlink(), "spk2utt", 0, False),
    "empty-text": (lambda d: edit(d / "text", "b-4 one two", "b-4"), "text", 6, True),
    "no-text": (lambda d: edit(d / "text", "b-4 one two\n", ""), "wav.scp", 6, True),
    "no-audio": (lambda d: edit(d / "text", "b-4 one two\n", "b-4 one two\nb-5 x\n"), "text", 7, True),
    "stale-duration": (lambda d: edit(d / "utt2dur", "b-4 1.0", "b-4 1.2"), "utt2dur", 6, False),
    "bad-duration": (lambda d: edit(d / "utt2dur", "b-4 1.0", "b-4 nan"), "utt2dur", 6, False),
    "unknown-speaker": (lambda d: edit(d / "spk2gender", "b f\n", "b f\nc m\n"), "spk2gender", 3, False),
    "audio-rate": (rate, "wav.scp", 6, True),
    "audio-channels": (stereo, "wav.scp", 6, True),
    "audio-silent": (silent, "wav.scp", 6, True),
    "audio-empty": (empty, "wav.scp", 6, True),
    "audio-missing": (missing, "wav.scp", 6, True),
    "audio-truncated": (truncated, "wav.scp", 6, True),
    "audio-format": (not_audio, "wav.scp", 6, True),
    "audio-shorten": (shorten, "wav.scp", 6, True),
    "audio-pipe": (pipe, "wav.scp", 6, True),
}


def errors(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "error"]


def test_a_good_directory_has_no_findings(good: Path) -> None:
    assert validate(good) == []


@pytest.mark.parametrize("code", BREAKS)
def test_every_break_is_found_in_its_place_and_mended(good: Path, tmp_path: Path, code: str) -> None:
    spoil, file, line, loses = BREAKS[code]
    spoil(good)
    found = [finding for finding in validate(good) if finding.code == code]
    assert len(found) == 1, validate(good)
    assert (Path(found[0].file or "").name, found[0].line or 0) == (file, line)
    assert found[0].remedy
    if not code.startswith("audio-") and code != "stale-duration":
        with pytest.raises(InputError):
            DataDir.read(good)
    before = {f.name: f.read_bytes() for f in good.iterdir()}

    copied = fix(good, tmp_path / "mended")
    assert {f.name: f.read_bytes() for f in good.iterdir()} == before
    report = fix(good)
    for directory in (good, tmp_path / "mended"):
        assert validate(directory) == []
        lost = set(IDS) - {u.id for u in DataDir.read(directory)}
        assert lost <= ({"b-4"} if loses else set())
    assert list(copied.dropped) == list(report.dropped)
    assert bool(report.dropped) == loses
    for name in report.dropped:
        assert f"dropped {name}: " in report.summary()
        assert f"[{code}]" in report.summary()
    assert report.backup is not None or code == "missing-file"
    for saved in report.backup.iterdir() if report.backup else []:
        assert saved.read_bytes() == before[saved.name]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(codes=st.sets(st.sampled_from([c for c in BREAKS if not BREAKS[c][3]]), min_size=2, max_size=6))
def test_breaks_together_are_all_found_and_mended(good: Path, codes: set[str]) -> None:
    here = good.parent / "combined"
    shutil.rmtree(here, ignore_errors=True)
    shutil.copytree(good, here)
    done = set()
    for code in sorted(codes):
        try:
            BREAKS[code][0](here)
            done.add(code)
        except (AssertionError, FileNotFoundError):
            pass  # an earlier break took away what this one edits
    assert done & {finding.code for finding in validate(here)}
    fix(here)
    assert validate(here) == []
    assert len(DataDir.read(here)) == len(IDS)


def test_a_mended_directory_is_left_alone(good: Path) -> None:
    edit(good / "text", "a-2 one", "a-2  one")
    fix(good)
    state = {f.name: f.stat().st_mtime_ns for f in good.iterdir()}
    report = fix(good)
    assert report.changed == []
    assert report.backup is None
    assert {f.name: f.stat().st_mtime_ns for f in good.iterdir()} == state


def test_backups_are_never_overwritten(good: Path) -> None:
    for word in ("first", "second"):
        edit(good / "text", "a-2 ", f"a-2  {word} ")
        fix(good)
    assert "a-2  first" in (good / ".backup/text").read_text()
    assert "a-2  second" in (good / ".backup.1/text").read_text()


def test_a_fixer_that_would_drop_everything_refuses(good: Path) -> None:
    for wav in good.parent.glob("*.wav"):
        wav.unlink()
    before = {f.name: f.read_bytes() for f in good.iterdir()}
    for force in (False, True):
        with pytest.raises(InputError, match=r"drop all utterances \(6 audio-missing\)") as caught:
            fix(good, force=force)
        assert len(caught.value.problems) == 7
    assert {f.name: f.read_bytes() for f in good.iterdir()} == before


def test_dropping_more_than_half_needs_force(good: Path) -> None:
    for name in IDS[:4]:
        (good.parent / f"{name}.wav").unlink()
    with pytest.raises(InputError, match=r"4 of 6 utterances.*--force"):
        fix(good)
    assert fix(good, force=True).kept == 2
    assert [u.id for u in DataDir.read(good)] == ["b-3", "b-4"]


def test_speakers_are_recovered_from_spk2utt_but_never_guessed(good: Path) -> None:
    (good / "utt2spk").unlink()
    fix(good)
    assert validate(good) == []
    (good / "utt2spk").unlink()
    (good / "spk2utt").unlink()
    with pytest.raises(InputError, match="who spoke cannot be guessed"):
        fix(good)


def test_segments_are_checked_against_their_recording(tmp_path: Path) -> None:
    rec = noise(4.0)
    rec[16000:24000] = 0
    soundfile.write(tmp_path / "rec.wav", rec, 8000)
    audio = str(tmp_path / "rec.wav")
    times = {"a-1": (0.0, 1.0), "a-2": (1.0, 2.0), "a-3": (2.0, 3.0), "a-4": (3.0, 5.0)}
    DataDir(Utterance(n, "a", audio, "x", s, e, "rec") for n, (s, e) in times.items()).write(tmp_path / "d")
    with (tmp_path / "d/segments").open("a") as file:
        file.write("a-5 rec -1.0 1.0\na-6 other 0.0 1.0\na-7 rec 1.0\n")
    for name in ("text", "utt2spk"):
        with (tmp_path / "d" / name).open("a") as file:
            file.writelines(f"{u} {'x' if name == 'text' else 'a'}\n" for u in ("a-5", "a-6", "a-7"))
    found = {f.utterance: (f.code, f.line) for f in errors(validate(tmp_path / "d")) if f.utterance}
    assert found == {
        "a-3": ("audio-silent", 3),
        "a-4": ("audio-segment", 4),
        "a-5": ("bad-segment", 5),
        "a-6": ("no-audio", 6),
        "a-7": ("bad-segment", 7),
    }
    report = fix(tmp_path / "d", force=True)
    assert sorted(report.dropped) == ["a-3", "a-4", "a-5", "a-6", "a-7"]
    assert validate(tmp_path / "d") == []
    assert (tmp_path / "d/utt2dur").read_text() == "a-1 1.000\na-2 1.000\n"


@pytest.mark.parametrize(
    ("text", "too_long"), [("x" * 35, False), ("x" * 36, True), ("a " * 8, False), ("a " * 9, True)]
)
def test_transcripts_too_long_for_their_audio_are_warned_about(good: Path, text: str, too_long: bool) -> None:
    edit(good / "text", "b-4 one two", f"b-4 {text}".strip())
    codes = [(finding.code, finding.severity) for finding in validate(good)]
    assert codes == ([("text-too-long", "warning")] if too_long else [])


def test_speakers_that_are_no_prefix_and_missing_transcripts_are_warnings(good: Path) -> None:
    edit(good / "utt2spk", "a-1 a\na-2 a\n", "a-1 z\na-2 z\n")
    edit(good / "spk2utt", "a a-1 a-2\nb b-1 b-2 b-3 b-4\n", "b b-1 b-2 b-3 b-4\nz a-1 a-2\n")
    edit(good / "spk2gender", "a f\nb f\n", "b f\nz f\n")
    (good / "text").unlink()
    findings = validate(good)
    assert sorted(finding.code for finding in findings) == ["no-transcripts", "speaker-prefix", "speaker-prefix"]
    assert errors(findings) == []
    assert DataDir.read(good).utterances[0].text is None


def test_pipes_never_run_without_permission(good: Path) -> None:
    witness = good.parent / "ran"
    edit(good / "wav.scp", f"b-4 {good.parent}/b-4.wav", f"b-4 touch {witness}; cat {good.parent}/b-4.wav |")
    assert [finding.code for finding in validate(good)] == ["audio-pipe"]
    fix(good, good.parent / "fixed")
    assert not witness.exists()
    assert validate(good, allow_pipes=True) == []
    assert witness.exists()


def test_without_audio_only_existence_is_checked(good: Path) -> None:
    truncated(good)
    assert validate(good, read_audio=False) == []
    missing(good)
    assert [finding.code for finding in validate(good, read_audio=False)] == ["audio-missing"]
