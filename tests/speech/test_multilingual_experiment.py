"""Speech of several languages is read: who is held out, and of what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.multilingual_experiment import MultilingualExperiment, SpeechConfig, read_data
from tests.speech.two_languages import spoken

Spoken = dict[str, dict[str, set[str]]]


def read(root: Path, speech: dict[str, list[Utterance]], share: float) -> Spoken:
    """Side -> language -> its speakers."""
    for language, utterances in speech.items():
        DataDir(utterances).write(root / language)
    config = SpeechConfig(train=[root / language for language in speech], dev_share=share)
    sides = dict(zip(("train", "dev"), read_data(config, list(speech)), strict=True))
    return {
        side: {name: {each.speaker for each in found if each.language == name} for name in speech}
        for side, found in sides.items()
    }


@pytest.fixture
def bilinguals(utterances: list[Utterance]) -> dict[str, list[Utterance]]:
    """Six people, each of whom speaks both languages."""
    return {"xa": spoken(utterances, "xa"), "xb": spoken(utterances, "xb")}


def test_who_speaks_two_languages_is_held_out_of_both(bilinguals: dict[str, list[Utterance]], tmp_path: Path) -> None:
    found = read(tmp_path, bilinguals, 0.3)
    held_out, heard = (set().union(*found[side].values()) for side in ("dev", "train"))
    assert len(held_out) == 2
    assert len(heard) == 4
    assert not held_out & heard
    assert all(found["dev"][language] == held_out for language in bilinguals)


def test_speakers_of_each_language_are_held_out(utterances: list[Utterance], tmp_path: Path) -> None:
    people = {
        language: [replace(each, speaker=f"{language}-{each.speaker}") for each in spoken(utterances, language)]
        for language in ("xa", "xb")
    }
    found = read(tmp_path, people, 0.3)
    assert {language: len(held_out) for language, held_out in found["dev"].items()} == {"xa": 2, "xb": 2}


def test_no_language_loses_its_only_speaker(bilinguals: dict[str, list[Utterance]], tmp_path: Path) -> None:
    first = bilinguals["xb"][0].speaker
    bilinguals["xb"] = [each for each in bilinguals["xb"] if each.speaker == first]
    for share in (0.1, 0.5, 0.9):
        found = read(tmp_path / str(share), bilinguals, share)
        assert found["train"]["xb"] == {first}
        assert found["dev"]["xb"] == set()


def test_nobody_is_held_out_where_dev_speech_is_named(bilinguals: dict[str, list[Utterance]], tmp_path: Path) -> None:
    for language, utterances in bilinguals.items():
        DataDir(utterances[10:]).write(tmp_path / language)
        DataDir(utterances[:10]).write(tmp_path / "dev" / language)
    config = SpeechConfig(
        train=[tmp_path / name for name in bilinguals], dev=[tmp_path / "dev" / name for name in bilinguals]
    )
    train, dev = read_data(config, list(bilinguals))
    assert (len(train), len(dev)) == (100, 20)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"heads": "both", "shared_weight": 1}, "less than 1"),
        ({"heads": "both", "shared_weight": 0}, "greater than 0"),
        ({"shared_weight": 0.9}, "for 'heads: both'"),
    ],
)
def test_a_weight_that_leaves_a_head_untrained_is_refused(settings: dict[str, object], told: str) -> None:
    given = {"task": "multilingual-asr", "data": {"train": ["data"]}, "languages": {"xa": {}}, "train": {"steps": 1}}
    MultilingualExperiment.model_validate(given | {"heads": "both", "shared_weight": 0.9})
    with pytest.raises(ValidationError, match=told):
        MultilingualExperiment.model_validate(given | settings)
