"""The recipe zero_shot_translation: what each system is trained on, what is run again, what the made languages show."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from speechnlp_tl.core.config import load_config
from speechnlp_tl.errors import InputError

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "zero_shot_translation"
MODULES = ("settings", "score")


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


@pytest.mark.parametrize("name", ["synthetic", "small"])
def test_no_training_or_dev_text_of_a_zero_shot_system_joins_the_unseen_pair(local, name: str) -> None:
    config = load_config(RECIPE / "conf" / f"{name}.yaml", local.settings.RecipeConfig)
    left, hub, right = config.languages
    for system, own in config.systems.items():
        assert set(config.unseen) <= set(config.directions(system))
        if own.pivot_of is None:
            data = config.experiment_of(system, Path("data"), 0).data
            joined = {frozenset(files) for files in [*data.train, *data.dev]}
            assert joined == (
                {frozenset((left, right))} if own.pairs else {frozenset((left, hub)), frozenset((hub, right))}
            )


def test_a_training_is_named_after_all_that_it_depends_on(local) -> None:
    config = load_config(RECIPE / "conf" / "synthetic.yaml", local.settings.RecipeConfig)
    runs = Path("runs")
    plain, remedied, pivot = (config.folder(runs, name, Path("data"), 0) for name in config.systems)
    assert len({plain, remedied, config.folder(runs, "multilingual", Path("data"), 1)}) == 3
    assert plain != config.folder(runs, "multilingual", Path("other"), 0)
    assert pivot == plain
    files = {
        local.settings.translation_file(runs, plain, name, config, ("xa", "xc")) for name in ("multilingual", "pivot")
    }
    assert len(files) == 2


def test_what_does_not_fit_is_said(local, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("languages: [a, b, c]\nexperiment: {}\nsystems: {p: {pivot_of: q}}\n")
    with pytest.raises(InputError, match="names no system that is trained"):
        load_config(path, local.settings.RecipeConfig)
    path.write_text("languages: [a, b, c]\nexperiment: {train: {steps: 3}}\nsystems: {p: {settings: {denoise: 1}}}\n")
    config = load_config(path, local.settings.RecipeConfig)
    with pytest.raises(InputError, match=r"system 'p': .*denoise"):
        config.experiment_of("p", Path("data"), 0)


def test_over_seeds_the_interval_is_that_of_the_seeds(local) -> None:
    assert local.score._over_seeds([30.0], (28.0, 32.0)) == (30.0, (28.0, 32.0))
    value, (low, high) = local.score._over_seeds([29.0, 30.0, 31.0], (0.0, 1.0))
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
        assert found[(remedied, "off-target", *direction)] < 1
    assert found["language identifier", "accuracy", None, None] > 99
