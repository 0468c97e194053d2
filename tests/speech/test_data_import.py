"""Tables and data sets become data directories; bad rows are all named, with their lines."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.audio import read_audio
from speechnlp_tl.speech.data_checks import validate
from speechnlp_tl.speech.data_dir import DataDir
from speechnlp_tl.speech.data_import import ImportOptions, clean_text, import_hf, import_tsv


def samples(seed: int = 0, channels: int = 1) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((4000, channels))


def write_clips(folder: Path, *names: str, channels: int = 1) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, samples(channels=channels), 8000)


def write_table(file: Path, *rows: list[str], separator: str = "\t") -> Path:
    file.write_text("".join(separator.join(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_common_voice_is_imported_as_it_comes(tmp_path: Path) -> None:
    write_clips(tmp_path / "clips", "cv_1.wav", "cv_2.wav", "cv_3.wav")
    header = ["client_id", "path", "sentence", "up_votes", "gender", "locale"]
    table = write_table(
        tmp_path / "validated.tsv",
        header,
        ["f00", "cv_1.wav", '"Don\'t," she said.', "2", "female_feminine", "en"],
        ["f00", "cv_2.wav", "Yes", "2", "", "en"],
        ["b11", "cv_3.wav", "No", "2", "", "en"],
    )
    result = import_tsv(table, tmp_path / "out", lower=True, strip_punctuation=True)
    assert validate(tmp_path / "out") == [
        finding for finding in validate(tmp_path / "out") if finding.code == "no-gender"
    ]
    read = DataDir.read(tmp_path / "out")
    assert read == result.data
    assert [(u.id, u.speaker, u.text, u.language, u.gender) for u in read] == [
        ("b11-cv_3", "b11", "no", "en", None),
        ("f00-cv_1", "f00", "don't she said", "en", "f"),
        ("f00-cv_2", "f00", "yes", "en", "f"),
    ]
    assert read.utterances[0].audio == str(tmp_path / "clips/cv_3.wav")


@pytest.mark.parametrize("separator", [",", ";"])
def test_csv_with_quotes_other_names_and_a_byte_order_mark(tmp_path: Path, separator: str) -> None:
    write_clips(tmp_path / "elsewhere", "x/a.wav", "y/a.wav")
    rows = [["Datei", "Wörter"], ["x/a.wav", '"eins, ""zwei""; drei"'], ["y/a.wav", "vier"]]
    table = write_table(tmp_path / "t.csv", *rows, separator=separator)
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n"))
    import_tsv(
        table,
        tmp_path / "out",
        audio_column="Datei",
        text_column="Wörter",
        speaker="me",
        language="de",
        audio_root=tmp_path / "elsewhere",
    )
    assert [(u.id, u.text, u.language) for u in DataDir.read(tmp_path / "out")] == [
        ("me-x_a", 'eins, "zwei"; drei', "de"),
        ("me-y_a", "vier", "de"),
    ]


def test_every_bad_line_is_listed(tmp_path: Path) -> None:
    write_clips(tmp_path, "ok.wav", "two.wav")
    write_clips(tmp_path, "stereo.wav", channels=2)
    (tmp_path / "bad.wav").write_text("no audio here, none at all")
    table = write_table(
        tmp_path / "t.tsv",
        ["file", "text", "speaker"],
        ["ok.wav", "fine", "s 1"],
        ["none.wav", "x", "s 1"],
        ["bad.wav", "x", "s 1"],
        ["stereo.wav", "x", "s 1"],
        ["two.wav", " ", "s 1"],
        ["two.wav", "x", ""],
        ["ok.wav", "again", "s 1"],
        ["two.wav", "x"],
        ["", "x", "s 1"],
        ["two.wav", "x", "s_1"],
    )
    with pytest.raises(InputError) as caught:
        import_tsv(table, tmp_path / "out")
    assert [problem.line for problem in caught.value.problems] == list(range(3, 12))
    assert all(problem.file == table for problem in caught.value.problems)
    assert not (tmp_path / "out").exists()
    result = import_tsv(table, tmp_path / "out", skip_bad=True)
    assert [u.id for u in DataDir.read(tmp_path / "out")] == ["s_1-ok"]
    assert len(result.skipped) == 9


def test_columns_that_cannot_be_told_are_asked_for(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.tsv", ["clip", "content"], ["a.wav", "x"])
    with pytest.raises(InputError) as caught:
        import_tsv(table, tmp_path / "out")
    assert len(caught.value.problems) == 3
    assert "--audio-column" in str(caught.value)
    assert "--speaker NAME" in str(caught.value)
    with pytest.raises(InputError, match="did you mean clip"):
        import_tsv(table, tmp_path / "out", audio_column="clips", text_column="content", speaker="me")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"path\ttext\tspeaker\n", "has no rows"), (b"path\ttext\n\xff\n", "t.tsv:2: is not UTF-8")],
)
def test_tables_that_are_none(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.tsv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        import_tsv(tmp_path / "t.tsv", tmp_path / "out")
    with pytest.raises(InputError, match="cannot be read"):
        import_tsv(tmp_path / "none.tsv", tmp_path / "out")


def test_cleaning_keeps_what_is_inside_words() -> None:
    options = ImportOptions(lower=True, strip_punctuation=True)
    assert clean_text(" «Don't  STOP» - well-known, Ça va ?", options) == "don't stop well-known ça va"
    assert clean_text("A,  b", ImportOptions()) == "A, b"


def encoded(seed: int, kind: str = "WAV", channels: int = 1) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples(seed, channels), 8000, format=kind)
    return stream.getvalue()


def save(folder: Path, columns: dict[str, list[object]], **features: object) -> None:
    """A data set on disk whose column `audio` is Audio, made without torchcodec."""
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict(columns)
    for name, feature in features.items():
        table = table.cast_column(name, feature)
    datasets.DatasetDict(train=table.cast_column("audio", datasets.Audio())).save_to_disk(folder)


def test_audio_inside_a_data_set_is_written_out(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    audio = [{"bytes": encoded(n, kind), "path": "clip.wav"} for n, kind in enumerate(["WAV", "FLAC", "WAV"])]
    columns = {"audio": audio, "label": [1, 0, 1], "speaker_id": [7, 7, 8], "unused": ["x", "y", "z"]}
    save(tmp_path / "set", columns, label=datasets.ClassLabel(names=["no", "yes"]))
    result = import_hf(str(tmp_path / "set"), tmp_path / "out", text_column="label")
    assert [(u.id, u.text) for u in result.data] == [("7-00000001", "yes"), ("7-00000002", "no"), ("8-00000003", "yes")]
    assert DataDir.read(tmp_path / "out") == result.data
    assert validate(tmp_path / "out") == []
    for seed, utterance in enumerate(result.data):
        np.testing.assert_allclose(read_audio(utterance.audio, 8000), samples(seed)[:, 0], atol=1e-4)
    (tmp_path / "out").rename(tmp_path / "moved")
    assert DataDir.read(tmp_path / "moved").utterances[0].audio.startswith(str(tmp_path / "moved/audio"))
    with pytest.raises(InputError, match="no split 'test'"):
        import_hf(str(tmp_path / "set"), tmp_path / "out2", split="test", text_column="label")


def test_a_folder_of_parquet_files_is_loaded_as_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    columns = {"audio": [{"bytes": encoded(n), "path": None} for n in range(3)], "text": ["x", "y", "z"]}
    (tmp_path / "set").mkdir()
    table = datasets.Dataset.from_dict(columns).cast_column("audio", datasets.Audio())
    table.to_parquet(tmp_path / "set/train.parquet")
    result = import_hf(str(tmp_path / "set"), tmp_path / "out", split="train[:2]", speaker="me", language="en")
    assert [(u.id, u.text) for u in result.data] == [("me-00000001", "x"), ("me-00000002", "y")]
    with pytest.raises(InputError, match=r"cannot be loaded.*split"):
        import_hf(str(tmp_path / "set"), tmp_path / "out2", split="test", speaker="me")


def test_audio_files_on_disk_stay_where_they_are(tmp_path: Path) -> None:
    write_clips(tmp_path, "a.wav", "b.wav")
    columns = {"audio": [str(tmp_path / "a.wav"), "b.wav"], "text": ["ah", "be"], "speaker": ["s", "s"]}
    pytest.importorskip("datasets").Dataset.from_dict(columns).save_to_disk(tmp_path / "set")
    (tmp_path / "b.wav").rename(tmp_path / "set/b.wav")
    result = import_hf(str(tmp_path / "set"), tmp_path / "out")
    assert [u.audio for u in result.data] == [str(tmp_path / "a.wav"), str(tmp_path / "set/b.wav")]
    assert not (tmp_path / "out/audio").exists()
    assert DataDir.read(tmp_path / "out") == result.data


def test_loose_audio_files_without_torchcodec_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    if importlib.util.find_spec("torchcodec"):
        pytest.skip("torchcodec is installed")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    write_clips(tmp_path / "set", "a.wav")
    rows = [["file_name", "transcription", "speaker"], ["a.wav", "ah", "s"]]
    write_table(tmp_path / "set/metadata.csv", *rows, separator=",")
    with pytest.raises(InputError, match="import-tsv"):
        import_hf(str(tmp_path / "set"), tmp_path / "out")
    assert len(import_tsv(tmp_path / "set/metadata.csv", tmp_path / "out").data) == 1


def test_bad_rows_of_a_data_set_are_all_listed(tmp_path: Path) -> None:
    content = [encoded(0), b"nothing that is audio", encoded(1, channels=2), encoded(2)]
    audio = [{"bytes": c, "path": None} for c in content] + [{"bytes": None, "path": str(tmp_path / "none.wav")}]
    texts = ["x", "x", "x", "", "x"]
    pytest.importorskip("datasets").Dataset.from_dict({"audio": audio, "text": texts}).save_to_disk(tmp_path / "set")
    with pytest.raises(InputError) as caught:
        import_hf(str(tmp_path / "set"), tmp_path / "out", speaker="me")
    assert [problem.line for problem in caught.value.problems] == [2, 3, 4, 5]
    assert not (tmp_path / "out").exists()
    result = import_hf(str(tmp_path / "set"), tmp_path / "out", speaker="me", skip_bad=True)
    assert [u.id for u in result.data] == ["me-00000001"]
    assert sorted(f.name for f in (tmp_path / "out/audio").iterdir()) == ["me-00000001.wav"]


def test_a_data_set_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="cannot be loaded"):
        import_hf(str(tmp_path / "empty"), tmp_path / "out")
