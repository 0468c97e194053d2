"""The recipe embedding_alignment: what is learned from what, what is run again, how rates are formed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_prep.made_languages import prepare
from speechnlp_tl.core.config import load_config
from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.results import Record

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "embedding_alignment"
MODULES = ("settings", "corpora", "runs", "train", "align", "translate", "score", "tables", "derived", "arguments")


@pytest.fixture(scope="module")
def local() -> Iterator[SimpleNamespace]:
    """The recipe's own modules; other recipes have modules of the same names."""
    earlier = {name: sys.modules.pop(name) for name in MODULES if name in sys.modules}
    sys.path.insert(0, str(RECIPE / "local"))
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    sys.path.remove(str(RECIPE / "local"))
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.modules.update(earlier)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    prepare(folder / "data", sentences=100, matched=100)
    return folder / "data"


@pytest.mark.parametrize("name", ["synthetic", "real", "full"])
def test_configurations_are_valid_and_name_their_fallbacks(local, name: str) -> None:
    config = load_config(RECIPE / "conf" / f"{name}.yaml", local.settings.RecipeConfig)
    assert [each.fallback for each in config.systems.values() if each.link == "none"] == [
        "identical strings, self-learning"
    ] * 2
    assert {0, max(config.budgets)} <= {budget for system in config.systems for budget in config.budgets_of(system)}


def test_more_text_is_another_corpus(local) -> None:
    editions, real = (
        load_config(RECIPE / "conf" / f"{name}.yaml", local.settings.RecipeConfig) for name in ("editions", "real")
    )
    assert (editions.corpus_name("real"), real.corpus_name("real")) == ("real-all-editions", "real")


def test_seeds_are_those_of_the_pair_or_fewer(local) -> None:
    config = load_config(RECIPE / "conf" / "real.yaml", local.settings.RecipeConfig)
    config = config.model_copy(update={"pairs": ["en-fr", "de-fr"], "seeds": 5, "more_seeds": {"de-fr": 7}})
    assert [len(config.seeds_of(pair)) for pair in config.pairs] == [5, 7]
    assert [len(config.seeds_of("en-fr", name)) for name in ("rcsls", "procrustes", "merged sentences")] == [2, 5, 2]
    assert [len(config.seeds_of_language(name)) for name in ("en", "fr", "de")] == [5, 7, 7]


