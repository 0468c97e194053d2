from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.an4 import choose_dev_speakers, prepare
from data_prep.fetch import CORPORA, fetch
from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.audio import audio_info
from speechnlp_tl.speech.data_dir import DataDir
from speechnlp_tl.speech.lexicon import Lexicon

TRAIN = ("fash", "fbbh", "fclc", "mblb", "mblw", "mdcs", "mdcs2")
DICTIONARY = (
    "A                    AH\nA(2)                 EY\nB                    B IY\nYES                  Y EH S\n"
)


@pytest.fixture
def corpus(tmp_path: Path, write_sound: Callable[..., object]) -> Path:
    """Seven training speakers with two utterances each, one test speaker with two."""
    root = tmp_path / "an4"
    (root / "etc").mkdir(parents=True)
    (root / "etc/an4.dic").write_text(DICTIONARY)
    for split, folder, speakers in (("train", "an4_clstk", TRAIN), ("test", "an4test_clstk", ("fcaw",))):
        names = [f"{take}-{speaker}-b" for speaker in speakers for take in ("an251", "cen1")]
        for name in names:
            write_sound(root / "wav" / folder / name.split("-")[1] / f"{name}.sph", 0.5, 16000, format="NIST")
        ids = "".join(f"{folder}/{name.split('-')[1]}/{name}\n" for name in names)
        (root / "etc" / f"an4_{split}.fileids").write_text(ids)
        line = "<s> YES A B </s> ({})\n" if split == "train" else "YES A B ({})\n"
        (root / "etc" / f"an4_{split}.transcription").write_text("".join(line.format(name) for name in names))
    return root


def test_the_official_split_comes_out_with_ids_led_by_the_speaker(corpus: Path, tmp_path: Path) -> None:
    splits = prepare(corpus, tmp_path / "out", dev_speakers=2)
    assert set(splits) == {"train", "train_main", "train_dev", "test"}
    train, test = (DataDir.read(splits[name]) for name in ("train", "test"))
    assert set(train.by_speaker()) == set(TRAIN)
    assert [u.id for u in test] == ["fcaw-an251-fcaw-b", "fcaw-cen1-fcaw-b"]
    assert {u.text for u in (*train, *test)} == {"YES A B"}
    assert {u.gender for u in train} == {"f", "m"}
    assert all(u.gender == u.speaker[0] for u in train)
    assert all(u.duration == 0.5 for u in train)
    assert Path(test.utterances[0].audio) == corpus / "wav/an4test_clstk/fcaw/an251-fcaw-b.sph"


def test_alternates_of_the_dictionary_are_pronunciations_of_one_word(corpus: Path, tmp_path: Path) -> None:
    prepare(corpus, tmp_path / "out", dev_speakers=2)
    lexicon = Lexicon.read(tmp_path / "out" / "lexicon.txt")
    assert lexicon.words == ("A", "B", "YES")
    assert lexicon.pronunciations("A") == (("AH",), ("EY",))


def test_dev_shares_no_speaker_with_main_and_both_make_up_train(corpus: Path, tmp_path: Path) -> None:
    splits = prepare(corpus, tmp_path / "out", dev_speakers=2)
    train, main, dev = (DataDir.read(splits[name]) for name in ("train", "train_main", "train_dev"))
    assert not set(main.by_speaker()) & set(dev.by_speaker())
    assert {u.id for u in main} | {u.id for u in dev} == {u.id for u in train}
    assert sorted(speaker[0] for speaker in dev.by_speaker()) == ["f", "m"]


def test_dev_speakers_depend_on_the_seed_alone_and_never_have_a_namesake() -> None:
    chosen = {frozenset(choose_dev_speakers(TRAIN, 2, seed)) for seed in range(50)}
    assert chosen == {frozenset((woman, man)) for woman in ("fash", "fbbh", "fclc") for man in ("mblb", "mblw")}
    assert choose_dev_speakers(reversed(TRAIN), 2, 5) == choose_dev_speakers(TRAIN, 2, 5)


