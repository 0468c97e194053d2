"""Models and tokenizers that transformers loads, from a folder or the hub: safetensors alone, and no code of theirs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from speechnlp_tl.errors import InputError, Problem

JSON_OBJECTS = ("config.json", "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json")
LOADED = (".json", ".model", ".safetensors", ".txt")
"""Endings of the files that decide what a transformer's folder gives."""


def load_pretrained(
    kind: Literal["AutoModel", "AutoModelForSeq2SeqLM"],
    name: str,
    revision: str | None = None,
    local: bool = False,
    may_lack: str = "",
    extra: str = "text",
) -> tuple[Any, Any]:
    """A model in float32 and its tokenizer.

    Args:
        kind: the class of transformers that loads it.
        name: folder, or name on the hub.
        revision: commit, tag or branch on the hub.
        local: it is a folder; neither the hub nor the network is asked.
        may_lack: weights with this in their names may be missing, and are random then.
        extra: of our package, that brings transformers.

    Raises:
        InputError: not to be had, without safetensors, damaged, with code of its own, or with weights missing.
    """
    try:
        import transformers
    except ImportError as error:
        remedy = f'pip install "speechnlp_tl[{extra}]"'
        raise InputError(Problem("pretrained models need the package transformers", remedy=remedy)) from error
    local = local or Path(name).is_dir()
    if local:
        _check_folder(Path(name), revision)
    if not local and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise InputError(Problem("does not exist", file=name, remedy="name a folder, or a model of the hub"))
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": local}
    if revision is not None:
        options["revision"] = revision
    try:
        with _quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(name, **options)
            loaded = {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
            model, found = getattr(transformers, kind).from_pretrained(name, **loaded, **options)
    except Exception as error:  # whatever transformers happens to stumble over in a damaged file
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        reason = (" ".join(lines[:2]) if lines[0].endswith(":") else lines[0]).rstrip(".")
        remedy = "name a folder, or a hub model with safetensors that needs no code of its own"
        what, file = (f"the transformer '{name}' cannot be loaded", None)
        if local:
            what, file = "the transformer in this folder cannot be loaded", name
        raise InputError(Problem(f"{what}: {reason}", file=file, remedy=remedy)) from error
    # weights that are missing would be random ones
    missing = sorted(key for key in found["missing_keys"] if not may_lack or may_lack not in key)
    if missing:
        what = f"the transformer '{name}' lacks {len(missing)} weights, such as {missing[0]}"
        raise InputError(Problem(what, remedy="get it again, whole"))
    return model, tokenizer


def save_pretrained(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write both into a folder, as transformers itself would."""
    with _quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _check_folder(folder: Path, revision: str | None) -> None:
    """Raise InputError where a revision is wanted of a folder, or files that must hold a JSON object do not."""
    problems = []
    if revision is not None:
        what = f"is a folder, which has no revision '{revision}'"
        problems.append(Problem(what, folder, remedy="leave the revision out, or name a model of the hub"))
    for path in (folder / name for name in JSON_OBJECTS):
        try:
            whole = not path.is_file() or isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
        except (OSError, ValueError, RecursionError):
            whole = False
        if not whole:
            problems.append(Problem("is damaged: it holds no JSON object", path, remedy="get the model again, whole"))
    if problems:
        raise InputError(problems)


def folder_digest(folder: Path) -> str:
    """SHA-256 of what a transformer's folder is loaded from: configuration, tokenizer and weights.

    Raises:
        InputError: files that cannot be read.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in LOADED and path.is_file()):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise InputError(Problem(f"cannot be read: {error.strerror or error}", file=path)) from error
    return digest.hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from drawing progress bars and from warning of weights that are not needed."""
    from transformers.utils import logging

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
