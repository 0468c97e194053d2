from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.tsv import prepare
from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.data_dir import DataDir


@pytest.fixture
def tables(tmp_path: Path, write_sound: Callable[..., object]) -> list[Path]:
    for split in ("train", "test"):
        write_sound(tmp_path / "clips" / f"{split}.wav", 0.3, 16000)
        (tmp_path / f"{split}.tsv").write_text(f"path\tsentence\tclient_id\n{split}.wav\tguten Tag\tanna\n")
    return [tmp_path / "train.tsv", tmp_path / "test.tsv"]


def test_each_table_becomes_a_data_directory_of_its_name(tables: list[Path], tmp_path: Path) -> None:
    splits = prepare(tables, tmp_path / "out", language="de")
    assert set(splits) == {"train", "test"}
    (utterance,) = DataDir.read(splits["test"])
    assert (utterance.text, utterance.speaker, utterance.language) == ("guten Tag", "anna", "de")
    assert Path(utterance.audio) == tmp_path / "clips/test.wav"


def test_bad_rows_of_all_tables_are_listed_and_nothing_is_written(tables: list[Path], tmp_path: Path) -> None:
    for table in tables:
        table.write_text(table.read_text() + "gone.wav\tja\tanna\n")
    with pytest.raises(InputError) as error:
        prepare(tables, tmp_path / "out")
    assert [(p.file, p.line) for p in error.value.problems] == [(tables[0], 3), (tables[1], 3)]
    assert not (tmp_path / "out").exists()


def test_two_tables_of_one_name_are_refused(tables: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this name too"):
        prepare([tables[0], tmp_path / "more" / "train.tsv"], tmp_path / "out")
