from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer import denoising_layer
from speechnlp_tl.transfer.denoising import MarginalisedDenoiser

Array = NDArray[np.float64]


def counts(rows: int, features: int, seed: int = 0, density: float = 0.3) -> Array:
    """Made word counts with some correlation: two topics prefer different words."""
    generator = np.random.default_rng(seed)
    rates = generator.gamma(1.0, density, (2, features))
    return generator.poisson(rates[generator.integers(2, size=rows)]).astype(float)


def with_constant(x: Array) -> Array:
    return np.hstack([x, np.ones((len(x), 1))])


def regression(clean: Array, q: Array, p: Array, ridge: float) -> Array:
    """(features + 1, outputs): argmin of the expected squared error, the constant without ridge."""
    penalty = ridge * np.eye(len(q))
    penalty[-1, -1] = 0
    return np.linalg.solve(q + penalty, p)


def paper_layer(x: Array, noise: float, ridge: float) -> Array:
    """Equations 3 to 5 of Chen et al. 2012 as they are printed, rows instead of columns."""
    ones = with_constant(x)
    scatter = ones.T @ ones
    keep = np.append(np.full(x.shape[1], 1 - noise), 1.0)
    q = scatter * np.outer(keep, keep)
    np.fill_diagonal(q, keep * np.diag(scatter))
    return regression(x, q, (scatter * keep[:, None])[:, :-1], ridge)


def expectation_layer(x: Array, noise: float, ridge: float) -> Array:
    """The same by brute force: the expectation over all 2^d ways to lose features."""
    q, p = 0.0, 0.0
    for mask in itertools.product((0.0, 1.0), repeat=x.shape[1]):
        probability = np.prod([1 - noise if kept else noise for kept in mask])
        corrupted = with_constant(x * np.array(mask))
        q, p = q + probability * corrupted.T @ corrupted, p + probability * corrupted.T @ x
    return regression(x, np.asarray(q), np.asarray(p), ridge)


def affine(denoiser: MarginalisedDenoiser, layer: int = 0) -> Array:
    """(inputs + 1, outputs) of a fitted layer, the bias last."""
    fitted = denoiser.fitted[layer]
    return np.vstack([fitted.weight, fitted.bias[None]]).astype(float)


