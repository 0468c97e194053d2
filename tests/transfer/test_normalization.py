"""AdaBN and AutoDIAL: statistics against plain formulas on pooled data, and that the target gains."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from speechnlp_tl.core.task import Step
from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.normalization import (
    AutoDIAL,
    PooledMoments,
    TargetEntropy,
    adapt_batch_norm,
    domains_of_rows,
    use_autodial,
)
from tests.transfer.domain_shift import ROWS, ShiftTask, same_weights, target_accuracy, train


class Deep(nn.Module):
    """Frames (B, T, 3), the real ones alone through two batch normalisations; a third one is never run."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)
        # registered in another order than they are run
        self.late, self.early, self.unused = nn.BatchNorm1d(2), nn.BatchNorm1d(4), nn.BatchNorm1d(2)
        self.dropout = nn.Dropout(0.5)
        self.double()

    def forward(self, frames, mask):
        hidden = self.dropout(torch.relu(self.early(self.first(frames[mask]))))
        return self.late(self.second(hidden))


def run(model, batch):
    return model(*batch)


def batches_of(rows, sizes, seed=0):
    """The rows in batches of so many, each frame sequence padded with garbage."""
    batches = []
    for chunk in torch.split(rows, sizes):
        padded = torch.full((len(chunk), 3, 3), float("nan"), dtype=torch.float64)
        padded[:, :2] = chunk
        batches.append((padded, torch.tensor([True, True, False]).expand(len(chunk), 3)))
    return batches


def random_frames(count=12):
    generator = torch.Generator().manual_seed(1)
    return 5 + 3 * torch.randn(count, 2, 3, generator=generator, dtype=torch.float64)


def test_adapted_statistics_are_those_of_the_activations_that_the_adapted_model_has():
    rows, model = random_frames(), Deep()
    adapted = adapt_batch_norm(run, model, batches_of(rows, [5, 4, 3]))
    with torch.no_grad():
        first = model.first(rows.reshape(-1, 3)).numpy()
        np.testing.assert_allclose(adapted.early.running_mean, first.mean(0), rtol=1e-12)
        np.testing.assert_allclose(adapted.early.running_var, first.var(0, ddof=1), rtol=1e-12)
        normed = (first - first.mean(0)) / np.sqrt(first.var(0, ddof=1) + 1e-5)
        second = model.second(torch.from_numpy(normed).relu()).numpy()
    np.testing.assert_allclose(adapted.late.running_mean, second.mean(0), rtol=1e-12)
    np.testing.assert_allclose(adapted.late.running_var, second.var(0, ddof=1), rtol=1e-12)


@given(st.floats(0, 1e4), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_sources_statistics_count_for_as_many_units_as_asked(units: float, seed: int):
    """Schneider et al. 2020: N/(N+n) of the source's and n/(N+n) of the target's, in mean and variance."""
    generator = torch.Generator().manual_seed(seed)
    layer = nn.BatchNorm1d(3)
    layer.running_mean.copy_(torch.randn(3, generator=generator))
    layer.running_var.copy_(torch.rand(3, generator=generator) + 0.5)
    rows = 2 * torch.randn(17, 3, generator=generator) + 1
    adapted = adapt_batch_norm(lambda model, batch: model(batch), nn.Sequential(layer), [rows[:5], rows[5:]], units)
    share = 17 / (17 + units)
    torch.testing.assert_close(adapted[0].running_mean, (1 - share) * layer.running_mean + share * rows.mean(0))
    torch.testing.assert_close(adapted[0].running_var, (1 - share) * layer.running_var + share * rows.var(0))


def test_fewer_than_no_units_of_the_source_are_refused():
    with pytest.raises(InputError, match="source_units >= 0"):
        adapt_batch_norm(run, nn.Sequential(nn.BatchNorm1d(3)), [torch.randn(4, 3)], -1.0)


def test_how_the_target_is_batched_changes_nothing():
    rows, model = random_frames(), Deep()
    whole = adapt_batch_norm(run, model, batches_of(rows, [12])).state_dict()
    for sizes in ([1] * 12, [7, 5], [1, 11]):
        split = adapt_batch_norm(run, model, iter(batches_of(rows, sizes))).state_dict()
        for name, value in whole.items():
            torch.testing.assert_close(split[name], value, rtol=1e-12, atol=1e-12)


def test_only_running_statistics_change_and_only_in_a_copy():
    model = Deep().train()
    before = copy.deepcopy(model.state_dict())
    adapted = adapt_batch_norm(run, model, batches_of(random_frames(), [6, 6]))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert adapted.training
    changed = [name for name, value in adapted.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["late.running_mean", "late.running_var", "early.running_mean", "early.running_var"]
    assert not adapted.early._forward_pre_hooks


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(-1e6, 1e6), max_size=6), min_size=1, max_size=5))
def test_pooled_moments_are_those_of_all_rows_together(pieces):
    moments = PooledMoments()
    for piece in pieces:
        moments.add(torch.tensor(piece, dtype=torch.float64).reshape(-1, 1))
    every = np.concatenate([np.asarray(piece, dtype=np.float64) for piece in pieces])
    assert moments.count == len(every)
    if len(every):
        np.testing.assert_allclose(moments.mean, [every.mean()], atol=1e-8)
        np.testing.assert_allclose(moments.squares, [((every - every.mean()) ** 2).sum()], rtol=1e-9, atol=1e-3)