def test_more_dev_speakers_than_there_are_is_an_error() -> None:
    with pytest.raises(InputError, match="of gender m wanted, there are 2"):
        choose_dev_speakers(TRAIN, 6, 0)


def test_audio_in_another_folder_is_found_by_its_name(corpus: Path, tmp_path: Path) -> None:
    name = "an251-fcaw-b.sph"
    (corpus / "wav/elsewhere").mkdir()
    (corpus / "wav/an4test_clstk/fcaw" / name).rename(corpus / "wav/elsewhere" / name)
    test = DataDir.read(prepare(corpus, tmp_path / "out", dev_speakers=2)["test"])
    assert Path(test.utterances[0].audio) == corpus / "wav/elsewhere" / name


def test_all_that_is_wrong_is_listed_and_nothing_is_written(corpus: Path, tmp_path: Path) -> None:
    (corpus / "wav/an4_clstk/fash/an251-fash-b.sph").unlink()
    (corpus / "wav/an4_clstk/fash/cen1-fash-b.sph").write_bytes(b"")
    transcription = corpus / "etc/an4_train.transcription"
    lines = transcription.read_text().splitlines()
    lines[2] = "<s> YES SIR </s> (an251-fbbh-b)"
    lines[3] = "no id"
    transcription.write_text("\n".join([*lines, "YES (an1-nobody-b)"]) + "\n")
    with pytest.raises(InputError) as error:
        prepare(corpus, tmp_path / "out", dev_speakers=2)
    ids = corpus / "etc/an4_train.fileids"
    assert {(p.file, p.line) for p in error.value.problems} == {
        (ids, 1),  # no audio
        (str(corpus / "wav/an4_clstk/fash/cen1-fash-b.sph"), None),  # empty
        (transcription, 3),  # SIR has no pronunciation
        (transcription, 4),  # cannot be read
        (ids, 4),  # no transcript
        (transcription, len(lines) + 1),  # not listed
    }
    assert not (tmp_path / "out").exists()


def test_another_rate_writes_resampled_copies(corpus: Path, tmp_path: Path) -> None:
    test = DataDir.read(prepare(corpus, tmp_path / "out", 8000, dev_speakers=2)["test"])
    first = test.utterances[0]
    assert Path(first.audio) == tmp_path / "out/audio/fcaw/fcaw-an251-fcaw-b.wav"
    assert audio_info(first.audio) == (8000, 1, 4000)
    assert first.duration == 0.5


def test_a_second_run_replaces_the_first_and_nothing_else(corpus: Path, tmp_path: Path) -> None:
    prepare(corpus, tmp_path / "out", dev_speakers=2)
    prepare(corpus, tmp_path / "out", dev_speakers=4)
    assert len(DataDir.read(tmp_path / "out/train_dev").by_speaker()) == 4
    assert {path.name for path in tmp_path.iterdir()} == {"an4", "out"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("all of it")
    with pytest.raises(InputError, match="holds something other"):
        prepare(corpus, tmp_path / "mine", dev_speakers=2)
    assert (tmp_path / "mine/thesis.txt").read_text() == "all of it"


def test_the_real_corpus_has_its_official_numbers(real_data: Path, tmp_path: Path) -> None:
    if not any((real_data / place).exists() for place in ("an4", CORPORA["an4"].archive)):
        pytest.skip("an4 is not in SPEECHNLP_DATA")
    splits = prepare(fetch(CORPORA["an4"]), tmp_path / "out")
    data = {name: DataDir.read(path) for name, path in splits.items()}
    sizes = {name: (len(part), len(part.by_speaker())) for name, part in data.items()}
    assert sizes["train"] == (948, 74)
    assert sizes["test"] == (130, 10)
    assert sizes["train_dev"][1] == 8
    assert sum(len(u.words) for u in data["test"]) == 773
    assert not Lexicon.read(tmp_path / "out/lexicon.txt").missing(
        w for part in data.values() for u in part for w in u.words
    )
