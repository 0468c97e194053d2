"""Subwords of many languages (sentencepiece), joint or of each language, and the tokens that say what is wanted."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from speechnlp_tl.atomic import atomic_file
from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.errors import InputError, Problem

FILE = "sentencepiece.model"
PAD, UNKNOWN, BEGIN, END = 0, 1, 2, 3
COMMON = 4
"""Pieces with which every sentencepiece model of ours begins: these four."""
MASK = "<mask>"


class SubwordConfig(StrictModel):
    """How the subwords are made."""

    size: int = Field(6000, ge=16, description="pieces of one sentencepiece model, fewer where the text has no more")
    kind: Literal["bpe", "unigram"] = "bpe"
    joint: bool = Field(True, description="one sentencepiece model of all languages, or one of each")


class Vocabulary(Protocol):
    """Text to numbers and back, as training and search need it. Pieces 0 to 3 are padding, unknown, begin and end."""

    tokens: dict[str, int]
    """Language -> its token."""
    mask: int
    begins_word: NDArray[np.bool_]
    """(pieces,) whether a piece starts a word."""

    @property
    def languages(self) -> tuple[str, ...]: ...

    @property
    def sha256(self) -> list[str]: ...

    @property
    def joint(self) -> bool: ...

    def __len__(self) -> int: ...

    def encode(self, lines: Sequence[str], language: str | None = None) -> list[list[int]]: ...

    def decode(self, pieces: Sequence[Sequence[int]]) -> list[str]: ...

    def silent(self, language: str) -> list[int]: ...


class Subwords:
    """Text to numbers and back.

    One sentencepiece model, or several that each know other languages; the pieces of a later one stand behind those of
    the earlier ones, so one can be added and no number changes. Language and mask tokens are control symbols: text that
    spells one, such as "<2fr>", is taken letter by letter, so no input can ask for another language.

    Args:
        contents: of sentencepiece models that `train` made.

    Raises:
        InputError: one is no such model, or two know the same language.
    """

    def __init__(self, *contents: bytes, names: Sequence[str | Path] = ()) -> None:
        if not contents:
            raise InputError("subwords need a sentencepiece model")
        self.parts: list[_Part] = []
        for number, each in enumerate(contents):
            first = len(self.parts[-1]) + self.parts[-1].shift if self.parts else COMMON
            self.parts.append(_Part(each, first - COMMON, names[number] if names else file_name(number)))
        named = [language for part in self.parts for language in part.tokens]
        twice = sorted({language for language in named if named.count(language) > 1})
        if twice:
            raise InputError(f"two sentencepiece models know the same language: {', '.join(twice)}")
        self.tokens = {language: number for part in self.parts for language, number in part.tokens.items()}
        """Language -> its token."""
        self.mask = self.parts[0].mask
        self._texts = [text for part in self.parts for text in part.texts[COMMON if part.shift else 0 :]]
        self.begins_word: NDArray[np.bool_] = np.array([text.startswith("▁") for text in self._texts])
        """(pieces,) whether a piece starts a word."""

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.tokens)

    @property
    def joint(self) -> bool:
        """Whether all languages share their pieces, so that a line's language need not be known."""
        return len(self.parts) == 1

    @property
    def sha256(self) -> list[str]:
        """Of each sentencepiece model."""
        return [part.sha256 for part in self.parts]

    @classmethod
    def train(cls, text: Mapping[str, Iterable[str]], config: SubwordConfig) -> Subwords:
        """Learn subwords from lines of each language. The same lines give the same subwords.

        Raises:
            InputError: too little text, or a size below the number of its letters.
        """
        if config.joint:
            return cls(_trained((line for lines in text.values() for line in lines), list(text), config))
        return cls(*(_trained(lines, [language], config) for language, lines in text.items()))

    def grown(self, text: Mapping[str, Iterable[str]], config: SubwordConfig) -> Subwords:
        """With new languages, each with pieces of its own behind those that are there.

        Raises:
            InputError: a language that is known already, or as `train`.
        """
        new = [_trained(lines, [language], config) for language, lines in text.items()]
        return Subwords(*(part.contents for part in self.parts), *new)

    @classmethod
    def load(cls, folder: str | Path) -> Subwords:
        """Read the sentencepiece models of a folder. Raises InputError for a missing or damaged file."""
        paths = [Path(folder) / FILE]
        while (more := Path(folder) / file_name(len(paths))).is_file():
            paths.append(more)
        try:
            return cls(*(path.read_bytes() for path in paths), names=paths)
        except OSError as error:
            what = f"cannot be read: {error.strerror or error}"
            raise InputError(Problem(what, error.filename or paths[0])) from error

    def save(self, folder: str | Path) -> None:
        for number, part in enumerate(self.parts):
            with atomic_file(Path(folder) / file_name(number)) as temporary:
                temporary.write_bytes(part.contents)

    def encode(self, lines: Sequence[str], language: str | None = None) -> list[list[int]]:
        """Pieces of each line, without any token of ours.

        Args:
            language: of the lines; needed unless the subwords are joint.

        Raises:
            InputError: a language that is not known, or none where one is needed.
        """
        if language is None and not self.joint:
            what = "the language of the lines is needed: each has subwords of its own"
            raise InputError(Problem(what, remedy=f"it is one of {', '.join(self.languages)}"))
        if language is not None and language not in self.tokens:
            raise InputError(Problem(f"no language '{language}'", remedy=f"there are {', '.join(self.languages)}"))
        return next(part for part in self.parts if language is None or language in part.tokens).encode(lines)

    def silent(self, language: str) -> list[int]:
        """Pieces that a translation into the language has no use for: what says nothing, and other languages' own."""
        others = [part for part in self.parts if language not in part.tokens]
        pieces = {UNKNOWN, *self.tokens.values(), *(part.mask for part in self.parts)}
        return sorted(pieces.union(*(part.own for part in others)))

    def decode(self, pieces: Sequence[Sequence[int]]) -> list[str]:
        """Text of each sequence, on one line. Tokens of ours say nothing."""
        silent = {PAD, UNKNOWN, BEGIN, END, *(part.mask for part in self.parts), *self.tokens.values()}
        texts = ("".join(self._texts[piece] for piece in row if piece not in silent) for row in pieces)
        return [" ".join(text.replace("▁", " ").split()) for text in texts]


