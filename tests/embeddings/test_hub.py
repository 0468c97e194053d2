from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ortho_group

from speechnlp_tl.embeddings.alignment import fit_alignment, preset
from speechnlp_tl.embeddings.hub import align_jointly, align_pairwise
from speechnlp_tl.errors import InputError
from tests.embeddings.planted import cloud, precision

WORDS = 300
PAIRS = np.stack([np.arange(WORDS)] * 2, axis=1)


def languages(noise: float = 0.1, names: str = "abcd") -> dict[str, np.ndarray]:
    """One cloud of meanings, seen from several sides; word i means the same in all."""
    meanings = cloud(WORDS, 12, seed=0)
    generator = np.random.default_rng(1)
    return {
        name: (meanings + noise * generator.standard_normal(meanings.shape)) @ ortho_group.rvs(12, random_state=i)
        for i, name in enumerate(names)
    }


def found(hub, vectors, first: str, second: str, pairs=PAIRS) -> float:
    alignment = hub.alignment(first, second)
    return precision(alignment.map_source(vectors[first]), alignment.map_target(vectors[second]), pairs)


@pytest.mark.parametrize("joint", [False, True])
def test_every_pair_of_languages_meets_in_the_hub_space(joint):
    vectors = languages()
    dictionaries = {("a", "hub"): PAIRS[:100], ("hub", "b"): PAIRS[:100], ("c", "hub"): PAIRS[50:150]}
    vectors["hub"] = vectors.pop("d")
    hub = (align_jointly if joint else align_pairwise)(vectors, dictionaries, "hub")
    for first in vectors:
        for second in vectors:
            assert found(hub, vectors, first, second) > 0.97
    np.testing.assert_array_equal(hub.map("hub", vectors["hub"]), hub.normalisations["hub"](vectors["hub"]))
    assert hub.languages == ["a", "b", "c", "hub"]


def test_two_languages_are_plain_procrustes_pairwise_and_jointly():
    vectors = languages(names="ab")
    plain = fit_alignment(vectors["a"], vectors["b"], PAIRS[:80])
    pairwise = align_pairwise(vectors, {("b", "a"): PAIRS[:80, ::-1]}, "b")
    jointly = align_jointly(vectors, {("a", "b"): PAIRS[:80]}, "b")
    for hub in (pairwise, jointly):
        np.testing.assert_allclose(hub.maps["a"], plain.source_map, atol=1e-5)
        np.testing.assert_allclose(hub.map("a", vectors["a"]), plain.map_source(vectors["a"]), atol=1e-5)


def test_a_language_may_reach_the_hub_through_another():
    vectors = languages()
    chain = {("d", "c"): PAIRS[:100], ("b", "c"): PAIRS[100:200], ("a", "b"): PAIRS[200:]}
    hub = align_jointly(vectors, chain, "a")
    assert found(hub, vectors, "d", "a") > 0.97
    with pytest.raises(InputError) as caught:
        align_pairwise(vectors, chain, "a")
    assert len(caught.value.problems) == 2


def test_the_joint_objective_grows_with_each_round_and_is_what_it_says():
    vectors = languages(noise=1.0)
    dictionaries = {
        ("a", "b"): PAIRS[:30], ("b", "c"): PAIRS[30:60], ("c", "a"): PAIRS[60:90], ("d", "b"): PAIRS[90:120],
    }  # fmt: skip
    hub = align_jointly(vectors, dictionaries, "a", tolerance=1e-10)
    assert len(hub.objectives) > 3
    assert all(after >= before - 1e-9 for before, after in zip(hub.objectives, hub.objectives[1:], strict=False))
    mapped = {name: hub.map(name, rows) for name, rows in vectors.items()}
    products = [
        np.mean([mapped[first][i] @ mapped[second][j] for i, j in pairs])
        for (first, second), pairs in dictionaries.items()
    ]
    assert hub.objectives[-1] == pytest.approx(np.mean(products), abs=1e-5)
    for name in "bcd":
        np.testing.assert_allclose(hub.maps[name].T @ hub.maps[name], np.eye(12), atol=1e-5)


def test_joint_alignment_translates_better_where_a_language_has_few_pairs_with_the_hub():
    vectors = languages(noise=0.7, names="abc")
    dictionaries = {("b", "a"): PAIRS[:10], ("b", "c"): PAIRS[10:110], ("c", "a"): PAIRS[110:210]}
    rest = PAIRS[210:]
    pairwise = found(align_pairwise(vectors, dictionaries, "a"), vectors, "b", "a", rest)
    jointly = found(align_jointly(vectors, dictionaries, "a"), vectors, "b", "a", rest)
    assert jointly > pairwise + 0.1


def test_steps_that_leave_the_hub_alone_are_taken_and_others_refused():
    vectors = languages(names="ab")
    steps = preset("vecmap", source_reweight=1.0, target_reweight=0.0)
    assert found(align_pairwise(vectors, {("a", "b"): PAIRS[:150]}, "b", steps), vectors, "a", "b") > 0.97
    for changes in ({}, {"dimensions": 5}):
        with pytest.raises(InputError, match="hub's own vectors"):
            align_pairwise(vectors, {("a", "b"): PAIRS[:150]}, "b", preset("vecmap", **changes))


def test_all_that_is_wrong_with_the_links_is_said_at_once():
    vectors = languages()
    vectors["b"] = vectors["b"][:, :5]
    with pytest.raises(InputError) as caught:
        align_jointly(vectors, {("a", "b"): PAIRS, ("c", "z"): PAIRS, ("a", "a"): PAIRS}, "a")
    told = str(caught.value)
    for words in ("names 'z'", "'a' and itself", "lead from 'c'", "lead from 'd'", "a 12, b 5"):
        assert words in told
    with pytest.raises(InputError, match="vectors of the hub 'x'"):
        align_pairwise(vectors, {}, "x")
    with pytest.raises(InputError, match="no language 'q'"):
        align_pairwise(languages(names="ab"), {("a", "b"): PAIRS}, "b").map("q", vectors["a"])
