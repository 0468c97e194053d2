"""Methods by name: every one is reached by its name, and mistakes in names and settings are said."""

from __future__ import annotations

import numpy as np
import pytest

from speechnlp_tl.commands.embed import AlignmentMethod
from speechnlp_tl.embeddings.methods import METHODS, fit_method, method_settings
from speechnlp_tl.errors import InputError

SMALL = {
    "margin": {"epochs": 2},
    "rcsls": {"epochs": 2, "neighbours": 3},
    "self-learning": {"words": 150, "most_rounds": 60},
    "adversarial": {"words": 150, "steps": 5, "epochs": 1, "restarts": 1, "refinements": 1},
}


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A rotation with a little noise; row n translates row n."""
    generator = np.random.default_rng(0)
    source = generator.standard_normal((150, 12)).astype(np.float32) * np.linspace(2, 0.5, 12, dtype=np.float32)
    rotation = np.linalg.qr(generator.standard_normal((12, 12)))[0]
    target = (source @ rotation + 0.02 * generator.standard_normal(source.shape)).astype(np.float32)
    return source, target, np.repeat(np.arange(100), 2).reshape(-1, 2)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "adversarial"])
def test_every_method_with_a_dictionary_finds_a_planted_rotation(method: str, planted) -> None:
    source, target, pairs = planted
    found = fit_method(method, source, target, pairs, method_settings(method, **SMALL.get(method, {})))
    x, y = found.map_source(source), found.map_target(target)
    similar = x @ y.T / np.linalg.norm(x, axis=1)[:, None] / np.linalg.norm(y, axis=1)
    assert (similar.argmax(axis=1)[100:] == np.arange(100, 150)).mean() > 0.9


def test_adversarial_is_reached_and_takes_no_dictionary(planted) -> None:
    source, target, pairs = planted
    settings = method_settings("adversarial", seed=3, **SMALL["adversarial"])
    assert settings.seed == 3  # type: ignore[attr-defined]
    assert fit_method("adversarial", source, target, None, settings).source_map.shape == (12, 12)
    with pytest.raises(InputError, match="uses no dictionary"):
        fit_method("adversarial", source, target, pairs, settings)


def test_a_method_without_the_dictionary_that_it_needs_says_so(planted) -> None:
    source, target, _ = planted
    with pytest.raises(InputError, match="procrustes needs a dictionary"):
        fit_method("procrustes", source, target, None, method_settings("procrustes"))


def test_unknown_methods_and_settings_are_named_with_what_there_is() -> None:
    with pytest.raises(InputError, match=r"no method 'prokrustes'.*procrustes"):
        method_settings("prokrustes")
    with pytest.raises(InputError) as caught:
        method_settings("rcsls", epochs=-1, neighbors=3)
    assert len(caught.value.problems) == 2
    assert "neighbours" in str(caught.value)


def test_the_command_line_knows_every_method() -> None:
    assert {each.value for each in AlignmentMethod} == set(METHODS)
