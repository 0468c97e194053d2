from __future__ import annotations

import json
import shutil

import pytest
import torch
import yaml

from speechnlp_tl.errors import InputError
from speechnlp_tl.translation.experiment import load_experiment, train
from speechnlp_tl.translation.translation_model import SearchConfig, load_translation_model
from tests.translation.conftest import say, sentences

SMALL = {"width": 16, "heads": 2, "feedforward": 32, "encoder_layers": 1, "decoder_layers": 1}


@pytest.fixture
def config(tmp_path):
    """Writes corpora de-en and en-fr and a config, with the given settings in place of its own."""

    def write(**settings):
        made = {}
        for seed, pair in enumerate((("de", "en"), ("en", "fr"))):
            folder = tmp_path / "data" / "-".join(pair)
            folder.mkdir(parents=True, exist_ok=True)
            made[pair] = {language: str(folder / language) for language in pair}
            for language in pair:
                lines = [say(each, language) for each in sentences(60, seed)]
                (folder / language).write_text("".join(f"{line}\n" for line in lines))
        content = {
            "task": "translation",
            "data": {"train": list(made.values()), "dev": [made["de", "en"]]},
            "subwords": {"size": 60},
            "model": SMALL,
            "batch_tokens": 400,
            "train": {"steps": 4, "learning_rate": 3e-3, "tensorboard": False},
        }
        content = {name: content.get(name) for name in content} | settings
        path = tmp_path / "conf.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def test_an_experiment_leaves_a_model_that_loads_by_itself(config, tmp_path):
    path, told = config(denoising=0.5, method="dann", similarity=0.1), []
    trained = train(load_experiment(path), tmp_path / "exp", quiet=True, say=told.append)
    shutil.rmtree(tmp_path / "data")
    assert told == []
    assert set(trained.metrics) == {"de-en_loss", "en-de_loss", "loss"}
    names = {"config.yaml", "model.safetensors", "sentencepiece.model", "README.md"}
    assert {each.name for each in trained.model_dir.iterdir()} == names
    model = load_translation_model(tmp_path / "exp")
    assert model.config.trained == ["de-en", "en-de", "en-fr", "fr-en"]
    assert len(model.translate(["dea deb", "", "x"], "fr", SearchConfig(beam=2)).lines) == 3


def test_all_remedies_have_a_gradient_and_are_recorded(config, tmp_path):
    path = config(method="dann", similarity=0.1)
    train(load_experiment(path, ["train.log_every=1"]), tmp_path / "exp", quiet=True)
    records = [json.loads(line) for line in (tmp_path / "exp" / "metrics.jsonl").read_text().splitlines()]
    last = [each for each in records if "values" in each][-1]
    for name in ("dann", "similarity"):
        assert last["values"][name]["value"] > 0
        assert last["values"][name]["grad_norm"] > 0


def test_settings_reach_the_task(config, tmp_path, monkeypatch):
    made = []

    def begin(task, *others, **settings):
        made.append(task)
        raise InterruptedError

    monkeypatch.setattr("speechnlp_tl.translation.experiment.Trainer", begin)
    noise = {"drop": 0.3, "mask": 0.2, "shuffle": 1}
    settings = {"denoising": 0.5, "label_smoothing": 0.25, "batch_tokens": 123, "similarity": 0.1, "noise": noise}
    experiment = load_experiment(config(**settings), ["data.temperature=5", "train.seed=7"])
    with pytest.raises(InterruptedError):
        train(experiment, tmp_path / "exp", quiet=True)
    (task,) = made
    assert (task.temperature, task.label_smoothing, task.batch_tokens, task.seed) == (5, 0.25, 123, 7)
    assert task.noise.model_dump() == noise
    assert task.shares == {"translate": 1.0, "restore": 0.5, "back-translate": 0.0}
    assert task.encode_translations


@pytest.mark.parametrize(
    "settings",
    [
        {"model": SMALL | {"language_token": "target"}},
        {"model": SMALL | {"language_token": "both", "language_embedding": True}},
        {"subwords": {"size": 20, "joint": False}},
    ],
    ids=["token at the decoder", "both and an embedding", "subwords of each language"],
)
def test_other_places_of_the_language_and_other_subwords(config, tmp_path, settings):
    path = config(**settings, denoising=0.5)
    train(load_experiment(path), tmp_path / "exp", quiet=True)
    model = load_translation_model(tmp_path / "exp")
    lines = ["dea deb", "dec"]
    found = {wanted: model.translate(lines, wanted, SearchConfig(beam=2), "de") for wanted in ("en", "fr")}
    assert [len(each.lines) for each in found.values()] == [2, 2]
    assert model.transformer.language_token == settings.get("model", SMALL).get("language_token", "source")
    assert model.subwords.joint == settings.get("subwords", {}).get("joint", True)


