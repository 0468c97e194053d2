from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.linear_model import Ridge

from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.reweighting import augment_features, domain_odds_weights


def gaussians(rows: int, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Source N(-shift, 1), target N(shift, 1) in the first of two features: log p_t / p_s = 2 shift x."""
    generator = np.random.default_rng(seed)
    source, target = generator.standard_normal((2, rows, 2))
    source[:, 0] -= shift
    target[:, 0] += shift
    return source, target


def test_weights_are_the_ratio_of_the_densities() -> None:
    source, target = gaussians(20000, 0.3)
    weights = domain_odds_weights(source, target, limit=1e6)
    expected = np.exp(2 * 0.3 * source[:, 0])
    relative = weights / (expected / expected.mean())
    assert abs(np.median(relative) - 1) < 0.03
    assert np.all(np.abs(relative - 1) < 0.25)  # five classifiers, each a little off
    # and the weighted source looks like the target
    assert abs(np.average(source[:, 0], weights=weights) - 0.3) < 0.03
    assert abs(np.average(source[:, 1], weights=weights)) < 0.03


def test_the_sizes_of_the_domains_do_not_matter() -> None:
    source, target = gaussians(20000, 0.3)
    few = domain_odds_weights(source, target[:4000], limit=1.5)
    # where the sizes were not divided out, all odds would be below 1 / limit and every weight 1
    expected = np.clip(np.exp(2 * 0.3 * source[:, 0]), 1 / 1.5, 1.5)
    np.testing.assert_allclose(few, expected / expected.mean(), rtol=0.2)


def test_weights_are_clipped_and_have_the_mean_one() -> None:
    source, target = gaussians(2000, 1.0)
    weights = domain_odds_weights(source, target, limit=2.0)
    assert weights.mean() == pytest.approx(1.0)
    assert weights.max() / weights.min() == pytest.approx(4.0)
    assert np.array_equal(domain_odds_weights(source, target, limit=1.0), np.ones(2000))


def test_equal_domains_with_more_features_than_rows_give_weights_near_one() -> None:
    source, target = np.random.default_rng(0).standard_normal((2, 60, 500))
    weights = domain_odds_weights(source, target, limit=1e9, inverse_regularisation=1e-3)
    assert abs(np.log(weights)).mean() < 0.5


def test_sparse_rows_get_the_weights_of_dense_rows() -> None:
    source, target = (rows * (np.abs(rows) > 0.5) for rows in gaussians(300, 0.5))
    weights = domain_odds_weights(sparse.csr_matrix(source), sparse.csr_array(target), seed=3)
    np.testing.assert_allclose(weights, domain_odds_weights(source, target, seed=3), rtol=1e-3)


def test_domains_that_cannot_be_compared_are_refused() -> None:
    rows = np.zeros((10, 3))
    with pytest.raises(InputError, match="different features"):
        domain_odds_weights(rows, rows[:, :2])
    with pytest.raises(InputError, match="too few for 5 folds"):
        domain_odds_weights(rows, rows[:4])
    with pytest.raises(InputError, match=r"limit=0\.5"):
        domain_odds_weights(rows, rows, limit=0.5)


def test_two_domains_are_laid_out_as_in_the_paper() -> None:
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert augment_features(x, [0, 1]).tolist() == [[1, 2, 1, 2, 0, 0], [3, 4, 0, 0, 3, 4]]
    assert augment_features(x, 1).tolist() == [[1, 2, 0, 0, 1, 2], [3, 4, 0, 0, 3, 4]]
    assert augment_features(x[:0], []).shape == (0, 6)


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 8), features=st.integers(1, 5), domains=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_inner_products_double_inside_a_domain_and_stay_across(
    rows: int, features: int, domains: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    x = generator.integers(0, 3, (rows, features)).astype(float)
    domain = generator.integers(domains, size=rows)
    augmented = augment_features(x, domain, domains)
    same = domain[:, None] == domain[None]
    assert np.array_equal(augmented @ augmented.T, (1 + same) * (x @ x.T))
    for layout in (sparse.csr_matrix, sparse.csc_array):
        other = augment_features(layout(x), domain, domains)
        assert sparse.issparse(other)
        assert np.array_equal(other.toarray(), augmented)


def test_a_linear_model_on_copies_is_the_closed_form_of_its_kernel() -> None:
    """A few target rows correct what source rows say: ridge on Phi(x) equals kernel ridge with k doubled inside."""
    generator = np.random.default_rng(1)
    x, domain = generator.standard_normal((30, 3)), np.repeat([0, 1], [24, 6])
    y = np.where(domain == 0, x @ [1, 1, 1], x @ [1, 1, -1])
    new = generator.standard_normal((5, 3))
    model = Ridge(alpha=0.7, fit_intercept=False).fit(augment_features(x, domain), y)
    kernel = (1 + (domain[:, None] == domain)) * (x @ x.T)
    expected = ((1 + (domain == 1)) * (new @ x.T)) @ np.linalg.solve(kernel + 0.7 * np.eye(30), y)
    np.testing.assert_allclose(model.predict(augment_features(new, 1)), expected)


@pytest.mark.parametrize("domain", [[0, 2], [-1, 0], [0], [0.0, 1.0], [0, 1, 1]])
def test_domains_out_of_range_or_not_one_for_each_row_are_refused(domain: list[int]) -> None:
    with pytest.raises(InputError, match="domain"):
        augment_features(np.ones((2, 2)), domain)
