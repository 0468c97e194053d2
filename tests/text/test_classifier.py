"""The document classifier against dense PyTorch layers of the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from speechnlp_tl.errors import InputError
from speechnlp_tl.text.classifier import ClassifierConfig, DocumentClassifier, hidden_activations, predict
from speechnlp_tl.text.features import take

WIDTH = 30


def documents(count: int = 9, seed: int = 0) -> sparse.csr_matrix:
    counts = np.random.default_rng(seed).poisson(0.2, size=(count, WIDTH)).astype(np.float32)
    counts[1] = 0  # an empty document
    return sparse.csr_matrix(counts)


def dense_twin(model: DocumentClassifier) -> nn.Sequential:
    """The same network of nn.Linear, for networks without normalisation."""
    first = nn.Linear(*model.input.weight.shape)
    first.load_state_dict({"weight": model.input.weight.T, "bias": model.input.bias})
    modules: list[nn.Module] = [first, model.activation]
    for layer in model.layers:
        modules += [layer, model.activation]
    return nn.Sequential(*modules, model.output)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("hidden", [[8], [8, 5, 4]])
def test_sparse_documents_give_what_dense_layers_give_with_the_same_gradients(activation, hidden):
    model = DocumentClassifier(WIDTH, 3, ClassifierConfig(hidden=hidden, activation=activation), seed=1)
    twin = dense_twin(model)
    rows = documents()
    labels = torch.arange(9) % 3
    output = model(take(rows, slice(None)))
    expected = twin(torch.from_numpy(rows.toarray()))
    torch.testing.assert_close(output.logits, expected)
    nn.functional.cross_entropy(output.logits, labels).backward()
    nn.functional.cross_entropy(expected, labels).backward()
    torch.testing.assert_close(model.input.weight.grad, twin[0].weight.grad.T)
    torch.testing.assert_close(model.input.bias.grad, twin[0].bias.grad)
    assert list(output.hidden) == list(model.hidden_layers) == [f"hidden.{i}" for i in range(len(hidden))]
    assert [tuple(layer.shape) for layer in output.hidden.values()] == [(9, width) for width in hidden]
    torch.testing.assert_close(output.hidden["hidden.0"], twin[:2](torch.from_numpy(rows.toarray())))


def test_the_initial_weights_are_those_of_a_dense_layer_and_depend_on_the_seed_only():
    torch.manual_seed(4)
    one = DocumentClassifier(WIDTH, seed=4)
    expected = nn.Linear(WIDTH, 50)
    torch.rand(5)
    two = DocumentClassifier(WIDTH, seed=4)
    assert torch.equal(one.input.weight, expected.weight.T)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.input.weight, DocumentClassifier(WIDTH, seed=5).input.weight)


def test_predictions_are_those_of_eval_mode_whatever_the_batches():
    model = DocumentClassifier(WIDTH, 4, ClassifierConfig(hidden=[8], norm="batch", dropout=0.5)).train()
    rows = documents(50)
    at_once = predict(model, rows)
    model.rows_at_once = 7
    in_parts = predict(model, rows)
    assert model.training
    np.testing.assert_allclose(at_once, in_parts, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(at_once.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(predict(model, rows.toarray()), at_once, rtol=1e-5)
    assert hidden_activations(model, rows, "hidden.0").shape == (50, 8)
    assert predict(model, rows[:0]).shape == (0, 4)


def test_what_does_not_fit_is_named():
    with pytest.raises(InputError, match="at least two classes"):
        DocumentClassifier(WIDTH, 1)
    model = DocumentClassifier(WIDTH + 1)
    with pytest.raises(InputError, match="30 features, the model was made for 31"):
        predict(model, documents())
    with pytest.raises(InputError, match=r"no hidden layer 'hidden.1'; it has: hidden.0"):
        hidden_activations(model, documents(), "hidden.1")
