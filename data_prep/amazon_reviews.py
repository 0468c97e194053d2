"""Amazon reviews of four kinds of products as text, from the raw files of Blitzer et al. 2007.

    python -m data_prep.amazon_reviews --out data/amazon-text [--corpus-dir FOLDER_OR_ARCHIVE]

Writes `train.jsonl` and `test.jsonl`: `text` (title and review, as in the n-grams that upstream counts), `label`
(`positive` for 4 and 5 stars, `negative` for 1 and 2) and `domain` (books, dvd, electronics, kitchen), in the order of
the corpus. Upstream has no split; here about a fifth of the texts is `test`, and copies of one review, of which there
are about 140, stand on one side (`data_prep.text_split`).

Upstream's files look like XML and are not: `&`, `<` and stray control characters stand in the text as they are. They
are parsed as text between known tags; entities stay what they are, and nothing in them is resolved.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from data_prep.checksums import find_listed, open_listed
from data_prep.command import corpus_parser, run
from data_prep.fetch import CORPORA, fetch
from data_prep.output import output_folder
from data_prep.text_split import TEST_SHARE, split_of
from speechnlp_tl.errors import InputError, Problem

NAME = "amazon-text"
DOMAINS = ("books", "dvd", "electronics", "kitchen")
LABELS = ("negative", "positive")
SPLITS = ("train", "test")
_MOST_LISTED = 20


def prepare(corpus: Path, out: Path) -> dict[str, Path]:
    """Write both splits.

    Args:
        corpus: the folder that holds `<domain>/<label>.review`, as it is or compressed with xz.
        out: where to; a folder that this function wrote earlier is replaced.

    Returns:
        Split -> its file.

    Raises:
        InputError: a file that is missing, or reviews without one rating and one text, or with a rating that
            contradicts the name of the file; or `out` holds something else.
    """
    problems: list[Problem] = []
    lines: dict[str, list[str]] = {split: [] for split in SPLITS}
    counts: Counter[tuple[str, str, str]] = Counter()
    for domain in DOMAINS:
        for label in LABELS:
            for review in read_reviews(corpus, f"{domain}/{label}.review", label, problems):
                split = split_of(review.body)
                record = {"text": review.text, "label": label, "domain": domain}
                lines[split].append(json.dumps(record, ensure_ascii=False) + "\n")
                counts[split, domain, label] += 1
    if problems:
        raise InputError(problems)
    summary = {
        f"{split}/{domain}": {label: counts[split, domain, label] for label in LABELS}
        for split in SPLITS
        for domain in DOMAINS
    }
    with output_folder(out, NAME, {"test_share": TEST_SHARE}, summary) as folder:
        for split in SPLITS:
            (folder / f"{split}.jsonl").write_text("".join(lines[split]), encoding="utf-8")
    return {split: Path(out) / f"{split}.jsonl" for split in SPLITS}


@dataclass(frozen=True)
class Review:
    """What one person wrote."""

    title: str
    body: str

    @property
    def text(self) -> str:
        return f"{self.title}\n{self.body}" if self.title else self.body


def read_reviews(corpus: Path, name: str, label: str, problems: list[Problem]) -> list[Review]:
    """The reviews of one file, in its order; what is wrong is added to `problems`."""
    place = corpus / name
    if find_listed(corpus, name) is None:
        problems.append(Problem("file is missing", file=place))
        return []
    try:
        with open_listed(corpus, name) as file:
            # one encoding for all files; the few bytes that are not UTF-8 in some copies are no reason to stop
            content = file.read().decode("utf-8", errors="replace").replace("\r\n", "\n")
    except OSError as error:
        problems.append(Problem(f"cannot be read: {error.strerror or error}", file=place))
        return []
    reviews, found = [], []
    for number, start in enumerate(re.finditer(r"^<review>$", content, flags=re.MULTILINE), start=1):
        end = content.find("\n</review>", start.end())
        try:
            reviews.append(_review(content[start.end() : end + 1] if end >= 0 else "", label))
        except ValueError as error:
            line = content.count("\n", 0, start.start()) + 1
            found.append(Problem(f"review {number} {error}", file=place, line=line, remedy="get the corpus again"))
    if not reviews and not found:
        found.append(Problem("holds no reviews", file=place, remedy="get the corpus again"))
    problems += found[:_MOST_LISTED]
    return reviews


def _review(review: str, label: str) -> Review:
    """What stands between <review> and </review>; ValueError says what is wrong."""
    ratings, texts = _between(review, "rating"), _between(review, "review_text")
    if len(ratings) != 1 or len(texts) != 1:
        raise ValueError(f"has {len(ratings)} ratings and {len(texts)} texts, not one of each")
    if not texts[0]:
        raise ValueError("has an empty text")
    try:
        stars = float(ratings[0])
    except ValueError:
        raise ValueError(f"has the rating '{ratings[0][:20]}'") from None
    if not (stars > 3 if label == "positive" else stars < 3):
        raise ValueError(f"has {stars:g} stars and stands among the {label} ones")
    return Review(" ".join(" ".join(_between(review, "title")).split()), texts[0])


def _between(review: str, tag: str) -> list[str]:
    return [found.strip() for found in re.findall(rf"^<{tag}>$(.*?)^</{tag}>$", review, flags=re.MULTILINE | re.DOTALL)]


def main() -> None:
    """The command line."""
    arguments = corpus_parser(__doc__).parse_args()
    run(lambda: prepare(fetch(CORPORA[NAME], arguments.corpus_dir), arguments.out))


if __name__ == "__main__":
    main()
