"""Tatoeba for zero-shot translation: short sentences as they are written, two languages that English joins.

    python -m data_prep.tatoeba_translation --out data/tatoeba_translation [--left es] [--right de] [--leaky]
                                            [--corpus-dir FOLDER]

Dev and test are English sentences that have both translations, of which the first counts. English sentences with both
that are left are split between the two pairs, so that no English sentence joins them; one with a single translation
goes to its pair whole. No training row has a sentence of dev or test in any language: paraphrases share translations.
The sets are those of `translation_halves`; with `--leaky` both pairs have all that is left.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

from data_prep.command import corpus_parser, run
from data_prep.fetch import CORPORA, fetch
from data_prep.tatoeba import LANGUAGES, read_pairs
from data_prep.translation_halves import Sides, write_sets
from speechnlp_tl.errors import InputError, Problem

HELD_OUT = {"dev": 500, "test": 1000}
HUB = "en"


def prepare(
    corpora: Mapping[str, Path], out: Path, leaky: bool = False, cuts: Mapping[str, int] | None = None, seed: int = 0,
    held_out: Mapping[str, int] = HELD_OUT,
) -> dict[str, Path]:  # fmt: skip
    """Write every set.

    Args:
        corpora: left and right language -> the folder of its corpus.
        cuts: as `write_halves` takes them.
        held_out: sentences of dev and test.

    Raises:
        InputError: files that are missing or damaged, too few sentences with both translations, or `out` holds
            something else.
    """
    problems: list[Problem] = []
    known = {language: _translations(read_pairs(corpus, language, problems)) for language, corpus in corpora.items()}
    if problems:
        raise InputError(problems)
    left, right = known
    both = sorted(set(known[left]) & set(known[right]))
    needed = sum(held_out.values())
    if len(both) < needed + 2:
        raise InputError(f"tatoeba: {len(both)} sentences have both translations, {needed + 2} at least are needed")
    random.Random(f"{seed} tatoeba").shuffle(both)
    sets: dict[str, Sides] = {}
    for name, count in held_out.items():
        taken, both = both[:count], both[count:]
        sides = {language: [known[language][line][0] for line in taken] for language in (left, right)}
        sets[name] = {left: sides[left], HUB: taken, right: sides[right]}
    seen = {language: {line for sides in sets.values() for line in sides[language]} for language in (left, HUB, right)}
    middle = len(both) // 2
    halves = (both, both) if leaky else (both[:middle], both[middle:])
    other = {left: right, right: left}
    for language, half in zip((left, right), halves, strict=True):
        single = [line for line in sorted(known[language]) if line not in known[other[language]]]
        rows = [
            (line, said)
            for line in [*half, *single]
            for said in known[language][line]
            if line not in seen[HUB] and said not in seen[language]
        ]
        random.Random(f"{seed} {language}").shuffle(rows)
        pair = f"{language}-{HUB}" if language == left else f"{HUB}-{language}"
        sets[f"train/{pair}"] = {language: [said for _, said in rows], HUB: [line for line, _ in rows]}
    direct = [(known[left][line][0], known[right][line][0]) for line in halves[0]]
    direct = [row for row in direct if row[0] not in seen[left] and row[1] not in seen[right]]
    sets[f"train/{left}-{right}"] = {left: [one for one, _ in direct], right: [two for _, two in direct]}
    return write_sets(out, "tatoeba-translation", {"leaky": leaky, "seed": seed}, sets, cuts)


def _translations(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    """English sentence -> its translations in the order of the file, each once; all with single blanks."""
    found: dict[str, dict[str, None]] = {}
    for english, other in pairs:
        found.setdefault(" ".join(english.split()), {})[" ".join(other.split())] = None
    return {english: list(others) for english, others in found.items()}


def main() -> None:
    """The command line."""
    parser = corpus_parser(__doc__)
    for side, language in (("left", "es"), ("right", "de")):
        parser.add_argument(f"--{side}", default=language, choices=sorted(LANGUAGES))
    parser.add_argument("--leaky", action="store_true", help="give both pairs all sentences")
    arguments = parser.parse_args()
    if arguments.left == arguments.right:
        parser.error("--left and --right are two languages")

    def work() -> dict[str, Path]:
        names = (arguments.left, arguments.right)
        corpora = {name: fetch(CORPORA[f"tatoeba-{LANGUAGES[name]}"], arguments.corpus_dir) for name in names}
        return prepare(corpora, arguments.out, arguments.leaky)

    run(work)


if __name__ == "__main__":
    main()
