from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from data_prep.connected_words import compose
from data_prep.fetch import CORPORA, fetch
from data_prep.fsdd import DIGITS, prepare
from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.data_dir import DataDir
from speechnlp_tl.speech.lexicon import Lexicon

SPEAKERS = ("anna", "bert")


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers with all 50 takes of 10 digits; the first sample of a take says which one it is."""
    root = tmp_path_factory.mktemp("fsdd")
    (root / "recordings").mkdir()
    generator = np.random.default_rng(0)
    for speaker in SPEAKERS:
        for digit in range(10):
            for take in range(50):
                samples = generator.integers(-900, 900, 400 + 8 * take, dtype=np.int16)
                samples[0] = 10000 + 50 * digit + take
                soundfile.write(root / "recordings" / f"{digit}_{speaker}_{take}.wav", samples, 8000, "PCM_16")
    metadata = "metadata = {'anna': {'gender': 'female'}, 'bert': {'gender': 'male'}}\n"
    (root / "metadata.py").write_text('"""Speakers."""\n\n' + metadata)
    return root


@pytest.fixture(scope="module")
def prepared(upstream: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "out"
    prepare(upstream, out, seed=1, passes=2)
    return out


def takes_in(data: DataDir, upstream: Path) -> list[tuple[str, int, int]]:
    """(speaker, digit, take) of every take in the audio, by its mark; each must be there verbatim."""
    found = []
    for utterance in data:
        samples, rate = soundfile.read(utterance.audio, dtype="int16")
        assert rate == 8000
        assert utterance.duration == len(samples) / 8000
        digits = []
        for start in np.flatnonzero(samples >= 10000):
            digit, take = divmod(int(samples[start]) - 10000, 50)
            path = upstream / "recordings" / f"{digit}_{utterance.speaker}_{take}.wav"
            original = soundfile.read(path, dtype="int16")[0]
            assert np.array_equal(samples[start : start + len(original)], original)
            digits.append(digit)
            found.append((utterance.speaker, digit, take))
        assert [list(DIGITS)[digit] for digit in digits] == utterance.words
        assert 3 <= len(digits) <= 7
    return found


@pytest.mark.parametrize(
    ("split", "speakers", "takes", "times"),
    [
        ("anna/test", ["anna"], range(15), 1),
        ("anna/train", ["anna"], range(15, 46), 2),
        ("anna/dev", ["anna"], range(46, 50), 1),
        ("anna/pool", ["anna"], range(15, 50), 1),
        ("leave_out/anna/train", ["bert"], range(15, 46), 2),
        ("leave_out/anna/dev", ["bert"], range(46, 50), 1),
        ("leave_out/anna/test", ["bert"], range(15), 1),
    ],
)
def test_every_take_of_a_part_is_said_exactly_once_per_pass_and_no_other(
    split: str, speakers: list[str], takes: range, times: int, prepared: Path, upstream: Path
) -> None:
    counts = Counter(takes_in(DataDir.read(prepared / split), upstream))
    wanted = {(speaker, digit, take) for speaker in speakers for digit in range(10) for take in takes}
    assert set(counts) == wanted
    assert set(counts.values()) == {times}


def test_pauses_are_faint_noise_and_no_digital_silence(prepared: Path) -> None:
    utterance = DataDir.read(prepared / "anna/test").utterances[0]
    samples, _ = soundfile.read(utterance.audio, dtype="int16")
    before = samples[: np.flatnonzero(samples >= 10000)[0]].astype(float)
    assert 0.08 * 8000 <= len(before) <= 0.2 * 8000
    assert 1 <= before.std() <= 100
    assert np.count_nonzero(before) > len(before) / 2


def test_the_same_seed_gives_the_same_bytes_and_more_passes_leave_the_first_as_it_was(
    upstream: Path, prepared: Path, tmp_path: Path
) -> None:
    prepare(upstream, tmp_path / "one", seed=1)
    files = {path.relative_to(tmp_path / "one"): path.read_bytes() for path in (tmp_path / "one/audio").rglob("*.wav")}
    assert files == {name: (prepared / name).read_bytes() for name in files}


def test_another_seed_joins_other_takes(upstream: Path, prepared: Path, tmp_path: Path) -> None:
    prepare(upstream, tmp_path / "other", seed=2)
    assert (tmp_path / "other/anna/test/text").read_text() != (prepared / "anna/test/text").read_text()


def test_genders_are_read_from_upstream_s_metadata_without_running_it(upstream: Path, prepared: Path) -> None:
    assert {u.gender for u in DataDir.read(prepared / "anna/test")} == {"f"}
    assert {u.gender for u in DataDir.read(prepared / "leave_out/anna/test")} == {"m"}


def test_the_lexicon_has_the_ten_digits_and_two_zeros(prepared: Path) -> None:
    lexicon = Lexicon.read(prepared / "lexicon.txt")
    assert set(lexicon.words) == set(DIGITS)
    assert len(lexicon.pronunciations("ZERO")) == 2


def test_missing_takes_are_all_listed(tmp_path: Path, write_sound: Callable[..., object]) -> None:
    for speaker in SPEAKERS:
        for digit in range(10):
            for take in range(50):
                if (speaker, digit, take) not in (("anna", 3, 7), ("bert", 0, 49)):
                    path = tmp_path / "recordings" / f"{digit}_{speaker}_{take}.wav"
                    path.parent.mkdir(exist_ok=True)
                    path.touch()
    with pytest.raises(InputError) as error:
        prepare(tmp_path, tmp_path / "out")
    assert [Path(str(p.file)).name for p in error.value.problems] == ["3_anna_7.wav", "0_bert_49.wav"]
    write_sound(tmp_path / "recordings/3_anna_7.wav", 0.1, 8000)
    write_sound(tmp_path / "recordings/0_bert_49.wav", 0.1, 8000)
    with pytest.raises(InputError, match="0 bytes") as error:
        prepare(tmp_path, tmp_path / "out")
    assert len(error.value.problems) == 499
    assert not (tmp_path / "out").exists()


@given(st.integers(3, 300), st.integers())
def test_strings_part_the_takes_whatever_their_number(count: int, seed: int) -> None:
    takes = [(number % 10, number) for number in range(count)]
    strings = compose(takes, random.Random(seed))
    assert sorted(take for string in strings for take in string) == sorted(takes)
    assert all(3 <= len(string) <= 7 for string in strings)


def test_the_real_corpus_has_enough_strings_for_every_budget(real_data: Path, tmp_path: Path) -> None:
    if not any((real_data / place).exists() for place in ("fsdd", CORPORA["fsdd"].archive)):
        pytest.skip("fsdd is not in SPEECHNLP_DATA")
    splits = prepare(fetch(CORPORA["fsdd"]), tmp_path / "out")
    data = {name: DataDir.read(path) for name, path in splits.items()}
    pools = [part for name, part in data.items() if name.endswith("/pool")]
    tests = [part for name, part in data.items() if name.endswith("/test") and not name.startswith("leave_out")]
    assert len(pools) == len(tests) == 6
    assert all(len(pool) >= 40 and sum(len(u.words) for u in pool) == 350 for pool in pools)
    assert all(len(test) >= 25 and sum(len(u.words) for u in test) == 150 for test in tests)
