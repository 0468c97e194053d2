"""Model folders by name: a model directory, an experiment that holds one, or an adapter with its base model."""

from __future__ import annotations

from pathlib import Path

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.recogniser import Recogniser
from speechnlp_tl.transfer.adapter_files import CARD, load_adapter, read_card, save_adapter


def load_recogniser(directory: str | Path, base: str | Path | None = None) -> Recogniser:
    """Load a recogniser from a model directory, an experiment folder, or an adapter directory.

    Args:
        directory: what `train` or `adapt` wrote.
        base: the base model of an adapter; by default the one it was trained on, where it lay then.

    Raises:
        InputError: no model there, damaged files, or an adapter of another base model.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(Problem("there is no such model folder", directory, remedy="check --model"))
    if (directory / CARD).is_file():
        place = Path(base) if base else _recorded_base(directory)
        if (place / CARD).is_file():
            raise InputError(
                Problem("is an adapter, not a base model", place, remedy="name the base model with --base")
            )
        recogniser = load_recogniser(place)
        load_adapter(directory, recogniser.model)
        recogniser.model.eval()
        return recogniser
    if base is not None:
        raise InputError(Problem("is no adapter, so it has no base model", directory, remedy="leave --base out"))
    if (directory / "experiment.yaml").is_file() and not (directory / "model").is_dir():
        remedy = "run the same 'speechnlp-tl train' command again, it goes on where it stopped"
        raise InputError(Problem("holds an experiment whose training has not finished", directory, remedy=remedy))
    nested = directory / "model"
    return Recogniser.load(nested if nested.is_dir() and not (directory / "config.yaml").exists() else directory)


def model_folder(directory: str | Path) -> Path:
    """The folder that really holds the model files of `directory`."""
    directory = Path(directory)
    return directory / "model" if (directory / "model" / "config.yaml").is_file() else directory


def write_adapter(recogniser: Recogniser, folder: Path, base: Path, notes: dict[str, str], card: str) -> None:
    """Write an adapter directory's files into an existing folder: kilobytes, and where the base model lies."""
    save_adapter(folder, recogniser.model, extra={"base": str(base.resolve()), **notes})
    (folder / "README.md").write_text(card, encoding="utf-8")


def _recorded_base(directory: Path) -> Path:
    base = Path(str(read_card(directory).extra.get("base", "")))
    if not base.is_dir():
        raise InputError(
            Problem(
                f"the base model was at '{base}' and is not there now", directory / CARD, remedy="name it with --base"
            )
        )
    return base
