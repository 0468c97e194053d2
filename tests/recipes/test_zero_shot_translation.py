"""The recipe zero_shot_translation: what each system is trained on, what is run again, what the made languages show."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from speechnlp_tl.core.config import load_config
from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.results import Record

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "zero_shot_translation"
MODULES = ("settings", "prepare", "train", "translate", "score", "tables")


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


@pytest.mark.parametrize("name", ["synthetic", "small", "longer", "networks", "czech", "shared", "tatoeba", "base"])
def test_no_training_or_dev_text_of_a_zero_shot_system_joins_the_unseen_pair(local, name: str) -> None:
    config = load_config(RECIPE / "conf" / f"{name}.yaml", local.settings.RecipeConfig)
    left, hub, right = config.languages
    halves = {frozenset((left, hub)), frozenset((hub, right))}
    zero_shot = [
        name
        for name in config.trained
        if all(
            config.systems[each].pairs is None or config.systems[each].written_by
            for each in [name, *config.needed(name)]
        )
    ]
    assert len(zero_shot) > 1
    for system in zero_shot:
        data = config.experiment_of(system, Path("data"), Path("runs"), 0).data
        given = [files for files in data.train if "written-" not in str(files)]
        assert {frozenset(files) for files in [*given, *data.dev]} == halves
        assert set(config.unseen) <= set(config.directions(system))


@pytest.mark.parametrize(("conf", "control"), [("small", "more steps"), ("longer", "more steps, longer")])
def test_remedies_start_from_one_model_and_are_trained_as_long(local, conf: str, control: str) -> None:
    config = load_config(RECIPE / "conf" / f"{conf}.yaml", local.settings.RecipeConfig)
    started = [name for name in config.trained if config.systems[name].initial_of == "multilingual"]
    made = {name: config.experiment_of(name, Path("data"), Path("runs"), 0) for name in started}
    first = str(config.folder(Path("runs"), "multilingual", Path("data"), 0))
    assert len(made) > 2
    assert control in made
    assert len({each.train.model_dump_json() for each in made.values()}) == 1
    assert all(each.initial.model == first for each in made.values())
    assert made[control].denoising == made[control].similarity == made[control].back_translation == 0
    assert config.trained.index("multilingual") < min(map(config.trained.index, started))


def test_what_is_written_and_what_is_trained_for_longer(local) -> None:
    small, longer = (
        load_config(RECIPE / "conf" / f"{name}.yaml", local.settings.RecipeConfig) for name in ("small", "longer")
    )
    made = small.experiment_of("back-translation", Path("data"), Path("runs"), 0)
    assert made.written_directions == ["de-fr", "fr-de"]
    started = [name for name in longer.trained if longer.systems[name].initial_of == "multilingual"]
    assert started == ["more steps, longer", "denoising, longer", "pair written through English, longer"]


WRITING = """
languages: [de, en, fr]
experiment: {train: {steps: 3}}
systems:
  student: {pairs: [de-en, "de-fr:written"], written_by: teacher}
  teacher: {}
