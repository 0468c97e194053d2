"""Word vectors from text with gensim: skip-gram and CBOW (Mikolov et al. 2013), fastText (Bojanowski et al. 2017).

gensim's threads write to one matrix without waiting for each other, so two runs with more than one worker differ a
little. With `workers=1` the same text, settings and seed give the same vectors, bit by bit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.embeddings.vector_files import from_gensim
from speechnlp_tl.embeddings.vectors import WordVectors
from speechnlp_tl.errors import InputError, Problem

_LONGEST_SENTENCE = 10_000
"""Words beyond it gensim would leave out without a word; longer sentences are parted."""

Sentence = Sequence[str]


class TrainingSettings(StrictModel):
    """What to train; the names of gensim's own parameters stand behind the colon."""

    method: Literal["skip-gram", "cbow", "fasttext"] = "skip-gram"
    """`fasttext` is skip-gram with subwords, so that rare words get something from their parts."""
    dimension: int = Field(200, ge=1)
    """vector_size."""
    window: int = Field(5, ge=1)
    epochs: int = Field(5, ge=1)
    negative: int = Field(10, ge=1)
    """Noise words a word."""
    subsample: float = Field(1e-3, ge=0.0)
    """sample: words more frequent than this are left out at random; 0 leaves out none."""
    min_count: int = Field(5, ge=1)
    """Words that are seen less often get no vector."""
    shortest_subword: int = Field(3, ge=1)
    longest_subword: int = Field(6, ge=1)
    buckets: int = Field(200_000, ge=1)
    """Subwords share so many vectors."""
    workers: int | None = Field(None, ge=1)
    """Threads; None: one for each processor. 1 makes the result repeatable."""
    seed: int = Field(0, ge=0)


def train_vectors(
    text: str | Path | Sequence[str | Path] | Iterable[Sentence],
    settings: TrainingSettings | None = None,
    name: str = "",
) -> WordVectors:
    """Vectors of the words of a text, most frequent first, with their counts.

    Args:
        text: a file, or several, in UTF-8 with a sentence a line, words parted by blanks; or sentences as lists of
            words, which can be gone through more than once (a list, not a generator).
        settings: how; the defaults where not given.
        name: of the vectors.

    Raises:
        InputError: gensim is missing, a file cannot be read or is not UTF-8, no word is frequent enough.
    """
    settings = settings or TrainingSettings()
    model = train_model(sentences_of(text), settings)
    vectors = from_gensim(model.wv, name)
    return WordVectors(vectors.words, vectors.matrix, name, vectors.counts)


def train_model(sentences: Iterable[Sentence], settings: TrainingSettings) -> Any:
    """gensim's own model of the sentences; errors as `train_vectors`."""
    try:
        from gensim.models import FastText, Word2Vec
    except ImportError as error:
        remedy = 'pip install "speechnlp_tl[embeddings]"'
        raise InputError(Problem("training word vectors needs gensim", remedy=remedy)) from error
    options: dict[str, Any] = {
        **{"vector_size": settings.dimension, "window": settings.window, "negative": settings.negative},
        **{"sample": settings.subsample, "min_count": settings.min_count, "seed": settings.seed},
        **{"sg": int(settings.method != "cbow"), "workers": settings.workers or os.cpu_count() or 1},
    }
    if settings.method == "fasttext":
        subwords = {"min_n": settings.shortest_subword, "max_n": settings.longest_subword, "bucket": settings.buckets}
        model = FastText(**options, **subwords)
    else:
        model = Word2Vec(**options)
    parted = _Parted(sentences)
    model.build_vocab(parted)
    if not len(model.wv):
        what = f"no word occurs {settings.min_count} times in {model.corpus_count} sentences"
        raise InputError(Problem(what, remedy="give more text or a smaller min_count"))
    model.train(parted, total_examples=model.corpus_count, epochs=settings.epochs)
    return model


def sentences_of(text: str | Path | Sequence[str | Path] | Iterable[Sentence]) -> Iterable[Sentence]:
    """The sentences of files, read anew each time they are gone through; sentences are returned as they are.

    Raises:
        InputError: files that are not there (all are named), or a generator, which could be gone through only once.
    """
    if isinstance(text, str | Path):
        text = [text]
    if isinstance(text, Sequence) and text and all(isinstance(part, str | Path) for part in text):
        paths = [Path(str(part)) for part in text]
        missing = [Problem("is no file", file=path) for path in paths if not path.is_file()]
        if missing:
            raise InputError(missing)
        return _TextFiles(paths)
    if isinstance(text, Iterator):
        raise InputError(Problem("a generator is gone after one pass", remedy="give a list of sentences, or files"))
    return text  # type: ignore[return-value]  # what is left are sentences


class _TextFiles:
    """The sentences of files, as often as they are asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __iter__(self) -> Iterator[list[str]]:
        for path in self._paths:
            with path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    try:
                        words = line.decode("utf-8-sig" if number == 1 else "utf-8").split()
                    except UnicodeDecodeError as error:
                        what = f"is not UTF-8 (byte {error.start + 1})"
                        raise InputError(Problem(what, path, number, "save the file as UTF-8")) from None
                    if words:
                        yield words


class _Parted:
    """Sentences that gensim does not cut off."""

    def __init__(self, sentences: Iterable[Sentence]) -> None:
        self._sentences = sentences

    def __iter__(self) -> Iterator[Sentence]:
        for sentence in self._sentences:
            for start in range(0, len(sentence), _LONGEST_SENTENCE):
                yield sentence[start : start + _LONGEST_SENTENCE]
