"""Every method of alignment by its name: its settings from words, and one call that fits any of them.

    fit_method("rcsls", source, target, pairs, method_settings("rcsls", seed=1, epochs=20))

| name | needs a dictionary | what it is |
|---|---|---|
| procrustes, vecmap, cca, regularised-cca, least-squares | yes | closed forms, see `alignment` |
| margin, rcsls | yes | maps trained to rank the right translation first, see `ranking` |
| self-learning | no, takes one | map, induce a dictionary, map again, see `self_learning` |
| adversarial | no, and takes none | see `adversarial` |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.embeddings.alignment import PRESETS, Alignment, AlignmentSettings, fit_alignment
from speechnlp_tl.embeddings.normalisation import Vectors
from speechnlp_tl.errors import InputError, Problem

Pairs = NDArray[np.int64]
WITHOUT_DICTIONARY = ("self-learning", "adversarial")
"""What can be done without a word in common."""
METHODS = (*PRESETS, "margin", "rcsls", *WITHOUT_DICTIONARY)


def method_settings(method: str, seed: int = 0, **changes: Any) -> StrictModel:
    """The settings of a method, some of them changed; `seed` is that of the methods in which there is chance.

    Raises:
        InputError: no such method, unknown settings or values that do not fit; all of them at once.
    """
    if method not in METHODS:
        raise InputError(Problem(f"there is no method '{method}'", remedy=f"there are: {', '.join(METHODS)}"))
    schema, given = _schema(method)
    given |= {} if method in PRESETS else {"seed": seed}
    try:
        return schema.model_validate(given | changes)
    except ValidationError as error:
        problems = []
        for item in error.errors(include_url=False):
            place = ".".join(map(str, item["loc"]))
            known = ", ".join(schema.model_fields)
            problems.append(Problem(f"{method}: {place or 'settings'}: {item['msg']}", remedy=f"settings are {known}"))
        raise InputError(problems) from error


def _schema(method: str) -> tuple[type[StrictModel], dict[str, Any]]:
    """The settings of a method, and what its name sets of them."""
    if method in PRESETS:
        return AlignmentSettings, dict(PRESETS[method])
    if method in ("margin", "rcsls"):
        from speechnlp_tl.embeddings.ranking import MarginSettings, RcslsSettings

        return (MarginSettings if method == "margin" else RcslsSettings), {}
    if method == "self-learning":
        from speechnlp_tl.embeddings.self_learning import SelfLearningSettings

        return SelfLearningSettings, {}
    from speechnlp_tl.embeddings.adversarial import AdversarialSettings

    return AdversarialSettings, {}


def fit_method(
    method: str,
    source: Vectors,
    target: Vectors,
    pairs: Pairs | None,
    settings: StrictModel,
    held_out: Pairs | None = None,
    report: Callable[[str], None] | None = None,
) -> Alignment:
    """Align two languages.

    Args:
        source: (n, d), rows are words, most frequent first.
        target: (m, e).
        pairs: (p, 2) dictionary; None for the methods that do without.
        settings: of `method_settings` for this method.
        held_out: (q, 2) other pairs of the dictionary, on which margin and rcsls choose their epoch.
        report: told how self-learning goes on.

    Raises:
        InputError: a method without the dictionary that it needs or with one that it cannot use; vectors, pairs or
            settings that cannot be used.
    """
    if pairs is None and method not in WITHOUT_DICTIONARY:
        remedy = f"give one, take identical strings, or one of {', '.join(WITHOUT_DICTIONARY)}"
        raise InputError(Problem(f"{method} needs a dictionary", remedy=remedy))
    if pairs is not None and method == "adversarial":
        raise InputError(Problem("adversarial alignment uses no dictionary", remedy="leave it out"))
    fitted: Any = settings
    if method in PRESETS:
        assert pairs is not None
        return fit_alignment(source, target, pairs, fitted)
    if method in ("margin", "rcsls"):
        from speechnlp_tl.embeddings import ranking

        assert pairs is not None
        fit = ranking.fit_margin if method == "margin" else ranking.fit_rcsls
        return fit(source, target, pairs, fitted, held_out)
    if method == "self-learning":
        from speechnlp_tl.embeddings.self_learning import Round, self_learn

        def told(each: Round) -> None:
            if report is not None:
                report(f"1 part of {each.parts}: mean cosine {each.similarity:.4f}, {each.mutual} mutual translations")

        return self_learn(source, target, pairs, fitted, told).alignment
    from speechnlp_tl.embeddings.adversarial import align_adversarially

    return align_adversarially(source, target, fitted).alignment
