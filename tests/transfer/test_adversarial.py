"""DANN and domain confusion: both players' gradients against finite differences, and that domains are forgotten."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from speechnlp_tl.core.alarms import TrainingError
from speechnlp_tl.core.config import TrainConfig
from speechnlp_tl.core.objective import TASK, Objective
from speechnlp_tl.core.task import Step
from speechnlp_tl.core.tracking import read_metrics
from speechnlp_tl.core.trainer import Trainer
from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.adversarial import DANN, DomainConfusion, reversal_schedule, reverse_gradient
from tests.transfer.domain_shift import HIDDEN, ShiftTask, same_weights, told_apart, told_apart_without, train

TERMS = [DANN, DomainConfusion]
WIDTH = 3


def random_step(shape=(5, 4), domains=3, seed=0):
    """Features (*shape, WIDTH) with padding and domains of unequal size."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(*shape, WIDTH, generator=generator, dtype=torch.float64).requires_grad_()
    mask = torch.rand(shape, generator=generator) < 0.7
    mask.view(len(mask), -1)[:, 0] = True
    domain = torch.tensor([0, 1, 1, 2, 0])[: shape[0]] % domains
    return Step(torch.zeros(()), torch.zeros(*shape, 2), mask, {"hidden": hidden}, domain)


def log_posteriors(classifier, unit):
    """Of one unit, multiplied out by hand."""
    for layer in classifier:
        unit = layer.weight @ unit + layer.bias if isinstance(layer, nn.Linear) else unit.clamp_min(0)
    return unit - unit.exp().sum().log()


def losses_by_hand(classifier, step, present):
    """The classifier's loss and the confusion loss, unit by unit: means over domains of means over units."""
    told, confused = [], []
    for which in present:
        own_told, own_confused = [], []
        for row, of in enumerate(step.domain.tolist()):
            units, mask = step.features["hidden"][row].view(-1, WIDTH), step.mask[row].view(-1)
            for unit, real in zip(units, mask, strict=True):
                if of == which and real:
                    log_q = log_posteriors(classifier, unit)
                    own_told.append(-log_q[which])
                    own_confused.append(-log_q.mean())
        told.append(sum(own_told) / len(own_told))
        confused.append(sum(own_confused) / len(own_confused))
    return sum(told) / len(told), sum(confused) / len(confused)


@pytest.mark.parametrize("shape", [(5, 4), (5,)])
@pytest.mark.parametrize("weight", [0.25, 2.0])
def test_values_are_the_losses_of_the_docstrings_unit_by_unit(shape, weight):
    step = random_step(shape)
    for make in TERMS:
        term = make("hidden", WIDTH, domains=3, hidden=(4,), weight=weight).double()
        told, confused = losses_by_hand(term.classifier, step, [0, 1, 2])
        term.progress = 0.3
        expected = told if make is DANN else told + term.strength * confused
        torch.testing.assert_close(term.strength * term(step, None), expected, rtol=1e-12, atol=0)


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(2)
            self.layer = nn.Linear(2, WIDTH)

    def forward(self, inputs):
        return torch.tanh(self.layer(inputs))


class ToyTask:
    """Just enough of a task for an objective."""

    def __init__(self):
        generator = torch.Generator().manual_seed(1)
        self.model = Toy().double()
        self.inputs = torch.randn(6, 2, generator=generator, dtype=torch.float64)

    def step(self, model, batch):
        hidden = model(self.inputs)
        mask = torch.ones(6, dtype=torch.bool)
        return Step(hidden.sum() * 0, hidden, mask, {"hidden": hidden}, torch.tensor([0, 0, 0, 0, 1, 1]))


def finite_differences(value, parameter, size=1e-6):
    slopes = torch.zeros_like(parameter)
    with torch.no_grad():
        for index in range(parameter.numel()):
            entry, before = parameter.view(-1), parameter.view(-1)[index].item()
            entry[index] = before + size
            above = value().item()
            entry[index] = before - size
            slopes.view(-1)[index] = (above - value().item()) / (2 * size)
            entry[index] = before
    return slopes


