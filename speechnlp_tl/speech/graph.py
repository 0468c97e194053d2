"""The decoding graph: H o (L o G), from frames (pdf-ids) to words, as a kaldifst transducer.

G is the n-gram model, L the lexicon with optional silence, H the hidden Markov models of the phones. The graph holds,
for every word sequence, exactly the paths of the training graphs with exactly their weights: optional silence before
the first word, between words and after the last, pronunciations of a word weighed alike, self-loops and steps of the
topology. How it is searched is told in `decoder`. The composition follows Mohri, Pereira and Riley (2008).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import kaldifst

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.lexicon import Lexicon, Pronunciation
from speechnlp_tl.speech.ngram import END, START, Ngram, NgramModel
from speechnlp_tl.speech.topology import SILENCE, Topology

# Weights that differ by less than this are one weight to determinisation and minimisation. OpenFst's default, 1e-3,
# would show in the scores.
_DELTA = 1e-6


def word_ids(lexicon: Lexicon) -> dict[str, int]:
    """The output labels of the graph: 1, 2, ... in the order of `lexicon.words`."""
    return {word: index for index, word in enumerate(lexicon.words, start=1)}


def build_graph(
    topology: Topology,
    lexicon: Lexicon,
    ngram: NgramModel,
    lm_scale: float = 1.0,
    insertion_penalty: float = 0.0,
) -> Any:
    """Build the decoding graph, a `kaldifst.StdVectorFst`: input label pdf-id + 1, output label `word_ids(lexicon)`.

    The weight of a path is the negative of: the topology's log_stay, log_leave (once per state), log_silence and
    log_no_silence, log 1/n for a word of n pronunciations, lm_scale times the language model's log probability, minus
    insertion_penalty for each word. A word is in the graph when lexicon and language model both have it; n-grams of
    other words are left out, and their probability is not given to anybody else. Back-off is an epsilon arc, so a path
    may take it where an n-gram is explicit, as in all such graphs. In interpolated uni- and bigram models
    (`ngram.estimate`) that is never better, so scores are exact; from trigrams on a path may gain by forgetting early.

    Raises:
        InputError: lexicon and language model have no word in common, the topology lacks a phone, or lm_scale is
            negative.
    """
    vocabulary = [word for word in ngram.vocabulary if word in lexicon]
    problems = _problems(topology, lexicon, vocabulary, lm_scale)
    if problems:
        raise InputError(problems)
    labels = _Labels(topology, lexicon, vocabulary)
    grammar = _compile(_grammar_arcs(ngram, labels, lm_scale, insertion_penalty))
    dictionary = _compile(_lexicon_arcs(topology, labels))
    kaldifst.arcsort(dictionary, sort_type="olabel")
    phones_to_words = kaldifst.compose(dictionary, grammar)
    kaldifst.determinize_star(phones_to_words, delta=_DELTA)
    kaldifst.minimize_encoded(phones_to_words, delta=_DELTA)
    kaldifst.arcsort(phones_to_words, sort_type="ilabel")
    models = _compile(_model_arcs(topology, labels))
    kaldifst.arcsort(models, sort_type="olabel")
    return kaldifst.compose(models, phones_to_words)


def _problems(topology: Topology, lexicon: Lexicon, vocabulary: list[str], lm_scale: float) -> list[Problem]:
    problems = []
    if not lm_scale >= 0.0:
        problems.append(Problem(f"language model weight {lm_scale} is negative", remedy="take 0 or more"))
    if not vocabulary:
        remedy = "check that both write words alike (capitals, language)"
        problems.append(Problem("the lexicon has no word of the language model", remedy=remedy))
    unknown: dict[str, str] = {}
    known = set(topology.phones)
    for word in vocabulary:
        for variant in lexicon.pronunciations(word):
            unknown.update({phone: word for phone in variant if phone not in known and phone not in unknown})
    for phone, word in sorted(unknown.items()):
        remedy = "decode with the lexicon the model was trained with, or map the phone to one of the model's"
        problems.append(Problem(f"the model has no phone '{phone}' (in '{word}')", remedy=remedy))
    return problems


class _Labels:
    """The integers that stand for phones, words and disambiguation symbols in L and G."""

    def __init__(self, topology: Topology, lexicon: Lexicon, vocabulary: list[str]) -> None:
        ids = word_ids(lexicon)
        self.word = {word: ids[word] for word in vocabulary}
        self.pronunciations = {word: lexicon.pronunciations(word) for word in vocabulary}
        used = {phone for variants in self.pronunciations.values() for variant in variants for phone in variant}
        # arcs of H grow with the square of the phones: those that no word uses are left out
        self.phones = (SILENCE, *(phone for phone in topology.phones if phone in used))
        self.phone = {phone: index for index, phone in enumerate(self.phones, start=1)}
        # "#0", the back-off of G, as a word and as a phone; above it "#1", "#2", ... of the pronunciations
        self.backoff_word = len(ids) + 1
        self.backoff_phone = len(self.phones) + 1
        self.disambiguation = self._disambiguate()

    def _disambiguate(self) -> dict[tuple[str, Pronunciation], int]:
        """(word, pronunciation) -> phone label that ends it, where the phones alone do not tell the word or its end."""
        counts = Counter(variant for variants in self.pronunciations.values() for variant in variants)
        prefixes = {variant[:end] for variant in counts for end in range(1, len(variant))}
        seen: Counter[Pronunciation] = Counter()
        found: dict[tuple[str, Pronunciation], int] = {}
        for word, variants in self.pronunciations.items():
            for variant in variants:
                if counts[variant] > 1 or variant in prefixes:
                    seen[variant] += 1
                    found[word, variant] = self.backoff_phone + seen[variant]
        return found

    @property
    def epsilon_phones(self) -> range:
        """Every phone label that is no sound."""
        return range(self.backoff_phone, max([self.backoff_phone, *self.disambiguation.values()]) + 1)


def _compile(lines: Iterator[str]) -> Any:
    """An FST from OpenFst's text; the first line names the start state."""
    return kaldifst.compile("\n".join(lines) + "\n")