def test_what_does_not_fit_together_in_a_configuration_is_said(local, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("pairs: [en-fr]\nsystems:\n  a: {method: procrustes, link: none}\n  b: {method: prokrustes}\n")
    with pytest.raises(InputError) as caught:
        load_config(path, local.settings.RecipeConfig)
    assert len(caught.value.problems) == 2


def test_source_words_of_the_test_are_in_no_training_dictionary(local, data: Path) -> None:
    pair, extra = "xa-xb", data / "dictionaries" / "made" / "xa-xb.train.tsv"
    test = local.corpora.dictionary(data, pair, "test")
    before = extra.read_text()
    extra.write_text(before + f"{test.entries[0][0].upper()}\tsomething\n")
    try:
        train, _ = local.corpora.train_and_test(data, pair)
    finally:
        extra.write_text(before)
    assert not {word.lower() for word, _ in train.entries} & {word.lower() for word, _ in test.entries}
    assert len(train) == len(before.splitlines())


def test_a_dictionary_serves_the_other_direction_turned_round(local, data: Path) -> None:
    one, other = (local.corpora.dictionary(data, pair, "test") for pair in ("xa-xb", "xb-xa"))
    assert one.swapped().entries == other.entries
    with pytest.raises(InputError, match="no test dictionary of 'xa-zz'"):
        local.corpora.dictionary(data, "xa-zz", "test")


def test_a_budget_counts_source_words_and_the_held_out_ones_are_no_others(local) -> None:
    rows = np.array([[4, 0], [4, 1], [2, 2], [7, 3], [2, 5]])
    assert local.align.first_words(rows, 2).tolist() == [[4, 0], [4, 1], [2, 2], [2, 5]]

    every = SimpleNamespace(rows=np.repeat(np.arange(800), 2).reshape(-1, 2))
    words = SimpleNamespace(pairs=lambda source, target: every)
    system = local.settings.SystemConfig(method="rcsls")
    fitted, held = local.align.linked(system, words, None, None, 600, seed=0)
    assert len(held) == 60
    assert sorted(np.concatenate([fitted, held])[:, 0]) == list(range(600))
    fitted, held = local.align.linked(system, words, None, None, 100, seed=0)
    assert len(fitted) == 100
    assert held is None


def test_runs_are_named_after_what_they_depend_on(local, data: Path, tmp_path: Path) -> None:
    def runs(**changes) -> object:
        systems = {"a": {"method": "procrustes"}, "b": {"method": "vecmap"}} | changes.pop("systems", {})
        config = local.settings.RecipeConfig(pairs=["xa-xb"], systems=systems, joint={"j": {}}, **changes)
        return local.runs.Runs(config, data, tmp_path)

    first, same = runs(), runs(seeds=1)
    other_vectors = runs(trainings=[{"dimension": 50}])
    other_system = runs(systems={"b": {"method": "vecmap", "settings": {"dimensions": 10}}})
    places = [
        lambda each: each.vectors("xa", 0),
        lambda each: each.alignment("a", "xa-xb", 5, 0),
        lambda each: each.alignment("b", "xa-xb", 5, 0),
        lambda each: each.joint("j", "xa-xb", 0),
    ]
    assert all(place(first) == place(same) for place in places)
    assert [place(first) == place(other_vectors) for place in places] == [False, False, False, True]
    assert [place(first) == place(other_system) for place in places] == [True, True, False, True]


def test_rates_are_means_over_seeds_and_intervals_hold_them(local) -> None:
    found = np.array([[1, 0, 3, 7], [1, 2, 0, 6]])
    values = local.score.scores(found)
    assert {name: each.mean() for name, each in values.items() if name != "mrr"} == {
        "p@1": 2 / 8,
        "p@5": 4 / 8,
        "p@10": 6 / 8,
    }
    assert values["mrr"].mean() == pytest.approx((1 + 1 / 3 + 1 / 7 + 1 + 1 / 2 + 1 / 6) / 8)
    low, high = local.score.interval(np.tile(found > 0, (1, 100)).astype(float))
    assert low < 75 < high


def test_tables_show_both_retrievals_refusals_and_the_fallback(local) -> None:
    common = {"recipe": "embedding_alignment", "corpus": "real", "source": "en", "target": "fr", "seeds": 1}

    def rate(system: str, budget: object, value: float, metric: str = "p@1", **more) -> Record:
        return Record(**common, system=system, budget=budget, metric=metric, value=value, **more)

    records = [
        rate("procrustes (csls)", 25, 30.0, ci95=(28.0, 32.0)),
        rate("procrustes (nn)", 25, 25.0),
        rate("vecmap (csls)", 500, 35.0),
        rate("vecmap", 25, 100.0, "refused", notes="too few"),
        rate("adversarial (csls)", 0, 1.0),
        rate("adversarial", 0, 40.0, "round trips"),
        rate("adversarial", 0, 38.0, "round trips by chance"),
        rate("adversarial", 0, 3.0, "spelt alike, found"),
        rate("adversarial", 0, 100.0, "warned", notes="identical"),
        rate("identical (csls)", 0, 22.0),
        rate("merged (csls)", "sentences", 61.0),
        rate("hub, joint (csls)", 25, 29.0),
        rate("dictionary", None, 40.5, "coverage", n=2000),
    ]
    text = "\n".join(local.tables.sections(records, "real"))
    assert "**30.0** [28.0, 32.0] (25.0)" in text
    assert "too few words" in text
    assert "| en-fr | adversarial | 40 % (38 %) | 3 % | in 1 of 1 | 1.0 | 22.0 |" in text
    assert "| merged | **61.0**" in text
    assert "| en-fr | 29.0  | 30.0 [28.0, 32.0] |" in text
    assert "40.5 % of 2000" in text
