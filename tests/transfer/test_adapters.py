"""Adapters: identity at the start, only adapters train, removable without trace, exact merges."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.adapters import LHUC, LIN, LoRA, attach, attached, detach, merge

WIDTH = 5
KINDS = {"lora": {"rank": 2}, "lhuc": {}, "lin": {"bias": False}}


class Network(nn.Module):
    """Features (B, T, 5) through a padded, strided convolution, batch statistics and linear layers; with a prior."""

    input_dim = WIDTH
    input_layer = "convolution"

    def __init__(self, padding=1, padding_mode="zeros"):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.convolution = nn.Conv1d(WIDTH, 8, 3, stride=2, padding=padding, padding_mode=padding_mode)
            self.norm = nn.BatchNorm1d(8)
            self.depthwise = nn.Conv1d(8, 8, 3, padding=1, groups=8)
            self.hidden = nn.Linear(8, 7)
            self.head = nn.Linear(7, 3)
        self.register_buffer("prior", torch.full((3,), 1 / 3))
        self.double()

    def forward(self, features):
        x = self.norm(self.convolution(features.transpose(1, 2)))
        x = torch.relu(self.depthwise(x)).transpose(1, 2)
        logits = self.head(torch.tanh(self.hidden(x)))
        if self.training:
            self.prior.mul_(0.9).add_(0.1 * logits.detach().softmax(-1).mean((0, 1)))
        return logits


FEATURES = torch.randn(2, 9, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.randint(3, (10,), generator=torch.Generator().manual_seed(1))


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def output(model, dtype=torch.float64):
    model.eval()
    with torch.no_grad():
        return model(FEATURES.to(dtype))


def train(model, steps=5):
    model.train()
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(model(FEATURES).flatten(0, 1), LABELS).backward()
        optimiser.step()


def same(ours, theirs):
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("kinds", [["lora"], ["lhuc"], ["lin"], ["lora", "lhuc", "lin"]])
def test_an_untrained_adapter_changes_no_bit_of_the_output(kinds):
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        # frozen on both sides: torch sums in another order for non-contiguous inputs when weights require a gradient
        model = Network().to(dtype).requires_grad_(False)
        before = output(model, dtype)
        for kind in kinds:
            attach(model, kind, **KINDS[kind])
        assert torch.equal(output(model, dtype), before)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_adapter_is_trained_and_it_learns(kind):
    model = Network()
    base, before = state(model), output(model)
    attach(model, kind, **KINDS[kind])
    assert all((f"adapter_{kind}." in name) == p.requires_grad for name, p in model.named_parameters())
    train(model)
    assert not torch.equal(output(model), before)
    now = model.state_dict()
    assert all(torch.equal(now[name], base[name]) for name in base if name != "prior")
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None and bool(parameter.grad.any())) == parameter.requires_grad, name


@pytest.mark.parametrize("kinds", [["lora"], ["lhuc"], ["lin"], ["lhuc", "lin", "lora"]])
def test_detaching_leaves_no_trace(kinds):
    model = Network()
    model.head.bias.requires_grad_(False)
    original = copy.deepcopy(model)
    for kind in kinds:
        attach(model, kind, **KINDS[kind])
    train(model)
    detach(model)
    assert same(state(model), state(original))
    assert torch.equal(output(model), output(original))
    assert attached(model) == []
    assert model.__dict__.keys() == original.__dict__.keys()
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["head.bias"]
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    model.train()
    model(FEATURES)
    assert not torch.equal(model.norm.running_mean, original.norm.running_mean)


def test_one_of_several_adapters_can_be_detached():
    model = Network()
    attach(model, "lora", rank=2)
    train(model)
    with_lora = output(model)
    attach(model, "lhuc")
    train(model, 2)
    lora = {name: value.clone() for name, value in model.state_dict().items() if "lora" in name}
    detach(model, "lhuc")
    assert [adapter.kind for adapter in attached(model)] == ["lora"]
    assert not model.head.weight.requires_grad
    with torch.no_grad():
        model.hidden.adapter_lora.B.copy_(lora["hidden.adapter_lora.B"])
    assert output(model).shape == with_lora.shape
    with pytest.raises(InputError, match="lhuc"):
        detach(model, "lhuc")


@pytest.mark.parametrize("kinds", [["lora"], ["lhuc"], ["lin"], ["lhuc", "lin", "lora"], ["lin", "lora", "lhuc"]])
def test_merging_gives_the_same_outputs_with_plain_weights(kinds):
    model = Network()
    names = list(model.state_dict())
    for kind in kinds:
        attach(model, kind, **KINDS[kind])
    train(model)
    adapted = output(model)
    merge(model)
    assert list(model.state_dict()) == names
    assert attached(model) == []
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    torch.testing.assert_close(output(model), adapted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_merging_in_float32_agrees_to_a_millionth(kind):
    model = Network().float()
    attach(model, kind, **KINDS[kind])
    model.train()
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(5):
        F.cross_entropy(model(FEATURES.float()).flatten(0, 1), LABELS).backward()
        optimiser.step()
    model.eval()
    adapted = model(FEATURES.float())
    merge(model)
    torch.testing.assert_close(model(FEATURES.float()), adapted, rtol=0, atol=1e-6)


def test_the_order_of_attaching_does_not_matter():
    outputs = []
    for kinds in (["lora", "lhuc"], ["lhuc", "lora"]):
        model = Network()
        for kind in kinds:
            attach(model, kind, **KINDS[kind])
        train(model)
        outputs.append(output(model))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-12)


def test_lhuc_scales_units_by_twice_the_sigmoid():
    model = Network().eval()
    attach(model, LHUC(modules=("hidden", "convolution")))
    r = torch.linspace(-2, 2, 7, dtype=torch.float64)
    with torch.no_grad():
        model.hidden.adapter_lhuc.r.copy_(r)
        model.convolution.adapter_lhuc.r.fill_(0.7)
    x = torch.randn(4, 8, dtype=torch.float64)
    plain = F.linear(x, model.hidden.weight, model.hidden.bias)
    torch.testing.assert_close(model.hidden(x), plain * 2 / (1 + torch.exp(-r)))
    frames = torch.randn(2, WIDTH, 9, dtype=torch.float64)
    plain = F.conv1d(frames, model.convolution.weight, model.convolution.bias, stride=2, padding=1)
    expected = plain * 2 / (1 + torch.exp(torch.tensor(-0.7, dtype=torch.float64)))
    torch.testing.assert_close(model.convolution(frames), expected)


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "circular"])
def test_lora_is_a_low_rank_change_of_the_weights(padding_mode):
    model = Network(padding_mode=padding_mode)
    plain = Network(padding_mode=padding_mode)
    attach(model, LoRA(modules=("hidden", "convolution"), rank=2, alpha=3.0))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name in ("hidden", "convolution"):
            adapter = getattr(model, name).adapter_lora
            adapter.B.copy_(torch.randn(adapter.B.shape, generator=generator))
            change = 3.0 / 2 * (adapter.B @ adapter.A.flatten(1)).view_as(getattr(plain, name).weight)
            assert torch.linalg.matrix_rank(change.flatten(1)) == 2
            getattr(plain, name).weight.add_(change)
    torch.testing.assert_close(output(model), output(plain))


@pytest.mark.parametrize("diagonal", [False, True])
def test_lin_is_an_affine_transform_of_every_frame(diagonal):
    model = Network()
    attach(model, LIN(diagonal=diagonal, bias=True))
    network = model.convolution.adapter_lin
    assert network.M.shape == ((WIDTH,) if diagonal else (WIDTH, WIDTH))
    with torch.no_grad():
        network.M.normal_(generator=torch.Generator().manual_seed(0))
        network.c.normal_(generator=torch.Generator().manual_seed(1))
    m = torch.diag(network.M) if diagonal else network.M
    transformed = FEATURES @ (torch.eye(WIDTH, dtype=torch.float64) + m).T + network.c
    plain = Network().eval()
    torch.testing.assert_close(output(model), plain(transformed))


@pytest.mark.parametrize(("padding", "mode"), [(0, "zeros"), ("valid", "zeros"), (1, "circular"), (1, "replicate")])
@pytest.mark.parametrize("diagonal", [False, True])
def test_lin_with_a_bias_merges_where_no_zeros_are_padded(padding, mode, diagonal):
    model = Network(padding=padding, padding_mode=mode)
    attach(model, "lin", diagonal=diagonal)
    with torch.no_grad():
        for parameter in model.convolution.adapter_lin.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(0))
    assert model.convolution.adapter_lin.c is not None
    adapted = output(model)
    merge(model)
    torch.testing.assert_close(output(model), adapted, rtol=0, atol=1e-10)


def test_lin_with_a_bias_before_padded_zeros_refuses_to_merge_and_changes_nothing():
    model = Network()
    attach(model, "lin", bias=True)
    attach(model, "lora", rank=1)
    train(model)
    before, adapted = state(model), output(model)
    with pytest.raises(InputError, match="pads with"):
        merge(model)
    assert same(state(model), before)
    assert torch.equal(output(model), adapted)


def test_lin_keeps_padded_zeros_by_default():
    model = Network()
    attach(model, "lin")
    assert model.convolution.adapter_lin.c is None


def test_lin_before_a_whole_model_works_and_says_why_it_cannot_be_merged():
    model = Network().requires_grad_(False)
    before = output(model)
    attach(model, "lin", modules="")
    assert torch.equal(output(model), before)
    with torch.no_grad():
        model.adapter_lin.c.fill_(0.5)
    torch.testing.assert_close(model(FEATURES), Network().eval()(FEATURES + 0.5))
    with pytest.raises(InputError, match="whole Network"):
        merge(model)
    with pytest.raises(ValueError, match="first positional argument"):
        model(features=FEATURES)


def test_lin_before_a_sequential_goes_to_its_first_layer():
    model = nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), nn.Linear(4, 2))
    assert attach(model, "lin").sites == ("0.0",)
    assert model(torch.randn(6, 3)).shape == (6, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_deep_copy_is_independent_and_complete(kind):
    model = Network()
    attach(model, kind, **KINDS[kind])
    train(model, 2)
    duplicate = copy.deepcopy(model)
    assert torch.equal(output(duplicate), output(model))
    train(duplicate, 2)
    assert not torch.equal(output(duplicate), output(model))
    detach(duplicate)
    assert same(state(duplicate), state(Network()))
    assert [adapter.kind for adapter in attached(model)] == [kind]


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_dict_carries_the_adapter(kind):
    ours, theirs = Network(), Network()
    for model in (ours, theirs):
        attach(model, kind, **KINDS[kind])
    train(ours)
    theirs.load_state_dict(ours.state_dict())
    assert torch.equal(output(ours), output(theirs))


@pytest.fixture
def one_process(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_data_parallel_training_of_adapters_is_that_of_the_model_alone(one_process):
    plain, wrapped = Network(), Network()
    for model in (plain, wrapped):
        for kind in KINDS:
            attach(model, kind, **KINDS[kind])
    parallel = nn.parallel.DistributedDataParallel(wrapped)
    train(plain)
    train(parallel)
    assert same(state(plain), state(wrapped))
    detach(wrapped)
    assert same(state(wrapped), state(Network()))


def test_default_layers_are_the_hidden_ones_and_patterns_choose_others():
    assert attach(Network(), "lhuc").sites == ("convolution", "depthwise", "hidden")
    assert attach(Network(), "lora").sites == ("convolution", "hidden")
    assert attach(Network(), "lhuc", modules=["h*"]).sites == ("hidden", "head")
    model = Network()
    model.adaptable_layers = lambda: ["hidden"]
    assert attach(model, "lora").sites == ("hidden",)


def test_attention_projections_that_are_never_called_are_not_adapted():
    model = nn.ModuleDict({"attention": nn.MultiheadAttention(4, 2), "a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})
    assert attach(model, "lhuc").sites == ("a",)
    detach(model)
    with pytest.raises(InputError, match="matches no"):
        attach(model, "lora", modules="attention.out_proj")


def test_weights_shared_with_another_layer_are_not_merged():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    attach(model, "lhuc")
    with pytest.raises(InputError, match="shared"):
        merge(model)


def test_lora_is_reproducible_and_leaves_the_random_state_alone():
    ours, theirs = Network(), Network()
    before = torch.get_rng_state()
    attach(ours, "lora", seed=3)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(5)
    attach(theirs, "lora", seed=3)
    assert same(state(ours), state(theirs))
    assert not torch.equal(ours.hidden.adapter_lora.A[:1, :5], ours.convolution.adapter_lora.A[:1, :, 0])


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("lohc", {}, "there are lora, lhuc, lin"),
        ("lora", {"rnak": 2, "alhpa": 1}, "did you mean 'rank'"),
        ("lora", {"rank": 0}, "at least 1"),
        ("lora", {"modules": ["depthwise"]}, "grouped"),
        ("lora", {"modules": ["nope*", "neither"]}, "neither"),
        ("lin", {"modules": ["hidden", "head"]}, "one module"),
        ("lin", {"modules": ["nope"]}, "no module"),
        ("lin", {"modules": ["norm"]}, "feature dimensions"),
    ],
)
def test_bad_requests_are_refused_and_leave_the_model_alone(kind, options, message):
    model = Network()
    before = set(model.__dict__)
    with pytest.raises(InputError, match=message):
        attach(model, kind, **options)
    assert set(model.__dict__) == before
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_one_adapter_of_a_kind_at_a_time():
    model = Network()
    attach(model, "lhuc")
    with pytest.raises(InputError, match="detach or merge it first"):
        attach(model, "lhuc")
    for function in (detach, merge):
        with pytest.raises(InputError, match="no adapter"):
            function(Network())