"""


def test_what_one_system_writes_another_is_trained_on(local, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(WRITING)
    config = load_config(path, local.settings.RecipeConfig)
    data, runs = tmp_path / "data", tmp_path / "runs"
    text = {"de-en": {"de": "eins\nzwei\ndrei\n", "en": "one\ntwo\nthree\n"},
            "en-fr": {"en": "four\nlong\nfive\n", "fr": "quatre\nlongue\ncinq\n"}}  # fmt: skip
    for half, sides in text.items():
        (data / "train" / half).mkdir(parents=True)
        for language, lines in sides.items():
            (data / "train" / half / f"{language}.txt").write_text(lines)
    assert config.trained == ["teacher", "student"]
    folders = config.written("student", data, runs, 0)
    asked = []

    class Teacher:
        def translate(self, lines, target, search, source):
            asked.append((target, source))
            # a sentence that it says nothing to is left out, and one of which it heard the beginning
            return SimpleNamespace(
                lines=["" if line == "two" else f"{target} {line}" for line in lines],
                cut={2: 99} if target == "de" else {},
            )

    monkeypatch.setattr(local.train, "loaded", lambda folder: Teacher())
    for half, folder in folders.items():
        local.train._write((config, "student", data, runs, 0, half, folder))
    assert asked == [("fr", "en"), ("de", "en")]

    def read(files):
        return [[Path(file).read_text().split("\n")[:-1] for file in each.values()] for each in files]

    made = config.experiment_of("student", data, runs, 0).data
    assert [list(each) for each in made.train] == [["de", "en"], ["de", "fr"], ["de", "fr"]]
    assert read(made.train[1:]) == [
        [["eins", "drei"], ["fr one", "fr three"]],
        [["de four", "de five"], ["quatre", "cinq"]],
    ]
    assert [list(each) for each in made.dev] == [["de", "en"]]
    assert set(config.unseen) <= set(config.directions("student"))
    # a training is another one when other text was written for it
    before = config.folder(runs, "student", data, 0)
    (folders["de-en"] / "fr.txt").write_text("fr one\nfr four\n")
    assert config.folder(runs, "student", data, 0) != before
    monkeypatch.setattr(Teacher, "translate", lambda *_: SimpleNamespace(lines=[""] * 3, cut={}))
    with pytest.raises(InputError, match="teacher, seed 0, writes nothing in fr: train it for longer"):
        local.train._write((config, "student", data, runs, 0, "de-en", folders["de-en"]))
    assert json.loads(local.train.record_of(folders["de-en"]).read_text())["rows"] == 2


def test_text_is_written_before_a_training_is_named_after_it(local, tmp_path: Path, monkeypatch) -> None:
    path, data, runs = tmp_path / "c.yaml", tmp_path / "data", tmp_path / "runs"
    path.write_text(WRITING.replace("systems:", "seeds: 2\nsystems:") + "  other: {seeds: 1}\n")
    config = load_config(path, local.settings.RecipeConfig)
    done = []

    def in_parallel(work, items, jobs) -> None:
        if work is local.train._write:
            for *_, folder in items:
                for language in ("de", "fr"):
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / f"{language}.txt").write_text("text\n")
        done.append((work.__name__, [item[-1] for item in items]))

    monkeypatch.setattr(local.train, "in_parallel", in_parallel)
    local.train._work(SimpleNamespace(conf=path, data=data, runs=runs, jobs=1))
    teachers, students = ([config.folder(runs, name, data, seed) for seed in (0, 1)] for name in ("teacher", "student"))
    first = [teachers[0], config.folder(runs, "other", data, 0), teachers[1]]
    written = [folder for seed in (0, 1) for folder in config.written("student", data, runs, seed).values()]
    assert done == [("_train", first), ("_write", written), ("_train", students)]


def test_text_is_written_anew_where_its_writer_or_its_search_is_another(local, tmp_path: Path) -> None:
    path, place = tmp_path / "c.yaml", (Path("data"), Path("runs"))
    found = []
    for changed in (("", ""), ("steps: 3", "steps: 4"), ("systems", "search: {beam: 2}\nsystems")):
        path.write_text(WRITING.replace(*changed))
        config = load_config(path, local.settings.RecipeConfig)
        found += [config.written("student", *place, seed)[half] for seed in (0, 1) for half in ("de-en", "en-fr")]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (", written_by: teacher", "", "'written_by' and a training set like de-fr:written need each other"),
        (', "de-fr:written"', "", "'written_by' and a training set like de-fr:written need each other"),
        ("de-fr:written", "de-en:written", "what is written is the unseen pair, de-fr:written, not de-en:written"),
        ("teacher}", "student}", "goes round in a circle: student"),
        ("teacher}", "nobody}", "name no trained system: nobody"),
        ("teacher: {}", "teacher: {pairs: [de-en, en-fr, de-fr]}", "trained on the pair that it is to write"),
        ("teacher: {}", "teacher: {initial_of: a}\n  a: {pairs: [de-fr]}", "teacher is trained on the pair"),
        ("teacher: {}", "teacher: {pairs: [de-en]}", "teacher is not trained from en to de and fr"),
        ("teacher: {}", "teacher: {seeds: 1}\nseeds: 2", r"the system that it needs: student \(teacher\)"),
    ],
)  # fmt: skip
def test_text_that_nobody_can_write_is_refused(local, tmp_path: Path, old: str, new: str, told: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(WRITING.replace(old, new))
    with pytest.raises(InputError, match=told):
        load_config(path, local.settings.RecipeConfig)


def test_a_new_language_is_measured_with_each_and_beside_the_old_directions(local) -> None:
    config = load_config(RECIPE / "conf" / "czech.yaml", local.settings.RecipeConfig)
    directions = config.directions("Czech, fine-tuned")
    assert {("cs", "en"), ("en", "cs"), ("cs", "de"), ("fr", "cs"), ("de", "fr"), ("de", "en"), ("fr", "en")} <= set(
        directions
    )
    assert set(config.directions("Czech alone")) == {("cs", "en"), ("en", "cs")}
    assert not any("cs" in each for each in config.directions("multilingual"))
    encoded = local.translate.encoded(config, "Czech, fine-tuned")
    assert set(encoded) == {(one, other) for one in ("de", "en", "fr") for other in ("de", "en", "fr")} - {
        ("de", "de"),
        ("en", "en"),
    }
    assert local.translate.encoded(config, "Czech alone") == []
    assert config.line("Czech, ewc") == [
        "multilingual",
        "pair written through English, longer",
        "Czech, ewc",
    ]
    made = config.experiment_of("Czech, ewc", Path("data"), Path("runs"), 0)
    # what it was trained on: the written pair, half by half, is text like any other
    assert [set(files) for files in made.initial.ewc_text] == [{"de", "en"}, {"en", "fr"}, {"de", "fr"}, {"de", "fr"}]
    assert ("de", "fr") not in config.trained_in(config.line("Czech, ewc")[-2])
    assert made.data.train == [{name: f"data/train/cs-en/{name}.txt" for name in ("cs", "en")}]


@pytest.mark.parametrize(
    ("confs", "system"),
    [
        (("longer", "czech"), "pair written through English, longer"),
        (("small", "longer"), "multilingual"),
        (("small", "networks"), "more steps"),
        (("small", "networks"), "denoising"),
        (("small", "networks"), "pair written through English"),
    ],
)
def test_other_configurations_start_from_the_very_models_of_the_core(local, confs, system: str) -> None:
    core, other = (load_config(RECIPE / "conf" / f"{name}.yaml", local.settings.RecipeConfig) for name in confs)
    for name in ("multilingual", system):
        place = Path("runs"), name, Path("data"), 0
        assert core.folder(*place) == other.folder(*place)


def test_a_training_is_named_after_all_that_it_depends_on(local) -> None:
    config = load_config(RECIPE / "conf" / "synthetic.yaml", local.settings.RecipeConfig)
    runs, data = Path("runs"), Path("data")
    folders = [config.folder(runs, name, data, seed) for name in config.trained for seed in (0, 1)]
    assert len(set(folders)) == len(folders)
    assert config.folder(runs, "multilingual", data, 0) != config.folder(runs, "multilingual", Path("other"), 0)
    changed = config.model_copy(deep=True)
    changed.systems["multilingual"].settings = {"denoising": 0.1}
    for dependent in ("multilingual", "back-translation"):
        assert changed.folder(runs, dependent, data, 0) != config.folder(runs, dependent, data, 0)
    out = Path("out")
    for dependent in ("multilingual", "pivot"):
        one, other = (each.translations(out, runs, dependent, data, 0) for each in (config, changed))
        assert one != other


def test_other_text_under_the_same_names_is_another_run(local, tmp_path: Path) -> None:
    config = load_config(RECIPE / "conf" / "synthetic.yaml", local.settings.RecipeConfig)

    def write(line: str) -> tuple[Path, Path]:
        for folder in ("train/xa-xb", "train/xb-xc", "dev", "test"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            for language in config.languages:
                (tmp_path / folder / f"{language}.txt").write_text(line if folder == "train/xb-xc" else "same\n")
        place = Path("runs"), "multilingual", tmp_path, 0
        return config.folder(*place), config.translations(Path("out"), *place)

    first, again, other = write("one\n"), write("one\n"), write("two\n")
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_published_models_are_compared_on_all_captions_and_in_their_direction(local) -> None:
    config = load_config(RECIPE / "conf" / "base.yaml", local.settings.RecipeConfig)
    assert config.directions("en-de, all captions") == [("en", "de")]
    made = config.experiment_of("en-de, all captions", Path("data"), Path("runs"), 0)
    assert made.data.train == [{name: f"data/train/de-en-all/{name}.txt" for name in ("de", "en")}]
    assert made.data.trained == {"en-de"}
    assert config.cuts == {"de-fr-1000": 1000}


def record(local, system: str, metric: str, value: float, source=None, target=None, **more):
    return Record(recipe="zero_shot_translation", corpus="c", system=system, metric=metric, value=value, source=source,
                  target=target, n=10, seeds=1, **more)  # fmt: skip


def test_tables_show_what_was_forgotten_beside_what_was_learned(local) -> None:
    score = local.score
    records = [record(local, score.IDENTIFIER, "accuracy", 99.0)]
    for system, value in (("best", 30.0), ("pivot", 20.0)):
        for metric in (score.BLEU, score.CHRF, score.OFF_TARGET):
            records.append(record(local, system, metric, value, "de", "fr", wall_s=60.0))
    records += [
        record(local, "best", score.RETRIEVAL, 88.0, "de", "fr"),
        record(local, "best", score.BLEU, 40.0, "de", "en", ci95=(39.0, 41.0)),
        record(local, "Czech", score.BLEU, 12.0, "cs", "en", budget=score.ADDED),
        record(local, "Czech", score.BLEU, 5.0, "de", "en", budget=score.ADDED),
        record(local, "Czech", score.BLEU, 9.0, "cs", "de", budget=score.ADDED, ci95=(8.0, 10.0)),
        record(local, "Czech", score.CHANGE, -3.0, "cs", "de", budget=score.ADDED, notes="from its pivot, p 0.002"),
        record(local, "Czech", score.KEPT, 5.0, budget=score.ADDED, notes="40.0 before"),
        record(local, "Czech", score.KEPT, 2.0, "de", "fr", budget=score.ADDED, notes="30.0 before"),
        record(local, "best", score.CHANGE, 10.0, "de", "fr", ci95=(9.0, 11.0), notes="from pivot, p 0.002"),
        record(local, "best", score.CHANGE, 0.5, "de", "en", ci95=(-0.5, 1.5), notes="from multilingual, p 0.3"),
    ]
    unseen, supervised, retrieved, added = local.tables.sections(records, "c")[1:]
    assert unseen.index("| best |") < unseen.index("| pivot |")
    assert "Czech" not in unseen + supervised + retrieved
    assert "| best | 40.0 [39.0, 41.0] |" in supervised
    assert "| best | 88.0 |" in retrieved
    assert "| Czech | 12.0  | 9.0* [8.0, 10.0] | 5.0 (40.0 before) | 2.0 (30.0 before) |" in added
    assert "| system | cs to en | cs to de | old directions, mean | de to fr |" in added
    assert "*: different from its pivot." in added
    assert "points from pivot" in unseen
    assert "| +10.0* [+9.0, +11.0] |" in unseen
    assert "*: different from multilingual" in supervised


@pytest.mark.parametrize(
    ("corpus", "name", "told"),
    [("synthetic", "small", "synthetic is not made for languages de, en, fr.*has no new language"),
     ("multi30k", "tatoeba", "multi30k is not made for languages es, en, de")],
)  # fmt: skip
def test_languages_that_a_corpus_lacks_are_refused_before_anything_is_read(local, tmp_path, corpus, name, told) -> None:
    arguments = ["--corpus", corpus, "--leaky", "false", "--conf", str(RECIPE / "conf" / f"{name}.yaml")]
    done = subprocess.run(
        [sys.executable, str(RECIPE / "local" / "prepare.py"), *arguments, "--out", str(tmp_path / "out")],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert re.search(told, done.stderr, re.DOTALL)


def test_what_another_configuration_had_cut_stays(local, tmp_path: Path) -> None:
    own, other = tmp_path / "own.yaml", tmp_path / "other.yaml"
    own.write_text((RECIPE / "conf" / "synthetic.yaml").read_text())
    other.write_text(own.read_text().replace("xa-xc:100", "xa-xb:50"))
    for conf, cuts in ((own, {"xa-xc-100"}), (other, {"xa-xc-100", "xa-xb-50"}), (own, {"xa-xc-100", "xa-xb-50"})):
        local.prepare._work(
            SimpleNamespace(corpus="synthetic", leaky="false", conf=conf, out=tmp_path / "text", download_only=False)
        )
        there = {folder.name for folder in (tmp_path / "text" / "train").iterdir()}
        assert {name for name in there if name[-1].isdecimal()} == cuts


def test_a_pivot_goes_by_way_of_the_common_language(local) -> None:
    config = load_config(RECIPE / "conf" / "base.yaml", local.settings.RecipeConfig)
    first, second = "bilingual, de-en", "bilingual, en-fr"
    assert config.way("pivot, bilingual", ("de", "fr")) == [(first, ("de", "en")), (second, ("en", "fr"))]
    assert config.way("pivot, bilingual", ("fr", "de")) == [(second, ("fr", "en")), (first, ("en", "de"))]
    assert config.way("multilingual", ("de", "fr")) == [("multilingual", ("de", "fr"))]
    assert config.directions(first) == [("de", "en"), ("en", "de")]
    assert config.directions("pivot, bilingual") == [("de", "fr"), ("fr", "de")]


def test_a_pivot_of_a_new_language_goes_by_what_each_model_was_taught_last(local) -> None:
    config = load_config(RECIPE / "conf" / "czech.yaml", local.settings.RecipeConfig)
    one, two = "pivot, Czech, l2sp", "pivot, Czech, fine-tuned, and the old model"
    ways = [("cs", "de"), ("de", "cs"), ("cs", "fr"), ("fr", "cs")]
    assert config.directions(one) == config.directions(two) == ways
    assert [name for name, _ in config.way(one, ("cs", "fr"))] == ["Czech, l2sp"] * 2
    new, old = "Czech, fine-tuned", "pair written through English, longer"
    assert config.way(two, ("cs", "fr")) == [(new, ("cs", "en")), (old, ("en", "fr"))]
    assert config.way(two, ("fr", "cs")) == [(old, ("fr", "en")), (new, ("en", "cs"))]


def test_unseen_directions_are_compared_with_the_pivot_and_others_with_the_first_model(
    local, tmp_path: Path, monkeypatch
) -> None:
    config = load_config(RECIPE / "conf" / "longer.yaml", local.settings.RecipeConfig)
    right = [f"ein Mann mit {number} Hunden steht dort drüben" for number in range(30)]
    wrong = [line.replace("Mann", "Kind").replace("steht", "geht") for line in right]
    said = {"denoising, longer": right, "pivot, more steps, longer": wrong, "multilingual": wrong}
    for system, lines in said.items():
        for direction in ("fr-de", "en-de"):
            (tmp_path / system).mkdir(exist_ok=True)
            (tmp_path / system / f"{direction}.txt").write_text("".join(f"{line}\n" for line in lines))
    monkeypatch.setattr(local.score, "_folders", lambda _, __, system: [tmp_path / system])
    facts = {"recipe": "zero_shot_translation", "corpus": "c", "system": "denoising, longer", "seeds": 1}
    for direction, baseline in ((("fr", "de"), "pivot, more steps, longer"), (("en", "de"), "multilingual")):
        (found,) = local.score._compared(facts, config, None, "denoising, longer", direction, {"de": right})
        assert found.notes.startswith(f"from {baseline}, p 0.00")
        assert found.value > 30
        assert local.tables.significant(found)
        assert local.score._compared(facts, config, None, baseline, direction, {"de": right}) == []


def test_what_a_language_costs_is_told_of_each_direction(local) -> None:
    config = load_config(RECIPE / "conf" / "czech.yaml", local.settings.RecipeConfig)
    before, after = config.line("Czech, ewc")[-2:]
    records = [
        record(local, system, local.score.BLEU, value, *direction, **more)
        for system, value, more in ((before, 20.0, {}), (after, 15.0, {"budget": local.score.ADDED}))
        for direction in config.directions(before)
    ]
    mean, *each = local.score._kept(config, records, after)
    assert (mean.source, mean.target, mean.value, mean.notes) == (None, None, 15.0, "20.0 before")
    assert [(one.source, one.target) for one in each] == config.directions(before)
    assert {(one.value, one.notes) for one in each} == {(15.0, "20.0 before")}
    assert ("de", "fr") in config.directions(before)
    assert local.score._kept(config, records, before) == []


def test_what_is_compared_is_encoded_for_one_language(local, tmp_path: Path, monkeypatch) -> None:
    rows = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
    shifted = np.roll(rows, 1, axis=0)
    config = SimpleNamespace(languages=["de", "en", "fr"])
    # for French, German and English sentences lie together, for German French and English ones do not
    for source, target, own in (
        ("de", "fr", rows), ("en", "fr", rows + 1), ("fr", "de", rows), ("en", "de", shifted), ("de", "en", shifted),
        ("fr", "en", shifted),
    ):  # fmt: skip
        np.save(local.translate.encodings_file(tmp_path, source, target), own)
    monkeypatch.setattr(local.score, "_folders", lambda *arguments: [tmp_path])
    facts = {"recipe": "zero_shot_translation", "corpus": "c", "system": "a", "seeds": 1}
    found = local.score._retrieved(facts, config, None, "a")
    assert [(each.notes, each.value) for each in found] == [
        ("de among en, for fr", 100.0),
        ("fr among en, for de", 0.0),
        ("de among fr, for en", 100.0),
    ]


def test_translations_are_retrieved_by_their_encodings(local) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(60, 8)).astype(np.float32)
    # what all sentences of a language have in common does not count
    moved = rows + 5
    assert local.score.retrieval_accuracy(rows, moved) == 100
    swapped = moved[[1, 0, *range(2, 60)]]
    assert local.score.retrieval_accuracy(rows, swapped) == pytest.approx(100 * 58 / 60)


def test_what_does_not_fit_is_said(local, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("languages: [a, b, c]\nexperiment: {}\nsystems: {p: {pivot_of: [q]}}\n")
    with pytest.raises(InputError, match="name no trained system: q"):
        load_config(path, local.settings.RecipeConfig)
    path.write_text("languages: [a, b, c]\nexperiment: {}\nsystems: {p: {initial_of: q}, q: {initial_of: p}}\n")
    with pytest.raises(InputError, match="goes round in a circle: p, q"):
        load_config(path, local.settings.RecipeConfig)
    path.write_text("languages: [a, b, c]\nseeds: 3\nexperiment: {}\nsystems: {p: {seeds: 1}, q: {initial_of: p}}\n")
    with pytest.raises(InputError, match=r"more seeds than the system that it needs: q \(p\)"):
        load_config(path, local.settings.RecipeConfig)
    path.write_text("languages: [a, b, c]\nexperiment: {train: {steps: 3}}\nsystems: {p: {settings: {denoise: 1}}}\n")
    config = load_config(path, local.settings.RecipeConfig)
    with pytest.raises(InputError, match=r"system 'p': .*denoise"):
        config.experiment_of("p", Path("data"), Path("runs"), 0)


def test_over_seeds_the_interval_is_that_of_the_seeds(local) -> None:
    assert local.score.over_seeds([30.0], (28.0, 32.0)) == (30.0, (28.0, 32.0))
    value, (low, high) = local.score.over_seeds([29.0, 30.0, 31.0], (0.0, 1.0))
    assert value == 30
    assert low == pytest.approx(30 - 2.484, abs=0.01)  # t of two degrees times 1 / sqrt(3)
    assert high == pytest.approx(30 + 2.484, abs=0.01)


@pytest.mark.slow
def test_a_pair_that_was_never_seen_is_translated_only_with_the_remedies(tmp_path: Path) -> None:
    places = ["--exp", str(tmp_path / "exp"), "--data", str(tmp_path / "data")]
    subprocess.run(
        [str(RECIPE / "run.sh"), "--corpus", "synthetic", *places],
        env=os.environ | {"PYTHON": sys.executable}, check=True, capture_output=True, timeout=900,
    )  # fmt: skip
    (results,) = (tmp_path / "exp" / "zero_shot_translation").glob("*/results.json")
    found = {
        (each["system"], each["metric"], each.get("source"), each.get("target")): each["value"]
        for each in json.loads(results.read_text())
    }
    for direction in (("xa", "xc"), ("xc", "xa")):
        remedied = "multilingual, denoising and similarity"
        assert found[("multilingual", "bleu", *direction)] < 20
        assert found[(remedied, "bleu", *direction)] > 90
        assert found[(remedied, "off-target", *direction)] <= 2, "of 200 sentences, one or two may be one word"
    assert found["language identifier", "accuracy", None, None] > 99


def test_sections_of_settings_are_merged_key_by_key(local):
    common = {"data": {"max_length": 80, "temperature": 5}, "model": {"width": 8}, "label_smoothing": 0.1}
    merged = local.settings._merged(common, {"data": {"temperature": 1}, "model": {"kind": "pretrained"}})
    assert merged == {
        "data": {"max_length": 80, "temperature": 1}, "model": {"kind": "pretrained"}, "label_smoothing": 0.1,
    }  # fmt: skip
