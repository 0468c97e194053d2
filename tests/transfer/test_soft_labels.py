"""Soft labels: matrix and term against loops, gradients by finite differences, and the effect of a few labels."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechnlp_tl.core.task import Step
from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.adversarial import DomainConfusion
from speechnlp_tl.transfer.soft_labels import SoftLabels, soft_label_matrix
from tests.transfer.domain_shift import HIDDEN, ShiftTask, same_weights, told_apart, told_apart_without, train

CLASSES = 3
MATRIX = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.1, 0.1, 0.8]], dtype=torch.float64)


def random_step(shape=(6, 4), seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(*shape, CLASSES, generator=generator, dtype=torch.float64).requires_grad_()
    mask = torch.rand(shape, generator=generator) < (0.7 if len(shape) == 2 else 2)
    labels = torch.randint(-1, CLASSES, shape, generator=generator)
    return Step(torch.zeros(()), logits, mask, {}, torch.tensor([0, 1, 1, -1, 2, 1][: shape[0]]), labels)


def softmax_by_hand(logits, temperature):
    powers = [math.exp(value / temperature) for value in logits]
    return [power / sum(powers) for power in powers]


def value_by_hand(step, temperature, target=1):
    total = 0.0
    for row, domain in enumerate(step.domain.tolist()):
        places = zip(
            step.mask[row].reshape(-1).tolist(),
            step.labels[row].reshape(-1).tolist(),
            step.logits[row].reshape(-1, CLASSES).tolist(),
            strict=True,
        )
        for real, label, logits in places:
            if real and domain == target and label >= 0:
                posteriors = softmax_by_hand(logits, temperature)
                total -= sum(MATRIX[label, k].item() * math.log(posteriors[k]) for k in range(CLASSES))
    return total


@given(st.integers(CLASSES, 12), st.floats(0.3, 5), st.integers(0, 10**6))
def test_a_soft_label_is_the_mean_answer_for_its_class(rows, temperature, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows + 2, CLASSES, generator=generator, dtype=torch.float64)
    labels = torch.cat([torch.arange(CLASSES), torch.randint(CLASSES, (rows - CLASSES,), generator=generator)])
    labels = torch.cat([labels, torch.tensor([-1, -1])])
    matrix = soft_label_matrix(logits, labels, CLASSES, temperature)
    for which in range(CLASSES):
        own = [
            softmax_by_hand(z, temperature) for z, y in zip(logits.tolist(), labels.tolist(), strict=True) if y == which
        ]
        expected = [sum(column) / len(own) for column in zip(*own, strict=True)]
        assert matrix[which].tolist() == pytest.approx(expected, rel=1e-9)


def test_frames_have_soft_labels_like_rows():
    step = random_step()
    frames = soft_label_matrix(step.logits, step.labels, CLASSES)
    assert torch.equal(frames, soft_label_matrix(step.logits.reshape(-1, CLASSES), step.labels.reshape(-1), CLASSES))
    assert not frames.requires_grad
    assert soft_label_matrix(step.logits.bfloat16(), step.labels, CLASSES).dtype == torch.float32


def test_what_makes_no_soft_labels_is_refused_all_at_once():
    logits = torch.randn(4, CLASSES)
    with pytest.raises(InputError, match=r"temperature above 0, not 0.0(?s:.)*found 5(?s:.)*no row has class 0, 2"):
        soft_label_matrix(logits, torch.tensor([1, 1, 5, -1]), CLASSES, 0.0)
    for labels, classes in ((torch.zeros(3, dtype=torch.int64), CLASSES), (torch.zeros(4, dtype=torch.int64), 2)):
        with pytest.raises(InputError, match=f"soft labels of {classes} classes need logits"):
            soft_label_matrix(logits, labels, classes)
    logits[0, 0] = float("nan")
    with pytest.raises(InputError, match="not finite"):
        soft_label_matrix(logits, torch.tensor([0, 1, 2, 2]), CLASSES)
    soft_label_matrix(logits, torch.tensor([-1, 1, 2, 0]), CLASSES)


@pytest.mark.parametrize("shape", [(6, 4), (6,)])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_value_is_the_cross_entropy_on_labelled_target_units_one_by_one(shape, temperature):
    step, term = random_step(shape), SoftLabels(MATRIX, temperature=temperature)
    value = term(step, None)
    assert value.item() == pytest.approx(value_by_hand(step, temperature), rel=1e-12)
    assert value > 0
    other = SoftLabels(MATRIX, target=2, temperature=temperature)(step, None).item()
    assert other == pytest.approx(value_by_hand(step, temperature, target=2), rel=1e-12)
    assert torch.autograd.gradcheck(lambda _: term(step, None), (step.logits,))


@pytest.mark.parametrize("garbage", [float("nan"), float("inf")])
def test_only_labelled_real_target_units_take_part(garbage):
    step, term = random_step(), SoftLabels(MATRIX)
    clean = term(step, None)
    counted = step.mask & (step.domain == 1).unsqueeze(1) & (step.labels >= 0)
    dirty = step.logits.detach().masked_fill(~counted.unsqueeze(-1), garbage).requires_grad_()
    value = term(replace(step, logits=dirty), None)
    value.backward()
    assert torch.equal(value, clean)
    assert (dirty.grad[~counted] == 0).all()
    assert (dirty.grad[counted] != 0).any()
    nothing = term(replace(step, labels=torch.full_like(step.labels, -1)), None)
    nothing.backward()
    assert nothing.item() == 0


def test_how_a_batch_is_split_changes_nothing():
    step, term = random_step(), SoftLabels(MATRIX)
    parts = [
        Step(step.loss, step.logits[rows], step.mask[rows], {}, step.domain[rows], step.labels[rows])
        for rows in (slice(0, 2), slice(2, 6))
    ]
    torch.testing.assert_close(sum(term(part, None) for part in parts), term(step, None))


def test_what_does_not_fit_is_refused_by_name():
    for wrong in ({"weight": -1.0}, {"target": -1}, {"temperature": 0.0}):
        with pytest.raises(InputError, match="soft_labels needs weight >= 0"):
            SoftLabels(MATRIX, **wrong)
    for matrix, said in ((MATRIX[:2], r"a \(C, C\) matrix"), (MATRIX * 2, "distributions"), (MATRIX - 0.2, "distrib")):
        with pytest.raises(InputError, match=said):
            SoftLabels(matrix)
    step, term = random_step(), SoftLabels(MATRIX)
    with pytest.raises(InputError, match=r"needs the labels of rows(?s:.)*needs the domain of each row"):
        term(replace(step, labels=None, domain=None), None)
    with pytest.raises(InputError, match="give a label for each position"):
        term(replace(step, labels=step.labels[:, 0]), None)
    with pytest.raises(InputError, match="soft labels of the same classes"):
        term(replace(step, logits=torch.zeros(6, 4, 2)), None)
    with pytest.raises(InputError, match="a row has class 7, the soft labels 3"):
        term(replace(step, labels=torch.full_like(step.labels, 7), mask=torch.ones_like(step.mask)), None)


def source_soft_labels(seed=0):
    """Of a network trained on the source alone."""
    task = ShiftTask(seed=seed)
    model = train(task, epochs=5)
    of_source = task.domain == 0
    with torch.no_grad():
        return soft_label_matrix(model(task.inputs[of_source])[1], task.labels[of_source], 2)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_few_target_labels_serve_the_target_and_confusion_beside_them_hides_the_domain(seed):
    plain, told_before = told_apart_without(seed=seed)
    soft_labels = source_soft_labels(seed)
    assert (soft_labels.argmax(1) == torch.arange(2)).all()
    few, _ = told_apart(ShiftTask(seed=seed, known=40), [SoftLabels(soft_labels, weight=5.0)])
    assert few > plain + 0.05
    terms = [SoftLabels(soft_labels, weight=5.0), DomainConfusion("hidden", HIDDEN)]
    both, told_after = told_apart(ShiftTask(seed=seed, known=40), terms)
    assert both > plain + 0.08
    assert told_after < told_before - 0.08


def test_without_target_labels_or_weight_it_is_training_without_the_term():
    plain = train(ShiftTask(), epochs=2)
    soft_labels = source_soft_labels()
    assert same_weights(plain, train(ShiftTask(known=40), [SoftLabels(soft_labels, weight=0.0)], epochs=2))
    assert not same_weights(plain, train(ShiftTask(known=40), [SoftLabels(soft_labels)], epochs=2))
