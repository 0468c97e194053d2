"""Speech of several languages in the same batches: each utterance trains the shared layers and its own language's head
(Huang et al. 2013; Heigold et al. 2013)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from speechnlp_tl.core.batching import batches_by_cost, drawn_rows, sampled_counts
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.wer import score
from speechnlp_tl.speech.acoustic_model import AcousticModel, AcousticOutput, StateHead
from speechnlp_tl.speech.asr_task import AsrTask, SpeechBatch, full_sum_loss, training_graphs, word_problems
from speechnlp_tl.speech.data_dir import Utterance, untold
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.features import FeatureConfig
from speechnlp_tl.speech.hmm import HmmGraph, pack_graphs
from speechnlp_tl.speech.multilingual import SHARED_HEAD, MultilingualRecogniser
from speechnlp_tl.speech.recogniser import Recogniser

OLD_HEAD = "old:"
"""Before the name of a head whose logits are among a step's features."""


class MultilingualTask(AsrTask):
    """Train a multilingual recogniser's acoustic model.

    An epoch has as many seconds as the data. Languages share them, and each step's, by temperature, and each shows an
    utterance a second time only after all others, perturbed in another way; what an epoch holds depends on (seed,
    epoch) alone. The domain of a row is its
    language, in the order of `recognisers.languages`, for a language-adversarial term.

    With a shared head beside those of the languages, the loss is (1 - w) of a row's own head and w of the shared one.

    Args:
        recognisers: the model is trained in place.
        train: utterances with transcripts and a language.
        dev: utterances that `evaluate` scores, language by language; those of a language may be missing.
        temperature: of the languages: 1 as they are, large all alike.
        shared_weight: w.
        old_heads: heads whose logits of all rows are wanted as features `old:<head>`: what conservative training
            compares with the source model's.

    Raises:
        InputError: utterances without or with an unknown language, words without pronunciation, or utterances too
            short for their transcripts; lists all.
    """

    def __init__(
        self,
        recognisers: MultilingualRecogniser,
        train: SpeechDataset,
        dev: Sequence[Utterance] = (),
        batch_seconds: float = 60.0,
        temperature: float = 1.0,
        shared_weight: float = 0.5,
        old_heads: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        if temperature < 1 or not 0 <= shared_weight <= 1:
            raise InputError(f"impossible settings: {temperature=}, {shared_weight=}")
        self.recognisers = recognisers
        self.model: AcousticModel = recognisers.model
        self.recogniser: Recogniser = next(iter(recognisers.languages.values()))
        self.batch_seconds, self.temperature, self.seed = batch_seconds, temperature, seed
        self.shared_weight = shared_weight if recognisers.config.shared_phones else 0.0
        self.old_heads = list(old_heads)
        self.keep_prior = False
        self.train = train
        self.alignments = None
        self.language_of = [utterance.language or "" for utterance in train.utterances]
        problems = language_problems([*train.utterances, *dev], recognisers.languages)
        if problems:
            raise InputError(problems)
        self.devs = by_language(dev, recognisers.config.features)
        self.graphs, problems = self._all_graphs(recognisers.languages)
        beside: list[HmmGraph] = []
        if self.shared_weight:
            beside, more = self._all_graphs(shared_views(recognisers))
            problems += [each for each in more if str(each) not in {str(known) for known in problems}]
        if problems:
            raise InputError(problems)
        self.graphs_beside = beside

    def _all_graphs(self, languages: Mapping[str, Recogniser]) -> tuple[list[HmmGraph], list[Problem]]:
        """The HMM of each training row in its language's states, and what is wrong with transcripts."""
        graphs: dict[int, HmmGraph] = {}
        problems: list[Problem] = []
        for name, recogniser in languages.items():
            rows = [row for row, own in enumerate(self.language_of) if own == name]
            heard = [self.train.utterances[row] for row in rows]
            said = self.devs[name].utterances if name in self.devs else []
            unknown = word_problems([*heard, *said], recogniser)
            problems += unknown
            made, too_long = training_graphs(self.train, recogniser, rows)
            problems += too_long
            if not unknown:
                graphs.update(zip(rows, made, strict=True))
        return [graphs[row] for row in sorted(graphs)], problems

    def batches(self, epoch: int) -> list[list[int]]:
        """Steps that hold about each language's share of `batch_seconds`, and whole rows: a language with few of them
        is not in every step, and many languages may make a step longer. A row that is shown once more in an epoch
        comes under another number: its own plus a multiple of the number of rows."""
        random = np.random.default_rng([self.seed, epoch, 1])
        frames, rows_of = np.asarray(self.train.frames), self._rows_of_languages()
        sizes = [int(frames[rows].sum()) for rows in rows_of]
        wanted = sampled_counts(sizes, self.temperature, sum(sizes))
        budget = 100 * self.batch_seconds
        parts = []
        for rows, size, seconds in zip(rows_of, sizes, wanted, strict=True):
            count = max(1, round(seconds * len(rows) / max(size, 1)))
            places = drawn_rows(len(rows), count, random)
            shown = np.arange(count) // len(rows)  # all rows come before any comes again
            drawn = rows[places] + shown * len(self.train)
            share = budget * seconds / sum(wanted)
            own = batches_by_cost(frames[rows[places]].tolist(), share, self.seed, epoch)
            parts.append([[int(drawn[place]) for place in batch] for batch in own])
        return self._mixed(parts, frames, random, longest_first=epoch == 0)

    def _rows_of_languages(self) -> list[npt.NDArray[np.int64]]:
        members = [np.flatnonzero([own == name for own in self.language_of]) for name in self.recognisers.languages]
        return [rows for rows in members if len(rows)]

    def _mixed(
        self,
        parts: Sequence[list[list[int]]],
        frames: npt.NDArray[np.int64],
        random: np.random.Generator,
        longest_first: bool,
    ) -> list[list[int]]:
        """One batch of each language a step, as far as they go; long rows beside long ones, to need little padding."""
        steps: list[list[int]] = [[] for _ in range(max(map(len, parts)))]
        for batches in parts:
            by_length = sorted(batches, key=lambda rows: max(frames[row % len(frames)] for row in rows))
            for number, batch in enumerate(by_length):
                steps[number * len(steps) // len(batches)] += batch
        steps = [step for step in steps if step]
        order = random.permutation(len(steps)).tolist()
        if longest_first:  # what does not fit into memory fails at once
            order.sort(key=lambda number: number != len(steps) - 1)
        return [steps[number] for number in order]

    def load(self, rows: list[int], epoch: int) -> SpeechBatch:
        batch = super().load(rows, epoch)
        if self.shared_weight:
            batch.graphs_beside = pack_graphs([self.graphs_beside[self.place(row)[1]] for row in rows])
        return batch

    def place(self, row: int) -> tuple[SpeechDataset, int]:
        return self.train, row % len(self.train)

    def showing(self, row: int) -> int:
        return row // len(self.train)

    def is_told(self, row: int) -> bool:
        return True

    def heads(self, rows: list[int]) -> list[str]:
        return [self.recognisers.config.languages[self._language(row)].head for row in rows]

    def domains(self, rows: list[int]) -> Tensor:
        number = {name: place for place, name in enumerate(self.recognisers.languages)}
        return torch.tensor([number[self._language(row)] for row in rows])

    def _language(self, row: int) -> str:
        return self.language_of[row % len(self.train)]

    def forward(self, model: nn.Module, features: Tensor, lengths: Tensor, batch: SpeechBatch) -> AcousticOutput:
        beside = [*self.old_heads, *([SHARED_HEAD] if self.shared_weight else [])]
        heads = batch.heads
        if isinstance(model, AcousticModel) and not set(heads or ()) <= set(model.heads):
            heads = self.old_heads[:1] * len(heads or ())  # the source model does not know the new language
        output = model(features, lengths, heads, beside)
        assert isinstance(output, AcousticOutput)
        return output

    def loss(self, log_posteriors: Tensor, output: AcousticOutput, batch: SpeechBatch) -> Tensor:
        own = super().loss(log_posteriors, output, batch)
        if not self.shared_weight:
            return own
        assert batch.graphs_beside is not None
        shared = output.beside[SHARED_HEAD].float().log_softmax(dim=-1)
        scores = self.recogniser.log_likelihoods(shared, SHARED_HEAD)
        beside = full_sum_loss(scores, output.lengths, batch.graphs_beside, self.acoustic_weight)
        return (1 - self.shared_weight) * own + self.shared_weight * beside

    def named(self, output: AcousticOutput) -> dict[str, Tensor]:
        return output.hidden | {f"{OLD_HEAD}{name}": output.beside[name] for name in self.old_heads}

    def observe(self, log_posteriors: Tensor, output: AcousticOutput, mask: Tensor, batch: SpeechBatch) -> None:
        super().observe(log_posteriors, output, mask, batch)
        if self.shared_weight:
            shared = output.beside[SHARED_HEAD].detach().float().log_softmax(dim=-1)
            self.model.head(SHARED_HEAD).observe(shared, mask)

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """WER of each language with dev speech, `wer_<language>`, and their mean, `wer`."""
        assert isinstance(model, AcousticModel)
        found = {}
        for name, dev in self.devs.items():
            hypotheses = self.recognisers.language(name).with_model(model).transcribe(dev)
            references = {utterance.id: utterance.words for utterance in dev.utterances}
            found[name] = score(references, {each: one.words for each, one in hypotheses.items()}).wer
        if not found:
            return {}
        return {"wer": sum(found.values()) / len(found), **{f"wer_{name}": wer for name, wer in found.items()}}

    @property
    def trained_heads(self) -> list[StateHead]:
        names = {self.recognisers.config.languages[name].head for name in set(self.language_of)}
        return [self.model.head(name) for name in self.model.heads if name in names or self._is_beside(name)]

    def _is_beside(self, name: str) -> bool:
        return bool(self.shared_weight) and name == SHARED_HEAD


def by_language(
    utterances: Sequence[Utterance], features: FeatureConfig, cache_mb: float = 600.0, allow_pipes: bool = False
) -> dict[str, SpeechDataset]:
    """The utterances of each language that has some."""
    parts: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        parts.setdefault(utterance.language or "", []).append(utterance)
    return {
        name: SpeechDataset(part, features, cache_mb=cache_mb / len(parts), allow_pipes=allow_pipes)
        for name, part in parts.items()
    }


def language_problems(
    utterances: Sequence[Utterance], known: Collection[str], file: Path | None = None
) -> list[Problem]:
    """Every utterance without a language, or with one that is not known; `file` is where that stands."""
    problems = []
    for utterance in utterances:
        if utterance.language is None:
            remedy = "add the utterance's line to utt2lang: '<utterance> <language>'"
            problems.append(Problem(f"utterance {utterance.id} has no language", file, remedy=remedy))
        elif utterance.language not in known:
            remedy = f"correct utt2lang; the model's languages are {', '.join(known)}"
            what = f"utterance {utterance.id} is of language {utterance.language}, which the model does not have"
            problems.append(Problem(what, file, remedy=remedy))
    return problems


def told_of(known: Collection[str]) -> Callable[[Sequence[Utterance], Path], list[Problem]]:
    """What is wrong with a data directory, for `read_all`: utterances without transcript, or of no language `known`."""
    return lambda read, folder: [*untold(read, folder), *language_problems(read, known, folder / "utt2lang")]


def shared_views(recognisers: MultilingualRecogniser) -> dict[str, Recogniser]:
    """Each language's recogniser with the states of the shared head, where one is trained beside."""
    phones = recognisers.config.shared_phones
    assert phones is not None
    return {
        name: replace(own, config=own.config.model_copy(update={"phones": phones}), head=SHARED_HEAD)
        for name, own in recognisers.languages.items()
    }
