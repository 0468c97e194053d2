"""Data directories over a telephone: the same words of the same speakers, other audio, written where it was said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_prep.telephone import prepare
from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.audio import read_audio_and_rate
from speechnlp_tl.speech.channel import ChannelConfig
from speechnlp_tl.speech.data_dir import DataDir
from tests.tiny import TinyCorpus


def test_everything_but_the_audio_stays(tiny_corpus: TinyCorpus, tmp_path: Path):
    made = prepare(tiny_corpus.root, tmp_path / "line", ["dev", "test"], ChannelConfig())
    assert set(made) == {"dev", "test"}
    for split, directory in made.items():
        before, after = DataDir.read(tiny_corpus.root / split), DataDir.read(directory)
        for clean, heard in zip(before, after, strict=True):
            assert (clean.id, clean.speaker, clean.text) == (heard.id, heard.speaker, heard.text)
            assert Path(heard.audio).is_relative_to(tmp_path / "line")
            samples, rate = read_audio_and_rate(clean.audio)
            other, same_rate = read_audio_and_rate(heard.audio)
            assert rate == same_rate
            assert samples.shape == other.shape
            assert not np.array_equal(samples, other)


def test_made_twice_it_is_the_same(tiny_corpus: TinyCorpus, tmp_path: Path):
    made = [prepare(tiny_corpus.root, tmp_path / name, ["dev"], ChannelConfig())["dev"] for name in ("a", "b")]
    audio = [[Path(one.audio).read_bytes() for one in DataDir.read(path)] for path in made]
    assert audio[0] == audio[1]


def test_ids_and_splits_cannot_lead_outside_the_folder(tiny_corpus: TinyCorpus, tmp_path: Path):
    (one, other) = list(DataDir.read(tiny_corpus.root / "dev"))[:2]
    evil = [replace(one, id=f"{one.speaker}/../../../../../evil"), replace(other, id=str(tmp_path / "evil"))]
    DataDir(evil).write(tmp_path / "data" / "evil")
    made = prepare(tmp_path / "data", tmp_path / "line", ["evil"], ChannelConfig())["evil"]
    heard = list(DataDir.read(made))
    assert sorted(u.id for u in heard) == sorted(u.id for u in evil)
    assert {Path(u.audio) for u in heard} == set((tmp_path / "line").resolve().rglob("*.wav"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "line"]
    (tmp_path / "data" / "inner").mkdir()
    outside = [str(tmp_path / "data" / "evil"), "inner/../evil"]
    with pytest.raises(InputError) as error:
        prepare(tmp_path / "data", tmp_path / "other", outside, ChannelConfig())
    assert len(error.value.problems) == 2
    assert not (tmp_path / "other").exists()


def test_every_missing_split_is_named(tiny_corpus: TinyCorpus, tmp_path: Path):
    with pytest.raises(InputError, match=r"(?s)nothing.*neither"):
        prepare(tiny_corpus.root, tmp_path / "line", ["nothing", "dev", "neither"], ChannelConfig())
    assert not (tmp_path / "line").exists()