SHAPES = [(40, 6), (4, 6)]  # more rows than features and fewer: two ways to the same answer


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5, 0.9])
def test_a_layer_is_the_expectation_over_all_corruptions(shape: tuple[int, int], noise: float) -> None:
    x = counts(*shape, seed=1, density=1.0)
    denoiser = MarginalisedDenoiser(1, noise, 0.3).fit(x)
    np.testing.assert_allclose(affine(denoiser), expectation_layer(x, noise, 0.3), atol=2e-5)
    np.testing.assert_allclose(expectation_layer(x, noise, 0.3), paper_layer(x, noise, 0.3), atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_layer_is_the_limit_of_explicit_corruption(shape: tuple[int, int]) -> None:
    x, noise, ridge = counts(*shape, seed=2, density=1.0), 0.5, 1.0
    generator = np.random.default_rng(0)
    draws, repeats = 4000, 100
    estimates = []
    for _ in range(repeats):
        corrupted = x * (generator.random((draws, *x.shape)) >= noise)
        corrupted = np.concatenate([corrupted, np.ones((*corrupted.shape[:2], 1))], axis=2)
        q = np.einsum("kni,knj->ij", corrupted, corrupted, optimize=True) / draws
        p = np.einsum("kni,nj->ij", corrupted, x, optimize=True) / draws
        estimates.append(regression(x, q, p, ridge))
    error = np.std(estimates, axis=0, ddof=1) / np.sqrt(repeats)
    fitted = affine(MarginalisedDenoiser(1, noise, ridge).fit(x))
    # five standard errors, and what float32 rounds; the error itself is small enough to catch a wrong equation
    assert np.all(np.abs(fitted - np.mean(estimates, axis=0)) <= 5 * error + 1e-5)
    assert error.max() < 0.01 < np.abs(fitted - paper_layer(x, 0.4, ridge)).max()


@pytest.mark.parametrize(("rows", "features"), [(300, 120), (120, 300)])
def test_a_stack_is_the_paper_s_equations_layer_after_layer(rows: int, features: int) -> None:
    x = counts(rows, features, density=0.1)
    denoiser = MarginalisedDenoiser(3, 0.5, 1e-5)
    ours = denoiser.fit_transform(x)
    hidden, parts = x, [x]
    for _ in range(3):
        hidden = np.tanh(with_constant(hidden) @ paper_layer(hidden, 0.5, 1e-5))
        parts.append(hidden)
    np.testing.assert_allclose(ours, np.hstack(parts), atol=2e-3)
    np.testing.assert_allclose(ours, denoiser.transform(x), atol=2e-3)
    assert denoiser.width == 4 * features == ours.shape[1]


@pytest.mark.parametrize("ridge", [0.01, 10.0, 1e6])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_ridge_shrinks_the_weights_and_leaves_the_constant_alone(ridge: float, shape: tuple[int, int]) -> None:
    x = counts(*shape, density=1.0)
    fitted = affine(MarginalisedDenoiser(1, 0.5, ridge).fit(x))
    np.testing.assert_allclose(fitted, paper_layer(x, 0.5, ridge), atol=2e-5)
    if ridge == 1e6:  # nothing is left but the mean, which needs no feature
        np.testing.assert_allclose(fitted, np.vstack([np.zeros((6, 6)), x.mean(0)[None]]), atol=2e-3)


@pytest.mark.parametrize(("rows", "features"), [(60, 20), (20, 60)])
def test_without_noise_the_rows_come_back(rows: int, features: int) -> None:
    x = counts(rows, features)
    denoiser = MarginalisedDenoiser(1, 0.0, 1e-5, include_input=False)
    np.testing.assert_allclose(denoiser.fit_transform(x), np.tanh(x), atol=1e-4)
    np.testing.assert_allclose(denoiser.transform(x), np.tanh(x), atol=1e-4)


def test_without_ridge_features_that_never_occur_are_no_obstacle() -> None:
    x = counts(50, 8)
    x[:, 3] = 0
    fitted = affine(MarginalisedDenoiser(1, 0.5, 0.0).fit(x))
    assert not fitted[3].any()
    assert not fitted[:, 3].any()
    others = np.delete(np.delete(fitted, 3, 0), 3, 1)
    np.testing.assert_allclose(others, paper_layer(np.delete(x, 3, 1), 0.5, 0.0), atol=2e-5)


@pytest.mark.parametrize(("rows", "features"), [(300, 120), (120, 300)])
@pytest.mark.parametrize("blocks", [1, 3])
def test_sparse_rows_give_what_dense_rows_give(rows: int, features: int, blocks: int) -> None:
    x = counts(rows, features)
    dense = MarginalisedDenoiser(2, blocks=blocks, frequent=50 if blocks > 1 else None)
    for layout in (sparse.csr_matrix, sparse.csc_array):
        other = MarginalisedDenoiser(2, blocks=blocks, frequent=50 if blocks > 1 else None)
        np.testing.assert_allclose(other.fit_transform(layout(x)), dense.fit_transform(x), atol=1e-4)
        np.testing.assert_allclose(other.transform(layout(x)), dense.transform(x), atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 12),
    features=st.integers(1, 12),
    noise=st.floats(0.05, 0.95),
    ridge=st.sampled_from([1e-3, 1.0]),
    seed=st.integers(0, 10**6),
)
def test_any_shape_agrees_with_the_paper(rows: int, features: int, noise: float, ridge: float, seed: int) -> None:
    x = counts(rows, features, seed, density=1.0)
    fitted = affine(MarginalisedDenoiser(1, noise, ridge).fit(x))
    np.testing.assert_allclose(fitted, paper_layer(x, noise, ridge), atol=5e-4)


def test_rows_are_transformed_the_same_in_blocks_of_any_size() -> None:
    x = counts(50, 30)
    denoiser = MarginalisedDenoiser(2).fit(x)
    np.testing.assert_allclose(denoiser.transform(x, rows_at_once=7), denoiser.transform(x), atol=1e-6)
    assert np.array_equal(denoiser.transform(x[:0]), np.empty((0, 90)))


def test_many_blocks_of_rows_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    x = counts(100, 20)
    whole = affine(MarginalisedDenoiser(1).fit(x))
    monkeypatch.setattr(
        denoising_layer, "blocks_of_rows", lambda count, at_once=9: ((i, min(i + 9, count)) for i in range(0, count, 9))
    )
    np.testing.assert_allclose(affine(MarginalisedDenoiser(1).fit(x)), whole, atol=1e-5)


@pytest.mark.parametrize("rows", [90, 15])
def test_blocks_repair_the_frequent_features_and_are_averaged(rows: int) -> None:
    x = counts(rows, 40, density=0.5)
    denoiser = MarginalisedDenoiser(2, 0.5, 1e-2, blocks=2, frequent=10, seed=4)
    ours = denoiser.fit_transform(x)
    frequent = np.sort(np.argsort(-(x > 0).sum(0), kind="stable")[:10])
    assert np.array_equal(denoiser.kept, frequent)
    answers = []
    for block in np.array_split(np.random.default_rng(4).permutation(40), 2):
        ones = with_constant(x[:, block])
        keep = np.append(np.full(len(block), 0.5), 1.0)
        q = ones.T @ ones * np.outer(keep, keep)
        np.fill_diagonal(q, keep * np.diag(ones.T @ ones))
        answers.append(ones @ regression(x, q, (ones.T @ x[:, frequent]) * keep[:, None], 1e-2))
    first = np.tanh(np.mean(answers, axis=0))
    second = np.tanh(with_constant(first) @ paper_layer(first, 0.5, 1e-2))
    np.testing.assert_allclose(ours, np.hstack([x[:, frequent], first, second]), atol=1e-3)
    assert denoiser.features == 40


