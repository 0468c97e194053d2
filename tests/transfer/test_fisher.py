"""Fisher information against closed forms, and that it is a sum over rows rather than of a batch's mean."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from speechnlp_tl.core.task import Step
from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.fisher import estimate_fisher, load_fisher, save_fisher

ROWS, WIDTH, CLASSES = 5, 3, 4


def softmax_regression():
    generator = torch.Generator().manual_seed(1)
    model = nn.Linear(WIDTH, CLASSES).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    x = torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64)
    return model, x, torch.randint(CLASSES, (ROWS,), generator=generator)


def step(model, batch):
    x, y = batch
    logits = model(x)
    return Step(F.cross_entropy(logits, y, reduction="sum"), logits, torch.ones(len(y), dtype=torch.bool))


def closed_form(model, x):
    """Softmax regression: E[(d log p(y|x) / d W_cd)^2] = p_c (1 - p_c) x_d^2, and p_c (1 - p_c) for the bias."""
    p = model(x).softmax(-1).detach()
    spread = p * (1 - p)
    return {"weight": (spread.T @ x.square()) / len(x), "bias": spread.mean(0)}


def test_drawn_labels_give_the_closed_form_of_softmax_regression():
    model, x, y = softmax_regression()
    fisher = estimate_fisher(step, model, [(x, y)], draws=600)
    for name, expected in closed_form(model, x).items():
        torch.testing.assert_close(fisher[name], expected, rtol=0.2, atol=0.02)


def test_the_labels_of_the_data_do_not_matter_when_labels_are_drawn():
    model, x, y = softmax_regression()
    ours, theirs = (estimate_fisher(step, model, [(x, labels)], seed=4) for labels in (y, (y + 1) % CLASSES))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_empirical_fisher_is_the_mean_squared_gradient_of_single_rows():
    model, x, y = softmax_regression()
    fisher = estimate_fisher(step, model, [(x[i : i + 1], y[i : i + 1]) for i in range(ROWS)], samples="labels")
    error = (model(x).softmax(-1) - F.one_hot(y, CLASSES)).detach()
    torch.testing.assert_close(fisher["weight"], error.T.square() @ x.square() / ROWS)
    torch.testing.assert_close(fisher["bias"], error.square().mean(0))


def test_how_rows_are_batched_changes_nothing():
    model, x, y = softmax_regression()
    whole = estimate_fisher(step, model, [(x, y)])
    single = estimate_fisher(step, model, [(x[i : i + 1], y[i : i + 1]) for i in range(ROWS)])
    for name in whole:
        torch.testing.assert_close(whole[name], single[name])


def test_positions_of_padding_do_not_count():
    model, x, _ = softmax_regression()

    def sequences(model, batch):
        features, mask = batch
        return Step(torch.zeros(()), model(features), mask)

    mask = torch.tensor([[True, True, False], [True, True, True]])

    def padded(value):
        features = torch.cat([x, torch.full((1, WIDTH), value, dtype=torch.float64)])
        return features[[0, 1, 5, 2, 3, 4]].reshape(2, 3, WIDTH)

    fisher = estimate_fisher(sequences, model, [(padded(1.0), mask)], draws=600)
    other = estimate_fisher(sequences, model, [(padded(-1.0), mask)], draws=600)
    for name in fisher:
        torch.testing.assert_close(fisher[name], other[name], rtol=1e-12, atol=0)
    # units of one row are drawn independently, so the row's square estimates the sum of its units'
    for name, expected in closed_form(model, x).items():
        torch.testing.assert_close(fisher[name], expected, rtol=0.3, atol=0.04)


def test_the_model_is_left_as_it_was():
    inner, x, y = softmax_regression()
    model = nn.Sequential(inner, nn.BatchNorm1d(CLASSES).double(), nn.Dropout(0.5))
    model[2].eval()
    inner.bias.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fisher = estimate_fisher(step, model, [(x, y)])
    assert "0.bias" not in fisher
    assert [module.training for module in model.modules()] == [True, True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_bad_requests_are_refused():
    model, x, y = softmax_regression()
    with pytest.raises(InputError, match="one row"):
        estimate_fisher(step, model, [(x, y)], samples="labels")
    with pytest.raises(InputError, match="no rows"):
        estimate_fisher(step, model, [])
    with pytest.raises(InputError, match="not finite"):
        estimate_fisher(step, model, [(x[:1] * float("nan"), y[:1])], samples="labels")


def test_saving_and_loading_is_lossless_and_damage_is_named(tmp_path):
    model, x, y = softmax_regression()
    fisher = estimate_fisher(step, model, [(x, y)])
    save_fisher(tmp_path / "fisher.safetensors", fisher)
    loaded = load_fisher(tmp_path / "fisher.safetensors")
    assert fisher.keys() == loaded.keys()
    assert all(torch.equal(fisher[name], loaded[name]) for name in fisher)
    content = (tmp_path / "fisher.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: len(content) // 2])
    for name in ("cut.safetensors", "missing.safetensors"):
        with pytest.raises(InputError, match=name):
            load_fisher(tmp_path / name)
