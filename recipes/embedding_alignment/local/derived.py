"""Dictionaries of pairs for which none is published: words of the Bible that most often stand for each other.

They are only as good as the word alignment, and the text that they are made from is text that vectors are trained on:
numbers of such pairs are not to be compared with those of published dictionaries.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from settings import ends

from speechnlp_tl.atomic import write_text
from speechnlp_tl.embeddings.matched_sentences import read_matched_sentences
from speechnlp_tl.embeddings.sentence_dictionary import dictionary_from_sentences

WORDS = 4000
EACH = 4
"""Of as many words of a derived dictionary, one is for the test."""


def derive(data: Path, pairs: list[str]) -> Iterator[str]:
    """Write `dictionaries/derived/<pair>.{train,test}.tsv`; where a published test exists only the training one."""
    for pair in pairs:
        matched = read_matched_sentences(data / "text" / "bible" / pair, ends(pair))
        entries = dictionary_from_sentences(matched).entries[:WORDS]
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
