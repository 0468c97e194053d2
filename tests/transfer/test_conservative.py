"""KLD, L2-SP and EWC: each value and gradient against its formula, and that none of them is inert."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from speechnlp_tl.core.task import Step
from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.conservative import EWC, KLD, L2SP
from speechnlp_tl.transfer.fisher import estimate_fisher


def random_steps(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits, source = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    mask = torch.rand(shape[:-1], generator=generator) < 0.7
    mask[0] = True
    labels = torch.randint(shape[-1], shape[:-1], generator=generator)
    return logits.requires_grad_(), source, mask, labels


def as_step(logits, mask, loss=None):
    return Step(torch.zeros(()) if loss is None else loss, logits, mask)


@pytest.mark.parametrize("shape", [(3, 5, 4), (6, 4)])
@pytest.mark.parametrize("rho", [0.0, 0.3, 1.0])
def test_kld_gradient_is_that_of_cross_entropy_with_interpolated_targets(shape, rho):
    logits, source, mask, labels = random_steps(shape)
    task = F.cross_entropy(logits[mask], labels[mask], reduction="sum")
    term = KLD(rho)
    value = term(as_step(logits, mask), as_step(source, mask))
    (ours,) = torch.autograd.grad(term.task_weight * task + term.weight * value, logits, retain_graph=True)
    targets = (1 - rho) * F.one_hot(labels, shape[-1]).double() + rho * source.softmax(-1)
    interpolated = -(targets * logits.log_softmax(-1)).sum(-1)[mask].sum()
    (theirs,) = torch.autograd.grad(interpolated, logits)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-14)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_kld_value_is_the_formula_of_its_docstring_unit_by_unit(temperature):
    logits, source, mask, _ = random_steps((3, 5, 4))
    expected = 0.0
    for row in range(3):
        for unit in range(5):
            if mask[row, unit]:
                q = [v.exp() for v in (source[row, unit] / temperature)]
                p = [v.exp() for v in (logits[row, unit] / temperature)]
                q, p = [v / sum(q) for v in q], [v / sum(p) for v in p]
                expected += temperature**2 * sum(a * (a.log() - b.log()) for a, b in zip(q, p, strict=True))
    value = KLD(0.5, temperature)(as_step(logits, mask), as_step(source, mask))
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 4)])
def test_kld_gradient_agrees_with_finite_differences(shape):
    logits, source, mask, _ = random_steps(shape)
    term = KLD(0.5, 1.7)
    assert torch.autograd.gradcheck(lambda x: term(as_step(x, mask), as_step(source, mask)), (logits,))


def test_kld_is_zero_where_the_models_agree_and_positive_elsewhere():
    logits, source, mask, _ = random_steps((3, 5, 4))
    term = KLD(0.5)
    assert abs(term(as_step(logits, mask), as_step(logits.detach(), mask)).item()) < 1e-12
    assert term(as_step(logits, mask), as_step(source, mask)).item() > 0.1


def test_kld_of_named_outputs_is_the_mean_over_them_and_leaves_the_logits_alone():
    generator = torch.Generator().manual_seed(0)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    ours = {name: torch.randn(2, 3, size, generator=generator) for name, size in (("a", 4), ("b", 7))}
    theirs = {name: torch.randn(2, 3, size, generator=generator) for name, size in (("a", 4), ("b", 7))}
    zero = torch.zeros(())
    step, source = (
        Step(zero, torch.randn(2, 3, size, generator=generator), mask, features)
        for size, features in ((5, ours), (6, theirs))
    )
    apart = [KLD(0.5)(Step(zero, ours[name], mask), Step(zero, theirs[name], mask)).item() for name in ("a", "b")]
    assert KLD(0.5, outputs=["a", "b"])(step, source).item() == pytest.approx(sum(apart) / 2)


def test_kld_ignores_padding_even_when_it_is_not_a_number():
    logits, source, mask, _ = random_steps((3, 5, 4))
    term = KLD(0.5)
    clean = term(as_step(logits, mask), as_step(source, mask))
    dirty = logits.detach().masked_fill(~mask.unsqueeze(-1), float("nan")).requires_grad_()
    value = term(as_step(dirty, mask), as_step(source.masked_fill(~mask.unsqueeze(-1), float("inf")), mask))
    value.backward()
    assert torch.equal(value, clean)
    assert (dirty.grad[~mask] == 0).all()
    assert torch.isfinite(dirty.grad).all()


def test_kld_refuses_outputs_of_another_size_and_impossible_strengths():
    logits, source, mask, _ = random_steps((6, 4))
    with pytest.raises(InputError, match="l2sp or ewc"):
        KLD(0.5)(as_step(logits, mask), as_step(source[:, :3], mask))
    for rho, temperature in ((-0.1, 1.0), (1.1, 1.0), (0.5, 0.0)):
        with pytest.raises(InputError):
            KLD(rho, temperature)


class TwoLayers(nn.Module):
    def __init__(self, classes=3, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.hidden = nn.Linear(4, 5)
            self.head = nn.Linear(5, classes)
        self.double()

    def forward(self, x):
        return self.head(torch.tanh(self.hidden(x)))


EMPTY = Step(torch.zeros(()), torch.zeros(1, 1), torch.ones(1, dtype=torch.bool))


def test_l2sp_value_and_gradient_are_those_of_the_formula():
    source, model = TwoLayers(seed=0), TwoLayers(classes=7, seed=1)
    alpha, beta = 0.6, 0.2
    term = L2SP(model, source, weight=alpha, beta=beta)
    total = term.weight * term(EMPTY, None)
    pairs = list(zip(model.hidden.parameters(), source.hidden.parameters(), strict=True))
    expected = alpha / 2 * sum(((w - w0) ** 2).sum() for w, w0 in pairs)
    expected += beta / 2 * sum((w**2).sum() for w in model.head.parameters())
    torch.testing.assert_close(total, expected, rtol=1e-12, atol=0)
    total.backward()
    for w, w0 in pairs:
        torch.testing.assert_close(w.grad, alpha * (w - w0).detach())
    for w in model.head.parameters():
        torch.testing.assert_close(w.grad, beta * w.detach())


def test_l2sp_takes_a_state_dict_and_keeps_its_own_copy():
    source = TwoLayers()
    term = L2SP(source, source.state_dict(), weight=1.0)
    with torch.no_grad():
        source.hidden.weight.add_(1.0)
    assert term(EMPTY, None).item() == pytest.approx(source.hidden.weight.numel() / 2)


def test_ewc_value_and_gradient_are_those_of_the_formula():
    source, model = TwoLayers(seed=0), TwoLayers(seed=1)
    fisher = {name: torch.rand_like(w) for name, w in source.named_parameters()}
    term = EWC(model, fisher, source, weight=3.0)
    total = term.weight * term(EMPTY, None)
    reference = dict(source.named_parameters())
    expected = sum(3.0 / 2 * (fisher[n] * (w - reference[n]) ** 2).sum() for n, w in model.named_parameters())
    torch.testing.assert_close(total, expected, rtol=1e-12, atol=0)
    total.backward()
    for name, w in model.named_parameters():
        torch.testing.assert_close(w.grad, 3.0 * fisher[name] * (w - reference[name]).detach())


def test_ewc_leaves_parameters_without_fisher_information_free():
    source, model = TwoLayers(seed=0), TwoLayers(classes=7, seed=1)
    term = EWC(model, {name: torch.ones_like(w) for name, w in source.named_parameters()}, source, weight=1.0)
    term(EMPTY, None).backward()
    assert model.head.weight.grad is None
    assert model.hidden.weight.grad.abs().sum() > 0


def test_parameter_terms_add_nothing_to_train_or_save_and_follow_the_model():
    source, model = TwoLayers(seed=0), TwoLayers(seed=1)
    fisher = {name: torch.ones_like(w) for name, w in source.named_parameters()}
    for term in (L2SP(model, source, 1.0), EWC(model, fisher, source, 1.0)):
        assert list(term.parameters()) == []
        assert term.state_dict() == {}
        assert not term.per_unit
        assert not any(buffer.requires_grad for buffer in term.buffers())
        before = term(EMPTY, None).item()
        with torch.no_grad():
            model.hidden.weight.add_(1.0)
        assert term(EMPTY, None).item() != before


def test_parameter_terms_refuse_models_without_anything_in_common():
    model = TwoLayers()
    for reference in (nn.Linear(2, 2), {"hidden.weight": torch.zeros(1)}):
        with pytest.raises(InputError, match="no parameter"):
            L2SP(model, reference, weight=1.0)
    with pytest.raises(InputError, match=r"negative or not finite"):
        EWC(model, {"hidden.weight": -torch.ones(5, 4)}, model, weight=1.0)
    for weight, beta in ((-1.0, 0.0), (1.0, -1.0)):
        with pytest.raises(InputError, match=">= 0"):
            L2SP(model, model, weight=weight, beta=beta)


def terms_of(planted, planted_step):
    x, y = planted.speakers
    rows = [(x[i : i + 1], y[i : i + 1]) for i in range(0, len(y), 7)]
    fisher = estimate_fisher(planted_step, planted.source, rows)
    return {
        "kld": lambda weight: lambda model: KLD(weight),
        "l2sp": lambda weight: lambda model: L2SP(model, planted.source, 4 * weight),
        "ewc": lambda weight: lambda model: EWC(model, fisher, planted.source, 40 * weight),
    }


@pytest.mark.parametrize("name", ["kld", "l2sp", "ewc"])
def test_more_weight_keeps_the_model_closer_to_the_source_when_adapting_to_one_sample(name, planted, planted_step):
    make = terms_of(planted, planted_step)[name]
    drifts = [planted.drift(planted.adapt(make(weight))) for weight in (0.0, 0.1, 0.3, 0.9)]
    assert drifts[0] > 0.05
    assert all(later < 0.9 * earlier for earlier, later in pairwise(drifts)), drifts


@pytest.mark.parametrize("name", ["kld", "l2sp", "ewc"])
def test_weight_zero_is_plain_fine_tuning(name, planted, planted_step):
    plain = planted.adapt()
    weighted = planted.adapt(terms_of(planted, planted_step)[name](0.0))
    for ours, theirs in zip(weighted.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_full_weight_never_leaves_the_source(planted):
    adapted = planted.adapt(lambda model: KLD(1.0))
    assert planted.drift(adapted) < 1e-6


def test_terms_survive_a_deep_copy_with_their_model():
    source, model = TwoLayers(seed=0), TwoLayers(seed=1)
    model_copy, term = copy.deepcopy((model, L2SP(model, source, 1.0)))
    term(EMPTY, None).backward()
    assert model.hidden.weight.grad is None
    assert model_copy.hidden.weight.grad is not None