def test_channels_before_positions_are_pooled_over_both():
    model = nn.Sequential(nn.BatchNorm1d(3))
    rows = torch.randn(8, 3, 5, generator=torch.Generator().manual_seed(0))
    adapted = adapt_batch_norm(lambda model, batch: model(batch), model, [rows[:3], rows[3:]])
    torch.testing.assert_close(adapted[0].running_mean, rows.mean((0, 2)))
    torch.testing.assert_close(adapted[0].running_var, rows.transpose(0, 1).flatten(1).var(1))


def test_a_model_or_data_that_cannot_be_adapted_is_refused():
    rows = random_frames()
    with pytest.raises(InputError, match="no batch normalisation"):
        adapt_batch_norm(run, nn.Linear(3, 3), batches_of(rows, [12]))
    with pytest.raises(InputError, match="no batches"):
        adapt_batch_norm(run, Deep(), [])
    single = [(rows[:1, :1], torch.ones(1, 1, dtype=torch.bool))]
    with pytest.raises(InputError, match="'early' got fewer than two"):
        adapt_batch_norm(run, Deep(), single)
    with pytest.raises(InputError, match="'early' got values not finite"):
        adapt_batch_norm(run, Deep(), batches_of(rows * float("inf"), [12]))


def target_batches(task):
    return [task.load(list(range(ROWS, 2 * ROWS))[start::4], 0) for start in range(4)]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_trained_network_gains_on_the_target_by_its_statistics(seed):
    class SourceOnly(ShiftTask):
        def batches(self, epoch):
            return [[row for row in rows if row < ROWS] for rows in super().batches(epoch)]

    task = SourceOnly(norm=True, seed=seed)
    model = train(task)
    adapted = adapt_batch_norm(task, model, target_batches(task))
    assert target_accuracy(task, adapted) > target_accuracy(task, model) + 0.05


def rows_and_domains(count=9, width=3):
    generator = torch.Generator().manual_seed(5)
    domain = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1, 0])[:count]
    rows = (
        torch.randn(count, width, generator=generator, dtype=torch.float64) * (1 + domain).unsqueeze(1)
        - domain[:, None]
    )
    return rows, domain


def autodial(alpha, width=3, **options):
    layer = AutoDIAL(width, alpha, **options).double()
    with torch.no_grad():
        layer.alpha.fill_(alpha)  # as exact as float64 is
        layer.weight.copy_(torch.tensor([1.0, 2.0, -0.5])[:width])
        layer.bias.copy_(torch.tensor([0.0, 1.0, 3.0])[:width])
    return layer


def normalised_by_hand(rows, domain, alpha, layer):
    """Mean and variance of each mixture as weighted sums over single rows, without the formula for its variance."""
    rows, of_target = rows.detach().numpy(), domain.numpy() == 1
    counts = {True: of_target.sum(), False: (~of_target).sum()}
    output = np.zeros_like(rows)
    for row, mine in enumerate(of_target):
        weights = np.array([(alpha if side == mine else 1 - alpha) / counts[bool(side)] for side in of_target])
        mean = (weights[:, None] * rows).sum(0)
        variance = (weights[:, None] * (rows - mean) ** 2).sum(0)
        output[row] = (rows[row] - mean) / np.sqrt(variance + layer.eps)
    return output * layer.weight.detach().numpy() + layer.bias.detach().numpy()