@pytest.mark.parametrize("make", TERMS)
@pytest.mark.parametrize(("weight", "progress"), [(1.0, 0.05), (0.3, 0.4), (2.0, 1.0)])
def test_the_classifier_learns_at_full_rate_and_the_model_with_lambda(make, weight, progress):
    task = ToyTask()
    term = make("hidden", WIDTH, hidden=(4,), weight=weight).double()
    Objective(task, [term])(None, progress)[term.name].backward()

    def told():
        return losses_by_hand(term.classifier, task.step(task.model, None), [0, 1])[0]

    def confused():
        return losses_by_hand(term.classifier, task.step(task.model, None), [0, 1])[1]

    strength = weight * (2 / (1 + math.exp(-10 * progress)) - 1)
    assert term.strength == pytest.approx(strength)
    for parameter in term.classifier.parameters():
        torch.testing.assert_close(parameter.grad, finite_differences(told, parameter), rtol=1e-6, atol=1e-9)
    for parameter in task.model.parameters():
        slope = -finite_differences(told, parameter) if make is DANN else finite_differences(confused, parameter)
        assert slope.abs().max() > 1e-3
        torch.testing.assert_close(parameter.grad, strength * slope, rtol=1e-6, atol=1e-9)


def test_a_reversed_gradient_is_the_gradient_times_minus_strength():
    x = torch.randn(4, requires_grad=True)
    y = reverse_gradient(x, 0.7)
    assert torch.equal(x, y)
    (gradient,) = torch.autograd.grad((y * torch.arange(4)).sum(), x)
    torch.testing.assert_close(gradient, -0.7 * torch.arange(4.0))


def test_the_schedule_is_that_of_the_paper():
    assert reversal_schedule(0.0) == 0.0
    assert reversal_schedule(0.1) == pytest.approx(math.tanh(0.5))
    assert reversal_schedule(1.0) == pytest.approx(0.99990920)


@pytest.mark.parametrize("make", TERMS)
def test_the_term_rests_while_its_schedule_is_zero(make):
    task = ToyTask()
    assert list(Objective(task, [make("hidden", WIDTH).double()])(None, 0.0)) == [TASK]
    late = Objective(task, [make("hidden", WIDTH, schedule=lambda progress: float(progress > 0.5)).double()])
    assert list(late(None, 0.5)) == [TASK]
    assert list(late(None, 0.6)) == [TASK, make.name]
    constant = make("hidden", WIDTH, weight=0.4, schedule=None).double()
    assert list(Objective(task, [constant])(None, 0.0)) == [TASK, make.name]
    assert constant.strength == 0.4


@pytest.mark.parametrize("make", TERMS)
def test_padding_does_not_count_even_when_it_is_not_a_number(make):
    step = random_step()
    term = make("hidden", WIDTH, domains=3).double()
    clean = term(step, None)
    dirty = step.features["hidden"].detach().masked_fill(~step.mask.unsqueeze(-1), float("nan")).requires_grad_()
    value = term(Step(step.loss, step.logits, step.mask, {"hidden": dirty}, step.domain), None)
    value.backward()
    assert torch.equal(value, clean)
    assert torch.isfinite(dirty.grad).all()
    assert (dirty.grad[~step.mask] == 0).all()
    assert (dirty.grad[step.mask] != 0).any()


@pytest.mark.parametrize("make", TERMS)
def test_domains_that_a_batch_lacks_take_no_part(make):
    term = make("hidden", WIDTH, domains=4, hidden=(), schedule=None).double()
    step = random_step(domains=2)
    told, confused = losses_by_hand(term.classifier, step, [0, 1])
    torch.testing.assert_close(term(step, None), told if make is DANN else told + confused)
    for domain, mask in (
        (torch.full((5,), 2), step.mask),
        (torch.full((5,), -1), step.mask),
        (torch.tensor([0, 0, 0, 0, -1]), step.mask),
        (step.domain, torch.zeros_like(step.mask)),
    ):
        hidden = step.features["hidden"].detach().clone().requires_grad_()
        value = term(Step(step.loss, step.logits, mask, {"hidden": hidden}, domain), None)
        gradients = torch.autograd.grad(value, [hidden, *term.parameters()], allow_unused=True)
        assert value.item() == 0
        assert all(gradient is None or (gradient == 0).all() for gradient in gradients)


def test_rows_of_unknown_domain_take_no_part():
    term = DANN("hidden", WIDTH, domains=3).double()
    step = random_step()
    known = [0, 1, 2, 3]
    part = Step(
        step.loss, step.logits, step.mask[known], {"hidden": step.features["hidden"][known]}, step.domain[known]
    )
    step.domain[4] = -1
    torch.testing.assert_close(term(step, None), term(part, None))


