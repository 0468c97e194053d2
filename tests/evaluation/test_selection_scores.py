"""Label-free scores: the mutual information of predictions against its definition, and its two ends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy

from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.selection_scores import mutual_information


def test_it_is_the_divergence_of_predictions_from_their_mean() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(4), 50)
    assert mutual_information(p) == pytest.approx(np.mean([entropy(row, p.mean(0)) for row in p]))


def test_sure_and_even_predictions_score_best_and_one_answer_for_all_worst() -> None:
    assert mutual_information(np.tile(np.eye(3), (5, 1))) == pytest.approx(np.log(3))
    assert mutual_information(np.tile([1.0, 0.0], (8, 1))) == pytest.approx(0)
    assert mutual_information(np.full((8, 2), 0.5)) == pytest.approx(0)


@pytest.mark.parametrize("p", [np.zeros((0, 2)), np.ones((3, 2)), np.array([[1.5, -0.5]]), np.ones(3) / 3])
def test_what_are_no_distributions_is_refused(p: np.ndarray) -> None:
    with pytest.raises(InputError, match="probabilities"):
        mutual_information(p)
