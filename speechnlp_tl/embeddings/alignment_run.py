"""What `speechnlp-tl embed align` does: read, link, fit, look whether it has worked, save."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.embeddings.alignment import PRESETS, Alignment
from speechnlp_tl.embeddings.dictionary import WordDictionary, identical_numerals, identical_strings, spelt_alike
from speechnlp_tl.embeddings.hub import align_jointly
from speechnlp_tl.embeddings.inputs import Place, Report, dropped, read_dictionaries, read_languages
from speechnlp_tl.embeddings.methods import WITHOUT_DICTIONARY, fit_method, method_settings
from speechnlp_tl.embeddings.soundness import Soundness, soundness
from speechnlp_tl.embeddings.space import Space, SpaceFacts
from speechnlp_tl.embeddings.vectors import WordVectors
from speechnlp_tl.errors import InputError, Problem

Seeds = Literal["identical", "numerals"]
_SEEDS = {"identical": ("identical strings", identical_strings), "numerals": ("identical numerals", identical_numerals)}


@dataclass
class AlignmentRun:
    """One alignment of a source with one target, or of several languages in the space of the source."""

    source: Place
    targets: list[Place]
    dictionaries: list[Path] = field(default_factory=list)
    """One for each target, source words first."""
    seeds: Seeds | None = None
    method: str | None = None
    """Procrustes with a dictionary and self-learning without one, when not given."""
    joint: bool = False
    """All maps of several targets at once (generalised Procrustes)."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the method."""
    limit: int | None = None
    seed: int = 0
    fallback: bool = True
    """Where an alignment without any words has failed: identical strings."""
    warnings: list[str] = field(default_factory=list)

    def check(self) -> AlignmentRun:
        """Look at how the wishes fit together.

        Raises:
            InputError: all that do not.
        """
        problems = []
        several = len(self.targets) > 1
        if self.dictionaries and self.seeds:
            problems.append(Problem("a dictionary and seeds are given", remedy="give one of them"))
        if self.dictionaries and len(self.dictionaries) != len(self.targets):
            what = f"{len(self.dictionaries)} dictionaries for {len(self.targets)} targets"
            problems.append(Problem(what, remedy="give one for each target, in their order"))
        self.method = self.method or ("procrustes" if self.dictionaries or self.seeds else "self-learning")
        linked = bool(self.dictionaries or self.seeds)
        if not linked and self.method not in WITHOUT_DICTIONARY:
            remedy = f"give --dictionary, --seeds identical, or a method of {', '.join(WITHOUT_DICTIONARY)}"
            problems.append(Problem(f"{self.method} needs a dictionary", remedy=remedy))
        if linked and self.method == "adversarial":
            problems.append(Problem("adversarial alignment uses no dictionary", remedy="leave --dictionary out"))
        if self.joint and (not several or self.method != "procrustes" or not linked or self.changes):
            what = "joint alignment is that of procrustes, with two targets or more, each with a dictionary or seeds"
            problems.append(Problem(what, remedy="leave --joint out, or give these, without settings"))
        try:
            method_settings(self.method, self.seed, **self.changes)
        except InputError as error:
            problems += error.problems
        if problems:
            raise InputError(problems)
        return self

    def align(self, out: Path, report: Report) -> Iterator[str]:
        """Align and save; yields what there is to tell of results. `report` is told what is dropped, and warnings.

        Raises:
            InputError: everything wrong with the input; `out` exists.
        """
        if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
            raise InputError(Problem("exists already", file=out, remedy="choose another folder or remove this one"))
        problems: list[Problem] = []
        vectors: dict[str, WordVectors] = {}
        dictionaries: list[WordDictionary] = []
        try:
            vectors = read_languages([self.source, *self.targets], self.limit, report)
        except InputError as error:
            problems += error.problems
        try:
            dictionaries = read_dictionaries(self.dictionaries, report)
        except InputError as error:
            problems += error.problems
        if problems:
            raise InputError(problems)
        names = [place.name for place in self.targets]
        links = self._links(vectors, names, dictionaries, report)
        space = self._space(vectors, links, report)
        space.save(out)
        for name in names:
            told = f", {len(links[name])} pairs" if links else ""
            yield f"{out}: {self.source.name} and {name} aligned by {space.made.method}{told}"

    def _links(
        self,
        vectors: Mapping[str, WordVectors],
        names: list[str],
        dictionaries: Iterable[WordDictionary],
        report: Report,
    ) -> dict[str, NDArray[np.int64]]:
        """Target -> (p, 2) [source row, target row]; empty without a link."""
        links, problems = {}, []
        source = vectors[self.source.name]
        given = list(dictionaries)
        for number, name in enumerate(names):
            try:
                if self.seeds:
                    dictionary = _SEEDS[self.seeds][1](source, vectors[name])
                elif given:
                    dictionary = given[number]
                else:
                    continue
                pairs = dictionary.pairs(source, vectors[name])
            except InputError as error:
                problems += error.problems
                continue
            report(f"{self.source.name} - {name}: {dictionary.name}: {pairs.report()}")
            for line in dropped(pairs):
                report(f"{self.source.name} - {name}: {line}")
            links[name] = pairs.rows
        if problems:
            raise InputError(problems)
        return links

    def _space(
        self, vectors: Mapping[str, WordVectors], links: Mapping[str, NDArray[np.int64]], report: Report
    ) -> Space:
        names = [place.name for place in self.targets]
        assert self.method is not None
        link = _SEEDS[self.seeds][0] if self.seeds else "dictionary" if links else "none"
        counts = {name: len(pairs) for name, pairs in links.items()}
        if self.joint:
            matrices = {name: language.matrix for name, language in vectors.items()}
            hub = align_jointly(matrices, {(self.source.name, name): links[name] for name in names}, self.source.name)
            facts = SpaceFacts(method="joint procrustes", link=link, pairs=counts)
            return Space(hub.hub, {name: hub.alignment(name, hub.hub) for name in names}, facts)
        settings = method_settings(self.method, self.seed, **self.changes)
        single = len(names) == 1
        alignments = {}
        for name in names:
            # of one target it is the space that the source is mapped into; several share the source's
            ends = (self.source.name, name) if single else (name, self.source.name)
            one, other = (vectors[end] for end in ends)
            pairs = links.get(name)
            turned = None if pairs is None else pairs if single else pairs[:, ::-1]
            fitted = fit_method(self.method, one.matrix, other.matrix, turned, settings)
            if turned is None or self.method == "self-learning":
                alike = None if self.seeds == "identical" else spelt_alike(one, other)
                fitted = self._looked_at(fitted, one, other, settings, alike, unlinked=turned is None, report=report)
            if not single and fitted.target_map is not None:
                remedy = f"take procrustes, or give settings; of {', '.join(PRESETS)} vecmap and cca map both sides"
                raise InputError(Problem(f"{self.method} would map the hub for each language otherwise", remedy=remedy))
            alignments[ends[0]] = fitted
        method = f"{self.method} (identical strings)" if self.warnings and self.fallback else self.method
        facts = SpaceFacts(method=method, link=link, pairs=counts, warnings=self.warnings)
        return Space(names[0] if single else self.source.name, alignments, facts)

    def _looked_at(
        self,
        fitted: Alignment,
        one: WordVectors,
        other: WordVectors,
        settings: StrictModel,
        alike: NDArray[np.int64] | None,
        unlinked: bool,
        report: Report,
    ) -> Alignment:
        """The alignment, or one from identical strings where it has found nothing; says so."""
        found = _sound(fitted, one, other, settings, alike)
        pair = f"{one.name} - {other.name}"
        report(f"{pair}: {_seen(found)}")
        if found.warning is None:
            return fitted
        report(f"warning: {pair}: {found.warning}")
        self.warnings.append(f"{pair}: {found.warning}")
        if not (unlinked and self.fallback):
            return fitted
        try:
            pairs = identical_strings(one, other).pairs(one, other).rows
        except InputError as error:
            report(f"warning: {pair}: no way back to identical strings: {error}")
            return fitted
        report(f"{pair}: starting again from {len(pairs)} identical strings, by self-learning")
        settings = method_settings("self-learning", self.seed, **(self.changes if self.method != "adversarial" else {}))
        second = fit_method("self-learning", one.matrix, other.matrix, pairs, settings)
        again = _sound(second, one, other, settings)
        report(f"{pair}: {_seen(again)}")
        if again.warning is not None:
            report(f"warning: {pair}: {again.warning}")
            self.warnings.append(f"{pair}, from identical strings: {again.warning}")
        return second


def _sound(
    fitted: Alignment, one: WordVectors, other: WordVectors, settings: StrictModel,
    alike: NDArray[np.int64] | None = None,
) -> Soundness:  # fmt: skip
    seen = getattr(settings, "words", 0)
    return soundness(fitted.map_source(one.matrix), fitted.map_target(other.matrix), seen, alike=alike)


def _seen(found: Soundness) -> str:
    told = f"{found.round_trips:.0f} % of the words return, {found.by_chance:.0f} % by chance"
    if found.alike is None:
        return told
    return f"{told}; {found.alike:.0f} % of {found.alike_words} words that are spelt alike find each other"
