import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechnlp_tl.core.batching import batches_by_cost, drawn_rows, sampled_counts, split_rows

costs_and_budget = st.tuples(
    st.lists(st.floats(0, 50), max_size=60), st.floats(0.5, 200), st.integers(0, 5), st.integers(0, 3)
)


@given(costs_and_budget, st.booleans(), st.none() | st.integers(1, 7), st.booleans())
def test_every_row_once_within_the_budget_and_the_same_every_time(case, shuffle, max_rows, in_parts):
    costs, budget, seed, epoch = case
    given = {"max_rows": max_rows, "shuffle": shuffle, "parts": costs[::-1] if in_parts else None}
    batches = batches_by_cost(costs, budget, seed, epoch, **given)
    assert sorted(row for rows in batches for row in rows) == list(range(len(costs)))
    for rows in batches:
        assert rows
        assert len(rows) == 1 or max(costs[row] for row in rows) * len(rows) <= budget
        assert max_rows is None or len(rows) <= max_rows
    assert batches == batches_by_cost(costs, budget, seed, epoch, **given)


@given(st.lists(st.floats(0.1, 50), min_size=1, max_size=60), st.integers(0, 5))
def test_the_first_batch_of_all_has_the_longest_row(costs, seed):
    first = batches_by_cost(costs, 100, seed, 0)[0]
    assert max(costs) == max(costs[row] for row in first)


def test_padding_stays_near_the_bucket_ratio():
    costs = np.random.default_rng(0).uniform(50, 1500, 5000)
    batches = batches_by_cost(costs.tolist(), 30000, 0, 1)
    padded = sum(max(costs[rows]) * len(rows) for rows in batches)
    assert padded / costs.sum() < 1.1


def test_two_sides_that_are_padded_apart_need_little_padding_each() -> None:
    random = np.random.default_rng(0)
    sources = random.integers(8, 40, 20000)
    targets = np.maximum(sources + random.integers(-8, 9, 20000), 4)
    costs, padded = sources + targets, {}
    for name, parts in (("together", None), ("apart", targets.tolist())):
        batches = batches_by_cost(costs.tolist(), 800, 0, 1, parts=parts)
        padded[name] = sum(len(rows) * (max(sources[rows]) + max(targets[rows])) for rows in batches)
    assert padded["together"] / costs.sum() > 1.15
    assert padded["apart"] / costs.sum() < 1.1


def test_epochs_and_seeds_mix_rows_differently():
    costs = np.random.default_rng(0).uniform(1, 20, 100).tolist()
    seen = {str(batches_by_cost(costs, 60, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(seen) == 9
    together = {frozenset(rows) for rows in batches_by_cost(costs, 60, 0, 1)}
    assert together != {frozenset(rows) for rows in batches_by_cost(costs, 60, 0, 2)}


def test_without_shuffling_rows_go_from_long_to_short_in_every_epoch():
    costs = [3.0, 9.0, 1.0, 9.0]
    assert batches_by_cost(costs, 18, 0, 0, shuffle=False) == [[1, 3], [0, 2]]
    assert batches_by_cost(costs, 18, 7, 5, shuffle=False) == [[1, 3], [0, 2]]
    assert batches_by_cost(costs, 18, 7, 5, shuffle=False, parts=[1.0, 2.0, 1.0, 4.0]) == [[3, 1], [0, 2]]


@pytest.mark.parametrize("costs", [[1.0, float("nan")], [-1.0], [float("inf")]])
def test_impossible_costs_are_refused(costs):
    with pytest.raises(ValueError, match="finite"):
        batches_by_cost(costs, 10, 0, 0)
    with pytest.raises(ValueError, match="finite"):
        batches_by_cost([1.0] * len(costs), 10, 0, 0, parts=costs)


@given(st.lists(st.integers(), max_size=20, unique=True), st.integers(1, 6))
def test_parts_hold_every_row_once_and_differ_by_one_row_at_most(rows, parts):
    split = [split_rows(rows, parts, index) for index in range(parts)]
    assert sorted(row for part in split for row in part) == sorted(rows)
    assert max(map(len, split)) - min(map(len, split)) <= 1
    # an empty part is always behind the filled ones
    assert [bool(part) for part in split] == sorted((bool(part) for part in split), reverse=True)


def test_temperature_evens_directions_out():
    assert sampled_counts([900, 100], 1, 1000) == [900, 100]
    assert sampled_counts([900, 100], 2, 1000) == [750, 250]
    assert sampled_counts([900, 100], 1e9, 1000) == [500, 500]


def test_no_row_is_drawn_a_second_time_before_all_others() -> None:
    drawn = drawn_rows(5, 13, np.random.default_rng(0)).tolist()
    assert len(drawn) == 13
    assert all(sorted(drawn[start : start + 5]) == [0, 1, 2, 3, 4] for start in (0, 5))
    assert len(set(drawn[10:])) == 3
