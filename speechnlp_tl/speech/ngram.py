"""N-gram language models with back-off: estimated from sentences, read from and written to ARPA files.

How a model becomes a decoding graph is told in `graph`. All probabilities here are natural logarithms; ARPA files hold
base 10, converted at the border.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from speechnlp_tl.atomic import write_text
from speechnlp_tl.errors import InputError, Problem

START = "<s>"
END = "</s>"
UNKNOWN = "<unk>"

Ngram = tuple[str, ...]
Smoothing = Literal["kneser-ney", "witten-bell", "absolute"]

_LOG_10 = math.log(10.0)
# What ARPA files write for log10 of zero: the probability of predicting <s>, which never happens.
_ARPA_ZERO = -99.0


@dataclass(frozen=True)
class NgramModel:
    """A back-off model: p(w | h) is explicit, or else backoff(h) p(w | h without its oldest word) (Katz, 1987).

    Args:
        order: the longest n-gram, at least 1.
        log_probs: n-gram (history and word) -> log p(word | history); the unigrams are the vocabulary.
        backoffs: history -> log back-off weight; a history that is absent has weight 1.
    """

    order: int
    log_probs: dict[Ngram, float]
    backoffs: dict[Ngram, float]

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word that can be predicted, sorted, without the sentence end; `<unk>` where the model has it."""
        return tuple(sorted(gram[0] for gram in self.log_probs if len(gram) == 1 and gram[0] not in (START, END)))

    def score(self, history: Sequence[str], word: str) -> float:
        """log p(word | history); the history is cut to the model's order. -inf for a word the model cannot predict."""
        gram = (*history, word)[-self.order :]
        weight = 0.0
        while gram not in self.log_probs:
            if len(gram) == 1:
                return -math.inf
            weight += self.backoffs.get(gram[:-1], 0.0)
            gram = gram[1:]
        return weight + self.log_probs[gram]

    def log_prob(self, words: Sequence[str]) -> float:
        """log p(words and the sentence end | sentence start).

        A word outside the vocabulary counts as `<unk>`; where the model has no `<unk>` the result is -inf.
        """
        sentence = (START, *(self._known(word) for word in words), END)
        return sum(self.score(sentence[:position], sentence[position]) for position in range(1, len(sentence)))

    def perplexity(self, sentences: Iterable[Sequence[str]]) -> float:
        """exp of the negative mean log probability per word, sentence ends counted as words; inf for unknown words.

        Raises:
            InputError: there is no sentence.
        """
        total, count = 0.0, 0
        for sentence in sentences:
            total += self.log_prob(sentence)
            count += len(sentence) + 1
        if count == 0:
            raise InputError(Problem("no sentence to measure the language model on"))
        return math.inf if math.isinf(total) else math.exp(-total / count)

    def _known(self, word: str) -> str:
        return word if (word,) in self.log_probs else UNKNOWN

    def write_arpa(self, path: str | Path) -> None:
        """Write the model in ARPA format, sorted; `read_arpa` gives it back (to nine digits)."""
        write_text(path, format_arpa(self))


def estimate(
    sentences: Iterable[Sequence[str]],
    order: int = 2,
    vocabulary: Iterable[str] | None = None,
    smoothing: Smoothing = "kneser-ney",
) -> NgramModel:
    """Estimate an interpolated n-gram model. Every word of the vocabulary gets a probability above zero.

    `kneser-ney`: interpolated modified Kneser-Ney (Chen and Goodman, 1999, equations 26 to 28), three discounts per
    order from the counts of counts n1, n2, ... Small grammars lack those: an order without n-grams seen exactly once,
    twice, three and four times, or whose discounts leave the range (0, count), has one discount instead,
    n1 / (n1 + 2 n2), or 1/2 where that is undefined too (absolute discounting, Ney, Essen and Kneser, 1994).
    `absolute`: that single discount everywhere, with plain counts in the lower orders.
    `witten-bell`: Witten and Bell (1991), method C, interpolated; it has nothing to estimate from counts of counts,
    hence is a steady choice for a few dozen sentences.
    The unigrams are interpolated with the uniform distribution.

    Args:
        sentences: words of each sentence, without boundary symbols.
        order: the longest n-gram.
        vocabulary: the words that can be predicted; other words of the sentences become `<unk>`. All words of the
            sentences when absent.

    Raises:
        InputError: order below 1, unknown smoothing, an empty vocabulary, or a boundary symbol among the words.
    """
    corpus = [tuple(sentence) for sentence in sentences]
    words = set(vocabulary) if vocabulary is not None else {word for sentence in corpus for word in sentence}
    problems = _argument_problems(order, smoothing, words.union(*corpus))
    if not words:
        problems.append(Problem("a language model needs at least one word", remedy="give sentences or a vocabulary"))
    if problems:
        raise InputError(problems)
    if any(word not in words for sentence in corpus for word in sentence):
        corpus = [tuple(word if word in words else UNKNOWN for word in sentence) for sentence in corpus]
        words.add(UNKNOWN)
    plain = _counts(corpus, order)
    counts = _continuation_counts(plain) if smoothing == "kneser-ney" else plain
    return _interpolate(counts, sorted(words | {END}), smoothing)


