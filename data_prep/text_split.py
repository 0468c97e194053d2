"""A split of documents that copies of one document cannot cross."""

from __future__ import annotations

import hashlib
import re

TEST_SHARE = 0.2


def split_of(text: str, test_share: float = TEST_SHARE) -> str:
    """`test` for about `test_share` of all texts, else `train`, by the SHA-256 of the text's words.

    So a text keeps its side whatever else is in the corpus, and copies that differ in case, spaces or punctuation,
    in one domain or several, stand on one side.
    """
    words = " ".join(re.findall(r"\w+", text.lower()))
    number = int.from_bytes(hashlib.sha256(words.encode("utf-8")).digest()[:8], "big")
    return "test" if number < test_share * 2**64 else "train"