def test_accuracy_is_the_mean_over_domains_since_it_was_last_recorded():
    term = DANN("hidden", 1, hidden=())
    with torch.no_grad():
        term.classifier[0].weight.copy_(torch.tensor([[-1.0], [1.0]]))  # domain 1 where the feature is positive
        term.classifier[0].bias.zero_()
    assert term.metrics() == {}
    domain, mask = torch.tensor([0, 0, 0, 0, 1]), torch.ones(5, dtype=torch.bool)

    def show(values):
        hidden = torch.tensor(values).unsqueeze(1)
        term(Step(torch.zeros(()), hidden, mask, {"hidden": hidden}, domain), None)

    show([-1.0, -1, -1, 1, 1])
    show([-1.0, -1, -1, -1, -1])
    for _ in range(2):  # a training record and an evaluation may come after the same step
        assert term.metrics() == {"domain_accuracy": pytest.approx(100 * (7 / 8 + 1 / 2) / 2)}
    show([1.0, 1, 1, -1, 1])
    assert term.metrics() == {"domain_accuracy": pytest.approx(100 * (1 / 4 + 1) / 2)}


@pytest.mark.parametrize("make", TERMS)
def test_the_run_records_the_accuracy_of_the_domain_classifier(make, tmp_path):
    trainer = Trainer(
        ShiftTask(),
        TrainConfig(epochs=3, log_every=10, evaluate_every=1, learning_rate=5e-3, device="cpu"),
        tmp_path,
        [make("hidden", HIDDEN)],
        quiet=True,
    )
    result = trainer.fit()
    name = f"{make.name}_domain_accuracy"
    later = [record for record in read_metrics(tmp_path / "metrics.jsonl") if record["step"] > 1]
    assert len(later) == 3  # steps 10, 20 and 30; the first rests, its lambda is zero
    assert all(20 < record[name] < 100 for record in later)
    assert [record["epoch"] for record in result.history] == [1, 2, 3]
    assert all(20 < record[name] < 100 for record in result.history)


def test_the_classifier_starts_from_its_seed_and_disturbs_nobody():
    before = torch.get_rng_state()
    one, same, other = DANN("hidden", 4, seed=1), DANN("hidden", 4, seed=1), DANN("hidden", 4, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert same_weights(one, same)
    assert not same_weights(one, other)


@pytest.mark.parametrize("make", TERMS)
def test_what_does_not_fit_is_refused_by_name(make):
    for wrong in ({"weight": -1.0}, {"domains": 1}, {"width": 0}, {"hidden": (0,)}):
        with pytest.raises(InputError, match=f"{make.name} needs weight >= 0"):
            make(**{"layer": "hidden", "width": WIDTH} | wrong)
    step = random_step()
    with pytest.raises(InputError, match="no layer 'hiden'; it has: hidden, logits, posteriors"):
        make("hiden", WIDTH)(step, None)
    with pytest.raises(InputError, match="give width=3"):
        make("hidden", 7)(step, None)
    with pytest.raises(InputError, match="domain 2, its classifier was made for 2 domains"):
        make("hidden", WIDTH).double()(step, None)
    with pytest.raises(InputError, match="mask"):
        make("hidden", WIDTH)(Step(step.loss, step.logits, step.mask[:, :3], step.features, step.domain), None)
    with pytest.raises(InputError, match="domain of each row"):
        make("hidden", WIDTH)(Step(step.loss, step.logits, step.mask, step.features), None)


@pytest.mark.parametrize("make", TERMS)
@pytest.mark.parametrize("seed", [0, 1])
def test_domains_are_forgotten_and_the_target_is_classified_better(make, seed):
    plain, told_before = told_apart_without(seed=seed)
    term = make("hidden", HIDDEN)
    adapted, told_after = told_apart(ShiftTask(seed=seed), [term])
    assert adapted > plain + 0.08
    assert told_after < told_before - 0.08
    assert 50 < term.metrics()["domain_accuracy"] < 100 * told_before


@pytest.mark.parametrize("make", TERMS)
def test_weight_zero_is_training_without_the_term(make):
    assert same_weights(
        train(ShiftTask(), epochs=3), train(ShiftTask(), [make("hidden", HIDDEN, weight=0.0)], epochs=3)
    )
    assert not same_weights(train(ShiftTask(), epochs=3), train(ShiftTask(), [make("hidden", HIDDEN)], epochs=3))


@pytest.mark.parametrize("make", TERMS)
def test_a_classifier_that_learns_while_nothing_reaches_the_model_is_an_error(make):
    class Detached(ShiftTask):
        def step(self, model, batch):
            step = super().step(model, batch)
            step.features = {"hidden": step.features["hidden"].detach()}
            return step

    term = make("hidden", HIDDEN)
    before = term.classifier[0].weight.detach().clone()
    with pytest.raises(TrainingError, match=f"'{make.name}' has a positive weight but its gradient on the model"):
        train(Detached(), [term], epochs=10)
    assert not torch.equal(before, term.classifier[0].weight)
