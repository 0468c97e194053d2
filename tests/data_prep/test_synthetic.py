from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_prep import synthetic
from speechnlp_tl.errors import InputError
from speechnlp_tl.speech import espeak
from speechnlp_tl.speech.data_dir import DataDir
from speechnlp_tl.speech.lexicon import Lexicon

pytest.importorskip("espeakng_loader", reason="espeakng-loader is not installed: no made speech")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "out"
    synthetic.prepare(out, speakers=3, utterances=8, seed=4, rate=8000)
    return out


def audio_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "audio").rglob("*.wav")}


def test_the_same_arguments_give_the_same_bytes_whatever_was_said_before(made: Path, tmp_path: Path) -> None:
    espeak.Espeak("de").synthesize("etwas ganz anderes")
    synthetic.prepare(tmp_path / "again", speakers=3, utterances=8, seed=4, rate=8000)
    assert audio_of(tmp_path / "again") == audio_of(made)
    for name in ("lexicon.txt", "phones.txt", "train/text"):
        assert (tmp_path / "again" / name).read_bytes() == (made / name).read_bytes()


@pytest.mark.slow
def test_every_voice_of_the_cast_is_reproducible() -> None:
    for variant in (*synthetic._WOMEN, *synthetic._MEN):
        voice = espeak.EspeakVoice(variant)
        first, _ = espeak.Espeak("en-us").render(["one"], voice)
        again, _ = espeak.Espeak("en-us").render(["one"], voice)
        assert np.array_equal(first[0], again[0]), variant


def test_more_speakers_and_utterances_leave_the_first_as_they_are(made: Path, tmp_path: Path) -> None:
    synthetic.prepare(tmp_path / "more", speakers=4, utterances=9, seed=4, rate=8000)
    more, few = audio_of(tmp_path / "more"), audio_of(made)
    assert {name: more[name] for name in few} == few
    assert len(more) == 36


def test_skipped_speakers_are_left_to_another_corpus(made: Path, tmp_path: Path) -> None:
    synthetic.prepare(tmp_path / "rest", speakers=2, utterances=8, seed=4, rate=8000, skip=1)
    whole = audio_of(made)
    assert audio_of(tmp_path / "rest") == {name: whole[name] for name in whole if not name.startswith("s01")}
    assert len(audio_of(tmp_path / "rest")) == 16


def test_a_prefix_keeps_the_names_of_two_corpora_apart(tmp_path: Path) -> None:
    plain = {speaker.id: speaker.voice for speaker in synthetic.make_speakers(3, 0)}
    named = {speaker.id: speaker.voice for speaker in synthetic.make_speakers(3, 0, "de-")}
    assert named == {f"de-{name}": voice for name, voice in plain.items()}
    synthetic.prepare(tmp_path / "de", "de", 1, 4, prefix="de-")
    assert {utterance.speaker for utterance in DataDir.read(tmp_path / "de" / "test")} == {"de-s01"}


def test_another_seed_gives_other_voices_and_sentences(made: Path, tmp_path: Path) -> None:
    synthetic.prepare(tmp_path / "other", speakers=3, utterances=8, seed=5, rate=8000)
    assert not set(audio_of(tmp_path / "other").values()) & set(audio_of(made).values())
    assert (tmp_path / "other/train/text").read_text() != (made / "train/text").read_text()


def test_a_speaker_s_parts_are_disjoint_and_complete(made: Path) -> None:
    parts = {name: {u.id for u in DataDir.read(made / "s01" / name)} for name in ("train", "dev", "test", "pool")}
    assert parts["train"] | parts["dev"] == parts["pool"]
    assert not parts["pool"] & parts["test"]
    assert not parts["train"] & parts["dev"]
    assert parts["pool"] | parts["test"] == {f"s01-{number:04d}" for number in range(8)}
    assert set(DataDir.read(made / "leave_out/s01/train").by_speaker()) == {"s02", "s03"}
    assert set(DataDir.read(made / "train").by_speaker()) == {"s01", "s02", "s03"}


def test_the_lexicon_and_the_phones_cover_all_that_is_said(made: Path) -> None:
    lexicon = Lexicon.read(made / "lexicon.txt")
    everything = [u for part in ("train", "dev", "test") for u in DataDir.read(made / part)]
    assert not lexicon.missing(word for u in everything for word in u.words)
    phones = dict(line.split(" ", 1) for line in (made / "phones.txt").read_text().splitlines())
    assert set(phones) == {u.id for u in everything}
    for utterance in everything:
        reachable = [""]
        for word in utterance.words:
            reachable = [f"{before} {' '.join(p)}" for before in reachable for p in lexicon.pronunciations(word)]
        assert phones[utterance.id] in {path.strip() for path in reachable}


def test_audio_has_the_rate_asked_for_and_is_loud_but_not_clipped(made: Path) -> None:
    for path in (made / "audio").rglob("*.wav"):
        samples, rate = soundfile.read(path)
        assert rate == 8000
        assert 0.1 < np.abs(samples).max() < 1
        assert 0.5 < len(samples) / rate < 8
    (first, *_) = DataDir.read(made / "s01/test")
    assert (first.language, first.gender) == ("en-us", "f")


def test_speakers_differ_in_voice() -> None:
    cast = synthetic.make_speakers(16, 0)
    assert len({speaker.voice for speaker in cast}) == 16
    assert len({speaker.voice.variant for speaker in cast}) == 16
    assert synthetic.make_speakers(3, 0) == cast[:3]
    assert all(not speaker.voice.problems() for speaker in synthetic.make_speakers(60, 1))


def test_a_text_of_one_s_own_in_another_language(tmp_path: Path) -> None:
    sentences = ["Guten Tag, Frau Müller!", "", "„Schön“ ist's hier."]
    synthetic.prepare(tmp_path / "out", "de", 2, 4, sentences=sentences)
    texts = {u.text for part in ("train", "dev", "test") for u in DataDir.read(tmp_path / "out" / part)}
    assert texts == {"Guten Tag Frau Müller", "Schön ist's hier"}
    assert "ʃ" in Lexicon.read(tmp_path / "out/lexicon.txt").phones


def test_any_language_has_digits_without_a_text(tmp_path: Path) -> None:
    synthetic.prepare(tmp_path / "out", "cs", 1, 12)
    words = {word for u in DataDir.read(tmp_path / "out/train") for word in u.words}
    assert words <= set("0123456789")
    assert not (tmp_path / "out/leave_out").exists()


def test_bad_arguments_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        synthetic.prepare(tmp_path / "out", speakers=0, utterances=1)
    assert len(error.value.problems) == 2
    with pytest.raises(InputError, match="no language"):
        synthetic.prepare(tmp_path / "out", "klingon")
    with pytest.raises(InputError, match="no sentence"):
        synthetic.prepare(tmp_path / "out", sentences=["...", " "])
    assert not (tmp_path / "out").exists()


def test_without_espeak_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    espeak._engine.cache_clear()
    try:
        with pytest.raises(InputError, match=r"pip install \"speechnlp_tl\[espeak\]\""):
            synthetic.prepare(tmp_path / "out")
    finally:
        espeak._engine.cache_clear()