def _arc(source: int, target: int, ilabel: int, olabel: int, log_prob: float) -> str:
    return f"{source} {target} {ilabel} {olabel} {-log_prob:.9g}"


def _grammar_arcs(ngram: NgramModel, labels: _Labels, lm_scale: float, insertion_penalty: float) -> Iterator[str]:
    """G: a state for every history, an arc for every explicit n-gram, a back-off arc "#0" to the shorter history."""
    followers: dict[Ngram, list[tuple[str, float]]] = {(): []}
    for gram, log_prob in ngram.log_probs.items():
        if not math.isinf(log_prob) and (gram[-1] == END or gram[-1] in labels.word) and _usable(gram[:-1], labels):
            followers.setdefault(gram[:-1], []).append((gram[-1], log_prob))
    for history in ngram.backoffs:
        if len(history) < ngram.order and _usable(history, labels):
            followers.setdefault(history, [])

    def longest(history: Ngram) -> Ngram:
        history = history[max(0, len(history) - ngram.order + 1) :]
        while history not in followers:
            history = history[1:]
        return history

    start = longest((START,))
    states = {history: index for index, history in enumerate([start, *(h for h in followers if h != start)])}
    for history, state in states.items():
        for word, log_prob in followers[history]:
            if word == END:
                yield f"{state} {-lm_scale * log_prob:.9g}"
            else:
                target = states[longest((*history, word))]
                label = labels.word[word]
                yield _arc(state, target, label, label, lm_scale * log_prob - insertion_penalty)
        if history:
            weight = lm_scale * ngram.backoffs.get(history, 0.0)
            yield _arc(state, states[longest(history[1:])], labels.backoff_word, 0, weight)


def _usable(history: Ngram, labels: _Labels) -> bool:
    return all(word in labels.word or (word == START and position == 0) for position, word in enumerate(history))


def _lexicon_arcs(topology: Topology, labels: _Labels) -> Iterator[str]:
    """L: from the word boundary (state 0), over optional silence, to the next word (state 1) and back.

    Words stand at their first phone, where composition needs them to follow only the n-grams that exist.
    """
    boundary, word_start, free = 0, 1, 2
    if topology.silence_probability < 1.0:
        yield _arc(boundary, word_start, 0, 0, topology.log_no_silence)
    if topology.silence_probability > 0.0:
        yield _arc(boundary, word_start, labels.phone[SILENCE], 0, topology.log_silence)
    yield f"{word_start} 0"
    yield _arc(word_start, word_start, labels.backoff_phone, labels.backoff_word, 0.0)
    for word, variants in labels.pronunciations.items():
        for variant in variants:
            sounds = [labels.phone[phone] for phone in variant]
            if (word, variant) in labels.disambiguation:
                sounds.append(labels.disambiguation[word, variant])
            state = word_start
            for position, sound in enumerate(sounds):
                target = boundary if position == len(sounds) - 1 else free
                olabel, log_prob = (labels.word[word], -math.log(len(variants))) if position == 0 else (0, 0.0)
                yield _arc(state, target, sound, olabel, log_prob)
                state, free = target, free + (target == free)


def _model_arcs(topology: Topology, labels: _Labels) -> Iterator[str]:
    """H: frames in, phones out. A state's step out is paid on its arc in, so the last state pays as all others do.

    The last states of all phones are joined with the first states of all phones directly, without epsilons: in the
    composed graph every state then has one pdf, whose self-loop it carries.
    """
    start, free = 0, 1
    first = {}
    for phone in labels.phones:
        first[phone] = free
        free += len(topology.pdfs(phone))
    last = {phone: first[phone] + len(topology.pdfs(phone)) - 1 for phone in labels.phones}
    for state in (start, *last.values()):
        for phone in labels.phones:
            yield _arc(state, first[phone], topology.pdfs(phone)[0] + 1, labels.phone[phone], topology.log_leave)
        for label in labels.epsilon_phones:
            # to the state without self-loop: a frame more, before or after the symbol, would be one path twice
            yield _arc(state, start, 0, label, 0.0)
        yield f"{state} 0"
    for phone in labels.phones:
        for offset, pdf in enumerate(topology.pdfs(phone)):
            state = first[phone] + offset
            if topology.self_loop > 0.0:
                yield _arc(state, state, pdf + 1, 0, topology.log_stay)
            if offset:
                yield _arc(state - 1, state, pdf + 1, 0, topology.log_leave)