def test_a_finished_experiment_is_not_trained_again(config, tmp_path):
    path = config()
    first = train(load_experiment(path), tmp_path / "exp", quiet=True)
    again = train(load_experiment(path), tmp_path / "exp", quiet=True)
    assert (again.result, again.metrics) == (None, first.metrics)
    text = tmp_path / "data" / "de-en" / "de"
    before = text.read_text()
    text.write_text(before.replace("dea", "deb"))
    with pytest.raises(InputError, match="data"):
        train(load_experiment(path), tmp_path / "exp", quiet=True)
    text.write_text(before)
    with pytest.raises(InputError, match="another config"):
        train(load_experiment(path, ["denoising=1"]), tmp_path / "exp", quiet=True)


def test_the_same_config_gives_the_same_weights(config, tmp_path):
    path = config(denoising=0.5)
    for name in ("one", "two"):
        train(load_experiment(path), tmp_path / name, quiet=True)
    one, two = (load_translation_model(tmp_path / name).transformer.state_dict() for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_training_goes_on_from_a_finished_model(config, tmp_path):
    train(load_experiment(config()), tmp_path / "first", quiet=True)
    path = config(initial=str(tmp_path / "first"), train={"steps": 1, "learning_rate": 1e-9, "tensorboard": False})
    train(load_experiment(path), tmp_path / "second", quiet=True)
    one, two = (load_translation_model(tmp_path / name) for name in ("first", "second"))
    assert one.subwords.sha256 == two.subwords.sha256
    weights = one.transformer.state_dict(), two.transformer.state_dict()
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-6) for name in weights[0])


def test_another_sentencepiece_model_is_refused(config, tmp_path):
    train(load_experiment(config()), tmp_path / "one", quiet=True)
    train(load_experiment(config(subwords={"size": 40})), tmp_path / "two", quiet=True)
    name = "model/sentencepiece.model"
    shutil.copy(tmp_path / "two" / name, tmp_path / "one" / name)
    with pytest.raises(InputError, match="is not the sentencepiece model that the model was trained with"):
        load_translation_model(tmp_path / "one")


def test_what_is_no_model_folder_is_named(tmp_path):
    with pytest.raises(InputError) as caught:
        load_translation_model(tmp_path)
    assert len(caught.value.problems) == 3


def test_rows_that_are_too_long_are_counted_and_listed(config, tmp_path):
    path, told = config(), []
    for language in ("de", "en"):
        with (tmp_path / "data" / "de-en" / language).open("a") as file:
            file.write(f"{language}a " * 40 + "\n")
    experiment = load_experiment(path, ["data.max_length=20", "data.dev=[]"])
    train(experiment, tmp_path / "exp", quiet=True, say=told.append)
    (note,) = told
    assert "1 of 61 rows have a side of more than 20 pieces and are left out: line 61" in note


def test_rows_of_invisible_characters_are_left_out(config, tmp_path):
    path, told = config(), []
    for language in ("de", "en"):
        with (tmp_path / "data" / "de-en" / language).open("a") as file:
            file.write("\u200b\n" if language == "de" else "ena\n")
    train(load_experiment(path, ["data.dev=[]"]), tmp_path / "exp", quiet=True, say=told.append)
    assert any("1 of 61 rows have a side of invisible characters alone and are left out: line 61" in n for n in told)


def test_a_limit_that_leaves_nothing_is_told_with_its_reason(config, tmp_path):
    with pytest.raises(InputError) as caught:
        train(load_experiment(config(), ["data.max_length=1", "data.dev=[]"]), tmp_path / "exp", quiet=True)
    said = [str(problem) for problem in caught.value.problems]
    assert "raise data.max_length" in said[0]
    assert any("of 60 rows have a side of more than 1 pieces" in each for each in said[1:])
    assert not (tmp_path / "exp").exists()


