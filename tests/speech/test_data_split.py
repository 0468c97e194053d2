"""Splits are disjoint, complete, repeatable, and depend on nothing but seed and ids."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.data_split import folds, split_by_budget, split_by_speaker, spread


def made(sizes: list[int], seconds: float = 1.0) -> DataDir:
    return DataDir(
        Utterance(f"s{s}-{u}", f"s{s}", f"/{s}-{u}.wav", "x", duration=seconds * (1 + u % 3))
        for s, size in enumerate(sizes)
        for u in range(size)
    )


def ids(data: DataDir) -> set[str]:
    return {u.id for u in data}


sizes = st.lists(st.integers(2, 8), min_size=2, max_size=6)


@given(sizes=sizes, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 9))
def test_speakers_are_never_on_both_sides(sizes: list[int], fraction: float, seed: int) -> None:
    data = made(sizes)
    rest, held_out = split_by_speaker(data, fraction=fraction, seed=seed)
    assert not rest.by_speaker().keys() & held_out.by_speaker().keys()
    assert ids(rest) | ids(held_out) == ids(data)
    assert len(rest)
    assert len(held_out)
    shuffled = DataDir(reversed(data.utterances))
    assert split_by_speaker(shuffled, fraction=fraction, seed=seed) == (rest, held_out)


def test_named_speakers_are_held_out() -> None:
    rest, held_out = split_by_speaker(made([3, 3, 3]), ["s1"])
    assert list(held_out.by_speaker()) == ["s1"]
    assert list(rest.by_speaker()) == ["s0", "s2"]


@given(sizes=sizes, seed=st.integers(0, 9), data=st.data())
def test_utterance_budgets_are_exact_disjoint_and_nested(sizes: list[int], seed: int, data: st.DataObject) -> None:
    whole = made(sizes)
    budget = data.draw(st.integers(1, min(sizes) - 1))
    adaptation, rest = split_by_budget(whole, utterances=budget, seed=seed)
    assert {len(rows) for rows in adaptation.by_speaker().values()} == {budget}
    assert ids(adaptation).isdisjoint(ids(rest))
    assert ids(adaptation) | ids(rest) == ids(whole)
    for smaller in range(1, budget):
        assert ids(split_by_budget(whole, utterances=smaller, seed=seed)[0]) < ids(adaptation)
    alone = DataDir([u for u in whole if u.speaker == "s0"])
    assert ids(split_by_budget(alone, utterances=budget, seed=seed)[0]) < ids(adaptation)


@given(sizes=st.lists(st.integers(4, 8), min_size=1, max_size=4), seconds=st.floats(3, 6), seed=st.integers(0, 9))
def test_second_budgets_are_kept_and_filled(sizes: list[int], seconds: float, seed: int) -> None:
    whole = made(sizes)
    adaptation, rest = split_by_budget(whole, seconds=seconds, seed=seed)
    assert ids(adaptation).isdisjoint(ids(rest))
    for speaker, rows in adaptation.by_speaker().items():
        used = sum(u.duration or 0 for u in rows)
        assert 0 < used <= seconds
        assert all(used + (u.duration or 0) > seconds for u in rest.by_speaker()[speaker])


@given(sizes=sizes, k=st.integers(2, 4), seed=st.integers(0, 9), by=st.sampled_from(["utterance", "speaker"]))
def test_folds_partition_the_data(sizes: list[int], k: int, seed: int, by: str) -> None:
    whole = made(sizes)
    if k > (len(sizes) if by == "speaker" else len(whole)):
        with pytest.raises(InputError, match="cannot make"):
            folds(whole, k, seed, by)
        return
    pairs = folds(whole, k, seed, by)
    assert pairs == folds(whole, k, seed, by)
    assert sorted(name for _, fold in pairs for name in ids(fold)) == sorted(ids(whole))
    for rest, fold in pairs:
        assert ids(rest) == ids(whole) - ids(fold)
    if by == "speaker":
        assert all(rest.by_speaker().keys().isdisjoint(fold.by_speaker()) for rest, fold in pairs)
    else:
        lengths = [len(fold) for _, fold in pairs]
        assert max(lengths) - min(lengths) <= 1
        for speaker, rows in whole.by_speaker().items():
            counts = [len(fold.by_speaker().get(speaker, [])) for _, fold in pairs]
            assert max(counts) - min(counts) <= 1, (speaker, rows)


def test_seeds_differ() -> None:
    data = made([20] * 3)
    assert len({frozenset(ids(split_by_budget(data, utterances=3, seed=seed)[0])) for seed in range(5)}) > 1


def test_impossible_splits_say_why() -> None:
    data = made([2, 5, 1])
    with pytest.raises(InputError) as caught:
        split_by_budget(data, utterances=2)
    assert [p.what.split()[1] for p in caught.value.problems] == ["s0", "s2"]
    with pytest.raises(InputError, match="no utterance as short as"):
        split_by_budget(data, seconds=0.5)
    with pytest.raises(InputError, match="no speaker s9"):
        split_by_speaker(data, ["s1", "s9"])
    with pytest.raises(InputError, match="one side would be empty"):
        split_by_speaker(data, ["s0", "s1", "s2"])
    for arguments in ({}, {"speakers": ["s1"], "fraction": 0.5}):
        with pytest.raises(InputError, match="either"):
            split_by_speaker(data, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(("count", "most"), [(0, 3), (2, 3), (3, 3), (5, 3), (255, 200), (147, 60)])
def test_what_is_spread_reaches_from_the_first_to_the_last_speaker(count: int, most: int) -> None:
    utterances = [Utterance(f"{number:03d}", f"s{number // 10}", "a.wav") for number in range(count)]
    chosen = spread(utterances, most)
    places = [int(utterance.id) for utterance in chosen]
    assert len(places) == min(count, most)
    gaps = {after - before for before, after in pairwise(places)}
    assert max(gaps, default=0) - min(gaps, default=0) <= 1
    assert not places or (places[0], count - places[-1] <= max(gaps, default=1)) == (0, True)
