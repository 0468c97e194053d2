"""N-grams of words: the vocabulary of a collection of documents, and counts over it.

A word is a run of letters, digits and underscores in any script; an apostrophe inside belongs to it (`don't`). Other
signs only part words. scikit-learn's CountVectorizer does the counting; what is kept is plain text: the n-grams, one a
line, the words of an n-gram parted by a space.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt

from speechnlp_tl.atomic import write_text
from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.text.features import Rows, Weighting, weigh_counts

WORD = r"\w+(?:['’]\w+)*"
FILE = "vocabulary.txt"


class NgramConfig(StrictModel):
    """N-gram features of a text model."""

    kind: Literal["ngrams"] = "ngrams"
    longest: PositiveInt = Field(2, description="words of the longest n-gram")
    min_documents: PositiveInt = Field(2, description="an n-gram of fewer documents is left out")
    max_features: PositiveInt | None = Field(20000, description="keep the most frequent ones")
    lowercase: bool = True
    weighting: Weighting = "log"
    unit_length: bool = False


class NgramFeatures:
    """Documents as weighted counts of the n-grams of a vocabulary.

    Args:
        config: how words are read and counts weighted.
        vocabulary: the n-grams in the order of the features.

    Raises:
        InputError: no n-grams, or one that stands twice.
    """

    unit = "n-gram"
    """What documents are made of, for messages."""

    def __init__(self, config: NgramConfig, vocabulary: Sequence[str]) -> None:
        if not vocabulary or len(set(vocabulary)) < len(vocabulary):
            raise InputError(
                f"a vocabulary needs n-grams, each once, not {len(vocabulary)} of which {len(set(vocabulary))} differ"
            )
        self.config, self.vocabulary = config, tuple(vocabulary)

    @classmethod
    def fit(cls, texts: Iterable[str], config: NgramConfig | None = None) -> NgramFeatures:
        """The vocabulary of training texts, of all domains and without labels; its n-grams in alphabetical order.

        Raises:
            InputError: no n-gram stands in `min_documents` texts.
        """
        config, texts = config or NgramConfig(), list(texts)
        what = f"no n-gram stands in {config.min_documents} of the {len(texts)} documents"
        nothing = InputError(Problem(what, remedy="give more documents, or lower features.min_documents"))
        if len(texts) < config.min_documents:
            raise nothing
        try:
            counter = _counter(config, min_df=config.min_documents, max_features=config.max_features).fit(texts)
        except ValueError as error:  # of scikit-learn: the vocabulary is empty
            raise nothing from error
        return cls(config, counter.get_feature_names_out().tolist())

    @property
    def width(self) -> int:
        """How many features."""
        return len(self.vocabulary)

    @cached_property
    def sha256(self) -> str:
        """Of the vocabulary in its order, so that a model and the vocabulary of another one are told apart."""
        return hashlib.sha256(self._lines().encode("utf-8")).hexdigest()

    def rows(self, texts: Sequence[str]) -> Rows:
        """(n, width) float32 CSR matrix; a document without a known n-gram is an empty row."""
        counts = _counter(self.config, vocabulary=self.vocabulary).transform(texts)
        counts.sort_indices()
        return weigh_counts(counts, self.config.weighting, self.config.unit_length)

    def save(self, folder: Path) -> None:
        """Write the vocabulary into a model directory."""
        write_text(folder / FILE, self._lines())

    @classmethod
    def load(cls, folder: Path, config: NgramConfig) -> NgramFeatures:
        """Read the vocabulary of a model directory.

        Raises:
            InputError: it is missing or not as it was written.
        """
        path = folder / FILE
        try:
            return cls(config, path.read_text(encoding="utf-8").split("\n")[:-1])
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                Problem(f"cannot be read: {error}", file=path, remedy="copy the model again, whole")
            ) from error
        except InputError as error:
            raise InputError(
                Problem(f"is damaged: {error}", file=path, remedy="copy the model again, whole")
            ) from error

    def _lines(self) -> str:
        return "".join(f"{ngram}\n" for ngram in self.vocabulary)


def _counter(config: NgramConfig, **options: Any) -> Any:
    try:
        from sklearn.feature_extraction.text import CountVectorizer
    except ImportError as error:
        remedy = 'pip install "speechnlp_tl[text]"'
        raise InputError(Problem("n-gram features need the package scikit-learn", remedy=remedy)) from error
    longest = (1, config.longest)
    return CountVectorizer(lowercase=config.lowercase, token_pattern=WORD, ngram_range=longest, **options)