def test_a_language_of_which_nothing_is_left_is_told(config, tmp_path):
    path = config()
    for language in ("en", "fr"):
        file = tmp_path / "data" / "en-fr" / language
        file.write_text("".join(f"{language}a " * 60 + "\n" for _ in range(5)))
    with pytest.raises(InputError) as caught:
        train(load_experiment(path, ["data.max_length=50"]), tmp_path / "exp", quiet=True)
    said = [str(problem) for problem in caught.value.problems]
    assert said[0] == "no sentence in 'fr' is left to train on; raise data.max_length or give other text"
    assert any("5 of 5 rows have a side of more than 50 pieces" in each for each in said[1:])
    assert not (tmp_path / "exp").exists()


def test_a_dev_corpus_of_which_nothing_is_left_is_told(config, tmp_path):
    path = config()
    experiment = load_experiment(path)
    for language in ("de", "en"):
        (tmp_path / f"long.{language}").write_text(f"{language}a " * 60 + "\n")
    experiment.data.dev = [{language: str(tmp_path / f"long.{language}") for language in ("de", "en")}]
    experiment.data.max_length = 50
    with pytest.raises(InputError, match=r"no sentence is left of the dev data .*long\.de"):
        train(experiment, tmp_path / "exp", quiet=True)


def test_a_mistake_in_the_model_is_told_of_the_model_that_is_meant(config):
    with pytest.raises(InputError) as caught:
        load_experiment(config(), ["model.layers=3", "model.width=true story"])
    said = [str(problem) for problem in caught.value.problems]
    assert said == [
        "override 'model.width=true story': 'model.width': input should be a valid integer, unable to parse string as "
        "an integer (got 'true story')",
        "override 'model.layers=3': unknown key 'model.layers'; did you mean 'encoder_layers'?",
    ]
    with pytest.raises(InputError) as caught:
        load_experiment(config(model={"kind": "pretrained", "nam": "x", "languages": {"de": "de_DE"}}))
    said = [str(problem) for problem in caught.value.problems]
    assert len(said) == 2
    assert "key 'model.name' is missing" in said[0]
    assert "unknown key 'model.nam'; did you mean 'name'?" in said[1]
    with pytest.raises(InputError) as caught:
        load_experiment(config(), ["model.width=33"])
    assert len(caught.value.problems) == 1


def test_a_pivot_translates_twice(config, tmp_path):
    train(load_experiment(config()), tmp_path / "exp", quiet=True)
    model, search = load_translation_model(tmp_path / "exp"), SearchConfig(beam=2)
    lines = ["dea deb", "", "dec ded dee"]
    first = model.translate(lines, "en", search, "de").lines
    assert model.pivot(lines, "en", "fr", search, "de").lines == model.translate(first, "fr", search, "en").lines
    model.config = model.config.model_copy(update={"max_length": 1})
    assert set(model.pivot(lines, "en", "fr", search, "de").cut) >= {1, 3}


def test_back_translation_leaves_out_directions_that_train_holds(config):
    given = ["data.directions=[de-en]", "back_translation=0.5"]
    assert "en-de" not in load_experiment(config(), given).written_directions
    assert set(load_experiment(config(), given).written_directions) == {"de-fr", "fr-de"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("noise={drop: 0.3}", "'noise' is for denoising"),
        ("data.directions=[de-fr]", "no data for direction de-fr"),
        ("data.dev=[{de: a, es: b}]", "no training data for language es"),
        ("data.train=[{de: a}]", "two languages or more"),
        ("method=coral", "languages are adapted by dann or confusion"),
        ("data.monolingual=[{de: a}]", "monolingual text is for denoising"),
        ("data.temperature=0.5", "greater than or equal to 1"),
    ],
)
def test_impossible_configs_are_refused(config, override, message):
    with pytest.raises(InputError, match=message):
        load_experiment(config(), [override])


def test_problems_of_all_corpora_are_listed_at_once(config, tmp_path):
    path = config()
    (tmp_path / "data" / "de-en" / "de").unlink()
    with (tmp_path / "data" / "en-fr" / "fr").open("a") as file:
        file.write("one more\n")
    with pytest.raises(InputError) as caught:
        train(load_experiment(path), tmp_path / "exp", quiet=True)
    assert len(caught.value.problems) == 3  # the missing file stands under train and dev
    assert not (tmp_path / "exp").exists()
