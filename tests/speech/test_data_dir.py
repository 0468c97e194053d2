"""A data directory is read strictly, written sorted and whole, and means the same wherever it is read."""

from __future__ import annotations

import os
import string
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.data_dir import DataDir, Utterance


def write_wav(path: Path, seconds: float = 0.5, rate: int = 8000) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.sin(np.arange(round(seconds * rate))), rate)
    return str(path)


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    audio = [write_wav(tmp_path / "audio" / f"{n}.wav") for n in range(3)]
    return DataDir(
        [
            Utterance("b-2", "b", audio[1], "zwei", language="de", gender="f"),
            Utterance("a-1", "a", audio[0], "one two", language="en", gender="m"),
            Utterance("b-10", "b", audio[2], "drei", language="de", gender="f"),
        ]
    )


def test_what_is_written_is_read_back(tmp_path: Path, data: DataDir) -> None:
    written = data.write(tmp_path / "d")
    read = DataDir.read(tmp_path / "d")
    assert read == written
    assert [u.id for u in read] == ["a-1", "b-10", "b-2"]
    assert read.utterances[0].words == ["one", "two"]
    assert (tmp_path / "d/spk2utt").read_text() == "a a-1\nb b-10 b-2\n"
    assert read.by_speaker()["b"] == list(read.utterances[1:])
    assert read.duration(read.utterances[0]) == 0.5


names = st.text(string.ascii_letters + string.digits + "_-äßéЖ語😀", min_size=1, max_size=6)
texts = st.lists(st.text(string.ascii_letters + "'äéЖ語😀", min_size=1, max_size=5), min_size=1, max_size=4).map(
    " ".join
)
times = st.floats(0, 1e5, allow_nan=False).map(lambda x: round(x, 4))


@settings(max_examples=40, deadline=None)
@given(rows=st.dictionaries(names, st.tuples(names, texts, times, times), min_size=1, max_size=8))
def test_round_trip_in_the_order_of_the_c_locale(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[str, tuple[str, str, float, float]]
) -> None:
    folder = tmp_path_factory.mktemp("round")
    audio = write_wav(folder / "x y.wav")
    data = DataDir(
        [
            Utterance(f"{speaker}-{name}", speaker, audio, text, start, start + length + 0.5, f"{speaker}-{name}-r")
            for name, (speaker, text, start, length) in rows.items()
        ]
    )
    if len({u.id for u in data}) < len(data):
        return
    written = data.write(folder / "d")
    assert DataDir.read(folder / "d") == written
    for file in (folder / "d").iterdir():
        result = subprocess.run(["sort", "-c", file], env={"LC_ALL": "C", "PATH": os.environ["PATH"]}, check=False)
        assert result.returncode == 0, file


def test_audio_inside_the_directory_moves_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = write_wav(tmp_path / "d" / "wav" / "u.wav")
    (tmp_path / "d/wav.scp").write_text("u wav/u.wav\n")
    (tmp_path / "d/utt2spk").write_text("u u\n")
    (tmp_path / "d/spk2utt").write_text("u u\n")
    assert DataDir.read(tmp_path / "d").utterances[0].audio == audio
    (tmp_path / "d").rename(tmp_path / "e")
    write_wav(tmp_path / "wav" / "u.wav")
    monkeypatch.chdir(tmp_path)  # where wav/u.wav exists too: the directory's own comes first
    assert DataDir.read("e").utterances[0].audio == str(tmp_path / "e/wav/u.wav")
    (tmp_path / "e/wav/u.wav").unlink()
    assert DataDir.read("e").utterances[0].audio == str(tmp_path / "wav/u.wav")


def test_writing_into_the_folder_of_the_audio_makes_relative_paths(tmp_path: Path) -> None:
    data = DataDir([Utterance("u", "u", str(tmp_path / "d/wav/u.wav"), "x")])
    assert data.contents(tmp_path / "d")["wav.scp"] == "u wav/u.wav\n"
    assert data.contents(tmp_path / "other")["wav.scp"] == f"u {tmp_path}/d/wav/u.wav\n"


def test_all_problems_are_listed_with_file_and_line(tmp_path: Path, data: DataDir) -> None:
    d = tmp_path / "d"
    data.write(d)
    (d / "text").write_text("b-2 zwei\na-1 one\nc-1 extra\n")
    (d / "utt2spk").write_text("a-1 a\nb-10 b\nb-2 b\nb-2 c\n")
    (tmp_path / "audio/1.wav").unlink()
    with pytest.raises(InputError) as caught:
        DataDir.read(d)
    message = str(caught.value)
    for expected in [
        f"{d}/text:2: is not sorted",
        f"{d}/text:3: utterance c-1 has no audio in wav.scp",
        f"{d}/wav.scp:2: utterance b-10 has no transcript in text",
        f"{d}/utt2spk:4: id 'b-2' stands already in line 3 with other content",
        f"{d}/wav.scp:3: recording b-2: audio file",
    ]:
        assert expected in message
    assert len(caught.value.problems) == 5


def test_a_pipe_is_refused_unless_allowed(tmp_path: Path, data: DataDir) -> None:
    d = tmp_path / "d"
    data.write(d)
    pipes = "".join(f"{u.id} cat {u.audio} |\n" for u in data)
    (d / "wav.scp").write_text(pipes)
    with pytest.raises(InputError, match="data must not run commands"):
        DataDir.read(d)
    read = DataDir.read(d, allow_pipes=True)
    assert read.utterances[0].audio.endswith("|")
    assert read.duration(read.utterances[0], allow_pipes=True) == 0.5


def test_what_cannot_be_read_back_is_not_written(tmp_path: Path) -> None:
    bad = [
        Utterance("a b", "s", "/x.wav", "t"),
        Utterance("u", "s", "/x.wav", "t", gender="m"),
        Utterance("u", "s", "/y.wav", None),
        Utterance("v", "s", "/v.wav\n", "t"),
    ]
    with pytest.raises(InputError) as caught:
        DataDir(bad).write(tmp_path / "d")
    message = str(caught.value)
    for expected in ["has spaces", "stands twice", "two audio files", "two genders", "no transcript", "control"]:
        assert expected in message
    assert not (tmp_path / "d").exists()
    with pytest.raises(InputError, match="no utterances"):
        DataDir([]).write(tmp_path / "d")


def test_an_existing_directory_is_not_overwritten(tmp_path: Path, data: DataDir) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/precious").write_text("x")
    with pytest.raises(InputError, match="exists already"):
        data.write(tmp_path / "d")
    assert [f.name for f in (tmp_path / "d").iterdir()] == ["precious"]


def test_subset_keeps_order_and_names_unknown_ids(data: DataDir) -> None:
    assert [u.id for u in data.subset(["b-2", "a-1"])] == ["a-1", "b-2"]
    with pytest.raises(InputError) as caught:
        data.subset(["a-1", "x", "y"])
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("missing", ["", "d"])
def test_what_is_no_data_directory(tmp_path: Path, missing: str) -> None:
    with pytest.raises(InputError, match=r"does not exist|no wav\.scp"):
        DataDir.read(tmp_path / missing)