def _argument_problems(order: int, smoothing: str, words: Iterable[str]) -> list[Problem]:
    problems = []
    if order < 1:
        problems.append(Problem(f"order {order} of a language model", remedy="take 1 (unigrams) or more"))
    if smoothing not in get_args(Smoothing):
        problems.append(Problem(f"unknown smoothing '{smoothing}'", remedy=f"take one of {get_args(Smoothing)}"))
    for word in sorted(words):
        if word in (START, END) or len(word.split()) != 1:
            problems.append(Problem(f"'{word}' cannot be a word of a language model", remedy="remove it from the text"))
    return problems


def _counts(corpus: Iterable[Ngram], order: int) -> list[Counter[Ngram]]:
    """Counts of the n-grams of each length 1..order. Sentences start with one <s>, which is never predicted."""
    counts: list[Counter[Ngram]] = [Counter() for _ in range(order)]
    for sentence in corpus:
        padded = (START, *sentence, END)
        for end in range(2, len(padded) + 1):
            for length in range(1, min(order, end) + 1):
                counts[length - 1][padded[end - length : end]] += 1
    return counts


def _continuation_counts(plain: list[Counter[Ngram]]) -> list[Counter[Ngram]]:
    """Kneser-Ney's counts: below the highest order, the number of distinct words seen before the n-gram.

    Nothing stands before <s>, so n-grams that begin with it keep their plain count.
    """
    counts: list[Counter[Ngram]] = []
    for lower, higher in itertools.pairwise(plain):
        preceded = Counter(gram[1:] for gram in higher)
        counts.append(Counter({gram: lower[gram] if gram[0] == START else preceded[gram] for gram in lower}))
    return [*counts, plain[-1]]


def _interpolate(counts: list[Counter[Ngram]], predicted: Sequence[str], smoothing: Smoothing) -> NgramModel:
    """p(w|h) = [c(hw) - D(c(hw))]/c(h) + g(h) p(w|h'), from the unigrams up; g(h) is then the back-off weight of h."""
    probability: dict[Ngram, float] = {}
    backoff: dict[Ngram, float] = {}
    for level, grams in enumerate(counts):
        discounts = _discounts(grams, smoothing)
        by_history: dict[Ngram, list[tuple[Ngram, int]]] = defaultdict(list)
        for gram, count in grams.items():
            by_history[gram[:-1]].append((gram, count))
        if level == 0:
            by_history.setdefault((), [])
        for history, followers in by_history.items():
            total = sum(count for _, count in followers)
            if smoothing == "witten-bell":
                freed, total = float(len(followers)), total + len(followers)
            else:
                freed = sum(discounts[min(count, 3)] for _, count in followers)
            weight = freed / total if total else 1.0
            if level == 0:
                probability.update({(word,): weight / len(predicted) for word in predicted})
            for gram, count in followers:
                kept = count - (0.0 if smoothing == "witten-bell" else discounts[min(count, 3)])
                lower = probability[gram] if level == 0 else weight * _probability(gram[1:], probability, backoff)
                probability[gram] = kept / total + lower
            if level > 0:
                backoff[history] = weight
    log_probs = {gram: math.log(value) for gram, value in probability.items()}
    return NgramModel(len(counts), log_probs, {history: math.log(value) for history, value in backoff.items()})


def _probability(gram: Ngram, probability: dict[Ngram, float], backoff: dict[Ngram, float]) -> float:
    weight = 1.0
    while gram not in probability:
        weight *= backoff.get(gram[:-1], 1.0)
        gram = gram[1:]
    return weight * probability[gram]


