from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from speechnlp_tl.embeddings.adversarial import (
    MAPPED,
    AdversarialSettings,
    AdversarialTask,
    align_adversarially,
    first_map,
    refine,
    train_map,
    unsupervised_score,
)
from speechnlp_tl.embeddings.normalisation import Normalisation
from speechnlp_tl.embeddings.ranking import LinearMap
from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.adversarial import DANN
from tests.embeddings.planted import Planted, precision

QUICK = AdversarialSettings(hidden=(64,), epochs=3, steps=200, restarts=1, learning_rate=2e-3)
STEPS = ("unit", "centre", "unit")


def skewed(words: int = 500, dimensions: int = 6, seed: int = 0) -> Planted:
    """Independent skewed dimensions of unlike spread, rotated at random."""
    generator = np.random.default_rng(seed)
    source = (generator.exponential(1.0, (words, dimensions)) - 1) * np.linspace(1.5, 0.7, dimensions)
    rotation = scipy.stats.ortho_group.rvs(dimensions, random_state=seed)
    target = source @ rotation + 0.02 * generator.standard_normal(source.shape)
    order = generator.permutation(words)
    pairs = np.stack([order, np.arange(words)], axis=1)
    return Planted(source.astype(np.float32), target[order].astype(np.float32), rotation, pairs)


def normalised(made: Planted) -> tuple[np.ndarray, np.ndarray]:
    return tuple(Normalisation.fit(side, STEPS)(side) for side in (made.source, made.target))


@pytest.mark.parametrize("seed", range(2))
def test_a_planted_rotation_with_noise_is_found_without_any_dictionary(seed):
    made = skewed(seed=seed)
    found = align_adversarially(made.source, made.target, QUICK)
    mapped = found.alignment.map_source(made.source), found.alignment.map_target(made.target)
    assert precision(*mapped, made.pairs) > 0.95
    assert found.mutual_share > 0.9
    assert found.similarity > 0.95
    assert max(found.refined_scores) >= max(found.restart_scores) - 1e-6


@pytest.mark.parametrize("term", ["dann", "domain_confusion"])
def test_the_classifier_alone_turns_a_wrong_map_towards_the_right_one(term):
    """No refinement, and a start that is 45 degrees off: what moves the map is the gradient of the domain term."""
    made = skewed()
    x, y = normalised(made)
    right, _ = scipy.linalg.orthogonal_procrustes(x[made.pairs[:, 0]], y[made.pairs[:, 1]])
    turn = np.random.default_rng(5).standard_normal((6, 6))
    start = right @ scipy.linalg.expm(0.32 * (turn - turn.T))
    settings = QUICK.model_copy(update={"term": term, "epochs": 5})
    weight, score = train_map(x, y, start, settings, seed=0)
    before, after = (np.trace(right.T @ each) / 6 for each in (start, weight))
    assert before < 0.75
    assert after > 0.95
    assert score == pytest.approx(unsupervised_score(x @ weight, y), abs=1e-6)
    np.testing.assert_allclose(weight.T @ weight, np.eye(6), atol=1e-5)


def test_the_step_is_what_a_domain_term_needs_and_carries_its_gradient():
    made = skewed()
    task = AdversarialTask(LinearMap(np.eye(6)), *normalised(made), QUICK, seed=0)
    batch = task.load(task.batches(0)[0], 0)
    step = task.step(task.model, batch)
    assert step.domain.tolist() == [0] * QUICK.batch_size + [1] * QUICK.batch_size
    assert float(step.loss.detach()) == 0
    term = DANN(MAPPED, 6, schedule=None)
    term(step, None).backward()
    assert float(task.model.weight.grad.abs().max()) > 0
    assert batch.ids[0].startswith("source")
    assert batch.ids[-1].startswith("target")


def test_after_each_step_the_map_is_drawn_to_the_orthogonal_ones():
    made = skewed()
    task = AdversarialTask(LinearMap(np.diag([1.3, 0.7, 1, 1, 1, 1])), *normalised(made), QUICK, seed=0)
    for _ in range(500):
        task.end_step(lambda total: total)
    np.testing.assert_allclose(task.model.weight.detach().numpy(), np.eye(6), atol=1e-3)
    once = AdversarialTask(LinearMap(2 * np.eye(6)), *normalised(made), QUICK, seed=0)
    once.end_step(lambda total: total)
    torch.testing.assert_close(once.model.weight.detach(), (1.01 * 2 - 0.01 * 8) * torch.eye(6))


def test_the_first_map_lays_axes_upon_axes_and_restarts_turn_some_round():
    made = skewed()
    x, y = normalised(made)
    first = first_map(x, y)
    np.testing.assert_allclose(first @ first.T, np.eye(6), atol=1e-6)
    covariance = (x @ first).T @ (x @ first) - y.T @ y
    assert np.abs(covariance).max() < 0.05 * np.abs(y.T @ y).max()
    other = first_map(x, y, restart=1)
    assert not np.allclose(other, first)
    moved = (x @ other).T @ (x @ other) - y.T @ y
    assert np.abs(moved).max() < 0.05 * np.abs(y.T @ y).max()


def test_refinement_climbs_from_a_rough_map_and_keeps_the_best():
    made = skewed()
    x, y = normalised(made)
    right, _ = scipy.linalg.orthogonal_procrustes(x[made.pairs[:, 0]], y[made.pairs[:, 1]])
    turn = np.random.default_rng(5).standard_normal((6, 6))
    rough = (right @ scipy.linalg.expm(0.06 * (turn - turn.T))).astype(np.float32)
    weight, scores = refine(x, y, rough, rounds=10)
    assert np.trace(right.T @ weight) > np.trace(right.T @ rough) + 0.01
    assert unsupervised_score(x @ weight, y) == pytest.approx(max(scores))
    assert refine(x, y, rough, rounds=0)[1] == scores[:1]


def test_the_unsupervised_score_is_higher_for_the_right_map():
    made = skewed()
    x, y = normalised(made)
    right, _ = scipy.linalg.orthogonal_procrustes(x[made.pairs[:, 0]], y[made.pairs[:, 1]])
    assert unsupervised_score(x @ right, y) > unsupervised_score(x, y) + 0.05


def test_unrelated_vectors_show_in_size_and_similarity():
    made = skewed()
    unrelated = np.random.default_rng(9).standard_normal((500, 6)).astype(np.float32)
    settings = QUICK.model_copy(update={"epochs": 1, "steps": 50})
    good, collapsed = (align_adversarially(made.source, target, settings) for target in (made.target, unrelated))
    assert collapsed.mutual_share < 0.8 * good.mutual_share
    assert collapsed.similarity < good.similarity - 0.02


def test_bad_input_is_named():
    made = skewed()
    with pytest.raises(InputError, match="like dimensions, not 6 and 4"):
        align_adversarially(made.source, made.target[:, :4], QUICK)
    broken = made.source.copy()
    broken[0] = np.nan
    with pytest.raises(InputError, match="source: 1 rows"):
        align_adversarially(broken, made.target, QUICK)
