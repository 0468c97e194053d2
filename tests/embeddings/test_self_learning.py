from __future__ import annotations

import numpy as np
import pytest

from speechnlp_tl.embeddings.alignment import preset
from speechnlp_tl.embeddings.self_learning import SelfLearningSettings, mean_cosine, self_learn
from speechnlp_tl.errors import InputError
from tests.embeddings.planted import cloud, planted, precision

QUICK = SelfLearningSettings(patience=3, parts=4)


def recovered(made, found) -> float:
    return precision(found.alignment.map_source(made.source), found.alignment.map_target(made.target), made.pairs)


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_rotation_with_noise_is_found_without_any_dictionary(seed):
    made = planted(noise=0.1, seed=seed)
    found = self_learn(made.source, made.target, settings=QUICK)
    assert recovered(made, found) > 0.97
    assert found.mutual_share > 0.9
    assert found.similarity > 0.9
    true = {tuple(pair) for pair in made.pairs.tolist()}
    assert np.mean([tuple(pair) in true for pair in found.pairs.tolist()]) > 0.97


def test_a_few_seeds_are_enough_where_one_map_is_not():
    made = planted(noise=0.2, dimensions=30)
    seeds = made.pairs[:12]
    found = self_learn(made.source, made.target, seeds, QUICK)
    assert recovered(made, found) > 0.95
    once = self_learn(made.source, made.target, seeds, QUICK.model_copy(update={"most_rounds": 1}))
    assert recovered(made, once) < recovered(made, found)


def test_a_collapsed_run_shows_in_its_size_and_similarity():
    made = planted()
    unrelated = cloud(600, 20, seed=99)[:, ::-1].astype(np.float32)
    good = self_learn(made.source, made.target, settings=QUICK)
    collapsed = self_learn(made.source, unrelated, settings=QUICK)
    assert collapsed.mutual_share < 0.7 * good.mutual_share
    assert collapsed.similarity < good.similarity - 0.1


def test_only_the_most_frequent_words_take_part_and_all_are_mapped():
    made = planted(noise=0.05, shuffled=False)
    found = self_learn(made.source, made.target, made.pairs[:100], QUICK.model_copy(update={"words": 250}))
    assert found.pairs.max() < 250
    assert found.words == 250
    assert recovered(made, found) > 0.95


def test_rounds_are_reported_and_go_from_many_parts_to_one():
    made = planted(noise=0.05)
    told: list = []
    found = self_learn(made.source, made.target, made.pairs[:100], QUICK, told.append)
    assert told == found.rounds
    parts = [each.parts for each in told]
    assert parts == sorted(parts, reverse=True)
    assert set(parts) == {4, 2, 1}
    whole = np.array([each.similarity for each in told if each.parts == 1])
    grown = np.diff(whole) > QUICK.threshold
    assert not grown[-1]
    assert grown[:-1].all()


def test_the_same_seed_gives_the_same_alignment():
    made = planted(noise=0.1)
    first, second = (self_learn(made.source, made.target, settings=QUICK).alignment for _ in range(2))
    np.testing.assert_array_equal(first.source_map, second.source_map)


def test_the_final_map_takes_the_steps_that_are_asked_for():
    made = planted(noise=0.05)
    found = self_learn(
        made.source, made.target, settings=QUICK.model_copy(update={"final": preset("procrustes", dimensions=15)})
    )
    assert found.alignment.dimensions == 15


def test_mean_cosine_is_of_the_pairs():
    x, y = np.float32([[1, 0], [0, 2], [0, 0]]), np.float32([[3, 3], [0, 1]])
    pairs = np.array([[0, 0], [1, 1], [2, 0]])
    assert mean_cosine(x, y, pairs) == pytest.approx((np.sqrt(0.5) + 1 + 0) / 3)
    assert mean_cosine(x, y, pairs[:0]) == 0


def test_bad_input_is_named():
    made = planted()
    with pytest.raises(InputError, match="at least 1"):
        self_learn(made.source, made.target, made.pairs[:0])
    broken = made.target.copy()
    broken[1] = np.inf
    with pytest.raises(InputError, match="target: 1 rows"):
        self_learn(made.source, broken)
    with pytest.raises(InputError, match="more words than 1"):
        self_learn(made.source[:1], made.target)
