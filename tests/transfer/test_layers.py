"""Copying, freezing and re-initialising layers: what is reported is what happened."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.batch_statistics import hold_statistics, release_statistics
from speechnlp_tl.transfer.layer_plans import LayerPlan, apply_plan, enter_phase, yosinski
from speechnlp_tl.transfer.layers import copy_layers, freeze, layer_groups, reinitialise, select_layers


class Stack(nn.Module):
    """Three hidden layers with batch statistics and a head."""

    def __init__(self, classes=3, width=6, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU()) for _ in range(3)
            )
            self.head = nn.Linear(width, classes)

    def layer_groups(self):
        return [(f"layer{i}", block) for i, block in enumerate(self.blocks, start=1)] + [("head", self.head)]

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def snapshot(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_report_says_of_every_tensor_what_happened_to_it():
    source, target = Stack(classes=3, seed=1), Stack(classes=5, seed=2)
    before = snapshot(target)
    report = copy_layers(source, target, ["layer2", "layer3", "head"])
    assert [row.tensor for row in report.rows] == list(target.state_dict())
    assert report.counts() == {"copied": 14, "skipped": 2, "fresh": 7, "frozen": 0}
    for row in report.rows:
        now = target.state_dict()[row.tensor]
        assert row.shape == tuple(now.shape)
        if row.action == "copied":
            assert torch.equal(now, source.state_dict()[row.tensor])
        else:
            assert torch.equal(now, before[row.tensor])
    assert report.names("skipped") == ["head.weight", "head.bias"]
    assert "skipped (source has 3x6)" in report.table()
    assert "14 copied, 2 skipped, 7 fresh, 0 frozen" in report.table()
    assert len(report.table().splitlines()) == len(report.rows) + 2


def test_batch_statistics_are_copied_with_their_layer():
    source, target = Stack(seed=1), Stack(seed=2)
    source(torch.randn(20, 6))
    copy_layers(source, target, ["layer1"])
    assert torch.equal(target.blocks[0][1].running_mean, source.blocks[0][1].running_mean)
    assert not torch.equal(target.blocks[1][1].running_mean, source.blocks[1][1].running_mean)


def test_copying_is_of_values_and_not_of_tensors():
    source, target = Stack(seed=1), Stack(seed=2)
    copy_layers(source, target, ["head"])
    with torch.no_grad():
        target.head.weight.zero_()
    assert source.head.weight.abs().sum() > 0


def test_copying_nothing_is_an_error():
    source = Stack(classes=3)
    with pytest.raises(InputError, match="could be copied"):
        copy_layers(source, Stack(classes=5), ["head"])
    with pytest.raises(InputError) as raised:
        copy_layers(source, Stack(), ["layer9", "heat"])
    assert len(raised.value.problems) == 4
    assert "did you mean 'head'?" in str(raised.value)


def test_models_without_layer_groups_are_counted_by_their_children():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert [name for name, _ in layer_groups(model)] == ["0", "1"]
    assert copy_layers(nn.Sequential(nn.Linear(2, 2)), model, ["0"]).counts()["copied"] == 2


@given(number=st.integers(0, 4), seed=st.integers(0, 10))
def test_first_and_last_split_the_layers(number, seed):
    groups = layer_groups(Stack())
    first, last = select_layers(groups, f"first:{number}"), select_layers(groups, f"last:{4 - number}")
    assert first + last == select_layers(groups, "all")
    assert len(first) == number
    assert select_layers(groups, ",".join(reversed(first))) == first if first else True


@pytest.mark.parametrize("which", ["first:5", "first:-1", "last:x", "last:", "layer1,layr2", ["nope"]])
def test_impossible_selections_are_refused(which):
    with pytest.raises(InputError, match="layer"):
        select_layers(layer_groups(Stack()), which)


def test_frozen_layers_do_not_move_in_training_and_move_again_when_released():
    model = Stack()
    freeze(model, ["layer1", "layer2"])
    before = snapshot(model)

    def train():
        model.train()
        optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        model(torch.randn(8, 6)).square().sum().backward()
        optimiser.step()
        return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}

    moved = train()
    assert {name[:8] for name in moved} == {"blocks.2", "head.wei", "head.bia"}
    freeze(model, [])
    moved = train()
    assert "blocks.0.1.running_mean" in moved
    assert "blocks.0.0.weight" in moved
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_statistics_that_somebody_else_holds_stay_held_through_all_phases():
    source, target = Stack(seed=1), Stack(seed=2)
    _, phases = apply_plan(LayerPlan(copy="first:2", freeze="first:2", then_finetune_all=True), source, target)
    before = snapshot(target)
    held = hold_statistics(target)
    hold_statistics(target, owner="another")
    release_statistics(target, owner="another")
    assert not any(module.training for module in target.modules() if isinstance(module, nn.BatchNorm1d))
    duplicate = copy.deepcopy(target)
    for model in (target, duplicate):
        for phase in phases:
            enter_phase(model, phase)
            model.train()
            model(torch.randn(8, 6))
            now = model.state_dict()
            assert all(torch.equal(now[name], before[name]) for name in now)
        release_statistics(model, held)
        assert all(module.training for module in model.modules())
        model(torch.randn(8, 6))
        assert not torch.equal(model.blocks[0][1].running_mean, before["blocks.0.1.running_mean"])


def test_reinitialise_depends_on_its_seed_only_and_leaves_the_random_state_alone():
    ours, theirs, other = Stack(seed=1), Stack(seed=2), Stack(seed=3)
    ours(torch.randn(9, 6))
    state = torch.get_rng_state()
    reinitialise(ours, 7)
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(3)
    reinitialise(theirs, 7)
    reinitialise(other, 8)
    for name, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[name]), name
    assert not torch.equal(ours.head.weight, other.head.weight)


def test_reinitialised_attention_keeps_its_own_scheme():
    attention = nn.MultiheadAttention(4, 2)
    reinitialise(attention, 0)
    assert (attention.out_proj.bias == 0).all()


def test_what_cannot_be_reinitialised_is_listed_and_nothing_is_changed():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2))

    model = nn.Sequential(nn.Linear(2, 2), Own(), Own())
    before = snapshot(model)
    with pytest.raises(InputError) as raised:
        reinitialise(model, 0)
    assert len(raised.value.problems) == 2
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def trainable(model):
    return {name.split(".")[0] + name.split(".")[1] for name, p in model.named_parameters() if p.requires_grad}


def test_plan_of_the_lecture_copies_the_last_layers_trains_the_rest_then_everything():
    source, target = Stack(classes=3, seed=1), Stack(classes=5, seed=2)
    plan = LayerPlan(copy="last:3", freeze="last:3", then_finetune_all=True)
    report, phases = apply_plan(plan, source, target)
    assert [phase.name for phase in phases] == ["train the rest", "fine-tune all"]
    # the head is new, so it is trained although it is among the last three
    assert trainable(target) == {"blocks0", "headweight", "headbias"}
    assert report.counts() == {"copied": 14, "skipped": 2, "fresh": 7, "frozen": 14}
    assert report.names("frozen") == [name for name in target.state_dict() if name.startswith(("blocks.1", "blocks.2"))]
    enter_phase(target, phases[1])
    assert all(parameter.requires_grad for parameter in target.parameters())


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("kind", ["AnB", "AnB+", "BnB", "BnB+"])
def test_yosinski_protocol(kind, n):
    source, target = Stack(seed=1), Stack(seed=2)
    before = snapshot(target)
    plan = yosinski(kind, n)
    report, phases = apply_plan(plan, source, target, seed=5)
    assert plan.source_task == ("source" if kind[0] == "A" else "target")
    assert len(phases) == 1
    for i, block in enumerate(target.blocks):
        equal = torch.equal(block[0].weight, source.blocks[i][0].weight)
        assert equal == (i < n)
        assert block[0].weight.requires_grad == (i >= n or kind.endswith("+"))
        assert equal or not torch.equal(block[0].weight, before[f"blocks.{i}.0.weight"])
    assert target.head.weight.requires_grad
    assert report.counts()["frozen"] == (0 if kind.endswith("+") else 7 * n)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (LayerPlan(copy="first:2", freeze="first:3"), "'layer3' is to be frozen but not copied"),
        (LayerPlan(copy="first:2", reinitialise="layer2"), "copied and re-initialised"),
        (LayerPlan(copy="all", freeze="all"), "nothing is left"),
        (LayerPlan(copy="first:7"), "0 to 4"),
    ],
)
def test_plans_that_make_no_sense_are_refused(plan, message):
    with pytest.raises(InputError, match=message):
        apply_plan(plan, Stack(seed=1), Stack(seed=2))


def test_a_plan_that_freezes_everything_first_goes_straight_to_fine_tuning():
    target = Stack(seed=2)
    report, phases = apply_plan(LayerPlan(copy="all", freeze="all", then_finetune_all=True), Stack(seed=1), target)
    assert [phase.name for phase in phases] == ["fine-tune all"]
    assert report.counts()["frozen"] == 0
    assert all(parameter.requires_grad for parameter in target.parameters())


def test_unknown_kinds_of_the_protocol_are_refused():
    for kind, n in (("CnB", 1), ("AnB", 0)):
        with pytest.raises(InputError, match="yosinski"):
            yosinski(kind, n)
