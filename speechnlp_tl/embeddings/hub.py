"""More than two languages in one space: that of a hub language, which stays as it is.

hub = align_pairwise(vectors, {("fr", "en"): pairs, ("de", "en"): pairs}, hub="en")
hub = align_jointly(vectors, {("fr", "en"): pairs, ("de", "fr"): pairs, ...}, hub="en")
hub.map("de", vectors["de"])                     every language's vectors in the space of "en"
hub.alignment("de", "fr")                        the alignment of two languages through the hub
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.embeddings.alignment import Alignment, AlignmentSettings, fit_alignment
from speechnlp_tl.embeddings.closed_forms import inner, nearest_orthogonal
from speechnlp_tl.embeddings.normalisation import Normalisation, NormalisationStep, Vectors, check_pairs, check_vectors
from speechnlp_tl.errors import InputError, Problem

Dictionaries = Mapping[tuple[str, str], NDArray[np.int64]]
"""(first language, second language) -> (p, 2) rows of words of the first and of their translations in the second."""


@dataclass(frozen=True)
class HubSpace:
    """The maps of several languages into the space of one of them."""

    hub: str
    normalisations: dict[str, Normalisation]
    maps: dict[str, NDArray[np.float32]]
    """(d, e) of every language but the hub, whose normalised vectors stay as they are."""
    objectives: tuple[float, ...] = ()
    """Of a joint alignment: mean product of translations in the hub space, at the start and after each round."""

    @property
    def languages(self) -> list[str]:
        return sorted(self.normalisations)

    def alignment(self, source: str, target: str) -> Alignment:
        """The two languages' alignment: both mapped into the hub space.

        Raises:
            InputError: a language is not in the space.
        """
        unknown = [name for name in (source, target) if name not in self.normalisations]
        if unknown:
            remedy = f"there are: {', '.join(self.languages)}"
            raise InputError([Problem(f"no language '{name}' in the hub space", remedy=remedy) for name in unknown])
        source_map = self.maps.get(source)
        if source_map is None:
            source_map = np.eye(next(iter(self.maps.values())).shape[1], dtype=np.float32)
        return Alignment(self.normalisations[source], self.normalisations[target], source_map, self.maps.get(target))

    def map(self, language: str, vectors: Vectors) -> NDArray[np.float32]:
        """Vectors (n, d) of a language -> (n, e) in the hub space.

        Raises:
            InputError: no such language, or vectors of other dimensions.
        """
        return self.alignment(language, self.hub).map_source(vectors)


def align_pairwise(
    vectors: Mapping[str, Vectors],
    dictionaries: Dictionaries,
    hub: str,
    settings: AlignmentSettings | None = None,
) -> HubSpace:
    """Align each language with the hub by its own dictionary.

    Args:
        vectors: language -> (n, d), most frequent words first.
        dictionaries: one between the hub and every other language, in either order; others are not used.
        hub: the language whose space is common.
        settings: which steps; they must leave the target's space as it is (no re-weighting, whitening only where
            it is undone, no reduction of dimensions). Procrustes when None.

    Raises:
        InputError: a language without dictionary, vectors or pairs that cannot be used, settings that map the hub.
    """
    settings = settings or AlignmentSettings()
    others = _others(vectors, hub)
    missing = [name for name in others if not ({(name, hub), (hub, name)} & set(dictionaries))]
    if missing:
        remedy = "give it, or align jointly through other languages"
        raise InputError(
            [Problem(f"no dictionary between '{name}' and the hub '{hub}'", remedy=remedy) for name in missing]
        )
    normalisations: dict[str, Normalisation] = {}
    maps: dict[str, NDArray[np.float32]] = {}
    for name in others:
        pairs = dictionaries[name, hub] if (name, hub) in dictionaries else dictionaries[hub, name][:, ::-1]
        alignment = fit_alignment(vectors[name], vectors[hub], pairs, settings)
        if alignment.target_map is not None:
            remedy = "take target_reweight=0, target_dewhiten='target' where it is whitened, and dimensions=None"
            raise InputError(
                Problem("these settings map the hub's own vectors, for each language otherwise", remedy=remedy)
            )
        normalisations |= {name: alignment.source, hub: alignment.target}
        maps[name] = alignment.source_map
    return HubSpace(hub, normalisations, maps)


def align_jointly(
    vectors: Mapping[str, Vectors],
    dictionaries: Dictionaries,
    hub: str,
    rounds: int = 50,
    tolerance: float = 1e-7,
    normalise: tuple[NormalisationStep, ...] = ("unit", "centre", "unit"),
) -> HubSpace:
    """Orthogonal maps of all languages at once, from the dictionaries of any pairs of them (generalised Procrustes).

    With W of the hub the identity, the sum over all dictionaries (a, b) of the mean product of translations

        sum 1/p_ab sum_i  x_i W_a . y_i W_b

    grows in every round, in which each W_a in turn becomes the best one for the others as they are: the orthogonal
    factor of sum_b X_a^T Y_b W_b / p_ab (Gower 1975; for languages through each other's dictionaries Taitelbaum,
    Chechik and Goldberger 2019). A language may be linked to the hub through others only. All vectors have the same
    number of dimensions.

    Args:
        vectors, dictionaries, hub: as for `align_pairwise`, but every dictionary is used, of any two languages.
        rounds: at most so many.
        tolerance: the rounds end when the objective grows by less.
        normalise: steps before mapping.

    Raises:
        InputError: languages without a link to the hub or of unlike dimensions, unknown languages, vectors or pairs
            that cannot be used.
    """
    others = _others(vectors, hub)
    _check_links(vectors, dictionaries, hub)
    normalisations = {}
    for name, rows in vectors.items():
        check_vectors(rows, name)
        normalisations[name] = Normalisation.fit(rows, normalise, name)
    cross: dict[tuple[str, str], NDArray[np.floating]] = {}
    for (first, second), given in dictionaries.items():
        pairs = check_pairs(given, (len(vectors[first]), len(vectors[second])))
        x = normalisations[first](vectors[first][pairs[:, 0]])
        y = normalisations[second](vectors[second][pairs[:, 1]])
        product = inner(x, y) / len(pairs)
        cross[first, second] = cross.get((first, second), 0) + product
        cross[second, first] = cross.get((second, first), 0) + product.T
    maps = _first_maps(cross, others, hub)

    def best_for(name: str) -> NDArray[np.floating]:
        return nearest_orthogonal(np.sum([product @ maps[b] for (a, b), product in cross.items() if a == name], axis=0))

    def objective() -> float:
        total = sum(float(np.sum((maps[a].T @ product) * maps[b].T)) for (a, b), product in cross.items())
        return total / len(cross)

    objectives = [objective()]
    for _ in range(rounds):
        for name in others:
            maps[name] = best_for(name)
        objectives.append(objective())
        if objectives[-1] - objectives[-2] < tolerance:
            break
    narrow = {name: np.ascontiguousarray(maps[name], dtype=np.float32) for name in others}
    return HubSpace(hub, normalisations, narrow, tuple(objectives))


def _first_maps(
    cross: Mapping[tuple[str, str], NDArray[np.floating]], others: list[str], hub: str
) -> dict[str, NDArray[np.floating]]:
    """Each language's best map to those that are mapped already, from the hub outwards."""
    width = next(iter(cross.values())).shape[0]
    maps: dict[str, NDArray[np.floating]] = {hub: np.eye(width)}
    while len(maps) <= len(others):
        for name in others:
            linked = [product @ maps[b] for (a, b), product in cross.items() if a == name and b in maps]
            if name not in maps and linked:
                maps[name] = nearest_orthogonal(np.sum(linked, axis=0))
    return maps