def _discounts(grams: Counter[Ngram], smoothing: Smoothing) -> tuple[float, float, float, float]:
    """What is taken from an n-gram seen (never,) once, twice, three times or more."""
    seen = Counter(grams.values())
    n1, n2, n3, n4 = (seen[count] for count in (1, 2, 3, 4))
    if smoothing == "kneser-ney" and n1 and n2 and n3 and n4:
        y = n1 / (n1 + 2 * n2)
        modified = (0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
        if all(0 < modified[count] < count for count in (1, 2, 3)):
            return modified
    single = n1 / (n1 + 2 * n2) if n1 and n2 else 0.5
    return (0.0, single, single, single)


def read_arpa(path: str | Path) -> NgramModel:
    """Read an ARPA file.

    Raises:
        InputError: every line that is malformed, counts that disagree with `\\data\\`, words missing from the unigrams.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(Problem(f"is not UTF-8 (byte {error.start})", file=path, remedy="convert it")) from error
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror}", file=path, remedy="check the path")) from error
    reader = _ArpaReader(Path(path))
    for number, line in enumerate(lines, start=1):
        reader.read(number, line.strip())
    return reader.finish()


class _ArpaReader:
    """Takes an ARPA file line by line; collects n-grams and problems."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self.announced: dict[int, int] = {}
        self.found: Counter[int] = Counter()
        self.log_probs: dict[Ngram, float] = {}
        self.backoffs: dict[Ngram, float] = {}
        self.section: int | None = None  # None: before \data\; 0: in its counts; n: in the n-grams; -1: after \end\

    def problem(self, what: str, line: int | None = None) -> None:
        self.problems.append(Problem(what, file=self.path, line=line, remedy="write the model again or mend the file"))

    def read(self, number: int, line: str) -> None:
        if not line or self.section == -1:
            return
        if line == "\\data\\":
            self.section = 0
        elif self.section is None:  # comments may stand before \data\
            return
        elif line == "\\end\\":
            self.section = -1
        elif line.startswith("\\") and line.endswith("-grams:"):
            length = line[1 : -len("-grams:")]
            self.section = int(length) if length.isdigit() and int(length) > 0 else None
            if self.section not in self.announced:
                self.problem(f"section '{line}' is not announced in \\data\\", number)
        elif self.section == 0:
            self._read_count(number, line)
        else:
            self._read_ngram(number, line, self.section)

    def _read_count(self, number: int, line: str) -> None:
        length, _, count = line.removeprefix("ngram ").partition("=")
        if line.startswith("ngram ") and length.strip().isdigit() and count.strip().isdigit():
            self.announced[int(length)] = int(count)
        else:
            self.problem(f"'{line}' is not 'ngram N=COUNT'", number)

    def _read_ngram(self, number: int, line: str, length: int) -> None:
        fields = line.split()
        self.found[length] += 1
        if len(fields) not in (length + 1, length + 2):
            return self.problem(f"is no {length}-gram: probability, {length} words, perhaps a back-off weight", number)
        gram = tuple(fields[1 : length + 1])
        try:
            numbers = [float(field) for field in (fields[0], *fields[length + 1 :])]
        except ValueError:
            return self.problem("the probability or the back-off weight is not a number", number)
        if math.isnan(sum(numbers)) or numbers[0] > 0.0 or math.inf in numbers:
            return self.problem("the base-10 logarithm of a probability is at most 0, and a number", number)
        if gram in self.log_probs:
            return self.problem(f"'{' '.join(gram)}' stands here for the second time", number)
        self.log_probs[gram] = numbers[0] * _LOG_10
        if len(numbers) == 2:
            self.backoffs[gram] = numbers[1] * _LOG_10
        return None

    def finish(self) -> NgramModel:
        if self.section is None and not self.announced:
            self.problem("has no \\data\\ section")
        elif self.section != -1:
            self.problem("ends before \\end\\: it is cut off")
        for length, count in sorted(self.announced.items()):
            if self.found[length] != count:
                self.problem(f"\\data\\ announces {count} {length}-grams, the file has {self.found[length]}")
        order = max(self.announced, default=0)
        if self.announced and sorted(self.announced) != list(range(1, order + 1)):
            self.problem(f"\\data\\ announces the orders {sorted(self.announced)}")
        known = {gram[0] for gram in self.log_probs if len(gram) == 1}
        used = {word for gram in self.log_probs if len(gram) > 1 for word in gram}
        for word in sorted(used - known):
            self.problem(f"'{word}' stands in longer n-grams but not in the unigrams")
        if self.announced and END not in known:
            self.problem(f"the unigrams lack the sentence end {END}")
        if self.problems:
            raise InputError(self.problems)
        for gram in [gram for gram in self.log_probs if gram[-1] == START]:
            del self.log_probs[gram]
        return NgramModel(order, self.log_probs, self.backoffs)


def format_arpa(model: NgramModel) -> str:
    """The ARPA file's text: base-10 logarithms, n-grams sorted, <s> as a unigram that is never predicted."""
    grams: dict[Ngram, float] = {gram: value / _LOG_10 for gram, value in model.log_probs.items()}
    # ARPA hangs back-off weights on n-grams, so a history needs a line even when it is never predicted itself.
    for history in model.backoffs:
        for end in range(1, len(history) + 1):
            grams.setdefault(history[:end], _ARPA_ZERO)
    by_length: list[list[Ngram]] = [[] for _ in range(model.order)]
    for gram in sorted(grams):
        by_length[len(gram) - 1].append(gram)
    lines = ["\\data\\", *(f"ngram {length}={len(found)}" for length, found in enumerate(by_length, start=1))]
    for length, found in enumerate(by_length, start=1):
        lines += ["", f"\\{length}-grams:"]
        for gram in found:
            backoff = f"\t{model.backoffs[gram] / _LOG_10:.9g}" if gram in model.backoffs else ""
            lines.append(f"{grams[gram]:.9g}\t{' '.join(gram)}{backoff}")
    return "\n".join([*lines, "", "\\end\\", ""])