@pytest.mark.parametrize("alpha", [0.5, 0.8, 1.0])
def test_rows_are_normalised_by_the_mixture_of_both_domains(alpha):
    rows, domain = rows_and_domains()
    layer = autodial(alpha)
    with domains_of_rows(layer, domain):
        output = layer(rows)
    np.testing.assert_allclose(output.detach(), normalised_by_hand(rows, domain, alpha, layer), rtol=1e-10)


def test_half_of_each_is_one_batch_normalisation_and_all_of_its_own_is_two():
    rows, domain = rows_and_domains(8)
    assert (domain == 0).sum() == (domain == 1).sum()
    plain = nn.BatchNorm1d(3).double()
    with torch.no_grad():
        for name in ("weight", "bias"):
            getattr(plain, name).copy_(getattr(autodial(0.5), name))
    half, own = autodial(0.5), autodial(1.0)
    with domains_of_rows(half, domain), domains_of_rows(own, domain):
        torch.testing.assert_close(half(rows), plain(rows), rtol=1e-10, atol=1e-12)
        for which in (0, 1):
            torch.testing.assert_close(own(rows)[domain == which], plain(rows[domain == which]), rtol=1e-10, atol=1e-12)


def test_gradients_to_rows_weights_and_alpha_agree_with_finite_differences():
    rows, domain = rows_and_domains()
    layer = autodial(0.7, momentum=0.0)

    def output(rows, *parameters):
        with domains_of_rows(layer, domain):
            return torch.func.functional_call(
                layer, dict(zip(("alpha", "weight", "bias"), parameters, strict=True)), rows
            )

    inputs = [rows, *(parameter.detach() for parameter in (layer.alpha, layer.weight, layer.bias))]
    assert torch.autograd.gradcheck(output, [value.clone().requires_grad_() for value in inputs])


@pytest.mark.parametrize(("edge", "outward", "back"), [(0.5, -1.0, 0.7), (1.0, 1.0, 0.8)])
def test_alpha_stops_at_the_edge_of_its_range_and_can_come_back(edge, outward, back):
    layer = autodial(edge)
    optimizer = torch.optim.SGD([layer.alpha], lr=0.2)
    for direction, expected in ((outward, edge), (-outward, back)):
        optimizer.zero_grad()
        (-direction * layer.share()).backward()
        optimizer.step()
        assert layer.share().item() == pytest.approx(expected)
    with torch.no_grad():
        layer.alpha.fill_(3.0)
    assert layer.share().item() == 1.0


def test_in_eval_mode_each_domain_has_its_running_statistics_and_rows_are_the_targets():
    rows, domain = rows_and_domains()
    layer = autodial(0.8, momentum=1.0)
    with domains_of_rows(layer, domain):
        layer(rows)
    for which in (0, 1):
        torch.testing.assert_close(layer.running_mean[which], rows[domain == which].mean(0))
        torch.testing.assert_close(layer.running_var[which], rows[domain == which].var(0))
    layer.eval()
    mean = 0.8 * layer.running_mean[1] + 0.2 * layer.running_mean[0]
    variance = 0.8 * layer.running_var[1] + 0.2 * layer.running_var[0]
    variance = variance + 0.16 * (layer.running_mean[0] - layer.running_mean[1]) ** 2
    expected = (rows - mean) / (variance + layer.eps).sqrt() * layer.weight + layer.bias
    torch.testing.assert_close(layer(rows), expected)
    with domains_of_rows(layer, domain):
        told = layer(rows)
    torch.testing.assert_close(told[domain == 1], expected[domain == 1])
    assert not torch.allclose(told[domain == 0], expected[domain == 0])


@pytest.mark.parametrize("garbage", [float("nan"), 1e30])
def test_padding_takes_no_part_in_either_layout(garbage):
    rows, domain = rows_and_domains()
    frames = torch.stack([rows, rows.flip(0) + 1, rows * 2], 2)  # (B, C, T)
    mask = torch.tensor([[True, True, index % 2 == 0] for index in range(9)])
    dirty = frames.masked_fill(~mask.unsqueeze(1), garbage).requires_grad_()
    padded, packed = autodial(0.7), autodial(0.7)
    with domains_of_rows(padded, domain, mask), domains_of_rows(packed, domain, mask):
        output, units = padded(dirty), packed(frames.transpose(1, 2)[mask])
    torch.testing.assert_close(output.transpose(1, 2)[mask], units)
    torch.testing.assert_close(padded.running_mean, packed.running_mean)
    torch.testing.assert_close(padded.running_var, packed.running_var)
    of_units = domain.unsqueeze(1).expand(mask.shape)[mask]
    expected = normalised_by_hand(frames.transpose(1, 2)[mask], of_units, 0.7, packed)
    np.testing.assert_allclose(units.detach(), expected, rtol=1e-9)
    assert (output.transpose(1, 2)[~mask] == 0).all()
    output.square().sum().backward()
    assert torch.isfinite(dirty.grad).all()


