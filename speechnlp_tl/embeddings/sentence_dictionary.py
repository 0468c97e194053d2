"""A word dictionary from sentences and their translations, for two languages that have none.

It is as good as the word alignment behind it, and knows a word in the meanings of these sentences only.
"""

from __future__ import annotations

from collections import Counter

from speechnlp_tl.embeddings.dictionary import WordDictionary
from speechnlp_tl.embeddings.matched_sentences import MatchedSentences
from speechnlp_tl.embeddings.word_alignment import Sentences, align_words
from speechnlp_tl.errors import InputError

FEWEST_LINKS = 5


def dictionary_from_sentences(matched: MatchedSentences, fewest: int = FEWEST_LINKS) -> WordDictionary:
    """The words of two languages that are each other's most frequent link (`word_alignment`), most frequent first.

    Args:
        matched: of two languages; the first is the source.
        fewest: links of a pair of words that is taken.

    Raises:
        InputError: other than two languages.
    """
    if len(matched.languages) != 2:
        raise InputError(f"a dictionary is of two languages, not of {', '.join(matched.languages)}")
    words, numbered = [], []
    for side in matched.sentences.values():
        numbers = {word: number for number, word in enumerate(sorted({word for sentence in side for word in sentence}))}
        words.append(list(numbers))
        numbered.append(Sentences.of([[numbers[word] for word in sentence] for sentence in side], len(numbers)))
    links = align_words(numbered[0], numbered[1])
    pairs = zip(numbered[0].words[links[:, 0]].tolist(), numbered[1].words[links[:, 1]].tolist(), strict=True)
    counts = Counter(pairs)
    ahead: dict[int, int] = {}
    back: dict[int, int] = {}
    for (left, right), _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        ahead.setdefault(left, right)
        back.setdefault(right, left)
    mutual = [(left, right) for left, right in ahead.items() if back[right] == left and counts[left, right] >= fewest]
    mutual.sort(key=lambda pair: (-counts[pair], pair[0]))
    return WordDictionary([(words[0][left], words[1][right]) for left, right in mutual], "sentences")
