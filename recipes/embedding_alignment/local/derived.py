"""Dictionaries of pairs for which none is published: words of the Bible that most often stand for each other.

They are only as good as the word alignment, and the text that they are made from is text that vectors are trained on:
numbers of such pairs are not to be compared with those of published dictionaries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from settings import ends

from speechnlp_tl.atomic import write_text
from speechnlp_tl.embeddings.matched_sentences import MatchedSentences, read_matched_sentences
from speechnlp_tl.embeddings.word_alignment import Sentences, align_words

FEWEST = 5
"""Links of a pair of words."""
WORDS = 4000
EACH = 4
"""Of as many words of a derived dictionary, one is for the test."""


def derive(data: Path, pairs: list[str]) -> Iterator[str]:
    """Write `dictionaries/derived/<pair>.{train,test}.tsv`; where a published test exists only the training one."""
    for pair in pairs:
        entries = translations(read_matched_sentences(data / "text" / "bible" / pair, ends(pair)))[:WORDS]
        tests = [
            path for shelf in ("xling", "muse") for path in (data / "dictionaries" / shelf).glob(f"{pair}.test.tsv")
        ]
        parts = {"train": entries}
        if not tests:
            parts = {
                "test": entries[EACH - 1 :: EACH],
                "train": [entry for place, entry in enumerate(entries) if place % EACH != EACH - 1],
            }
        for part, lines in parts.items():
            path = data / "dictionaries" / "derived" / f"{pair}.{part}.tsv"
            write_text(path, "".join(f"{one}\t{other}\n" for one, other in lines))
        yield f"{pair}: a dictionary of {len(entries)} words derived from the Bible"


def translations(matched: MatchedSentences) -> list[tuple[str, str]]:
    """(word, translation), the most frequent word first, of words that are each other's most frequent link."""
    one, other = matched.sentences.values()
    index = [
        {word: number for number, word in enumerate(sorted({w for s in side for w in s}))} for side in (one, other)
    ]
    words = [list(each) for each in index]
    numbered = [
        Sentences.of([[numbers[word] for word in sentence] for sentence in side], len(numbers))
        for side, numbers in zip((one, other), index, strict=True)
    ]
    links = align_words(numbered[0], numbered[1])
    pairs = zip(numbered[0].words[links[:, 0]].tolist(), numbered[1].words[links[:, 1]].tolist(), strict=True)
    counts = Counter(pairs)
    ahead: dict[int, tuple[int, int]] = {}
    back: dict[int, tuple[int, int]] = {}
    for (left, right), count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        ahead.setdefault(left, (right, count))
        back.setdefault(right, (left, count))
    mutual = [
        (count, left, right) for left, (right, count) in ahead.items() if back[right][0] == left and count >= FEWEST
    ]
    return [
        (words[0][left], words[1][right]) for _, left, right in sorted(mutual, key=lambda each: (-each[0], each[1]))
    ]
