from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_prep.fetch import CORPORA, fetch
from data_prep.yesno import prepare
from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.audio import read_audio
from speechnlp_tl.speech.data_dir import DataDir


@pytest.fixture
def corpus(tmp_path: Path, write_sound: Callable[..., object]) -> Path:
    for number in range(16):
        name = "_".join(f"{number:04b}")
        write_sound(tmp_path / "waves_yesno" / f"{name}.wav", 0.2, 8000, seed=number)
    (tmp_path / "waves_yesno/README").write_text("about")
    return tmp_path / "waves_yesno"


def test_the_first_half_trains_and_the_second_tests(corpus: Path, tmp_path: Path) -> None:
    splits = prepare(corpus, tmp_path / "out")
    train, test = (DataDir.read(splits[name]) for name in ("train", "test"))
    assert [u.id for u in train] == [f"yesno-{'_'.join(f'{number:04b}')}" for number in range(8)]
    assert [u.text for u in test][:2] == ["YES NO NO NO", "YES NO NO YES"]
    assert len(test) == 8


def test_dev_is_part_of_the_training_half_only(corpus: Path, tmp_path: Path) -> None:
    splits = prepare(corpus, tmp_path / "out")
    ids = {name: {u.id for u in DataDir.read(path)} for name, path in splits.items()}
    assert ids["train_dev"]
    assert ids["train_main"] | ids["train_dev"] == ids["train"]
    assert not ids["train_main"] & ids["train_dev"]


def test_trimmed_utterances_begin_and_end_with_what_is_said(tmp_path: Path) -> None:
    corpus = tmp_path / "waves_yesno"
    corpus.mkdir()
    noise = np.random.default_rng(0).standard_normal(8000)
    for number in range(4):
        samples = 1e-4 * np.random.default_rng(number).standard_normal(24000)
        samples[8000:16000] += 0.1 * noise  # the second of three seconds
        soundfile.write(corpus / f"{number // 2}_{number % 2}.wav", samples, 8000)
    whole = DataDir.read(prepare(corpus, tmp_path / "whole")["train"])
    trimmed = DataDir.read(prepare(corpus, tmp_path / "trimmed", trim=True)["train"])
    assert [(u.id, u.text, u.audio) for u in trimmed] == [(u.id, u.text, u.audio) for u in whole]
    for before, after in zip(whole, trimmed, strict=True):
        assert (before.start, before.duration) == (None, 3.0)
        assert after.start == pytest.approx(0.95)
        assert after.end == pytest.approx(2.05)
        assert after.duration == pytest.approx(1.1)
        assert len(read_audio(after.audio, 8000, start=after.start, end=after.end)) == 8800


def test_recordings_that_are_misnamed_or_broken_are_all_listed(corpus: Path, tmp_path: Path) -> None:
    (corpus / "0_2.wav").write_bytes(b"x")
    (corpus / "0_0.wav").write_bytes(b"x")
    with pytest.raises(InputError) as error:
        prepare(corpus, tmp_path / "out")
    assert [Path(str(p.file)).name for p in error.value.problems] == ["0_0.wav", "0_2.wav"]


def test_the_real_corpus_has_240_words_to_test(real_data: Path, tmp_path: Path) -> None:
    if not any((real_data / place).exists() for place in ("yesno", CORPORA["yesno"].archive)):
        pytest.skip("yesno is not in SPEECHNLP_DATA")
    splits = prepare(fetch(CORPORA["yesno"]), tmp_path / "out")
    data = {name: DataDir.read(path) for name, path in splits.items()}
    assert {name: len(part) for name, part in data.items()} == {
        **{"train": 30, "train_main": 24, "train_dev": 6},
        "test": 30,
    }
    assert sum(len(u.words) for u in data["test"]) == 240
