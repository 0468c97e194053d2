"""Speech recognition as a `Task`: full-sum or frame cross-entropy training, word error rate on dev.

Unsupervised adaptation uses the same task on the recogniser's own hypotheses as transcripts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from speechnlp_tl.core.batching import batches_by_cost
from speechnlp_tl.core.task import Step, Task
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.wer import score
from speechnlp_tl.speech.acoustic_model import AcousticModel, AcousticOutput, StateHead
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.dataset import NO_AUGMENTATION, SpeechDataset
from speechnlp_tl.speech.features import AugmentConfig, apply_masks, normalise
from speechnlp_tl.speech.hmm import (
    GraphBatch,
    HmmGraph,
    annealed_full_sum,
    full_sum,
    pack_graphs,
    utterance_graph,
    viterbi,
)
from speechnlp_tl.speech.recogniser import Recogniser

IGNORE = -1
LEAST_WEIGHT = 0.02
"""Of acoustic scores, where annealing begins."""
SOURCE, TARGET = 0, 1
"""Domains of rows."""


@dataclass
class SpeechBatch:
    """B utterances: features, or waveforms where features are computed on the device; and what they should become."""

    ids: list[str]
    units: float
    """Output frames of the rows that have a transcript."""
    inputs: Tensor
    """(B, T, F) features, or (B, N) waveforms."""
    lengths: Tensor
    """(B,) frames, or samples."""
    graphs: GraphBatch | None
    """HMMs of the rows with a transcript, in their order; None when there is no such row."""
    alignment: Tensor | None = None
    """(B, T') pdf-ids where there is an alignment, else -1."""
    warps: Tensor | None = None
    speakers: Tensor | None = None
    """(2, B, 1, F) mean and scale of each row's speaker, where waveforms are to be normalised by speaker."""
    masks: list[list[tuple[int, ...]]] = field(default_factory=list)
    told: Tensor | None = None
    """(B,) bool: rows with a transcript; None when all rows have one."""
    domain: Tensor | None = None
    """(B,) int64 domain of each row, where the task knows more than one."""
    heads: list[str] | None = None
    """The head of each row; None: that of the recogniser."""
    graphs_beside: GraphBatch | None = None
    """HMMs of the same rows in the states of a second head, where one is trained beside."""

    def to(self, device: torch.device) -> SpeechBatch:
        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        return replace(
            self,
            inputs=self.inputs.to(device, non_blocking=True),
            lengths=self.lengths.to(device, non_blocking=True),
            graphs=None if self.graphs is None else self.graphs.to(device),
            graphs_beside=None if self.graphs_beside is None else self.graphs_beside.to(device),
            alignment=moved(self.alignment),
            speakers=moved(self.speakers),
            told=moved(self.told),
            domain=moved(self.domain),
        )


class AsrTask(Task):
    """Train or adapt a recogniser's acoustic model.

    Args:
        recogniser: the model is trained in place.
        train: utterances with transcripts whose words the lexicon has.
        dev: utterances that `evaluate` scores; none means nothing is evaluated.
        augment: perturbations of the training rows.
        batch_seconds: padded speech of one optimiser step.
        seed: of the order of rows and their perturbations.
        dataset: share one `SpeechDataset` (and its cache) over `train`, instead of making one.
        keep_prior: leave the running prior as it is: a little adaptation speech says nothing about how often a state
            is spoken.

    Raises:
        InputError: words without pronunciation, or utterances too short for their transcripts; lists all.
    """

    model: AcousticModel
    anneal: float = 0.0
    """Share of the run in which the weight of the acoustic scores rises to 1, see `annealed_full_sum`."""

    def __init__(
        self,
        recogniser: Recogniser,
        train: Sequence[Utterance],
        dev: Sequence[Utterance] = (),
        augment: AugmentConfig = NO_AUGMENTATION,
        batch_seconds: float = 60.0,
        seed: int = 0,
        dataset: SpeechDataset | None = None,
        keep_prior: bool = False,
    ) -> None:
        self.recogniser = recogniser
        self.model = recogniser.model
        self.batch_seconds = batch_seconds
        self.seed = seed
        self.keep_prior = keep_prior
        config = recogniser.config.features
        self.train = dataset or SpeechDataset(train, config, augment, seed)
        self.dev = SpeechDataset(dev, config)
        unknown = word_problems([*self.train.utterances, *self.dev.utterances], recogniser)
        self.graphs, too_long = training_graphs(self.train, recogniser)
        if unknown or too_long:
            raise InputError([*unknown, *too_long])
        self.alignments: dict[int, Tensor] | None = None

    def batches(self, epoch: int) -> list[list[int]]:
        return batches_by_cost(self.train.frames, 100 * self.batch_seconds, self.seed, epoch)

    def load(self, rows: list[int], epoch: int) -> SpeechBatch:
        waveforms = self.recogniser.config.features.on_device
        places = [self.place(row) for row in rows]
        if waveforms:
            showings = [self.showing(row) for row in rows]
            found = zip(places, showings, strict=True)
            loaded, warps, masks = zip(*(data.waveform(row, epoch, again) for (data, row), again in found), strict=True)
            inputs = list(loaded)
            frames = torch.tensor([self.train.fbank.num_frames(len(item)) for item in inputs])
        else:
            showings = [self.showing(row) for row in rows]
            found = zip(places, showings, strict=True)
            inputs, warps, masks = [data.perturbed(row, epoch, again) for (data, row), again in found], (), ()
            frames = torch.tensor([len(item) for item in inputs])
        output = self.model.output_lengths(frames)
        told = [place for place, row in enumerate(rows) if self.is_told(row)]
        return SpeechBatch(
            ids=[data.utterances[row].id for data, row in places],
            units=float(output[told].sum()),
            inputs=pad_sequence(inputs, batch_first=True),
            lengths=torch.tensor([len(item) for item in inputs]),
            graphs=pack_graphs([self.graphs[places[place][1]] for place in told]) if told else None,
            alignment=None if self.alignments is None else self._stretched_alignment(rows, output),
            warps=torch.tensor(warps) if waveforms else None,
            speakers=self._speakers(places) if waveforms else None,
            masks=list(masks),
            told=None if len(told) == len(rows) else torch.tensor([self.is_told(row) for row in rows]),
            domain=self.domains(rows),
            heads=self.heads(rows),
        )

    def place(self, row: int) -> tuple[SpeechDataset, int]:
        """Where a row's speech is."""
        return self.train, row

    def showing(self, row: int) -> int:
        """How often in its epoch the same speech comes before this row: each time it is perturbed in another way."""
        return 0

    def is_told(self, row: int) -> bool:
        """Whether a row has a transcript to learn from."""
        return row < len(self.train)

    def domains(self, rows: list[int]) -> Tensor | None:
        """(B,) domain of each row; None where there is but one."""
        return None

    def heads(self, rows: list[int]) -> list[str] | None:
        """The head of each row; None: that of the recogniser."""
        return None

    def step(self, model: nn.Module, batch: SpeechBatch) -> Step:
        features, lengths = self._features(batch)
        output = self.forward(model, features, lengths, batch)
        frames = output.logits.shape[1]
        mask = torch.arange(frames, device=lengths.device) < output.lengths.unsqueeze(1)
        log_posteriors = output.logits.float().log_softmax(dim=-1)
        if model is not self.model and not torch.is_grad_enabled():
            # a frozen source is compared in its outputs; its loss, which costs as much as the model's, is not asked for
            loss = log_posteriors.new_zeros(())
        else:
            loss = self.loss(log_posteriors, output, batch)
        if model is self.model and model.training and batch.units and not self.keep_prior:
            self.observe(log_posteriors.detach(), output, mask, batch)
        return Step(loss=loss, logits=output.logits, mask=mask, features=self.named(output), domain=batch.domain)

    def forward(self, model: nn.Module, features: Tensor, lengths: Tensor, batch: SpeechBatch) -> AcousticOutput:
        """Run a model on a batch."""
        output = model(features, lengths, batch.heads or self.recogniser.head)
        assert isinstance(output, AcousticOutput)
        return output

    def loss(self, log_posteriors: Tensor, output: AcousticOutput, batch: SpeechBatch) -> Tensor:
        """Summed over the frames of the rows that have a transcript."""
        if batch.graphs is None:
            return log_posteriors.sum() * 0.0  # no row has a transcript
        if batch.alignment is None:
            scores, lengths = self.recogniser.log_likelihoods(log_posteriors, batch.heads), output.lengths
            if batch.told is not None:
                scores, lengths = scores[batch.told], lengths[batch.told]
            return full_sum_loss(scores, lengths, batch.graphs, self.acoustic_weight)
        aligned = batch.alignment[:, : log_posteriors.shape[1]]
        return F.nll_loss(log_posteriors.transpose(1, 2), aligned, ignore_index=IGNORE, reduction="sum")

    @property
    def acoustic_weight(self) -> float:
        """Of the scores, beside the topology, in the choice of paths."""
        return max(LEAST_WEIGHT, self.progress / self.anneal) if self.progress < self.anneal else 1.0

    def named(self, output: AcousticOutput) -> dict[str, Tensor]:
        """The features of a step."""
        return output.hidden

    def observe(self, log_posteriors: Tensor, output: AcousticOutput, mask: Tensor, batch: SpeechBatch) -> None:
        """Let each head remember what it said of its own rows, for its prior."""
        if batch.heads is None:
            self.model.head(self.recogniser.head).observe(log_posteriors, mask)
            return
        for name in dict.fromkeys(batch.heads):
            rows = [row for row, own in enumerate(batch.heads) if own == name]
            head = self.model.head(name)
            head.observe(log_posteriors[rows, :, : head.num_pdfs], mask[rows])

    @property
    def trained_heads(self) -> list[StateHead]:
        """The heads whose priors follow the training."""
        return [self.model.head(self.recogniser.head)]

    def end_step(self, total: Callable[[Tensor], Tensor]) -> None:
        if self.keep_prior:
            return
        observed = [head.take_observed() for head in self.trained_heads]
        together = total(torch.cat(observed)).split([len(each) for each in observed])
        for head, seen in zip(self.trained_heads, together, strict=True):
            head.update_prior(seen, self.recogniser.config.hmm.prior_decay)

    def skip_step(self) -> None:
        for head in self.trained_heads:
            head.take_observed()

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        if not len(self.dev):
            return {}
        assert isinstance(model, AcousticModel)
        found = self.recogniser.with_model(model).transcribe(self.dev)
        result = score(
            {utterance.id: utterance.words for utterance in self.dev.utterances},
            {name: hypothesis.words for name, hypothesis in found.items()},
        )
        return {"wer": result.wer}

    def align(self) -> None:
        """Align the training rows with the current model; from here on the loss is frame cross-entropy on that."""
        scores = dict(self.recogniser.scores(self.train))
        self.alignments = {}
        for row, utterance in enumerate(self.train.utterances):
            likelihoods = torch.from_numpy(scores[utterance.id]).unsqueeze(0)
            graph = pack_graphs([self.graphs[row]])
            states, _ = viterbi(likelihoods, torch.tensor([likelihoods.shape[1]]), graph)
            self.alignments[row] = graph.pdf[0][states[0]] if int(states[0, 0]) >= 0 else states[0]

    def _features(self, batch: SpeechBatch) -> tuple[Tensor, Tensor]:
        if batch.warps is None:
            return batch.inputs, batch.lengths
        config = self.recogniser.config.features
        features = self.train.fbank(batch.inputs, batch.warps)
        lengths = torch.tensor([self.train.fbank.num_frames(int(n)) for n in batch.lengths.tolist()])
        lengths = lengths.to(features.device)
        if config.cmvn == "utterance":
            features = normalise(features, lengths, config.variance)
        elif batch.speakers is not None:
            mean, scale = batch.speakers
            features = (features - mean) / scale
        masked = [apply_masks(item, masks) for item, masks in zip(features, batch.masks, strict=True)]
        return torch.stack(masked), lengths

    def _speakers(self, places: list[tuple[SpeechDataset, int]]) -> Tensor | None:
        if self.recogniser.config.features.cmvn != "speaker":
            return None
        mean, scale = zip(*(data.speaker_statistics(row) for data, row in places), strict=True)
        return torch.stack([torch.stack(mean), torch.stack(scale)]).unsqueeze(2)

    def _stretched_alignment(self, rows: list[int], lengths: Tensor) -> Tensor:
        """Alignments of the unperturbed rows, stretched to the perturbed rows' lengths (nearest frame)."""
        assert self.alignments is not None
        stretched = []
        for row, length in zip(rows, lengths.tolist(), strict=True):
            aligned = self.alignments[row]
            position = (torch.arange(length) + 0.5) * (len(aligned) / max(length, 1))
            stretched.append(aligned[position.long().clamp(max=len(aligned) - 1)])
        return pad_sequence(stretched, batch_first=True, padding_value=IGNORE)


def full_sum_loss(scores: Tensor, lengths: Tensor, graphs: GraphBatch, weight: float = 1.0) -> Tensor:
    """Minus the log of the summed probability of all paths, over all rows: a scalar. With a weight below 1 acoustic
    scores count less among the paths."""
    log_z = annealed_full_sum(scores, lengths, graphs, weight) if weight < 1 else full_sum(scores, lengths, graphs)
    # a row that speed perturbation made too short for its words teaches nothing; NaN must stay visible
    return -torch.where(torch.isneginf(log_z), torch.zeros_like(log_z), log_z).sum()


def word_problems(utterances: Sequence[Utterance], recogniser: Recogniser) -> list[Problem]:
    """Every word without pronunciation, with an utterance that has it."""
    where: dict[str, str] = {}
    for utterance in utterances:
        for word in utterance.words:
            where.setdefault(word, utterance.id)
    remedy = "add it to the lexicon, set language in the model's config.yaml to let espeak-ng say it, or correct it"
    return [
        Problem(f"word {word} (first in utterance {where[word]}) has no pronunciation", remedy=remedy)
        for word in recogniser.lexicon.missing(where)
    ]


def training_graphs(
    dataset: SpeechDataset, recogniser: Recogniser, rows: Sequence[int] | None = None
) -> tuple[list[HmmGraph], list[Problem]]:
    """The HMM of each row's transcript, and the rows with fewer output frames than their shortest path.

    Of all rows, or of those named.

    Rows with words that the lexicon lacks have no HMM; see `word_problems`.
    """
    topology, lexicon = recogniser.topology, recogniser.lexicon
    graphs, problems = [], []
    chosen = range(len(dataset)) if rows is None else rows
    frames = torch.tensor([dataset.frames[row] for row in chosen], dtype=torch.int64)
    for row, length in zip(chosen, recogniser.model.output_lengths(frames).tolist(), strict=True):
        utterance = dataset.utterances[row]
        words = utterance.words
        if lexicon.missing(words):
            continue
        graph = utterance_graph(words, {word: lexicon.pronunciations(word) for word in words}, topology)
        graphs.append(graph)
        if graph.min_frames > length:
            problems.append(
                Problem(
                    f"utterance {utterance.id}: the transcript of {len(words)} words needs {graph.min_frames} frames, "
                    f"the audio has {length}",
                    remedy="correct the transcript or remove the utterance",
                )
            )
    return graphs, problems