def _others(vectors: Mapping[str, Vectors], hub: str) -> list[str]:
    if hub not in vectors or len(vectors) < 2:
        there = ", ".join(sorted(vectors))
        raise InputError(f"a hub space needs vectors of the hub '{hub}' and of another language, there are: {there}")
    return sorted(set(vectors) - {hub})


def _check_links(vectors: Mapping[str, Vectors], dictionaries: Dictionaries, hub: str) -> None:
    named = {name for pair in dictionaries for name in pair}
    problems = [
        Problem(f"a dictionary names '{name}', of which there are no vectors") for name in sorted(named - set(vectors))
    ]
    problems += [Problem(f"a dictionary is between '{a}' and itself") for a, b in dictionaries if a == b]
    reached = _reached(dictionaries, hub)
    remedy = "give a dictionary between it and the hub or another language"
    problems += [
        Problem(f"no dictionaries lead from '{name}' to the hub '{hub}'", remedy=remedy)
        for name in sorted(set(vectors) - reached)
    ]
    widths = {name: rows.shape[1] for name, rows in vectors.items() if rows.ndim == 2}
    if len(set(widths.values())) > 1:
        shown = ", ".join(f"{name} {width}" for name, width in sorted(widths.items()))
        problems.append(Problem(f"joint alignment needs vectors of like dimensions, not {shown}"))
    if problems:
        raise InputError(problems)


def _reached(links: Iterable[tuple[str, str]], hub: str) -> set[str]:
    reached, links = {hub}, list(links)
    while new := {name for pair in links for name in pair if reached & set(pair)} - reached:
        reached |= new
    return reached
