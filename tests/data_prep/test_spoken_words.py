"""Single words of many speakers as connected strings: what is read, trimmed, parted and refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_prep.connected_words import trim
from data_prep.fetch import CORPORA, fetch, is_available
from data_prep.spoken_words import find_recordings, prepare, split_ipa
from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.data_dir import DataDir
from speechnlp_tl.speech.lexicon import Lexicon

WORDS = {"zero": ("صفر", "sˤifr"), "one": ("واحد", "waːħid")}


def write_take(path: Path, seed: int, rate: int = 8000) -> None:
    """Half a second of noise between silences."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).standard_normal(rate // 2) * 3000
    soundfile.write(path, np.concatenate([np.zeros(rate // 4), noise, np.zeros(rate // 4)]).astype(np.int16), rate)


def write_lexicon(folder: Path) -> None:
    rows = [f"{gloss}\t{word}\t{ipa}\n" for gloss, (word, ipa) in WORDS.items()]
    (folder / "lexicon.tsv").write_text("word\ttranscript\tipa\n" + "".join(rows), encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Three speakers with three takes of two words, in a folder with a table."""
    root = tmp_path / "copy"
    rows = ["utt_id\tpath\tspeaker\tlanguage\ttranscript\tword\tsplit\n"]
    for number, (speaker, part) in enumerate((("ar01", "train"), ("ar02", "val"), ("ar03", "test"))):
        for gloss, (word, _) in WORDS.items():
            for take in (1, 2, 3):
                path = f"audio/{speaker}/{gloss}_{take:02d}.flac"
                write_take(root / path, 100 * number + 10 * take)
                rows.append(f"{speaker}_{gloss}_{take}\t{path}\t{speaker}\tar\t{word}\t{gloss}\t{part}\n")
    (root / "metadata.tsv").write_text("".join(rows), encoding="utf-8")
    write_lexicon(root)
    return root


def test_every_take_is_said_once_a_pass_and_speakers_are_parted_as_the_corpus_says(copy: Path, tmp_path: Path) -> None:
    splits = prepare(copy, "arabic", tmp_path / "out", passes=2)
    assert set(splits) == {"train", "dev", "test"}
    for part, speaker, times in (("train", "ar01", 6), ("dev", "ar02", 3), ("test", "ar03", 3)):
        data = DataDir.read(splits[part])
        assert {utterance.speaker for utterance in data} == {speaker}
        assert {utterance.language for utterance in data} == {"ar"}
        counts = Counter(word for utterance in data for word in utterance.words)
        assert counts == {word: times for word, _ in WORDS.values()}
        for utterance in data:
            # half a second of speech a word, its margins and the pauses; not the half second of silence around it
            assert utterance.duration is not None
            assert 0.5 * len(utterance.words) < utterance.duration < 0.8 * len(utterance.words) + 0.4
    lexicon = Lexicon.read(tmp_path / "out" / "lexicon.txt")
    assert lexicon.pronunciations("صفر") == (("sˤ", "i", "f", "r"),)


def test_the_same_seed_gives_the_same_audio_and_another_does_not(copy: Path, tmp_path: Path) -> None:
    def audio(seed: int, name: str) -> list[bytes]:
        prepare(copy, "arabic", tmp_path / name, seed)
        return [path.read_bytes() for path in sorted((tmp_path / name).rglob("*.wav"))]

    assert audio(1, "a") == audio(1, "b") != audio(2, "c")


def test_a_checkout_is_read_by_the_names_of_its_files(tmp_path: Path) -> None:
    for speaker in ("00000001", "00000002", "00000003"):
        for gloss in WORDS:
            for take in range(1, 6):
                write_take(tmp_path / "dataset" / gloss / f"{speaker}_NO_{take:02d}.wav", take, 16000)
    write_lexicon(tmp_path)
    found = find_recordings(tmp_path, "arabic")
    assert len(found) == 3 * 2 * 3
    splits = prepare(tmp_path, "arabic", tmp_path / "out")
    speakers = [{utterance.speaker for utterance in DataDir.read(path)} for path in splits.values()]
    assert sorted(name for part in speakers for name in part) == ["00000001", "00000002", "00000003"]


def test_students_of_a_checkout_get_other_names_and_english_is_left_out(tmp_path: Path) -> None:
    for student in ("123", "77"):
        for label in ("00", "11", "12"):
            for take in ("01", "05", "09"):
                write_take(tmp_path / student / f"{student}-{label}-{take}.wav", 1)
    found = find_recordings(tmp_path, "mandarin")
    assert {each.speaker for each in found} == {"zh01", "zh02"}
    assert Counter(each.word for each in found) == {"数字": 4, "饭店": 4}


def test_what_is_wrong_with_a_table_is_listed(copy: Path, tmp_path: Path) -> None:
    table = copy / "metadata.tsv"
    lines = table.read_text(encoding="utf-8").splitlines()
    lines[2] = lines[2].replace("ar01", "", 3).replace("ar01", "")
    (copy / "audio" / "ar02" / "one_02.flac").unlink()
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(InputError) as told:
        prepare(copy, "arabic", tmp_path / "out")
    assert [problem.line for problem in told.value.problems] == [3, 12]
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"metadata\.tsv"):
        find_recordings(tmp_path / "nothing", "mandarin")


def test_splits_that_are_unknown_or_contradict_are_told(copy: Path, tmp_path: Path) -> None:
    table = copy / "metadata.tsv"
    good = table.read_text(encoding="utf-8")
    table.write_text(good.replace("\ttest\n", "\tTest\n", 1), encoding="utf-8")
    with pytest.raises(InputError, match="split 'Test' is none of"):
        prepare(copy, "arabic", tmp_path / "out")
    table.write_text(good.replace("\ttest\n", "\ttrain\n", 1), encoding="utf-8")
    with pytest.raises(InputError, match="speaker ar03 stands in several splits"):
        prepare(copy, "arabic", tmp_path / "out")


def test_words_are_parted_into_phones() -> None:
    assert split_ipa("tasˤɣiːr") == ("t", "a", "sˤ", "ɣ", "iː", "r")
    assert split_ipa("tasdʒiːl") == ("t", "a", "s", "dʒ", "iː", "l")
    with pytest.raises(ValueError, match="IPA"):
        split_ipa("a-b")


def test_silence_is_trimmed_and_nothing_else() -> None:
    loud = np.full(800, 1000, dtype=np.int16)
    padded = np.concatenate([np.zeros(4000, np.int16), loud, np.zeros(2400, np.int16)])
    assert len(trim(padded)) == 800 + 2 * 5 * 80
    assert np.array_equal(trim(loud), loud)
    silent = np.zeros(1600, dtype=np.int16)
    assert np.array_equal(trim(silent), silent)
    # a word's quiet middle stays
    two = np.concatenate([loud, np.zeros(1600, np.int16), loud])
    assert np.array_equal(trim(two), two)


@pytest.mark.parametrize(("name", "words", "speakers"), [("arabic", 40, 30), ("mandarin", 12, 34)])
def test_the_real_corpora(name: str, words: int, speakers: int, tmp_path: Path) -> None:
    if not is_available(CORPORA[name]):
        pytest.skip(f"{name} is not in SPEECHNLP_DATA")
    found = find_recordings(fetch(CORPORA[name]), name)
    assert len({each.word for each in found}) == words
    assert len({each.speaker for each in found}) == speakers


def test_without_a_copy_the_address_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPEECHNLP_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"github\.com/zhongyuchen/DSPSpeech-20.*--corpus-dir"):
        fetch(CORPORA["mandarin"])
