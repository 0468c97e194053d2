"""A pretrained transformer as the features of documents: frozen, or fine-tuned with the classifier on top of it.

Any encoder that `transformers.AutoModel` loads from a folder or the hub. Only safetensors are read, and code that comes
with a model is not run.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.core.evaluation_mode import evaluating
from speechnlp_tl.core.progress import shown
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.text.classifier import ClassifierConfig, ClassifierOutput, DocumentClassifier, Inputs
from speechnlp_tl.text.token_rows import TokenBatch, TokenRows

FOLDER = "encoder"
ROWS_AT_ONCE = 32
JSON_OBJECTS = ("config.json", "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json")
LOADED = (".json", ".model", ".safetensors", ".txt")
"""Endings of the files that decide what a transformer's folder gives."""


class TransformerConfig(StrictModel):
    """Transformer features of a text model."""

    kind: Literal["transformer"] = "transformer"
    model: str = Field(min_length=1, description="folder, or name on the hub")
    revision: str | None = Field(None, description="commit, tag or branch on the hub")
    max_tokens: PositiveInt = Field(256, description="longer documents are cut off there")
    fine_tune: bool = Field(True, description="false: the encoder stays as it is and is run once over all documents")


class TransformerEncoder(nn.Module):
    """Documents as the mean of the last layer over their real tokens.

    Args:
        model: a transformers encoder.
        tokenizer: its tokenizer.
        max_tokens: longest document, special tokens included.

    Raises:
        InputError: a decoder or encoder-decoder, no padding token, or more tokens than the model has positions for.
    """

    unit = "token"
    """What documents are made of, for messages."""

    def __init__(self, model: Any, tokenizer: Any, max_tokens: int) -> None:
        super().__init__()
        self.model, self.tokenizer, self.max_tokens = model, tokenizer, max_tokens
        config, problems = model.config, []
        if getattr(config, "is_encoder_decoder", False) or getattr(config, "is_decoder", False):
            problems.append(Problem(f"'{config.model_type}' is not an encoder", remedy="take one such as BERT"))
        if tokenizer.pad_token_id is None:
            problems.append(Problem("the tokenizer has no padding token", remedy="take a model that has one"))
        if len(tokenizer) > config.vocab_size:
            what = f"the tokenizer has {len(tokenizer)} tokens, the model {config.vocab_size}"
            problems.append(Problem(what, remedy="take the tokenizer of the model"))
        room = min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", None) or max_tokens)
        if max_tokens > room:
            problems.append(Problem(f"the model takes {room} tokens, not {max_tokens}", remedy="lower max_tokens"))
        if problems:
            raise InputError(problems)

    @classmethod
    def pretrained(cls, config: TransformerConfig) -> TransformerEncoder:
        """The model and tokenizer of a folder or of the hub.

        Raises:
            InputError: not to be had, without safetensors, with code of its own, or not an encoder.
        """
        return _load(config.model, config.max_tokens, config.revision)

    @property
    def width(self) -> int:
        """Units of the last layer."""
        return int(self.model.config.hidden_size)

    @property
    def vocabulary_size(self) -> int:
        return len(self.tokenizer)

    def tokens(self, texts: Sequence[str]) -> TokenRows:
        """The texts as token ids with special tokens, cut off at `max_tokens`."""
        found = self.tokenizer(list(texts), truncation=True, max_length=self.max_tokens, return_attention_mask=False)
        rows = [np.array(ids, dtype=np.int32) for ids in found["input_ids"]]
        return TokenRows(rows, self.vocabulary_size, int(self.tokenizer.pad_token_id))

    def forward(self, batch: TokenBatch) -> Tensor:
        """(B, width) means over real tokens."""
        hidden = self.model(input_ids=batch.ids, attention_mask=batch.mask.long()).last_hidden_state
        real = batch.mask.unsqueeze(-1).to(hidden.dtype)
        pooled: Tensor = (hidden * real).sum(1) / real.sum(1).clamp_min(1)
        return pooled

    @torch.no_grad()
    def encode(self, texts: Sequence[str], show: bool = False) -> NDArray[np.float32]:
        """(n, width) in eval mode, in the order given; texts of like length travel together.

        Args:
            show: progress, on a terminal.
        """
        rows = self.tokens(texts)
        order = np.argsort([-len(ids) for ids in rows.ids], kind="stable")
        found = np.zeros((len(rows), self.width), np.float32)
        device = next(self.model.parameters()).device
        with evaluating(self):
            # the longest first: memory runs out at once or never
            for begin in shown(range(0, len(order), ROWS_AT_ONCE), "running the transformer", show):
                numbers = order[begin : begin + ROWS_AT_ONCE]
                found[numbers] = self(rows[numbers].batch().to(device)).float().cpu().numpy()
        return found

    def save(self, folder: Path) -> None:
        """Write model and tokenizer into a model directory, as transformers itself would."""
        with _quiet():
            self.model.save_pretrained(folder / FOLDER)
            self.tokenizer.save_pretrained(folder / FOLDER)

    @classmethod
    def load(cls, folder: Path, config: TransformerConfig) -> TransformerEncoder:
        """Read model and tokenizer of a model directory; neither the hub nor the network is asked."""
        return _load(str(folder / FOLDER), config.max_tokens, local=True)


