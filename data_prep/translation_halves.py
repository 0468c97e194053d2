"""Text for zero-shot translation: two pairs of languages that share one, and a pair that is never seen together.

Where all languages say the same things, as in captions of the same photos, a model that sees both sides of a sentence's
translations has all but seen the unseen pair. So `write_halves` gives each pair sentences of its own:

    train/<left>-<hub>/   one half of the sentences         dev/, test/   every language, aligned
    train/<left>-<hub>-all/, train/<hub>-<right>-all/   all sentences, for models that are compared with published ones
    train/<hub>-<right>/  the other half                    train/<left>-<right>/   the first half, for direct models

For a language that is to be added to a finished model, `train/<new>-<hub>/` has sentences that neither half has.
`cuts` are training sets besides, the first sentences of one of these. With `leaky` both
pairs have all sentences; it shows what the leak is worth.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.output import output_folder
from speechnlp_tl.errors import InputError

Sides = Mapping[str, Sequence[str]]
"""Language -> sentences; line n of each says the same."""


@dataclass(frozen=True)
class NewLanguage:
    """A language that is added to a finished model: sentences that no pair has are kept for it."""

    name: str
    sentences: int


def write_halves(
    out: Path, corpus: str, languages: tuple[str, str, str], train: Sides, held_out: Mapping[str, Sides], leaky: bool,
    seed: int = 0, cuts: Mapping[str, int] | None = None, new: NewLanguage | None = None,
) -> dict[str, Path]:  # fmt: skip
    """Write the layout above.

    Args:
        out: where to; a folder that this function wrote earlier is replaced.
        corpus: its name, for the record.
        languages: left, hub, right.
        train: sentences of all languages.
        held_out: `dev` and `test`.
        cuts: shortened training sets, named after one of those above and their size: `de-fr-1000` -> 1000, the first so
            many sentences of `de-fr`.
        new: a language to be added later.

    Returns:
        Set -> its folder.

    Raises:
        InputError: too few sentences, sides of different length, a cut of no training set or longer than it, or `out`
            holds something else.
    """
    left, hub, right = languages
    every, kept = (*languages, *([new.name] if new else [])), new.sentences if new else 0
    sizes = {len(train[language]) for language in every}
    if len(sizes) != 1 or min(sizes) < 2 + kept:
        what = (
            f"{corpus}: the languages have {sorted(sizes)} sentences: the same number, {2 + kept} at least, is needed"
        )
        raise InputError(what)
    order = list(range(sizes.pop()))
    random.Random(f"{seed} halves").shuffle(order)
    order, reserved = order[: len(order) - kept], order[len(order) - kept :]
    middle = len(order) // 2
    halves = (order, order) if leaky else (order[:middle], order[middle:])
    sets: dict[str, Sides] = {
        f"train/{left}-{hub}": _chosen(train, halves[0], (left, hub)),
        f"train/{hub}-{right}": _chosen(train, halves[1], (hub, right)),
        f"train/{left}-{right}": _chosen(train, halves[0], (left, right)),
    }
    for pair in ((left, hub), (hub, right)):
        sets[f"train/{'-'.join(pair)}-all"] = _chosen(train, range(len(train[hub])), pair)
    if new:
        sets[f"train/{new.name}-{hub}"] = _chosen(train, reserved, (new.name, hub))
    sets |= {name: {language: sides[language] for language in every} for name, sides in held_out.items()}
    return write_sets(out, corpus, {"leaky": leaky, "seed": seed}, sets, cuts)


def write_sets(
    out: Path, corpus: str, settings: Mapping[str, object], sets: Mapping[str, Sides],
    cuts: Mapping[str, int] | None = None,
) -> dict[str, Path]:  # fmt: skip
    """Write sets as folders with a file for each language, and the `cuts` that `write_halves` speaks of.

    Raises:
        InputError: a cut of no training set or longer than it, or `out` holds something else.
    """
    every = dict(sets)
    sizes = {name: len(next(iter(sides.values()))) for name, sides in sets.items()}
    for name, count in (cuts or {}).items():
        whole = f"train/{name.rpartition('-')[0]}"
        if not 1 <= count <= sizes.get(whole, 0):
            there = ", ".join(f"{each.removeprefix('train/')} ({size})" for each, size in sizes.items())
            raise InputError(f"{corpus}: '{name}' is no part of a training set; there are {there}")
        every[f"train/{name}"] = {language: lines[:count] for language, lines in sets[whole].items()}
    summary = {name: {"sentences": len(next(iter(sides.values())))} for name, sides in every.items()}
    with output_folder(out, corpus, settings, summary) as folder:
        for name, sides in every.items():
            (folder / name).mkdir(parents=True)
            for language, lines in sides.items():
                text = "".join(f"{line}\n" for line in lines)
                (folder / name / f"{language}.txt").write_text(text, encoding="utf-8", newline="\n")
    return {name: Path(out) / name for name in every}


def _chosen(sides: Sides, rows: Sequence[int], languages: Sequence[str]) -> Sides:
    return {language: [sides[language][row] for row in rows] for language in languages}