class _Part:
    """One sentencepiece model; `shift` is added to the numbers of its pieces but for the common ones."""

    def __init__(self, contents: bytes, shift: int, where: str | Path) -> None:
        import sentencepiece

        self.contents, self.shift = contents, shift
        self.sha256 = hashlib.sha256(contents).hexdigest()
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=contents)
            size = self._processor.get_piece_size()
        except RuntimeError as error:
            raise InputError(Problem(f"is damaged or no sentencepiece model: {error}", where)) from error
        self.texts = [self._processor.id_to_piece(number) for number in range(size)]
        self.tokens = {
            text[2:-1]: number + shift
            for number, text in enumerate(self.texts)
            if self._processor.is_control(number) and text.startswith("<2")
        }
        if self._processor.pad_id() != PAD or not self.tokens or MASK not in self.texts:
            raise InputError(Problem("has no language tokens: it was made by something else", where))
        self.mask = self.texts.index(MASK) + shift

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def own(self) -> range:
        """Its pieces without the common ones."""
        return range(COMMON + self.shift, len(self.texts) + self.shift)

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        found = self._processor.encode(list(lines), num_threads=1) if lines else []
        if not self.shift:
            return found
        return [[piece if piece < COMMON else piece + self.shift for piece in row] for row in found]


def file_name(number: int) -> str:
    """Of a model folder's sentencepiece models, in the order of their pieces."""
    return FILE if not number else f"sentencepiece.{number}.model"


def _trained(lines: Iterable[str], languages: Sequence[str], config: SubwordConfig) -> bytes:
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
        what = f"no {config.size} subwords can be made of the text of {', '.join(languages)}: {error}"
        raise InputError(Problem(what, remedy="set subwords.size")) from error
    return made.getvalue()
