"""Made reviews of made products, from a seeded grammar: what people say of books is not what they say of kitchens.

    python -m data_prep.made_reviews --out data/made_reviews

Layout as for `amazon`, and the texts of all products in `train.jsonl` and `test.jsonl`. Some opinion words are used of
everything, the others of one kind of product only; the same word may be praise here and blame there (a thriller may be
*unpredictable*, a toaster had better not). Half of the reviews are positive. The same arguments give the same bytes.
Numbers measured on made text say that a program works, not how well.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np

from data_prep.amazon import LABELS, SPLITS, VOCABULARY
from data_prep.command import corpus_parser, run
from data_prep.output import output_folder
from speechnlp_tl.atomic import write_text
from speechnlp_tl.errors import InputError

COMMON = {
    "positive": ["great", "excellent", "good", "recommended", "enjoyed", "best"],
    "negative": ["bad", "terrible", "disappointing", "waste", "poor", "worst"],
}
NEUTRAL = [
    "it",
    "this",
    "is",
    "was",
    "the",
    "and",
    "a",
    "very",
    "i",
    "my",
    "we",
    "have",
    "for",
    "with",
    "really",
    "quite",
    "bought",
    "again",
    "after",
    "one",
]
PRODUCTS: dict[str, dict[str, list[str]]] = {
    "books": {
        "things": ["book", "author", "story", "chapter", "plot", "novel", "pages", "reader", "writing", "characters"],
        "positive": [
            "gripping",
            "moving",
            "insightful",
            "unpredictable",
            "clever",
            "touching",
            "vivid",
            "witty",
            "long",
            "rich",
        ],
        "negative": [
            "boring",
            "predictable",
            "shallow",
            "preachy",
            "tedious",
            "confusing",
            "dull",
            "dry",
            "thin",
            "repetitive",
        ],
    },
    "kitchen": {
        "things": ["pan", "oven", "knife", "blender", "handle", "lid", "coffee", "blade", "toaster", "counter"],
        "positive": [
            "sturdy",
            "sharp",
            "easy",
            "quiet",
            "reliable",
            "compact",
            "dishwasher-safe",
            "solid",
            "quick",
            "light",
        ],
        "negative": [
            "leaks",
            "rusted",
            "broke",
            "flimsy",
            "burnt",
            "loud",
            "unpredictable",
            "dull",
            "scratched",
            "melted",
        ],
    },
    "music": {
        "things": ["album", "song", "voice", "band", "guitar", "track", "lyrics", "record", "melody", "sound"],
        "positive": [
            "catchy",
            "soulful",
            "melodic",
            "raw",
            "haunting",
            "loud",
            "energetic",
            "fresh",
            "tight",
            "moving",
        ],
        "negative": [
            "off-key",
            "overproduced",
            "bland",
            "noisy",
            "generic",
            "weak",
            "muffled",
            "light",
            "repetitive",
            "quiet",
        ],
    },
}


def make_review(product: str, label: str, generator: random.Random) -> list[str]:
    """The words of one review: mostly neutral ones, a few of its own opinion, now and then one of the other."""
    own, other = PRODUCTS[product], LABELS[1 - LABELS.index(label)]
    words = []
    for _ in range(generator.randint(15, 40)):
        draw = generator.random()
        if draw < 0.06:
            words.append(generator.choice(COMMON[label]))
        elif draw < 0.18:
            words.append(generator.choice(own[label]))
        elif draw < 0.22:
            words.append(generator.choice(generator.choice([COMMON, own])[other]))
        elif draw < 0.5:
            words.append(generator.choice(own["things"]))
        else:
            words.append(generator.choice(NEUTRAL))
    return words


def prepare(out: Path, reviews: int = 400, seed: int = 0) -> dict[str, Path]:
    """Write each product's splits, `reviews` in each, and the texts.

    Returns:
        Product -> its folder.

    Raises:
        InputError: fewer than 10 reviews, or `out` holds something else.
    """
    from scipy import sparse

    if reviews < 10:
        raise InputError(f"a split needs at least 10 reviews, not {reviews}")
    words = {word for parts in PRODUCTS.values() for group in parts.values() for word in group}
    vocabulary = sorted(words | {word for group in COMMON.values() for word in group} | set(NEUTRAL))
    number = {word: index for index, word in enumerate(vocabulary)}
    summary = {f"{product}/{split}": {"reviews": reviews} for product in PRODUCTS for split in SPLITS}
    texts: dict[str, list[str]] = {split: [] for split in SPLITS}
    with output_folder(out, "made_reviews", {"reviews": reviews, "seed": seed}, summary) as folder:
        for product in PRODUCTS:
            (folder / product).mkdir()
            for split in SPLITS:
                generator = random.Random(f"{seed} {product} {split}")
                labels = [LABELS[index % 2] for index in range(reviews)]
                generator.shuffle(labels)
                made = [make_review(product, label, generator) for label in labels]
                texts[split] += [_as_json(words, label, product) for words, label in zip(made, labels, strict=True)]
                matrix = np.zeros((reviews, len(vocabulary)), np.float32)
                for row, counts in enumerate(map(Counter, made)):
                    matrix[row, [number[word] for word in counts]] = list(counts.values())
                sparse.save_npz(folder / product / f"{split}.npz", sparse.csr_matrix(matrix))
                write_text(folder / product / f"{split}.labels.txt", "".join(f"{label}\n" for label in labels))
        for split in SPLITS:
            write_text(folder / f"{split}.jsonl", "".join(texts[split]))
        write_text(folder / VOCABULARY, "".join(f"{word}\n" for word in vocabulary))
    return {product: Path(out) / product for product in PRODUCTS}


def _as_json(words: list[str], label: str, product: str) -> str:
    return json.dumps({"text": " ".join(words), "label": label, "domain": product}) + "\n"


def main() -> None:
    """The command line."""
    parser = corpus_parser(__doc__, corpus_dir=False)
    parser.add_argument("--reviews", type=int, default=400, help="of each product and split")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    run(lambda: prepare(arguments.out, arguments.reviews, arguments.seed))


if __name__ == "__main__":
    main()
