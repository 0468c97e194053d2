"""Made languages for translation: sentences that have one translation each, so that a score of 100 can be reached.

    python -m data_prep.made_translations --out data/made_translations [--leaky]

Words and orders are those of `made_languages`, with one topic and one word of each kind, so that
nothing but its kind decides where a word goes.
The sets are those of `translation_halves`, without a sentence that stands in two of them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import product
from pathlib import Path

from data_prep.command import corpus_parser, run
from data_prep.made_languages import LANGUAGES, in_words, lexicon
from data_prep.translation_halves import write_halves
from speechnlp_tl.errors import InputError

KINDS = {"subject": 6, "verb": 6, "object": 8, "how": 5, "common": 6}
"""Kind of word -> how many of it there are."""
HELD_OUT = {"dev": 100, "test": 200}


def prepare(
    out: Path, sentences: int = 3000, leaky: bool = False, seed: int = 0, cuts: Mapping[str, int] | None = None
) -> dict[str, Path]:
    """Write every set; `sentences` is for both pairs together, `cuts` as `write_halves` takes them.

    Raises:
        InputError: more sentences than there are to say, or `out` holds something else.
    """
    sayable = list(product(*map(range, KINDS.values())))
    wanted = sentences + sum(HELD_OUT.values())
    if not 2 <= sentences <= len(sayable) - sum(HELD_OUT.values()):
        raise InputError(f"there are {len(sayable)} sentences to say, {wanted} were asked for")
    said = random.Random(f"{seed} translations").sample(sayable, wanted)
    words = [lexicon(number, seed) for number in range(len(LANGUAGES))]
    concepts = [
        [(-1 if kind == "common" else 0, kind, place) for kind, place in zip(KINDS, sentence, strict=True)]
        for sentence in said
    ]
    lines = {
        name: [in_words(sentence, number, words[number]) for sentence in concepts]
        for number, name in enumerate(LANGUAGES)
    }
    held_out, first = {}, sentences
    for name, count in HELD_OUT.items():
        held_out[name] = {language: side[first : first + count] for language, side in lines.items()}
        first += count
    train = {language: side[:sentences] for language, side in lines.items()}
    left, hub, right = LANGUAGES
    return write_halves(out, "made-translations", (left, hub, right), train, held_out, leaky, seed, cuts)


def main() -> None:
    """The command line."""
    parser = corpus_parser(__doc__, corpus_dir=False)
    parser.add_argument("--sentences", type=int, default=3000, help="of both pairs together")
    parser.add_argument("--leaky", action="store_true", help="give both pairs the same sentences")
    arguments = parser.parse_args()
    run(lambda: prepare(arguments.out, arguments.sentences, arguments.leaky))


if __name__ == "__main__":
    main()
