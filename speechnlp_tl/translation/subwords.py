"""Joint subwords of all languages (sentencepiece) and the tokens that say what language is wanted."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from speechnlp_tl.atomic import atomic_file
from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.errors import InputError, Problem

FILE = "sentencepiece.model"
PAD, UNKNOWN, BEGIN, END = 0, 1, 2, 3
MASK = "<mask>"


class SubwordConfig(StrictModel):
    """How the subwords are made."""

    size: int = Field(6000, ge=16, description="pieces, fewer where the text has no more")
    kind: Literal["bpe", "unigram"] = "bpe"


class Subwords:
    """Text to numbers and back.

    Language and mask tokens are control symbols: text that spells one, such as "<2fr>", is taken letter by letter, so
    no input can ask for another language.

    Args:
        contents: of a sentencepiece model that `train` made.

    Raises:
        InputError: it is no such model.
    """

    def __init__(self, contents: bytes, where: str | Path = FILE) -> None:
        import sentencepiece

        self.contents = contents
        self.sha256 = hashlib.sha256(contents).hexdigest()
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=contents)
            size = self._processor.get_piece_size()
        except RuntimeError as error:
            raise InputError(Problem(f"is damaged or no sentencepiece model: {error}", where)) from error
        pieces = [self._processor.id_to_piece(number) for number in range(size)]
        self.tokens = {
            piece[2:-1]: number
            for number, piece in enumerate(pieces)
            if self._processor.is_control(number) and piece.startswith("<2")
        }
        """Language -> its token."""
        if self._processor.pad_id() != PAD or not self.tokens or MASK not in pieces:
            raise InputError(Problem("has no language tokens: it was made by something else", where))
        self.mask = pieces.index(MASK)
        self.begins_word: NDArray[np.bool_] = np.array([piece.startswith("▁") for piece in pieces])
        """(pieces,) whether a piece starts a word."""

    def __len__(self) -> int:
        return len(self.begins_word)

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.tokens)

    @classmethod
    def train(cls, lines: Iterable[str], languages: Sequence[str], config: SubwordConfig) -> Subwords:
        """Learn subwords from text of all languages. The same lines give the same subwords.

        Raises:
            InputError: too little text, or a size below the number of its letters.
        """
        import sentencepiece

        made = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines),
                model_writer=made,
                vocab_size=config.size,
                model_type=config.kind,
                character_coverage=1.0,
                hard_vocab_limit=False,
                pad_id=PAD,
                unk_id=UNKNOWN,
                bos_id=BEGIN,
                eos_id=END,
                control_symbols=[f"<2{language}>" for language in languages] + [MASK],
                num_threads=1,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise InputError(
                Problem(f"no {config.size} subwords can be made of this text: {error}", remedy="set subwords.size")
            ) from error
        return cls(made.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> Subwords:
        """Raises InputError for a missing or damaged file."""
        try:
            return cls(Path(path).read_bytes(), path)
        except OSError as error:
            raise InputError(Problem(f"cannot be read: {error.strerror or error}", path)) from error

    def save(self, path: str | Path) -> None:
        with atomic_file(path) as temporary:
            temporary.write_bytes(self.contents)

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Pieces of each line, without any token of ours."""
        return self._processor.encode(list(lines), num_threads=1) if lines else []

    def decode(self, pieces: Sequence[Sequence[int]]) -> list[str]:
        """Text of each sequence, on one line. Tokens of ours say nothing."""
        texts = self._processor.decode([list(map(int, each)) for each in pieces], num_threads=1) if pieces else []
        return [" ".join(text.split()) for text in texts]
