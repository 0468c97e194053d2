from __future__ import annotations

import numpy as np
import pytest
import torch

from speechnlp_tl.core.config import TrainConfig
from speechnlp_tl.core.trainer import Trainer
from speechnlp_tl.embeddings.alignment import fit_alignment, preset
from speechnlp_tl.embeddings.ranking import (
    LinearMap,
    MarginSettings,
    MarginTask,
    RcslsSettings,
    RcslsTask,
    fit_margin,
    fit_rcsls,
    margin_ranking_loss,
    rcsls_loss,
)
from speechnlp_tl.errors import InputError
from tests.embeddings.planted import planted, precision


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def made_rows(count: int, width: int, seed: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, width)))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def brute_margin(
    w: np.ndarray, x: np.ndarray, y: np.ndarray, words: np.ndarray, negatives: int, margin: float
) -> float:
    """Lazaridou et al. 2015 with intruders, word for word."""
    total = 0.0
    for a, b in zip(x, y, strict=True):
        guess = a @ w
        intruders = sorted(words, key=lambda word, guess=guess, b=b: cosine(b, word) - cosine(guess, word))[:negatives]
        total += sum(max(0.0, margin - cosine(guess, b) + cosine(guess, word)) for word in intruders)
    return total


def brute_rcsls(w: np.ndarray, x: np.ndarray, y: np.ndarray, sources: np.ndarray, targets: np.ndarray, k: int) -> float:
    """Equation 5 of Joulin et al. 2018, word for word."""
    total = 0.0
    for a, b in zip(x, y, strict=True):
        ahead = sorted((float(a @ w @ word) for word in targets), reverse=True)[:k]
        back = sorted((float(word @ w @ b) for word in sources), reverse=True)[:k]
        total += -2 * float(a @ w @ b) + sum(ahead) / k + sum(back) / k
    return total


def task_of(kind: str):
    sources, targets = made_rows(15, 4, 0), made_rows(12, 3, 1)
    pairs = np.array([[0, 3], [5, 5], [5, 1], [9, 2]])
    w = np.random.default_rng(2).standard_normal((4, 3))
    model = LinearMap(w).double()
    model.weight.data = torch.tensor(w)
    if kind == "rcsls":
        task = RcslsTask(model, sources, targets, pairs, RcslsSettings(neighbours=3))
        expected = lambda w: brute_rcsls(w, sources[pairs[:, 0]], targets[pairs[:, 1]], sources, targets, 3)  # noqa: E731
    else:
        task = MarginTask(model, sources, targets, pairs, MarginSettings(negatives=4, margin=0.3))
        expected = lambda w: brute_margin(w, sources[pairs[:, 0]], targets[pairs[:, 1]], targets, 4, 0.3)  # noqa: E731
    return task, w, expected


@pytest.mark.parametrize("kind", ["rcsls", "margin"])
def test_loss_and_gradient_are_those_of_the_formula(kind):
    task, w, expected = task_of(kind)
    step = task.step(task.model, task.load([0, 1, 2, 3], 0))
    assert step.loss.item() == pytest.approx(expected(w), abs=1e-9)
    step.loss.backward()
    finite = np.zeros_like(w)
    for place in np.ndindex(w.shape):
        moved = np.zeros_like(w)
        moved[place] = 1e-5
        finite[place] = (expected(w + moved) - expected(w - moved)) / 2e-5
    np.testing.assert_allclose(task.model.weight.grad.numpy(), finite, atol=1e-6)
    assert np.abs(finite).max() > 0.01


def test_random_negatives_enter_the_margin_loss_as_they_are():
    mapped, right = made_rows(3, 4, 0), made_rows(3, 4, 1)
    wrong = made_rows(6, 4, 2).reshape(3, 2, 4)
    ours = margin_ranking_loss(torch.tensor(mapped), torch.tensor(right), torch.tensor(wrong), 0.5)
    loop = [
        sum(max(0, 0.5 - cosine(m, r) + cosine(m, n)) for n in negatives)
        for m, r, negatives in zip(mapped, right, wrong, strict=True)
    ]
    np.testing.assert_allclose(ours.numpy(), loop, atol=1e-9)


def test_the_random_negatives_of_a_pair_do_not_depend_on_its_batch():
    made = planted(words=100)
    task = MarginTask(LinearMap(np.eye(20)), made.source, made.target, made.pairs, MarginSettings(choice="random"))
    together, alone = task.load([3, 8], 1).drawn, task.load([8], 1).drawn
    assert together[1].tolist() == alone[0].tolist()
    assert together[0].tolist() != together[1].tolist()
    assert task.load([8], 2).drawn.tolist() != alone.tolist()


def test_rcsls_of_a_perfect_map_is_minus_the_csls_score():
    same = torch.tensor(np.eye(4))
    near = torch.zeros(4, 2, 4, dtype=torch.float64)
    assert rcsls_loss(same, same, near, near).tolist() == [-2, -2, -2, -2]


@pytest.mark.parametrize(
    ("fit", "settings"),
    [
        (fit_margin, MarginSettings(epochs=5, batch_size=64)),
        (fit_margin, MarginSettings(epochs=5, batch_size=64, choice="random")),
        (fit_rcsls, RcslsSettings(epochs=5, batch_size=64)),
    ],
    ids=["intruders", "random", "rcsls"],
)
def test_a_planted_rotation_with_noise_is_recovered(fit, settings):
    made = planted(noise=0.1)
    alignment = fit(made.source, made.target, made.pairs[:200], settings)
    found = precision(alignment.map_source(made.source), alignment.map_target(made.target), made.pairs[200:])
    assert found > 0.97


@pytest.mark.parametrize(
    ("task", "settings"),
    [(MarginTask, MarginSettings(batch_size=64)), (RcslsTask, RcslsSettings(batch_size=64))],
)
def test_training_lowers_the_loss_from_the_procrustes_map(task, settings):
    made = planted(noise=0.5)
    x, y = unit(made.source), unit(made.target)
    start = fit_alignment(made.source, made.target, made.pairs, preset("procrustes", normalise=("unit",)))
    trained = task(LinearMap(start.source_map), x, y, made.pairs, settings)
    everything = list(range(len(made.pairs)))

    def loss() -> float:
        with torch.no_grad():
            return float(trained.step(trained.model, trained.load(everything, 0)).loss)

    before = loss()
    Trainer(trained, TrainConfig(epochs=5, learning_rate=1e-3, weight_decay=0.0), None, quiet=True).fit()
    assert loss() < before


def test_held_out_pairs_choose_the_map_and_rare_words_may_be_among_the_pairs():
    made = planted(noise=0.6)
    settings = RcslsSettings(epochs=6, batch_size=8, words=150, learning_rate=0.1)
    last = fit_rcsls(made.source, made.target, made.pairs[260:300], settings)
    chosen = fit_rcsls(made.source, made.target, made.pairs[260:300], settings, held_out=made.pairs[300:400])
    found = [
        precision(a.map_source(made.source), a.map_target(made.target), made.pairs[300:400]) for a in (last, chosen)
    ]
    assert found[1] >= found[0]
    assert not np.array_equal(chosen.source_map, last.source_map)


def test_bad_input_is_named():
    made = planted(words=60)
    with pytest.raises(InputError, match="source row outside"):
        fit_rcsls(made.source, made.target, made.pairs + 10)
    with pytest.raises(InputError, match="source row outside"):
        fit_margin(made.source, made.target, made.pairs, held_out=made.pairs + 10)
