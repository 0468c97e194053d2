"""What several folders of tests share: a made corpus, the model trained on it once per session, the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.tiny import TinyCorpus, write_corpus

if TYPE_CHECKING:
    from speechnlp_tl.speech.recogniser import Recogniser

# Tiny models are slower on many threads, and their sums would depend on the machine. Before torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole recipes first: where processes share the tests, none is left with the longest ones at the end."""
    items.sort(key=lambda item: item.path.name != "test_smoke.py")


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> TinyCorpus:
    """Eight speakers of a made language, and a ninth whom a model of theirs mishears. Read-only."""
    return write_corpus(tmp_path_factory.mktemp("tiny_corpus"))


@pytest.fixture(scope="session")
def tiny_experiment(tiny_corpus: TinyCorpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment folder of a recogniser trained on the made corpus; the model is in `model/`. Read-only."""
    from speechnlp_tl.speech.experiment import load_experiment, train

    out = tmp_path_factory.mktemp("tiny_experiment") / "exp"
    train(load_experiment(tiny_corpus.config), out, quiet=True)
    return out


@pytest.fixture(scope="session")
def tiny_recogniser(tiny_experiment: Path) -> Recogniser:
    """The trained recogniser. Read-only: adapt copies of it."""
    from speechnlp_tl.speech.models import load_recogniser

    return load_recogniser(tiny_experiment)


@dataclass(frozen=True)
class Outcome:
    """What a command left on the terminal."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines of the error stream, which must all be problems said in plain words."""
        return self.err.splitlines()


Run = Callable[..., Outcome]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("train", config, "--out", folder)` runs `speechnlp-tl` as the shell would, in this process."""
    from speechnlp_tl import cli

    def command(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["speechnlp-tl", *(str(argument) for argument in arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        captured = capsys.readouterr()
        code = exit_.value.code
        return Outcome(code if isinstance(code, int) else 0 if code is None else 1, captured.out, captured.err)

    return command
