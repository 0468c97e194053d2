"""Vectors of several languages in one space, learned together from matched sentences.

Three ways, all for any number of languages, and one that improves what any of them gave:

- `train_jointly`: word2vec on sentences merged with their translations (Vulic and Moens 2015; Gouws and Sogaard 2015).
- `sentence_id_vectors`: words are what sentences they stand in (Levy, Sogaard and Goldberg 2017).
- `random_vectors`: a direction of its own for each word, which only `fold_in_translations` gives a meaning.
- `fold_in_translations`: moves each word towards the words it is aligned with in the sentences, as retrofitting does
  with a lexicon (Faruqui et al. 2015).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.embeddings.matched_sentences import (
    MatchedSentences,
    frequent_words,
    marked,
    unmarked,
    word_counts,
)
from speechnlp_tl.embeddings.normalisation import unit_rows
from speechnlp_tl.embeddings.training import TrainingSettings, train_model
from speechnlp_tl.embeddings.vectors import WordVectors
from speechnlp_tl.embeddings.word_alignment import Sentences, align_words
from speechnlp_tl.errors import InputError, Problem

Merge = Literal["length-ratio", "shuffle"]


def train_jointly(
    corpora: Sequence[MatchedSentences],
    settings: TrainingSettings | None = None,
    merge: Merge = "length-ratio",
    with_contexts: bool = True,
) -> dict[str, WordVectors]:
    """Train on every sentence merged with its translations; words of different languages never count as one.

    Args:
        corpora: matched sentences; a language may be in several.
        settings: of the training. The window counts words of all languages of the merged sentence.
        merge: `length-ratio` puts words at like places of their sentences beside each other; `shuffle` mixes all words
            of a sentence and its translations, anew in each epoch.
        with_contexts: a word's vector is the sum of its two unit vectors in the model, as a word and as a context of
            others. Words that translate each other are contexts of each other, so the sums are nearer. Not for
            fastText.

    Returns:
        Language -> its vectors, most frequent words first.

    Raises:
        InputError: as `train_vectors`; no corpus; a language whose words are all too rare.
    """
    settings = settings or TrainingSettings()
    model = train_model(_Merged(corpora, merge, settings.seed), settings)
    matrix = model.wv.vectors
    if with_contexts and settings.method != "fasttext":
        matrix = unit_rows(matrix) + unit_rows(model.syn1neg)
    rows: dict[str, list[int]] = {language: [] for corpus in corpora for language in corpus.languages}
    words: dict[str, list[str]] = {language: [] for language in rows}
    for row, word in enumerate(model.wv.index_to_key):
        language, plain = unmarked(word)
        rows[language].append(row)
        words[language].append(plain)
    _refuse_empty(words, settings.min_count)
    counts = model.wv.expandos["count"]
    return {
        language: WordVectors(words[language], np.asarray(matrix[places], np.float32), language, counts[places])
        for language, places in rows.items()
    }


def sentence_id_vectors(
    corpora: Sequence[MatchedSentences], dimension: int = 300, min_count: int = 5, seed: int = 0
) -> dict[str, WordVectors]:
    """Words by the sentences they stand in, whatever the language: truncated SVD of words x sentences.

    A cell is 1/sqrt(occurrences of the word in different sentences x different words of the sentence), 0 where the word
    is not in the sentence. Returns and errors as `train_jointly`.
    """
    from scipy import sparse
    from sklearn.utils.extmath import randomized_svd

    counts = word_counts(corpora)
    words = {language: frequent_words(counter, min_count) for language, counter in counts.items()}
    _refuse_empty(words, min_count)
    first = dict(zip(words, np.cumsum([0, *map(len, words.values())]).tolist(), strict=False))
    row_of = {
        language: {word: first[language] + row for row, word in enumerate(chosen)} for language, chosen in words.items()
    }
    columns: list[list[int]] = []
    for corpus in corpora:
        known = [(row_of[language], sentences) for language, sentences in corpus.sentences.items()]
        for number in range(len(corpus)):
            columns.append(sorted({rows[word] for rows, side in known for word in side[number] if word in rows}))
    ends = np.cumsum([0, *map(len, columns)])
    places = np.fromiter((row for column in columns for row in column), np.int64, int(ends[-1]))
    shape = (sum(map(len, words.values())), len(columns))
    cells = sparse.csc_matrix((np.ones(len(places), np.float32), places, ends), shape=shape)
    by_word, by_sentence = (np.asarray(cells.sum(axis=axis)).ravel() for axis in (1, 0))
    weighted = sparse.diags(by_word**-0.5) @ cells @ sparse.diags(np.maximum(by_sentence, 1) ** -0.5)
    rank = min(dimension, *shape)
    vectors = randomized_svd(weighted.tocsr(), rank, n_iter=3, random_state=seed)[0].astype(np.float32)
    return {
        language: WordVectors(
            chosen,
            vectors[first[language] : first[language] + len(chosen)],
            language,
            np.array([counts[language][word] for word in chosen], np.int64),
        )
        for language, chosen in words.items()
    }


def random_vectors(
    corpora: Sequence[MatchedSentences], dimension: int = 300, min_count: int = 5, seed: int = 0
) -> dict[str, WordVectors]:
    """A random direction for each frequent word of each language; nearly at right angles where the dimension is large.

    Returns and errors as `train_jointly`.
    """
    generator = np.random.default_rng(seed)
    counts = word_counts(corpora)
    words = {language: frequent_words(counts[language], min_count) for language in counts}
    _refuse_empty(words, min_count)
    return {
        language: WordVectors(
            chosen,
            unit_rows(generator.standard_normal((len(chosen), dimension), np.float32)),
            language,
            np.array([counts[language][word] for word in chosen], np.int64),
        )
        for language, chosen in words.items()
    }


Links = Mapping[tuple[str, str], tuple[Any, list[NDArray[np.int64]]]]
"""Two languages -> (words, words) sparse counts of alignment links, and how often each word of either stands there."""


def translation_links(corpora: Sequence[MatchedSentences], words: Mapping[str, Mapping[str, int]]) -> Links:
    """How often words are linked with each other, of every two languages that a corpus has both of.

    Args:
        corpora: matched sentences.
        words: language -> word -> number, the words that are looked at.
    """
    found = {}
    for first, second in combinations(words, 2):
        sides = [corpus.sentences for corpus in corpora if first in corpus.sentences and second in corpus.sentences]
        if sides:
            found[first, second] = _link_counts(sides, [(name, words[name]) for name in (first, second)])
    return found


def fold_in_translations(
    vectors: Mapping[str, WordVectors],
    corpora: Sequence[MatchedSentences],
    weight: float = 2.0,
    links: Links | None = None,
) -> dict[str, WordVectors]:
    """Each word's unit vector plus those of the words that it is aligned with; unit rows.

    A word that stands c(w) times and is aligned n(w, t) times with a word t of another language moves by
    weight * sum over t of n(w, t)/c(w) * v(t), with c and n from the corpora of that pair of languages. The links are
    those of `word_alignment.align_words`, so nothing but the sentences is used.

    Args:
        vectors: language -> vectors in one space, of any origin (`train_jointly`, `random_vectors`, mapped ones).
        corpora: matched sentences of these languages; others in them are not looked at.
        weight: of the translations, the word itself having 1.
        links: what `translation_links` gives for these corpora and words, where that is known already.

    Raises:
        InputError: no corpus has two of the languages, or vectors of different dimensions.
    """
    units = {language: unit_rows(found.matrix) for language, found in vectors.items()}
    if len({rows.shape[1] for rows in units.values()}) > 1:
        shown = ", ".join(f"{language} {rows.shape[1]}" for language, rows in units.items())
        raise InputError(Problem(f"vectors have different dimensions: {shown}"))
    moved = {language: rows.copy() for language, rows in units.items()}
    if links is None:
        links = translation_links(corpora, {language: found.index for language, found in vectors.items()})
    if not links:
        remedy = "give sentences in two of them"
        raise InputError(Problem(f"no matched sentences in two of {', '.join(vectors)}", remedy=remedy))
    for (first, second), (linked, counts) in links.items():
        moved[first] += weight * _shares(linked, counts[0]) @ units[second]
        moved[second] += weight * _shares(linked.T.tocsr(), counts[1]) @ units[first]
    return {
        language: WordVectors(found.words, unit_rows(moved[language]), found.name, found.counts)
        for language, found in vectors.items()
    }


def _shares(links: Any, counts: NDArray[np.int64]) -> Any:
    """Rows of link counts divided by how often each word stands in the sentences."""
    from scipy import sparse

    return (sparse.diags(1 / np.maximum(counts, 1)) @ links).astype(np.float32)


def _link_counts(
    sides: Sequence[Mapping[str, Sequence[Sequence[str]]]], languages: Sequence[tuple[str, Mapping[str, int]]]
) -> tuple[Any, list[NDArray[np.int64]]]:
    """(words, words) sparse counts of alignment links, and how often each word of either language stands there."""
    from scipy import sparse

    source, target = (
        Sentences.of(
            [[index[word] for word in sentence if word in index] for side in sides for sentence in side[language]],
            len(index),
        )
        for language, index in languages
    )
    links = align_words(source, target)
    cells = (source.words[links[:, 0]], target.words[links[:, 1]])
    counts = sparse.csr_matrix((np.ones(len(links), np.float32), cells), shape=(source.vocabulary, target.vocabulary))
    return counts, [np.bincount(side.words, minlength=side.vocabulary) for side in (source, target)]


def _refuse_empty(words: Mapping[str, Sequence[str]], min_count: int) -> None:
    if not words:
        raise InputError(Problem("there are no matched sentences", remedy="give at least one corpus"))
    problems = [
        Problem(f"no word of '{language}' occurs {min_count} times", remedy="give more text or a smaller min_count")
        for language, chosen in words.items()
        if not len(chosen)
    ]
    if problems:
        raise InputError(problems)


class _Merged:
    """Every sentence merged with its translations, as often as it is asked for; shuffled anew each time."""

    def __init__(self, corpora: Sequence[MatchedSentences], merge: Merge, seed: int) -> None:
        if not corpora:
            _refuse_empty({}, 0)
        self._corpora, self._merge, self._seed, self._passes = corpora, merge, seed, 0
        self._marked: dict[tuple[str, str], str] = {}

    def __iter__(self) -> Iterator[list[str]]:
        generator = np.random.default_rng([self._seed, self._passes])
        self._passes += 1
        for corpus in self._corpora:
            for sentences in zip(*corpus.sentences.values(), strict=True):
                words = [
                    self._mark(language, word)
                    for language, sentence in zip(corpus.languages, sentences, strict=True)
                    for word in sentence
                ]
                if self._merge == "shuffle":
                    words = [words[place] for place in generator.permutation(len(words))]
                else:
                    keys = [(i + 0.5) / len(sentence) for sentence in sentences for i in range(len(sentence))]
                    words = [words[place] for place in sorted(range(len(words)), key=keys.__getitem__)]
                yield words

    def _mark(self, language: str, word: str) -> str:
        key = (language, word)
        if key not in self._marked:  # one string for all its occurrences
            self._marked[key] = marked(language, word)
        return self._marked[key]
