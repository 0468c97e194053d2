"""Text for zero-shot translation: two pairs of languages that share one, and a pair that is never seen together.

Where all languages say the same things, as in captions of the same photos, a model that sees both sides of a sentence's
translations has all but seen the unseen pair. So `write_halves` gives each pair sentences of its own:

    train/<left>-<hub>/   one half of the sentences         dev/, test/   every language, aligned
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
    sets: dict[str, tuple[Sides, list[int], tuple[str, ...]]] = {
        f"train/{left}-{hub}": (train, halves[0], (left, hub)),
        f"train/{hub}-{right}": (train, halves[1], (hub, right)),
        f"train/{left}-{right}": (train, halves[0], (left, right)),
    }
    if new:
        sets[f"train/{new.name}-{hub}"] = (train, reserved, (new.name, hub))
    for name, count in (cuts or {}).items():
        whole = f"train/{name.rpartition('-')[0]}"
        if whole not in sets or not 1 <= count <= len(sets[whole][1]):
            there = ", ".join(f"{each.removeprefix('train/')} ({len(rows)})" for each, (_, rows, _) in sets.items())
            raise InputError(f"{corpus}: '{name}' is no part of a training set; there are {there}")
        side, rows, named = sets[whole]
        sets[f"train/{name}"] = (side, rows[:count], named)
    for name, sides in held_out.items():
        sets[name] = (sides, list(range(len(sides[hub]))), every)
    summary = {name: {"sentences": len(rows)} for name, (_, rows, _) in sets.items()}
    with output_folder(out, corpus, {"leaky": leaky, "seed": seed}, summary) as folder:
        for name, (sides, rows, named) in sets.items():
            (folder / name).mkdir(parents=True)
            for language in named:
                text = "".join(f"{sides[language][row]}\n" for row in rows)
                (folder / name / f"{language}.txt").write_text(text, encoding="utf-8", newline="\n")
    return {name: Path(out) / name for name in sets}
