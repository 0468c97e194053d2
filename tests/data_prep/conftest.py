"""Miniature corpora in their upstream layout, and an environment that holds no real one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile


@pytest.fixture
def no_corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Neither SPEECHNLP_DATA nor a cache; returns the folder the cache would be made in."""
    monkeypatch.delenv("SPEECHNLP_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "speechnlp_tl"


@pytest.fixture
def real_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of real corpora, with a cache of the test's own; skips without one."""
    data = os.environ.get("SPEECHNLP_DATA")
    if not data:
        pytest.skip("SPEECHNLP_DATA is not set: no real corpora")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return Path(data)


WriteSound = Callable[..., np.ndarray]


@pytest.fixture
def write_sound() -> WriteSound:
    """A function that writes noise of a speech-like level and returns its samples (n,), int16."""

    def write(path: Path, seconds: float, rate: int, seed: int = 0, format: str = "WAV") -> np.ndarray:
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = (np.random.default_rng(seed).standard_normal(round(seconds * rate)) * 2000).astype(np.int16)
        soundfile.write(path, samples, rate, subtype="PCM_16", format=format)
        return samples

    return write
