"""Begin the training of a multilingual model where another one ended: on with all of its languages, or with some alone.

Training on one language behind several is how shared layers are fitted to it: they have learned from the speech of all
(Huang et al. 2013), and no step is spent on the others any more.
"""

from __future__ import annotations

from pathlib import Path

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.multilingual import MultilingualRecogniser

FREE = ("dropout", "resample", "self_loop", "silence_probability", "prior_scale", "prior_decay")
"""Settings that change no weight's meaning."""


def begin_from(fresh: MultilingualRecogniser, initial: MultilingualRecogniser, place: Path) -> list[str]:
    """Give a fresh model the shared layers of a finished one, and its heads with their priors where both have them.

    Args:
        fresh: changed in place.
        initial: the finished model.
        place: where it lies, for messages.

    Returns:
        The heads that begin with random weights.

    Raises:
        InputError: the two have other features, encoders or states, a head of other phones, or columns of a
            progressive network.
    """
    problems = []
    for name in ("features", "encoder", "hmm"):
        own, found = (getattr(each.config, name).model_dump() for each in (fresh, initial))
        unlike = [key for key in own if own[key] != found[key] and key not in FREE]
        told = ", ".join(f"{key} {found[key]} and not {own[key]}" for key in unlike)
        if unlike:
            remedy = f"give the config the same '{name}'"
            problems.append(Problem(f"'initial' was trained with {name}: {told}", place, remedy=remedy))
    heads = fresh.config.heads
    common = [name for name in heads if name in initial.config.heads]
    for name in common:
        if heads[name] != initial.config.heads[name]:
            unlike = sorted(set(heads[name]) ^ set(initial.config.heads[name]))
            what = f"head {name} has other phones than in 'initial': {', '.join(unlike) or 'in another order'}"
            problems.append(Problem(what, place, remedy="use the lexicon that it was trained with"))
    if initial.config.columns:
        what = f"has columns of a progressive network ({', '.join(initial.config.columns)})"
        problems.append(Problem(what, place, remedy="begin from a model without them"))
    if problems:
        raise InputError(problems)
    kept = tuple(f"heads.{name}." for name in heads if name not in common)
    known = initial.model.state_dict()
    state = fresh.model.state_dict()
    fresh.model.load_state_dict({key: old if key.startswith(kept) else known[key] for key, old in state.items()})
    return [name for name in heads if name not in common]