def test_float64_takes_over_where_float32_cannot_be_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    factorise = denoising_layer._cholesky

    def watched(matrix: Array) -> Array:
        used.append(matrix.dtype)
        if fails is not None and matrix.dtype == fails:
            raise denoising_layer._NotPositiveDefiniteError
        return factorise(matrix)

    monkeypatch.setattr(denoising_layer, "_cholesky", watched)
    x, fails = counts(50, 20), None
    MarginalisedDenoiser(1, 0.5).fit(x)
    MarginalisedDenoiser(1, 0.0, 1e-5).fit(x)
    assert used == [np.float32, np.float64]
    expected = affine(MarginalisedDenoiser(1, 0.5).fit(x))
    fails = np.float32
    np.testing.assert_allclose(affine(MarginalisedDenoiser(1, 0.5).fit(x)), expected, atol=1e-5)
    assert used[-2:] == [np.float32, np.float64]
    fails = np.float64
    with pytest.raises(InputError, match="singular"):
        MarginalisedDenoiser(1, 0.0, 1e-5).fit(x)


@pytest.mark.parametrize("settings_", [{}, {"blocks": 3, "frequent": 7, "include_input": False}])
def test_a_saved_denoiser_gives_the_same_features(settings_: dict, tmp_path: Path) -> None:
    x, unseen = counts(50, 30), counts(20, 30, seed=9)
    denoiser = MarginalisedDenoiser(2, 0.4, 1e-3, **settings_).fit(x)
    denoiser.save(tmp_path / "msda.safetensors")
    loaded = MarginalisedDenoiser.load(tmp_path / "msda.safetensors")
    assert np.array_equal(loaded.transform(unseen), denoiser.transform(unseen))
    assert (loaded.noise, loaded.ridge, loaded.layers, loaded.width) == (0.4, 1e-3, 2, denoiser.width)


@pytest.mark.parametrize("damage", ["missing", "cut", "format", "shape", "settings"])
def test_a_file_that_is_no_denoiser_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "msda.safetensors"
    denoiser = MarginalisedDenoiser(2).fit(counts(20, 6))
    denoiser.save(path)
    content = safetensors.numpy.load_file(path)
    with safetensors.safe_open(str(path), framework="numpy") as file:
        metadata = dict(file.metadata())
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    elif damage == "shape":
        safetensors.numpy.save_file({**content, "weight.1": np.zeros((5, 6), np.float32)}, path, metadata)
    elif damage == "format":
        safetensors.numpy.save_file(content, path, {"settings": metadata["settings"]})
    else:
        wrong = json.dumps({**json.loads(metadata["settings"]), "layers": 3})
        safetensors.numpy.save_file(content, path, {**metadata, "settings": wrong})
    with pytest.raises(InputError, match=r"msda\.safetensors: (cannot be read|is damaged)"):
        MarginalisedDenoiser.load(path)


def test_settings_out_of_range_are_all_listed() -> None:
    with pytest.raises(InputError) as error:
        MarginalisedDenoiser(0, 1.0, -1.0)
    assert len(error.value.problems) == 3
    with pytest.raises(InputError, match="without noise and without ridge"):
        MarginalisedDenoiser(1, 0.0, 0.0)


def test_rows_that_cannot_be_fitted_or_transformed_are_refused() -> None:
    x = counts(10, 5)
    with pytest.raises(ValueError, match="not fitted"):
        MarginalisedDenoiser().transform(x)
    denoiser = MarginalisedDenoiser(1).fit(x)
    with pytest.raises(InputError, match="6 features, the denoiser was fitted on 5"):
        denoiser.transform(counts(10, 6))
    for bad in (np.nan, np.inf):
        x[2, 2] = bad
        for rows in (x, sparse.csr_matrix(x)):
            with pytest.raises(InputError, match="1 values of the features are not finite"):
                MarginalisedDenoiser(1).fit(rows)
    with pytest.raises(InputError, match="0 and 5"):
        MarginalisedDenoiser(1).fit(np.empty((0, 5)))
    with pytest.raises(InputError, match="two dimensions"):
        MarginalisedDenoiser(1).fit(np.zeros(5))
    with pytest.raises(InputError, match="frequent=9"):
        MarginalisedDenoiser(1, frequent=9).fit(counts(10, 5))
