"""The benchmarks of text adaptation: what is compared, and what becomes a record."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from speechnlp_tl.core.config import load_config
from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.results import Record

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _plain_names(monkeypatch):
    for folder in ("benchmarks", "recipes/cross_domain_sentiment/local"):
        monkeypatch.syspath_prepend(str(ROOT / folder))


def rows(source, target, batch=4):
    from dann_skada import whole_steps

    generator = np.random.default_rng(0)
    parts = [sparse.csr_matrix(generator.poisson(0.5, (n, 7)).astype(np.float32)) for n in (source, target)]
    return whole_steps(*parts, np.arange(source) % 2, batch)


@pytest.mark.parametrize(("source", "target", "kept"), [(9, 13, 8), (13, 9, 8), (8, 8, 8), (3, 9, 0)])
def test_both_sides_get_as_many_documents_as_fill_whole_steps(source, target, kept):
    found = rows(source, target)
    assert (found.source.shape[0], found.target.shape[0], len(found.labels)) == (kept, kept, kept)
    assert len(found) == 2 * kept


def test_skada_gets_the_same_rows_and_no_label_of_the_target():
    from dann_skada import their_data

    given = rows(8, 8)
    dense, labels, domains = their_data(given)
    np.testing.assert_array_equal(dense[:8], given.source.toarray())
    np.testing.assert_array_equal(dense[8:], given.target.toarray())
    np.testing.assert_array_equal(labels[:8], given.labels)
    assert (labels[8:] == -1).all()
    assert (domains[:8] > 0).all()
    assert (domains[8:] < 0).all()


def test_our_side_of_the_comparison_trains_all_weights_with_a_gradient_from_both_domains():
    import dann_skada

    task, term = dann_skada.our_task(rows(8, 8), 4), dann_skada.our_term()
    before = [weight.clone() for weight in (*task.model.parameters(), *term.parameters())]
    dann_skada.train_ours(task, term, epochs=2)
    assert all(
        not torch.equal(a, b) for a, b in zip(before, [*task.model.parameters(), *term.parameters()], strict=True)
    )
    assert "domain_accuracy" in term.metrics()


def test_a_rate_above_one_says_that_ours_is_faster():
    from _report import DANN_CPU_RATIO, DANN_FIRST_RATIO, DANN_RATIO
    from dann_skada import OURS, THEIRS, records_of

    sides = {OURS: [2.0, 2.0, 2.0], THEIRS: [6.0, 8.0, 6.0]}
    timings = {"wall": sides, "processor": {OURS: [1.0] * 3, THEIRS: [2.0] * 3}}
    answer = {"documents": 100, "first": timings, "long": timings, "learnt": {OURS: {"a": 1.0}, THEIRS: {"a": 2.0}}}
    found = {
        (record.system, record.metric): record for record in records_of(answer, 10, {"recipe": "x", "corpus": "y"})
    }
    assert found[OURS, "documents per second"].value == 500
    assert found[THEIRS, "documents per second"].value == pytest.approx(1000 / 6)
    assert found[OURS, DANN_RATIO].value == 3
    assert found[OURS, DANN_RATIO].ci95 == (3, 4)
    assert found[OURS, DANN_CPU_RATIO].value == 2
    assert found[OURS, DANN_FIRST_RATIO].value == 3


def test_a_claim_about_one_budget_is_not_judged_by_another():
    from _report import Claim

    fixed = {"recipe": "dann_skada", "corpus": "y", "system": "ours", "metric": "ratio"}
    records = [
        Record(**fixed, budget=f"{batch} + {batch} reviews", value=value) for batch, value in ((32, 2), (128, 4))
    ]
    claim = ("faster", "dann_skada", "ratio", 3, False, " x")
    assert Claim(*claim, budget="32 +").row(records) == "| faster | ≥ 3 x | 2 x | **no** |"
    assert Claim(*claim, budget="128 +").row(records) == "| faster | ≥ 3 x | 4 x | yes |"
    assert Claim(*claim).row(records) == "| faster | ≥ 3 x | 2 x | **no** |"
    assert Claim(*claim, budget="64 +").row(records) == "| faster | ≥ 3 x | – | not measured |"


def test_the_table_is_made_with_the_recipes_own_settings_of_one_system():
    from settings import RecipeConfig
    from twelve_tasks import only

    config = load_config(ROOT / "recipes/cross_domain_sentiment/conf/amazon.yaml", RecipeConfig)
    chosen = only(config, "dann")
    assert list(chosen.systems) == ["dann"]
    assert chosen.seeds == 1
    changed = {"distance": False, "scored": False}
    assert chosen.transfer["dann"] == config.transfer["dann"].model_copy(update=changed)
    assert (chosen.train, chosen.classifier, chosen.batch_size) == (config.train, config.classifier, config.batch_size)
    with pytest.raises(InputError, match=r"no network 'svm'.*dann"):
        only(config, "svm")


def test_a_finished_process_tells_what_it_cost():
    from _harness import run

    done = run([sys.executable, "-c", "x = sum(range(10**6)); print([1])"])
    assert done.answer == [1]
    assert 0 < done.processor_s < done.wall_s + 1
    assert done.peak_mb > 1
