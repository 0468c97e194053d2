from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from speechnlp_tl.core.config import StrictModel, TrainConfig, dump_config, load_config
from speechnlp_tl.errors import InputError


class Features(StrictModel):
    bins: int = 40
    window: str = "hamming"


class Experiment(StrictModel):
    name: str
    features: Features = Features()
    train: TrainConfig
    layers: list[Features] = Field(default_factory=list)
    other: Features | None = None


def write(folder: Path, text: str) -> Path:
    path = folder / "x.yaml"
    path.write_text(text, encoding="utf-8")
    return path


GOOD = """\
name: an4
features:
  bins: 80
train:
  epochs: 3
  learning_rate: 1e-4
  precision: no
"""


def problems_of(path: Path, overrides: list[str] | None = None) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_config(path, Experiment, overrides or [])
    return [str(problem) for problem in caught.value.problems]


def test_a_config_is_read_and_overridden(tmp_path):
    config = load_config(write(tmp_path, GOOD), Experiment, ["features.bins=23", "train.clip_norm=5", "other.bins=1"])
    assert config.features.bins == 23
    assert config.train.learning_rate == 1e-4
    assert config.train.precision == "no"
    assert config.train.clip_norm == 5
    assert config.other == Features(bins=1)


def test_all_mistakes_are_named_at_once_with_line_and_nearest_key(tmp_path):
    text = """\
nam: an4
features:
  bin: 80
train:
  epochs: many
  learning_rat: 1
layers:
  - bins: 3
  - wndow: x
"""
    path = write(tmp_path, text)
    problems = problems_of(path)
    expected = [
        (1, "unknown key 'nam'; did you mean 'name'?"),
        (1, "key 'name' is missing"),
        (3, "unknown key 'features.bin'; did you mean 'bins'?"),
        (5, "'train.epochs': input should be a valid integer"),
        (6, "unknown key 'train.learning_rat'; did you mean 'learning_rate'?"),
        (9, "unknown key 'layers.1.wndow'; did you mean 'window'?"),
    ]
    for line, what in expected:
        assert any(problem.startswith(f"{path}:{line}: {what}") for problem in problems), (line, what, problems)
    assert len(problems) == len(expected)


def test_overrides_are_held_to_the_same_rules(tmp_path):
    path = write(tmp_path, GOOD)
    problems = problems_of(path, ["train.epocs=3", "features.bins=many", "novalue", "name.x=1", "trian.seed=1"])
    assert any("override 'train.epocs=3'" in p and "did you mean 'epochs'" in p for p in problems)
    assert any("override 'features.bins=many'" in p and "valid integer" in p for p in problems)
    assert any("override 'novalue' is not of the form key=value" in p for p in problems)
    assert any("'name' holds a value" in p for p in problems)
    assert any("override 'trian.seed=1'" in p and "did you mean 'train'" in p for p in problems)
    assert len(problems) == 5


def test_duplicated_keys_are_errors(tmp_path):
    path = write(tmp_path, GOOD + "name: twice\n")
    assert problems_of(path) == [f"{path}:8: key 'name' stands twice; keep one"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [an4\n", "is not valid YAML"),
        ("- a\n- b\n", "must hold 'key: value' lines"),
        ("name: !!python/object/apply:os.system ['true']\n", "is not valid YAML"),
        ("name: &a [*a]\n", "refers to itself"),
    ],
)
def test_what_is_not_a_config_is_refused_and_nothing_in_it_is_run(tmp_path, text, message):
    assert message in problems_of(write(tmp_path, text))[0]


def test_a_missing_file_is_one_clear_error(tmp_path):
    assert "cannot be read" in problems_of(tmp_path / "no.yaml")[0]


def test_merged_sections_keep_their_own_lines(tmp_path):
    text = "name: x\nfeatures: &f\n  bins: 3\nother:\n  <<: *f\n  bins: 4\n  wndow: 1\ntrain: {steps: 1}\n"
    path = write(tmp_path, text)
    assert problems_of(path) == [f"{path}:7: unknown key 'other.wndow'; did you mean 'window'?"]


def test_dumped_configs_read_back_the_same(tmp_path):
    config = load_config(write(tmp_path, GOOD), Experiment, ["name='1e3'", "features.window=true story"])
    config.layers = [Features(window="null"), Features(window="no")]
    config.train.weight_decay = 1e-20
    assert load_config(write(tmp_path, dump_config(config)), Experiment) == config


def test_exactly_one_length(tmp_path):
    for wrong in ({}, {"epochs": 1, "steps": 1}):
        with pytest.raises(ValidationError, match="exactly one of"):
            TrainConfig(**wrong)
    path = write(tmp_path, "name: x\ntrain:\n  seed: 1\n")
    assert problems_of(path) == [f"{path}:2: 'train': give exactly one of 'epochs' and 'steps'"]


@pytest.mark.parametrize(
    "wrong", [{"learning_rate": 0}, {"learning_rate": float("inf")}, {"average": 1.0}, {"warmup": 1.5}, {"mode": "up"}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        TrainConfig(steps=1, **wrong)


def test_warmup_keeps_steps_and_fractions_apart(tmp_path):
    assert isinstance(TrainConfig(steps=1, warmup=5).warmup, int)
    assert isinstance(TrainConfig(steps=1, warmup=0.5).warmup, float)
    path = write(tmp_path, GOOD)
    assert load_config(path, Experiment, ["train.warmup=0.1"]).train.warmup == 0.1
