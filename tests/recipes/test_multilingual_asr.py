"""The recipe multilingual_asr: what is trained on what, what a new language's model does not know, how numbers are put
together."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from data_prep.fetch import CORPORA, is_available
from recipes.run_records import record_of, write_record
from speechnlp_tl.core.config import load_config
from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.results import Record
from speechnlp_tl.evaluation.significance import wer_interval
from speechnlp_tl.evaluation.wer import Score, score
from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.lexicon import Lexicon
from speechnlp_tl.speech.new_language import usual_steps

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "multilingual_asr"
MODULES = ("settings", "prepare", "train", "recognise", "heard", "frames", "relative", "score", "tables", "pictures")
COMMON = {"recipe": "multilingual_asr", "corpus": "real"}
CONFIGS = ("synthetic", "real", "longer", "layers", "made", "made-gpu")


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


def prepared(config, root: Path, local: SimpleNamespace) -> Path:
    """Folders as stage 1 leaves them, with nothing in them; Mandarin and Hebrew have no ten minutes."""
    for name in config.languages:
        for minutes in config.minutes:
            if minutes != local.settings.ALL and not (name in ("zh", "he") and minutes == 10):
                for seed in range(config.seeds):
                    local.settings.part(root, name, minutes, seed).mkdir(parents=True)
        for part in ("train", "dev", "test-one"):
            (root / name / part).mkdir(parents=True)
    return root


@pytest.mark.parametrize("name", CONFIGS)
def test_every_training_of_a_configuration_has_settings_that_fit(local, name: str, tmp_path: Path) -> None:
    config = load_config(RECIPE / "conf" / f"{name}.yaml", local.settings.RecipeConfig)
    data = prepared(config, tmp_path, local)
    made = [local.train.trainings(config, data, Path("runs"), seed) for seed in range(config.seeds)]
    folders = [folder for each in made for folder in each]
    assert len(set(folders)) == len(folders) > 2
    learned = {
        config.learned_folder(Path("runs"), *each[:3], data, each[3])
        for each in config.learnings(data)
        if each[0] not in local.settings.UNTAUGHT
    }
    heard = {each.model for each in local.recognise.hearings(config, data, Path("runs"))}
    begun = {each.initial for found in made for each in found.values()}
    assert heard == {*folders, *learned} - begun, "what is trained is heard, and nothing else"


@pytest.mark.parametrize("name", CONFIGS)
def test_a_source_has_not_heard_the_language_that_it_will_learn(local, name: str, tmp_path: Path) -> None:
    config = load_config(RECIPE / "conf" / f"{name}.yaml", local.settings.RecipeConfig)
    data = prepared(config, tmp_path, local)
    trained = {
        folder: experiment
        for seed in range(config.seeds)
        for folder, experiment in local.train.trainings(config, data, Path("runs"), seed).items()
    }
    for method, target, minutes, seed in config.learnings(data):
        if method == local.settings.SCRATCH:
            own = trained[config.learned_folder(Path("runs"), method, target, minutes, data, seed)]
            assert list(own.languages) == [target]
            assert own.data.train == [local.settings.part(data, target, minutes, seed)]
            assert own.data.dev == []
        elif method == local.settings.JOINT:
            own = trained[config.learned_folder(Path("runs"), method, target, minutes, data, seed)]
            assert list(own.languages) == [*config.others(target), target]
            assert own.data.train[-1] == local.settings.part(data, target, minutes, seed)
            assert not any(f"/{target}/" in f"{path}/" for path in [*own.data.train[:-1], *own.data.dev])
        else:
            source = trained[config.source_folder(Path("runs"), method, target, data, seed)]
            assert target not in source.languages
            assert not any(f"/{target}/" in f"{path}/" for path in [*source.data.train, *source.data.dev])


def test_a_language_is_learned_from_what_it_has(local, tmp_path: Path) -> None:
    config = load_config(RECIPE / "conf" / "real.yaml", local.settings.RecipeConfig)
    data = prepared(config, tmp_path, local)
    budgets = {(target, minutes) for _, target, minutes, _ in config.learnings(data)}
    assert ("ar", 10) in budgets
    assert ("zh", 10) not in budgets
    assert ("zh", local.settings.ALL) in budgets


def test_from_scratch_has_no_fewer_steps_than_a_taught_model_unless_they_are_named(local, tmp_path: Path) -> None:
    settings = local.settings
    config = load_config(RECIPE / "conf" / "real.yaml", settings.RecipeConfig)
    for minutes, seconds in [(1, 60), (10, 600), (settings.ALL, 60)]:
        folder = settings.part(tmp_path, "ar", minutes, 0)
        folder.mkdir(parents=True)
        (folder / "utt2dur").write_text(f"ar-1 {seconds}\n", encoding="utf-8")
    made = {minutes: config.scratch_of("ar", tmp_path, minutes, 0) for minutes in (1, 10, settings.ALL)}
    steps = {minutes: each.train.steps for minutes, each in made.items()}
    assert steps == {1: settings.SCRATCH_STEPS, 10: usual_steps(600), settings.ALL: config.steps}
    taught = config.method_of("fine-tuned", tmp_path, "ar", 0)
    assert {each.batch_seconds for each in made.values()} == {taught.batch_seconds}
    named = config.model_copy(update={"scratch_steps": 40})
    assert named.scratch_of("ar", tmp_path, 10, 0).train.steps == 40


def test_a_model_is_larger_than_its_source_by_what_was_taught_or_trained_with_the_others(local, tmp_path: Path) -> None:
    source, joint, taught = (tmp_path / name for name in ("source", "joint", "taught"))
    assert local.score._growth(joint, source) == (None, None)
    for folder, parameters in ((source, 100), (joint, 130)):
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps({"parameters": parameters}), encoding="utf-8")
    write_record(record_of(taught), {"parameters": 100, "grown": 120, "trained": 20})
    assert local.score._growth(joint, source) == (30, 130)
    assert local.score._growth(taught, source) == (20, 20)


def test_each_language_has_as_many_updates_and_seconds_alone_as_with_others(local) -> None:
    config = load_config(RECIPE / "conf" / "real.yaml", local.settings.RecipeConfig)
    alone = config.experiment_of(["ar"], Path("data"), 0, {})
    together = config.experiment_of(list(config.languages), Path("data"), 0, {})
    assert alone.train.steps == together.train.steps
    assert together.batch_seconds == len(config.languages) * alone.batch_seconds
    assert alone.encoder == together.encoder
    assert alone.languages["ar"] == together.languages["ar"], "the same words and language model"


def test_the_last_steps_with_each_language_alone_are_steps_of_the_same_number(local) -> None:
    config = load_config(RECIPE / "conf" / "real.yaml", local.settings.RecipeConfig)
    system = "multilingual, then alone"
    trained = config.trainings_of(Path("runs"), system, Path("data"), 1)
    together, *alone = trained.values()
    first = next(iter(trained))
    assert list(together.languages) == list(config.languages)
    assert [list(each.languages) for each in alone] == [[name] for name in config.languages]
    for each in alone:
        assert each.initial == first
        assert each.train.steps + together.train.steps == config.steps
        assert each.anneal == 0
        assert each.encoder == together.encoder
        assert each.batch_seconds == config.batch_seconds
        assert str(each.data.train[0]).split("/")[1] == next(iter(each.languages))
    assert set(config.systems_folders(Path("runs"), system, Path("data"), 1).values()) == set(trained) - {first}
    assert first not in config.trainings_of(Path("runs"), system, Path("data"), 0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"then_alone": {"steps": 1500}}, "leaves no steps with all languages"),
        ({"then_alone": {"steps": 0}}, "greater than 0"),
    ],
)
def test_last_steps_that_cannot_be_are_refused(local, change, told: str) -> None:
    config = load_config(RECIPE / "conf" / "real.yaml", local.settings.RecipeConfig).model_dump(mode="json")
    config["systems"]["multilingual"] |= change
    config["picture"] = []
    with pytest.raises(ValueError, match=told):
        local.settings.RecipeConfig.model_validate(config)


def test_a_method_starts_from_a_model_of_all_languages(local) -> None:
    config = load_config(RECIPE / "conf" / "real.yaml", local.settings.RecipeConfig).model_dump(mode="json")
    config["methods"]["frozen"]["source"] = "multilingual, then alone"
    with pytest.raises(ValueError, match="'source' names no system: multilingual, then alone"):
        local.settings.RecipeConfig.model_validate(config)


def test_made_languages_are_heard_before_the_real_ones(local) -> None:
    config = load_config(RECIPE / "conf" / "made.yaml", local.settings.RecipeConfig)
    assert len(config.pretrain) >= 10
    assert config.others("ar") == config.pretrain
    folders = {config.others_folder(Path("runs"), target, Path("data"), 0, {}) for target in config.learned}
    assert folders == set(config.systems_folders(Path("runs"), "pretrained", Path("data"), 0).values())


def test_changed_speech_is_another_run(local, tmp_path: Path) -> None:
    config = load_config(RECIPE / "conf" / "synthetic.yaml", local.settings.RecipeConfig)
    data = prepared(config, tmp_path, local)

    def folders() -> list[Path]:
        return [config.learned_folder(Path("runs"), "fine-tuned, kld", "it", 0.2, data, 0),
                *config.systems_folders(Path("runs"), "monolingual", data, 0).values()]  # fmt: skip

    first = folders()
    (local.settings.part(data, "it", 0.2, 0) / "text").write_text("one ciao\n")
    learned, *systems = folders()
    assert (learned != first[0], systems == first[1:]) == (True, True)
    (data / "en" / "train" / "text").write_text("one hello\n")
    assert folders()[0] != learned, "its source has heard English"


def test_a_method_that_is_to_tell_languages_apart_hears_old_speech_and_is_another_run(local, tmp_path: Path) -> None:
    config = load_config(RECIPE / "conf" / "synthetic.yaml", local.settings.RecipeConfig)
    assert [name for name in config.methods if config.hears_old_speech(name)] == ["frozen layers"]
    data = prepared(config, tmp_path, local)
    folder = config.learned_folder(Path("runs"), "frozen layers", "it", 0.5, data, 0)
    config.methods["frozen layers"].choose = False
    assert not config.hears_old_speech("frozen layers")
    assert config.learned_folder(Path("runs"), "frozen layers", "it", 0.5, data, 0) != folder


def test_what_is_said_too_fast_for_its_states_is_left_out(local) -> None:
    lexicon = Lexicon({"hello": [("h", "e", "l", "o"), ("h", "l", "o")]})
    said = [Utterance("u", "s", "a.wav", "hello hello", duration=duration) for duration in (0.35, 0.39, 0.41)]
    assert [local.prepare._can_be_aligned(each, lexicon) for each in said] == [False, False, True]


def test_minutes_of_a_seed_are_part_of_more_minutes(local) -> None:
    pool = [
        Utterance(f"u{number:03d}", f"s{number % 7}", "a.wav", "word", duration=0.5 + number % 9)
        for number in range(100)
    ]
    few, more = (local.prepare._minutes(pool, minutes, 1) for minutes in (0.5, 2))
    assert 20 < sum(each.duration for each in few) <= 30
    assert few == more[: len(few)]
    assert {each.id for each in few} != {each.id for each in local.prepare._minutes(pool, 0.5, 2)}
    assert local.prepare._minutes(pool, 50, 1) is None


def test_settings_that_do_not_fit_are_told(local) -> None:
    good = load_config(RECIPE / "conf" / "synthetic.yaml", local.settings.RecipeConfig)
    for change, message in (
        ({"targets": ["xx"]}, "no such language: xx"),
        ({"minutes": [0]}, "above 0"),
        ({"made": {"speakrs": 8}}, "speakrs"),
        ({"minutes": []}, "a new language needs 'minutes'"),
        ({"picture": ["monolingual"]}, "no multilingual system"),
        ({"methods": {"a": {"settings": {}, "source": "nobody"}}}, "names no system: nobody"),
        ({"systems": {"monolingual": {"seeds": 1}, "multilingual": {}}, "seeds": 2, "picture": []}, "fewer seeds"),
        ({"systems": {"pretrained": {"pretraining": True}}, "picture": []}, "pretrain"),
    ):
        with pytest.raises(ValueError, match=message):
            local.settings.RecipeConfig.model_validate({**good.model_dump(), **change})
    bad = good.model_copy(update={"experiment": {**good.experiment, "encodr": {}}})
    with pytest.raises(InputError, match="encodr"):
        bad.experiment_of(["en"], Path("data"), 0, {})


def row(**facts: object) -> Record:
    return Record.model_validate({**COMMON, "seeds": 1, **facts})


def test_three_times_the_speech_from_scratch_stands_beside(local) -> None:
    scratch = {1: 30.0, 3: 20.0, 10: 10.0}
    records = [row(system="from scratch", target="ar/a", budget=m, metric="wer", value=v) for m, v in scratch.items()]
    records += [
        row(system="frozen", target="ar/a", budget=m, metric="wer", value=v) for m, v in {1: 18.0, 3: 12.0}.items()
    ]
    text = local.tables._thirds(records)
    # 18 against 20 of three minutes, 12 against 10 of ten
    assert "| frozen | 2 | 1 | 15.0 | 15.0 |" in text


def test_a_minute_is_worth_the_minutes_from_scratch_with_the_same_error(local) -> None:
    scratch = {1: 30.0, 4: 10.0}
    worth = local.tables._minutes_worth
    assert worth(30.0, scratch) == pytest.approx(1)
    assert worth(20.0, scratch) == pytest.approx(2), "halfway on a scale of log minutes"
    assert [worth(wer, scratch) for wer in (50.0, 5.0)] == pytest.approx([1, 4]), "nothing is known beyond the ends"
    # a longer run that happened to be worse is worth no less
    assert worth(10.0, {**scratch, 8: 12.0}) == pytest.approx(4)
    records = [row(system="from scratch", target="ar/a", budget=m, metric="wer", value=v) for m, v in scratch.items()]
    records += [row(system="from scratch", target="zh/b", budget=m, metric="wer", value=v) for m, v in scratch.items()]
    records += [
        row(system="frozen", target="ar/a", budget=m, metric="wer", value=v) for m, v in {1: 20.0, 4: 9.0}.items()
    ]
    records += [row(system="frozen", target="zh/b", budget=1, metric="wer", value=10.0)]
    assert local.tables._thirds(records) == "", "no budget has one of three times as many"
    records += [row(system="from scratch", target=t, budget=3, metric="wer", value=16.0) for t in ("ar/a", "zh/b")]
    factor = (worth(20.0, {**scratch, 3: 16.0}) * 4) ** 0.5
    assert f"| {factor:.1f} | 2 |" in local.tables._thirds(records), "four minutes have none to be compared with"


def test_a_configuration_may_compare_systems_alone(local) -> None:
    good = load_config(RECIPE / "conf" / "synthetic.yaml", local.settings.RecipeConfig).model_dump()
    alone = local.settings.RecipeConfig.model_validate({**good, "targets": [], "minutes": [], "joint_minutes": []})
    assert alone.learnings(Path("data")) == []


def scored(errors: dict[str, int], words: int = 100) -> Score:
    """One utterance of each speaker, with so many words substituted."""
    said = {name: ["a"] * words for name in errors}
    heard = {name: ["b"] * wrong + ["a"] * (words - wrong) for name, wrong in errors.items()}
    return score(said, heard, {name: name for name in errors})


def test_languages_count_alike_in_the_mean_change_and_few_errors_not_at_all(local) -> None:
    relative = local.relative.mean_relative
    halved = (scored({"a": 10, "b": 20}), scored({"a": 20, "b": 40}))
    same = (scored({"a": 20, "b": 40}), scored({"a": 20, "b": 40}))
    few = (scored({"a": 0, "b": 0}), scored({"a": 1, "b": 28}))
    mean, ends, languages = relative({"x": [halved, same], "y": [same], "z": [few]})
    # x: the mean of -50 and 0; no resample of speakers changes it
    assert (mean, languages) == (-12.5, ["x", "y"])
    assert ends == pytest.approx((-12.5, -12.5))
    assert relative({"z": [few]}) is None


def test_the_interval_of_a_mean_change_is_that_of_the_speakers(local) -> None:
    names = [f"s{n}" for n in range(12)]
    baseline = scored(dict.fromkeys(names, 10))
    system = scored({name: 5 if n % 2 else 11 for n, name in enumerate(names)})
    mean, (low, high), _ = local.relative.mean_relative({"x": [(system, baseline)]})
    assert mean == pytest.approx(-20)
    # twelve draws of -50 or +10: a standard error of 30 / sqrt(12)
    assert high - low == pytest.approx(2 * 1.96 * 30 / 12**0.5, rel=0.15)
    assert low < mean < high


def test_a_mean_over_other_languages_says_so(local) -> None:
    records = [row(system=name, target="ar/a", metric="wer", value=10.0) for name in ("monolingual", "both", "one")]
    records += [
        row(system="both", metric="mean relative change", value=-2.7, ci95=(-15.1, 10.7), notes="en, ar"),
        row(system="one", metric="mean relative change", value=-18.6, ci95=(-33.6, 3.2), notes="en"),
    ]
    text = local.tables._systems(records)
    assert "| mean relative change |  | -2.7 % [-15.1, +10.7] | -18.6 % [-33.6, +3.2] (en alone) |" in text
    assert "over en, ar, each language alike" in text


def test_what_differs_from_scratch_is_bold(local) -> None:
    facts = {"target": "ar/a", "budget": 1, "seeds": 2}
    records = [
        row(system="from scratch", metric="wer", value=30.0, **facts),
        row(system="frozen", metric="wer", value=20.0, **facts),
        row(system="frozen", metric="wer change", value=-10.0, notes="-33.3 % relative, p 0.004", **facts),
        row(system="kld", metric="wer", value=29.0, notes="1.5 over seeds", **facts),
        row(system="kld", metric="wer change", value=-1.0, notes="p 0.4", **facts),
    ]
    lines = local.tables._curve(records).splitlines()
    rows = [line for line in lines if line.startswith("| ar/a")]
    assert rows == ["| ar/a | from scratch | 30.0 |", "| ar/a | frozen | **20.0** |", "| ar/a | kld | 29.0 ± 1.5 |"]


@pytest.mark.parametrize(("speakers", "unit"), [(4, "utterances"), (5, "speakers")])
def test_few_speakers_are_not_resampled(local, tmp_path: Path, speakers: int, unit: str) -> None:
    data, places, model = tmp_path / "data", tmp_path / "hypotheses", tmp_path / "runs" / "m"
    wave = tmp_path / "a.wav"
    wave.touch()
    spoken = [Utterance(f"u{n}", f"s{n % speakers}", str(wave), "yes no", duration=1.0) for n in range(20)]
    DataDir(spoken).write(data / "he" / "test-one")
    heard = local.heard.Heard.__new__(local.heard.Heard)
    heard.data, heard.out = data, places
    hearing = local.recognise.Hearing(model, ("he",))
    heard.of_model = {model: [hearing]}
    said = {each.id: "yes" if n % 3 else "yes no" for n, each in enumerate(spoken)}
    write_record(record_of(local.recognise.place(data, places, hearing)), {"words": {"he/one": said}, "language": {}})
    found = heard.score([model, model], "he", "one")
    interval = wer_interval(found)
    assert interval.n == (20 if unit == "utterances" else speakers), "utterances of two seeds are one"


def test_real_and_made_speech_share_no_table(local) -> None:
    records = [
        row(system=system, target=target, metric="wer", value=10.0, synthetic=made)
        for system in ("monolingual", "multilingual")
        for target, made in (("ar/arabic", False), ("de/made", True))
    ]
    parts = local.tables.sections(records, "real")
    real, made = (parts.index(f"### {name}") for name in ("Real speech", "Made speech (espeak-ng)"))
    assert "ar/arabic" in parts[real + 1]
    assert "de/made" not in parts[real + 1]
    assert "de/made" in parts[made + 1]


def test_no_speaker_of_the_real_corpora_is_on_two_sides_except_in_hebrew(local, tmp_path: Path) -> None:
    needed = [corpus for own in local.prepare.REAL.values() for corpus in own]
    if absent := [name for name in needed if not is_available(CORPORA[name])]:
        pytest.skip(f"{', '.join(absent)} not in SPEECHNLP_DATA")
    config = load_config(RECIPE / "conf" / "real.yaml", local.settings.RecipeConfig)
    sources = local.prepare.fetch_all(needed)
    for name in ("en", "ar", "zh", "he"):
        speech = local.prepare._READERS[name](sources, tmp_path)
        local.prepare._write(tmp_path / "out" / name, name, speech, config)
        sides = [{each.speaker for each in DataDir.read(path)} for path in
                 (tmp_path / "out" / name / part for part in ("train", "dev"))]  # fmt: skip
        sides += [{each.speaker for each in DataDir.read(path)} for path in
                  local.settings.tests(tmp_path / "out", name).values()]  # fmt: skip
        apart = all(not one & other for number, one in enumerate(sides) for other in sides[:number])
        assert apart == (name != "he")
        (told,) = local.score._speech(config.model_copy(update={"languages": {name: None}}), tmp_path / "out", COMMON)
        assert told.value == pytest.approx(sum(each.duration for each in speech.pool) / 60), "nothing counts twice"
        for path in (tmp_path / "out" / name).glob("minutes-*"):
            chosen = DataDir.read(path)
            assert {each.speaker for each in chosen} <= sides[0]
            assert {each.language for each in chosen} == {name}


def test_all_speech_stands_at_its_minutes_in_a_curve(local, tmp_path: Path, monkeypatch) -> None:
    records = [
        row(system="speech", target="ar", metric="minutes of speech", value=29.25),
        *(
            row(system=name, target="ar/arabic", budget=budget, metric="wer", value=value, ci95=(value - 1, value + 1))
            for name, budget, value in [("from scratch", 3, 20.0), ("from scratch", "all", 6.0), ("frozen", 3, 15.0)]
        ),
    ]
    drawn = []
    monkeypatch.setattr(local.pictures, "adaptation_curve", lambda series, **_: drawn.extend(series))
    monkeypatch.setattr(local.pictures, "save", lambda figure, path: None)
    local.pictures._curves("real", records, tmp_path)
    (curve,) = drawn
    assert (curve.label, list(curve.x), list(curve.y)) == ("from scratch", [3.0, 29.25], [20.0, 6.0])


def test_the_sweep_of_layers_is_drawn(local, tmp_path: Path) -> None:
    records = [
        row(system=f"{side} {count} layers copied", target="ar/arabic", budget=3, metric="wer", value=10.0 + count)
        for side in ("first", "last")
        for count in (1, 2, 3)
    ]
    records.append(row(system="from scratch", target="ar/arabic", budget=3, metric="wer", value=30.0))
    local.pictures._sweeps("real-layers", records, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["real-layers-layers-ar-arabic.png"]
