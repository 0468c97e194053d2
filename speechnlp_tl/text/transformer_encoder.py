"""A pretrained transformer as the features of documents: frozen, or fine-tuned with the classifier on top of it.

Any encoder that `transformers.AutoModel` loads from a folder or the hub. Only safetensors are read, and code that comes
with a model is not run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.core.evaluation_mode import evaluating
from speechnlp_tl.core.pretrained import load_pretrained, save_pretrained
from speechnlp_tl.core.progress import shown
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.text.classifier import ClassifierConfig, ClassifierOutput, DocumentClassifier, Inputs
from speechnlp_tl.text.token_rows import TokenBatch, TokenRows

FOLDER = "encoder"
ROWS_AT_ONCE = 32


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
        save_pretrained(self.model, self.tokenizer, folder / FOLDER)

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
    # a pooler is not used here, and checkpoints of language models have none
    model, tokenizer = load_pretrained("AutoModel", name, revision, local, may_lack="pooler", extra="text")
    return TransformerEncoder(model, tokenizer, max_tokens)
