"""Model folders by name: a model directory, an experiment that holds one, or an adapter with its base model."""

from __future__ import annotations

from pathlib import Path

from speechnlp_tl.core.config import read_key
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.multilingual import KIND, MultilingualRecogniser
from speechnlp_tl.speech.recogniser import Recogniser
from speechnlp_tl.transfer.adapter_files import CARD, load_adapter, read_card, save_adapter

LANGUAGE = "language"
"""Note of an adapter: the language of a multilingual base model that it was trained on."""


def load_recogniser(directory: str | Path, base: str | Path | None = None, language: str | None = None) -> Recogniser:
    """Load a recogniser from a model directory, an experiment folder, or an adapter directory.

    Args:
        directory: what `train` or `adapt` wrote.
        base: the base model of an adapter; by default the one it was trained on, where it lay then.
        language: of a multilingual model, which gives a recogniser of that language alone.

    Raises:
        InputError: no model there, damaged files, an adapter of another base model, or a multilingual model without
            `language`.
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
        recorded = read_card(directory).extra.get(LANGUAGE)
        if recorded and language not in (None, recorded):
            what = f"was adapted in language {recorded}, not {language}"
            raise InputError(Problem(what, directory, remedy="leave --lang out"))
        recogniser = load_recogniser(place, language=str(recorded) if recorded else language)
        load_adapter(directory, recogniser.model)
        recogniser.model.eval()
        return recogniser
    if base is not None:
        raise InputError(Problem("is no adapter, so it has no base model", directory, remedy="leave --base out"))
    if is_multilingual(directory):
        recognisers = load_multilingual(directory)
        if language is None:
            remedy = f"say which with --lang: {', '.join(recognisers.languages)}"
            raise InputError(Problem("is a model of several languages", directory, remedy=remedy))
        return recognisers.alone(language)
    if language is not None:
        raise InputError(Problem("is a model of one language", directory, remedy="leave --lang out"))
    return Recogniser.load(_finished(directory))


def is_multilingual(directory: str | Path) -> bool:
    """Whether a folder holds a model of several languages."""
    config = model_folder(directory) / "config.yaml"
    return config.is_file() and read_key(config, "kind")[0] == KIND


def load_multilingual(directory: str | Path) -> MultilingualRecogniser:
    """Load a model of several languages from its directory or an experiment folder.

    Raises:
        InputError: no such model there, or damaged files.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(Problem("there is no such model folder", directory, remedy="check --model"))
    place = _finished(directory)
    if (place / "config.yaml").is_file() and not is_multilingual(place):
        remedy = "train one with 'task: multilingual-asr'"
        raise InputError(Problem("is no model of several languages", directory, remedy=remedy))
    return MultilingualRecogniser.load(place)


def _finished(directory: Path) -> Path:
    """Where the model of an experiment folder is, or the folder itself."""
    if (directory / "experiment.yaml").is_file() and not (directory / "model").is_dir():
        remedy = "run the same 'speechnlp-tl train' command again, it goes on where it stopped"
        raise InputError(Problem("holds an experiment whose training has not finished", directory, remedy=remedy))
    nested = directory / "model"
    return nested if nested.is_dir() and not (directory / "config.yaml").exists() else directory


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