class TransformerClassifier(DocumentClassifier):
    """A DocumentClassifier on a transformer that is trained with it. Takes `TokenBatch`, and dense rows as before.

    Args:
        encoder: becomes part of the model.
        classes, config, seed: as for DocumentClassifier.
    """

    rows_at_once = ROWS_AT_ONCE

    def __init__(
        self, encoder: TransformerEncoder, classes: int = 2, config: ClassifierConfig | None = None, seed: int = 0
    ) -> None:
        super().__init__(encoder.width, classes, config, seed)
        self.encoder = encoder

    @property
    def inputs(self) -> int:
        return self.encoder.vocabulary_size

    def forward(self, inputs: Inputs) -> ClassifierOutput:
        return super().forward(self.encoder(inputs) if isinstance(inputs, TokenBatch) else inputs)


def _load(name: str, max_tokens: int, revision: str | None = None, local: bool = False) -> TransformerEncoder:
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        remedy = 'pip install "speechnlp_tl[text]"'
        raise InputError(Problem("transformer features need the package transformers", remedy=remedy)) from error
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
            tokenizer = AutoTokenizer.from_pretrained(name, **options)
            loaded = {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
            model, found = AutoModel.from_pretrained(name, **loaded, **options)
    except Exception as error:  # whatever transformers happens to stumble over in a damaged file
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        reason = (" ".join(lines[:2]) if lines[0].endswith(":") else lines[0]).rstrip(".")
        remedy = "name a folder, or a hub model with safetensors that needs no code of its own"
        what, file = (f"the transformer '{name}' cannot be loaded", None)
        if local:
            what, file = "the transformer in this folder cannot be loaded", name
        raise InputError(Problem(f"{what}: {reason}", file=file, remedy=remedy)) from error
    # a pooler is not used here, and checkpoints of language models have none; other weights would be random ones
    missing = sorted(key for key in found["missing_keys"] if "pooler" not in key)
    if missing:
        what = f"the transformer '{name}' lacks {len(missing)} weights, such as {missing[0]}"
        raise InputError(Problem(what, remedy="get it again, whole"))
    return TransformerEncoder(model, tokenizer, max_tokens)


def _check_folder(folder: Path, revision: str | None) -> None:
    """Raise InputError where a revision is wanted of a folder, or files that must hold a JSON object do not."""
    problems = []
    if revision is not None:
        what = f"is a folder, which has no revision '{revision}'"
        problems.append(Problem(what, folder, remedy="leave features.revision out, or name a model of the hub"))
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
