"""Splitting data directories: by speaker, by a budget per speaker, and into folds.

Every choice is made by the order of a hash of seed and id. It depends on nothing else: not on the order of files, the
platform or the other utterances, so that adding a speaker moves no other, and a budget of 3 utterances contains the
budget of 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.data_dir import DataDir, Utterance

FISHER_UTTERANCES = 200


def spread(utterances: Sequence[Utterance], most: int) -> list[Utterance]:
    """At most so many, at equal distances, so that what is sorted by speaker gives all speakers their turn."""
    count = min(most, len(utterances))
    return [utterances[place * len(utterances) // count] for place in range(count)]


def split_by_speaker(
    data: DataDir, speakers: Sequence[str] | None = None, fraction: float | None = None, seed: int = 0
) -> tuple[DataDir, DataDir]:
    """Hold out whole speakers.

    Args:
        data: what to split.
        speakers: the speakers to hold out; or
        fraction: the share of speakers to hold out, chosen by `seed`; at least one, and at least one stays.
        seed: of the choice.

    Returns:
        (rest, held out): they share no speaker.

    Raises:
        InputError: unknown speakers, nothing left on one side, or not exactly one of `speakers` and `fraction`.
    """
    known = data.by_speaker()
    if (speakers is None) == (fraction is None):
        raise InputError("give either the speakers to hold out or the fraction of speakers, not both")
    if speakers is not None:
        unknown = [name for name in speakers if name not in known]
        if unknown:
            remedy = f"its speakers are: {' '.join(known)}"
            raise InputError([Problem(f"there is no speaker {name}", data.path, remedy=remedy) for name in unknown])
        chosen = set(speakers)
    else:
        assert fraction is not None
        if not 0 < fraction < 1:
            raise InputError(f"the fraction of speakers must be between 0 and 1, not {fraction:g}")
        count = min(max(1, round(fraction * len(known))), len(known) - 1)
        chosen = set(_shuffled(known, seed)[:count])
    if not 0 < len(chosen) < len(known):
        what = f"{len(chosen)} of {len(known)} speakers would be held out: one side would be empty"
        remedy = "name data of other speakers, or hold none out (in a training config data.dev, or data.dev_share: 0)"
        raise InputError(Problem(what, file=data.path, remedy=remedy))
    held_out = {u.id for u in data if u.speaker in chosen}
    return _without(data, held_out), data.subset(held_out)


def split_by_budget(
    data: DataDir, seconds: float | None = None, utterances: int | None = None, seed: int = 0
) -> tuple[DataDir, DataDir]:
    """Give every speaker a small adaptation set.

    Args:
        data: what to split.
        seconds: adaptation audio per speaker: as many utterances, in the seed's order, as fit; or
        utterances: adaptation utterances per speaker, exactly. A smaller number is always contained in a larger one.
        seed: of the choice.

    Returns:
        (adaptation, rest): disjoint, both with every speaker.

    Raises:
        InputError: speakers who have too little for the budget and a rest (all are listed), or not exactly one of
            `seconds` and `utterances`.
    """
    if (seconds is None) == (utterances is None):
        raise InputError("give either seconds or utterances per speaker, not both")
    if (utterances is not None and utterances < 1) or (seconds is not None and seconds <= 0):
        raise InputError("the budget must be positive")
    chosen: set[str] = set()
    problems = []
    for speaker, rows in data.by_speaker().items():
        order = {row.id: row for row in rows}
        names = _shuffled(order, seed)
        if utterances is not None:
            picked = names[:utterances]
        else:
            assert seconds is not None
            picked = _fill(data, [order[name] for name in names], seconds)
        budget = f"{utterances} utterances" if utterances is not None else f"{seconds:g} s"
        if not picked:
            problems.append(Problem(f"speaker {speaker} has no utterance as short as {budget}", data.path))
        elif len(picked) == len(names):
            what = f"speaker {speaker} has only {len(names)} utterances: {budget} leave nothing to test on"
            problems.append(Problem(what, data.path, remedy="take a smaller budget or leave the speaker out"))
        chosen.update(picked)
    if problems:
        raise InputError(problems)
    return data.subset(chosen), _without(data, chosen)


def folds(data: DataDir, k: int, seed: int = 0, by: str = "utterance") -> list[tuple[DataDir, DataDir]]:
    """Cross-validation: `k` pairs (rest, fold), the folds disjoint and together everything.

    Args:
        data: what to split.
        k: number of folds.
        seed: of the choice.
        by: `utterance` spreads every speaker's utterances evenly over the folds; `speaker` keeps speakers whole.

    Raises:
        InputError: fewer than `k` utterances or speakers, `k` below 2, or an unknown `by`.
    """
    speakers = data.by_speaker()
    if by not in ("utterance", "speaker"):
        raise InputError(f"folds are made by utterance or by speaker, not by {by}")
    items = len(data) if by == "utterance" else len(speakers)
    if not 2 <= k <= items:
        raise InputError(Problem(f"cannot make {k} folds of {items} {by}s", file=data.path))
    number: dict[str, int] = {}
    position = 0
    for speaker in _shuffled(speakers, seed):
        rows = [utterance.id for utterance in speakers[speaker]]
        if by == "speaker":
            number.update(dict.fromkeys(rows, position % k))
            position += 1
            continue
        # The counter runs on over speakers: otherwise the first folds would get every speaker's odd utterance.
        for name in _shuffled(rows, seed):
            number[name] = position % k
            position += 1
    members = [{name for name, fold in number.items() if fold == which} for which in range(k)]
    return [(_without(data, ids), data.subset(ids)) for ids in members]


def _shuffled(names: Iterable[str], seed: int) -> list[str]:
    """Names in an order that only the seed and each name decide."""
    return sorted(names, key=lambda name: (hashlib.sha256(f"{seed}:{name}".encode()).digest(), name))


def _without(data: DataDir, ids: set[str]) -> DataDir:
    return DataDir([utterance for utterance in data if utterance.id not in ids], data.path)


def _fill(data: DataDir, rows: list[Utterance], seconds: float) -> list[str]:
    """Utterances in order, without those that no longer fit into `seconds`."""
    picked, used = [], 0.0
    for row in rows:
        duration = data.duration(row)
        if used + duration <= seconds:
            picked.append(row.id)
            used += duration
    return picked


def fisher_speech(utterances: Sequence[Utterance]) -> list[Utterance]:
    """Up to `FISHER_UTTERANCES` utterances, spread over all, to estimate Fisher information on. Without what was said,
    whose words a lexicon may lack: labels are drawn from the model's posteriors."""
    return [replace(each, text="") for each in spread(utterances, FISHER_UTTERANCES)]
