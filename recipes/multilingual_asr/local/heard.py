"""What models heard, scored: one model's words, or those of several seeds as one."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from recognise import Hearing, hearings, place
from settings import RecipeConfig, tests

from recipes.run_records import read_record, record_of
from speechnlp_tl.evaluation.wer import Score, score
from speechnlp_tl.speech.data_dir import DataDir

FEW_SPEAKERS = 5
"""Fewer than these say nothing about others: what is resampled then are utterances."""


class Heard:
    """Scores of models on test sets."""

    def __init__(self, config: RecipeConfig, arguments: argparse.Namespace) -> None:
        self.data, self.runs, self.out = arguments.data, arguments.runs, arguments.hypotheses
        self.of_model: dict[Path, list[Hearing]] = {}
        for each in hearings(config, self.data, self.runs):
            self.of_model.setdefault(each.model, []).append(each)

    def record(self, model: Path, language: str, tuned: bool = False) -> dict[str, Any]:
        """What a model heard; with `tuned`, with search weights that were chosen for it afterwards."""
        hearing = next(
            each for each in self.of_model[model] if language in each.languages and (each.search is not None) == tuned
        )
        return read_record(record_of(place(self.data, self.out, hearing)), 4)

    def score(self, models: Sequence[Path], language: str, test: str, tuned: bool = False) -> Score:
        """The models of several seeds on one test set, as one: utterances of each seed, and speakers over all."""
        reference: dict[str, list[str]] = {}
        hypothesis: dict[str, list[str]] = {}
        speakers: dict[str, str] = {}
        told = _reference(tests(self.data, language)[test])
        few = len({speaker for _, speaker in told.values()}) < FEW_SPEAKERS
        for seed, model in enumerate(models):
            said = self.record(model, language, tuned)["words"][f"{language}/{test}"]
            for name, (words, speaker) in told.items():
                reference[f"{name}#{seed}"] = list(words)
                # with all of its seeds, as a speaker's utterances are
                speakers[f"{name}#{seed}"] = name if few else speaker
                hypothesis[f"{name}#{seed}"] = said[name].split()
        return score(reference, hypothesis, speakers)


@cache
def _reference(path: Path) -> Mapping[str, tuple[tuple[str, ...], str]]:
    return {each.id: (tuple(each.words), each.speaker) for each in DataDir.read(path)}
