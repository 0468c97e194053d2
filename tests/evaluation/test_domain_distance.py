from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import norm

from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.domain_distance import proxy_a_distance


def domains(rows: int, shift: float, features: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    source, target = np.random.default_rng(seed).standard_normal((2, rows, features))
    target[:, 0] += shift
    return source, target


def test_the_same_distribution_is_at_no_distance() -> None:
    found = [proxy_a_distance(*domains(1000, 0.0, seed=seed), seed=seed) for seed in range(10)]
    # the mean of ten: standard error of a distance is 4 sqrt(.25 / 1000) = 0.063
    assert abs(np.mean([one.distance for one in found])) < 0.07
    assert sum(low <= 0 <= high for low, high in (one.ci95 for one in found)) >= 8


def test_more_features_than_rows_do_not_make_equal_domains_look_different() -> None:
    found = [proxy_a_distance(*domains(100, 0.0, 1000, seed), seed=seed).distance for seed in range(8)]
    assert abs(np.mean(found)) < 0.3


def test_separable_domains_are_at_distance_two() -> None:
    found = proxy_a_distance(*domains(200, 50.0))
    assert (found.distance, found.error, found.n) == (2.0, 0.0, 200)
    assert found.ci95[1] == 2.0
    assert 1.9 < found.ci95[0] < 2.0


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_between_them_it_is_what_the_best_linear_boundary_can_do(shift: float) -> None:
    found = proxy_a_distance(*domains(20000, shift))
    bayes_error = norm.cdf(-shift / 2)
    assert found.distance == pytest.approx(2 * (1 - 2 * bayes_error), abs=0.05)
    assert found.ci95[0] < found.distance < found.ci95[1]


def test_sparse_rows_and_the_seed_give_the_same_again_and_sizes_may_differ() -> None:
    source, target = domains(300, 1.0)
    first = proxy_a_distance(source, target[:120], seed=3)
    assert first == proxy_a_distance(source, target[:120], seed=3)
    assert first.n == 120
    assert proxy_a_distance(sparse.csr_matrix(source), sparse.csr_array(target[:120]), 3).distance == pytest.approx(
        first.distance, abs=0.1
    )


def test_domains_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(InputError, match="different features"):
        proxy_a_distance(np.zeros((10, 3)), np.zeros((10, 4)))
    with pytest.raises(InputError, match="at least 6"):
        proxy_a_distance(np.zeros((10, 3)), np.zeros((5, 3)))
