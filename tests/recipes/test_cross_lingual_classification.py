"""The recipe cross_lingual_classification: which verse is for what, what is learned from what, how rates are formed."""

from __future__ import annotations

import importlib
import json
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
RECIPE = ROOT / "recipes" / "cross_lingual_classification"
MODULES = ("settings", "books", "corpora", "runs", "train", "align", "documents", "classify", "score", "tables")


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


@pytest.fixture(scope="module")
def runs(local, data: Path, tmp_path_factory: pytest.TempPathFactory):
    """One division of made books with jointly learned vectors of little text."""
    path = tmp_path_factory.mktemp("conf") / "c.yaml"
    path.write_text(
        "source: xa\ntargets: [xb]\nsplits: 1\nwords: 150\nbaseline: majority\ncandidates: [1.0]\n"
        "spaces:\n  joint: {merged: true, training: {dimension: 20, epochs: 3, min_count: 2, subsample: 0.0}}\n"
        "systems:\n"
        "  majority: {kind: majority}\n"
        "  words: {kind: words, labels: target}\n"
        "  dictionary: {kind: word by word}\n"
        "  translated: {kind: word by word, space: joint}\n"
        "  joint: {kind: linear, space: joint}\n"
        "  taught: {kind: self-trained, space: joint}\n"
        "  network: {kind: network, space: joint}\n"
        "  mmd: {kind: network, space: joint, method: mmd}\n"
        "train: {epochs: 2, learning_rate: 0.01, device: cpu}\n"
    )
    config = load_config(path, local.settings.RecipeConfig)
    return local.runs.Runs(config, data, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def pair(local, runs):
    local.align._align((runs, "joint", "xb", 0))
    return local.documents.PairData(runs, "xb", 0)


@pytest.mark.parametrize("name", ["synthetic", "bible"])
def test_configurations_are_valid(local, name: str) -> None:
    config = load_config(RECIPE / "conf" / f"{name}.yaml", local.settings.RecipeConfig)
    kinds = {system.kind for system in config.systems.values()}
    assert kinds == {"majority", "words", "word by word", "linear", "self-trained", "network"}
    assert config.needs_dictionary


def test_what_does_not_fit_together_in_a_configuration_is_said(local, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "targets: [en]\nbaseline: x\ntrain: {epochs: 1}\nspaces:\n  a: {method: procrustes}\n"
        "systems:\n  b: {kind: linear, space: z}\n"
    )
    with pytest.raises(InputError) as caught:
        load_config(path, local.settings.RecipeConfig)
    for said in ("no space 'z'", "the baseline 'x' is no system", "the source is not among the targets"):
        assert said in str(caught.value)
    path.write_text(
        "targets: [fr]\nbaseline: b\ntrain: {epochs: 1}\n"
        "spaces:\n  a: {method: procrustes, link: none}\n  c: {link: none}\n"
        "systems:\n  b: {kind: linear}\n  d: {kind: words}\n  e: {kind: network, space: a, method: adabn}\n"
    )
    with pytest.raises(InputError) as caught:
        load_config(path, local.settings.RecipeConfig)
    assert len(caught.value.problems) == 5


def test_a_division_keeps_books_whole_and_every_genre_everywhere(local, runs) -> None:
    verses = runs.verses("xa")
    divisions = [local.books.divide(verses, seed, 0.3, 0.2) for seed in range(5)]
    assert len({division.test for division in divisions}) > 1
    genre_of = dict(zip(verses.books, verses.labels.tolist(), strict=True))
    for division in divisions:
        parts = (division.train, division.held_out, division.test)
        assert sum(map(len, parts)) == len(set(verses.books)) == len(frozenset.union(*parts))
        for part in parts:
            assert {genre_of[book] for book in part} == set(range(len(verses.genres)))
        for genre in range(len(verses.genres)):
            share = np.mean([genre_of[book] == genre for book in division.test])
            assert share == pytest.approx(1 / len(verses.genres))
        assert len(verses.of(division.test)) >= 0.3 * len(verses.texts)
    few = local.books.Verses("xa", ["a", "b"], np.array([0, 0]), ["A", "B"], ["A.1.1", "B.1.1"], ("g",))
    with pytest.raises(InputError, match="'g' has 2 books"):
        local.books.divide(few, 0, 0.3, 0.2)


def test_no_verse_of_a_test_book_is_in_the_text_of_vectors_or_dictionaries(
    local, runs, data: Path, monkeypatch
) -> None:
    division = runs.division(0)
    source, target = runs.verses("xa"), runs.verses("xb")
    unseen = {tuple(words) for words in target.words(division.test).values()}
    seen = {tuple(words) for words in target.words(division.seen).values()}
    made = [tuple(line.split()) for line in (data / "text" / "made" / "xb.txt").read_text().splitlines()]
    assert {*seen, *made} == {tuple(words) for words in local.corpora.sentences(data, target, division)}
    assert not (unseen - seen - set(made)) & {tuple(w) for w in local.corpora.sentences(data, target, division)}
    corpora = local.corpora.matched(data, source, target, division)
    assert len(corpora) == 2
    assert len(corpora[0]) == len(target.of(division.seen))
    monkeypatch.setattr(local.corpora, "SHELVES", ())
    entries = local.corpora.dictionary(data, source, target, division, 150).entries
    published = local.corpora.read_dictionary(data / "dictionaries" / "made" / "xa-xb.train.tsv").entries
    apart = {entry for entry in entries if len(set(entry)) == 2}  # names are the same and in no published one
    assert len(apart & set(published)) > 0.5 * len(apart) > 10


def test_held_out_books_are_those_of_the_division(local, pair) -> None:
    data = pair.vectors("joint", "source")
    verses, seen = pair.source_verses, pair.source_verses.of(pair.division.seen)
    assert {verses.books[seen[row]] for row in data.held_out} == pair.division.held_out
    np.testing.assert_array_equal(data.documents.labels, verses.labels[seen])
    assert len(data.test) == len(pair.test) == len(pair.target_verses.of(pair.division.test))
    assert pair.vectors("joint", "source") is data, "made once"


def test_words_are_translated_by_their_nearest_and_others_left_out(local, pair, data: Path) -> None:
    by_dictionary, by_space = pair.translated(None), pair.translated("joint")
    english = {word for text in pair.source_verses.texts for word in text.split()}
    assert {word for text in by_space for word in text.split()} <= {w.replace("-", "_") for w in english} | set(
        local.align.read_space(pair.runs, "joint", "xb", 0).words["xa"].words
    )
    entries = (data / "dictionaries" / "made" / "xa-xb.train.tsv").read_text().split("\n")[:150]
    back = {line.split("\t")[1]: line.split("\t")[0] for line in entries if line}
    first = pair.target_verses.texts[pair.test[0]].split()
    assert by_dictionary[0].split() == [back[word] for word in first if word in back]
    assert len(by_dictionary) == len(by_space) == len(pair.test)


def test_every_kind_of_system_judges_every_test_verse(local, runs, pair) -> None:
    truth = pair.target_verses.labels[pair.test]
    right = {}
    for name, system in runs.config.systems.items():
        judged = local.classify.judge(runs.config, system, pair)
        assert judged.predictions.shape == truth.shape
        right[name] = float(np.mean(judged.predictions == truth))
    assert right["majority"] == pytest.approx(0.25)
    for name in ("words", "dictionary", "translated"):
        assert right[name] > 0.4, right


def test_labels_of_the_target_change_nothing_but_the_ceilings(local, runs, pair, monkeypatch) -> None:
    before = {
        name: local.classify.judge(runs.config, system, pair).predictions
        for name, system in runs.config.systems.items()
    }
    blind = local.documents.PairData(runs, "xb", 0)
    labels = np.random.default_rng(0).permutation(pair.target_verses.labels)
    blind.target_verses = local.books.Verses(**{**vars(pair.target_verses), "labels": labels})
    for name, system in runs.config.systems.items():
        same = np.array_equal(local.classify.judge(runs.config, system, blind).predictions, before[name])
        assert same == (system.labels == "source"), name


def test_a_changed_setting_runs_again_only_what_it_touches(local, runs) -> None:
    def names(changes: dict) -> dict[str, str]:
        changed = local.runs.Runs(runs.config.model_copy(update=changes), runs.data, runs.out)
        return {name: changed.predictions(name, "xb", 0).name for name in runs.config.systems}

    before = names({})
    differs = {
        change: {name for name, file in names(update).items() if file != before[name]}
        for change, update in {
            "candidates": {"candidates": [2.0]},
            "words": {"words": 99},
            "batch_size": {"batch_size": 32},
            "test_share": {"test_share": 0.4},
        }.items()
    }
    assert differs["batch_size"] == {"network", "mmd"}
    assert differs["words"] == {"dictionary", "translated", "joint", "taught", "network", "mmd"}
    assert differs["test_share"] == differs["candidates"] == set(before)


def test_intervals_draw_books_and_divisions(local) -> None:
    books = ["A"] * 10 + ["B"] * 10
    alike = local.score.Cell([np.array([True, False] * 10)] * 2, [books] * 2, [50.0] * 2, [])
    np.testing.assert_allclose(local.score.resampled_accuracies(alike), 50)
    apart = local.score.Cell([np.array([True] * 10 + [False] * 10)] * 2, [books] * 2, [50.0] * 2, [])
    found = local.score.resampled_accuracies(apart)
    # two books: both are A in a quarter of the draws
    assert np.mean(found == 100) == pytest.approx(1 / 4 * (1 / 2 + 1 / 2 * 1 / 4), abs=0.05)
    assert apart.accuracy == 50
    correct, sizes = local.score.by_book(np.array([True, False, True]), ["B", "A", "B"])
    assert (correct.tolist(), sizes.tolist()) == ([0, 2], [1, 2])


def test_gains_are_paired_by_book(local) -> None:
    books = [["A"] * 5 + ["B"] * 5]
    ours = local.score.Cell([np.array([True] * 10)], books, [100.0], [])
    theirs = local.score.Cell([np.array([True] * 5 + [False] * 5)], books, [50.0], [])
    place = {"recipe": "r", "corpus": "c", "system": "s", "target": "fr"}
    gain, p = local.score._gain([ours], [theirs], place, "base")
    assert (gain.value, gain.ci95) == (50.0, (0.0, 100.0))
    assert p.value == 1.0, "one book that differs is a coin"


def test_tables_show_every_language_and_the_gain(local) -> None:
    common = {"recipe": "r", "corpus": "bible", "source": "en", "seeds": 5, "selection": "fixed"}

    def both(system: str, values: dict[str, float]) -> list[Record]:
        return [
            Record(**common, system=system, target=target, metric=metric, value=value, wall_s=2.0)
            for target, value in values.items()
            for metric in ("accuracy", "macro-F1")
        ]

    good = {**common, "system": "good", "target": "mean"}
    records = [
        *both("plain", {"fr": 40.0, "de": 44.0, "mean": 42.0}),
        *both("good", {"fr": 60.0, "de": 62.0, "mean": 61.0}),
        Record(**good, metric="accuracy gain", value=19.0, ci95=(15.0, 23.0), notes="paired"),
        Record(**good, metric="p-value", value=1e-6),
    ]
    table = local.tables.sections(records, "bible")[0].splitlines()[-2:]
    assert table[0].startswith("| good | **61.0**")
    assert "| 60.0  | 62.0  | 61.0 | +19.0 [+15.0, +23.0] | < 0.0001 | fixed | 2.0 s |" in table[0]
    assert "| 42.0 |  |  | fixed |" in table[1]


def test_documents_that_are_damaged_name_their_file(local, tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "fr.jsonl").write_text(json.dumps({"text": "a"}) + "\n")
    with pytest.raises(InputError, match=r"fr\.jsonl: is missing or damaged; run stage 1 again"):
        local.books.read_verses(tmp_path, "fr")