@pytest.mark.parametrize("which", [0, 1])
def test_a_batch_of_one_domain_is_normalised_by_itself_and_leaves_the_other_as_it_was(which):
    rows, _ = rows_and_domains()
    layer, plain = autodial(0.7), nn.BatchNorm1d(3, affine=False).double()
    with domains_of_rows(layer, torch.full((9,), which)):
        output = layer(rows)
    torch.testing.assert_close(output, plain(rows) * layer.weight + layer.bias, rtol=1e-6, atol=1e-6)
    assert (layer.running_mean[1 - which] == 0).all()
    assert (layer.running_var[1 - which] == 1).all()
    with domains_of_rows(layer, torch.zeros(0)):
        assert layer(rows[:0]).shape == (0, 3)
    assert torch.isfinite(layer.running_mean).all()


def test_replacing_keeps_what_the_network_was_and_says_where():
    task = ShiftTask(norm=True)
    model = train(task, epochs=1)
    inputs = task.inputs[:20]
    before = model(inputs)[1]
    replaced = copy.deepcopy(model)
    assert use_autodial(replaced, alpha=0.6) == ["norm"]
    torch.testing.assert_close(replaced(inputs)[1], before)
    assert not replaced.norm.training
    with pytest.raises(InputError, match="none inside"):
        use_autodial(nn.Linear(2, 2))
    with pytest.raises(InputError, match="alpha"):
        use_autodial(model, alpha=0.4)


def test_domains_are_told_for_a_while_only():
    layer = autodial(0.7)
    rows, domain = rows_and_domains()
    with domains_of_rows(layer, domain):
        with domains_of_rows(layer, domain[:4]):
            layer(rows[:4])
        layer(rows)
    with pytest.raises(InputError, match="with domains_of_rows"):
        layer(rows)
    with pytest.raises(InputError, match="domains of 4 rows"), domains_of_rows(layer, domain[:4]):
        layer(rows)


class DialTask(ShiftTask):
    def __init__(self, shift="mean", alpha=0.75, seed=0):
        super().__init__(shift, norm=True, seed=seed)
        use_autodial(self.model, alpha)

    def step(self, model, batch):
        with domains_of_rows(model, batch.domain):
            return super().step(model, batch)


def test_trained_with_autodial_the_target_is_classified_better_and_alpha_is_learnt():
    plain_task, task = ShiftTask(norm=True), DialTask()
    plain, model = train(plain_task), train(task, [TargetEntropy(0.1)])
    assert target_accuracy(task, model) > target_accuracy(plain_task, plain) + 0.05
    assert 0.5 <= model.norm.share().item() <= 1
    assert model.norm.alpha.item() != 0.75


def test_target_entropy_is_that_of_real_target_units():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 5, generator=generator, dtype=torch.float64).requires_grad_()
    mask, domain = torch.rand(4, 3, generator=generator) < 0.7, torch.tensor([0, 1, 1, 0])
    chosen = (mask & (domain == 1).unsqueeze(1)).nonzero().tolist()
    p = logits.detach().softmax(-1).numpy()
    expected = np.mean([-sum(q * np.log(q) for q in p[row, unit]) for row, unit in chosen])
    step = Step(torch.zeros(()), logits, mask, {}, domain)
    assert TargetEntropy()(step, None).item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(
        lambda x: TargetEntropy()(Step(torch.zeros(()), x, mask, {}, domain), None), (logits,)
    )
    step.domain = torch.zeros(4, dtype=torch.int64)
    value = TargetEntropy()(step, None)
    value.backward()
    assert value.item() == 0
    assert (logits.grad == 0).all()


def test_target_entropy_of_weight_zero_is_training_without_it():
    assert same_weights(train(DialTask(), epochs=2), train(DialTask(), [TargetEntropy(0.0)], epochs=2))
