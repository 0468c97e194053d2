"""Recognition as a task: its loss, its units, its errors, and that it learns from nothing but sound and words."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from speechnlp_tl.core.config import TrainConfig
from speechnlp_tl.core.trainer import Trainer
from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.asr_task import LEAST_WEIGHT, AsrTask
from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.features import AugmentConfig
from speechnlp_tl.speech.hmm import annealed_full_sum, full_sum, utterance_graph, viterbi
from speechnlp_tl.speech.hmm_graph import pack_graphs
from speechnlp_tl.speech.recogniser import Recogniser
from tests.tiny import TinyCorpus

MakeRecogniser = Callable[..., Recogniser]
AUGMENT = AugmentConfig(
    speeds=[0.9, 1.0, 1.1], warps=[0.9, 1.0, 1.1], time_masks=2, frequency_masks=1, frequency_mask_bins=4
)


def settings(**given: Any) -> TrainConfig:
    defaults: dict[str, Any] = {"device": "cpu", "tensorboard": False, "gradient_check": False}
    return TrainConfig(**(defaults | given))


def states_of(recogniser: Recogniser) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in recogniser.model.state_dict().items()}


# The loss and its units


def test_the_loss_is_the_full_sum_over_real_frames_and_the_units_are_these_frames(
    make_recogniser: MakeRecogniser, utterances: list[Utterance]
) -> None:
    recogniser = make_recogniser(hmm={"prior_scale": 0.4})
    recogniser.model.head().prior.copy_(torch.rand(recogniser.topology.num_pdfs).softmax(0))
    task = AsrTask(recogniser, utterances[:5])
    recogniser.model.eval()
    batch = task.load([0, 1, 2, 3, 4], 0)
    step = task.step(recogniser.model, batch)
    expected, frames = 0.0, 0
    for utterance, row in zip(utterances[:5], range(5), strict=True):
        features = task.train.plain(row).unsqueeze(0)
        logits = recogniser.model(features, torch.tensor([features.shape[1]])).logits.double()
        scores = logits.log_softmax(-1) - 0.4 * recogniser.model.head().prior.double().log()
        pronunciations = {word: recogniser.lexicon.pronunciations(word) for word in utterance.words}
        graph = pack_graphs([utterance_graph(utterance.words, pronunciations, recogniser.topology)])
        expected -= full_sum(scores, torch.tensor([scores.shape[1]]), graph).item()
        frames += scores.shape[1]
    assert step.loss.item() == pytest.approx(expected, rel=1e-5)
    assert batch.units == int(step.mask.sum()) == frames
    assert batch.ids == [utterance.id for utterance in utterances[:5]]
    assert step.logits.shape[:2] == step.mask.shape
    assert all(layer.shape[:2] == step.mask.shape for layer in step.features.values())


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("on_device", [False, True])
def test_the_loss_of_a_batch_is_the_sum_of_the_losses_of_its_rows(
    aligned: bool, on_device: bool, make_recogniser: MakeRecogniser, utterances: list[Utterance]
) -> None:
    task = AsrTask(make_recogniser(features={"on_device": on_device}), utterances[:6], augment=AUGMENT)
    if aligned:
        task.align()
    model = task.model.eval()
    together = task.load([4, 0, 3, 5], 1)
    alone = [task.load([row], 1) for row in (4, 0, 3, 5)]
    assert together.units == sum(batch.units for batch in alone)
    losses = [task.step(model, batch).loss.item() for batch in alone]
    assert task.step(model, together).loss.item() == pytest.approx(sum(losses), rel=1e-5)


@pytest.mark.parametrize("accumulate", [2, 3])
def test_accumulation_does_not_change_the_weights(
    accumulate: int, make_recogniser: MakeRecogniser, utterances: list[Utterance]
) -> None:
    trained = []
    for parts in (1, accumulate):
        recogniser = make_recogniser()
        task = AsrTask(recogniser, utterances[:20], augment=AUGMENT, batch_seconds=15.0)
        assert any(len(rows) > accumulate for rows in task.batches(0))
        train = settings(steps=4, accumulate=parts, optimizer="sgd", learning_rate=0.05, clip_norm=1.0)
        Trainer(task, train).fit()
        trained.append(states_of(recogniser))
    fresh = states_of(make_recogniser())
    for name, value in trained[0].items():
        assert not torch.equal(value, fresh[name]), f"{name} is not trained"
        torch.testing.assert_close(trained[1][name], value, atol=1e-5, rtol=0)


def test_a_row_too_short_for_its_words_teaches_nothing_and_breaks_nothing(
    make_recogniser: MakeRecogniser, utterances: list[Utterance]
) -> None:
    task = AsrTask(make_recogniser(), utterances[:3])
    expected = task.step(task.model.eval(), task.load([0, 2], 0)).loss
    batch = task.load([0, 1, 2], 0)
    endless = utterance_graph(["asi"] * 99, {"asi": [("A", "S", "I")]}, task.recogniser.topology)
    batch.graphs = pack_graphs([task.graphs[0], endless, task.graphs[2]])
    loss = task.step(task.model, batch).loss
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in task.model.parameters())


def test_acoustic_scores_come_to_count_while_the_run_anneals(
    make_recogniser: MakeRecogniser, utterances: list[Utterance]
) -> None:
    task = AsrTask(make_recogniser(), utterances[:2])
    assert task.acoustic_weight == 1.0
    task.anneal = 0.5
    weights = {0.0: LEAST_WEIGHT, 0.25: 0.5, 0.5: 1.0, 1.0: 1.0}
    batch = task.load([0, 1], 0)
    step = task.step(task.model.eval(), batch)
    scores = task.recogniser.log_likelihoods(step.logits.log_softmax(-1))
    assert batch.graphs is not None
    for progress, weight in weights.items():
        task.progress = progress
        assert task.acoustic_weight == weight
        log_z = annealed_full_sum if weight < 1 else full_sum
        given = (scores, step.mask.sum(1), batch.graphs, *([weight] if weight < 1 else []))
        assert task.step(task.model, batch).loss.item() == pytest.approx(-log_z(*given).sum().item(), rel=1e-5)


def test_a_broken_model_shows_in_the_loss(make_recogniser: MakeRecogniser, utterances: list[Utterance]) -> None:
    """Scores that are not numbers fit no path either; taken for a row too short, they would hide for a whole run."""
    task = AsrTask(make_recogniser(), utterances[:3])
    with torch.no_grad():
        task.model.head().linear.weight[0, 0] = math.nan
    assert task.step(task.model, task.load([0, 1, 2], 0)).loss.isnan()


# Features on the device


@pytest.mark.parametrize("cmvn", ["utterance", "speaker", "none"])
@pytest.mark.parametrize("variance", [True, False])
def test_features_computed_on_the_device_are_those_of_the_loader(
    cmvn: str, variance: bool, make_recogniser: MakeRecogniser, utterances: list[Utterance]
) -> None:
    rows = [0, 7, 13, 22, 31]
    batches = []
    for on_device in (False, True):
        recogniser = make_recogniser(features={"cmvn": cmvn, "variance": variance, "on_device": on_device})
        task = AsrTask(recogniser, utterances[:32], augment=AUGMENT, seed=3)
        batch = task.load(rows, 2).to(torch.device("cpu"))
        batches.append((batch, *task._features(batch)))
    (loaded, expected, lengths), (computed, features, own_lengths) = batches
    assert torch.equal(lengths, own_lengths)
    assert loaded.units == computed.units
    for row, length in enumerate(lengths.tolist()):
        # the loader's cache is in half precision
        torch.testing.assert_close(features[row, :length], expected[row, :length], atol=1e-3, rtol=1e-3)


def test_scores_use_the_features_that_were_trained_on(
    make_recogniser: MakeRecogniser, utterances: list[Utterance]
) -> None:
    recogniser = make_recogniser(features={"cmvn": "speaker", "on_device": True})
    task = AsrTask(recogniser, utterances[:12])
    scores = dict(recogniser.scores(task.train))
    for row in (0, 11):
        step = task.step(recogniser.model.eval(), task.load([row], 0))
        own = recogniser.log_likelihoods(step.logits.log_softmax(-1))[0].detach()
        torch.testing.assert_close(torch.from_numpy(scores[utterances[row].id]), own, atol=1e-2, rtol=1e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("cmvn", ["utterance", "speaker"])
def test_the_gpu_computes_the_same_loss_from_waveforms(
    cmvn: str, make_recogniser: MakeRecogniser, utterances: list[Utterance]
) -> None:
    task = AsrTask(make_recogniser(features={"on_device": True, "cmvn": cmvn}), utterances[:12], augment=AUGMENT)
    batch = task.load([0, 5, 11], 1)
    expected = task.step(task.model.eval(), batch).loss.item()
    cuda = torch.device("cuda")
    assert task.step(task.model.to(cuda), batch.to(cuda)).loss.item() == pytest.approx(expected, rel=1e-3)


# What is wrong with the data


def test_unknown_words_and_transcripts_too_long_are_listed_together(
    make_recogniser: MakeRecogniser, utterances: list[Utterance]
) -> None:
    train = list(utterances[:6])
    train[1] = replace(train[1], text="asi zebra gnu")
    train[2] = replace(train[2], text=" ".join(["asi"] * 99))
    train[4] = replace(train[4], text="gnu " + " ".join(["sam"] * 99))
    train[5] = replace(train[5], text=" ".join(["mui"] * 80))
    dev = [replace(utterances[7], text="okapi")]
    with pytest.raises(InputError) as raised:
        AsrTask(make_recogniser(), train, dev)
    problems = [problem.what for problem in raised.value.problems]
    assert [word for word in ("gnu", "okapi", "zebra") if any(f"word {word} " in what for what in problems)] == [
        "gnu",
        "okapi",
        "zebra",
    ]
    too_long = [train[row].id for row in (2, 5)]
    assert all(any(f"utterance {name}:" in what for what in problems) for name in too_long)
    assert len(problems) == 5
    assert "99 words" in next(what for what in problems if too_long[0] in what)


def test_the_longest_transcript_that_fits_is_accepted(
    make_recogniser: MakeRecogniser, utterances: list[Utterance]
) -> None:
    recogniser = make_recogniser()
    frames = len(AsrTask(recogniser, utterances[:1]).train.plain(0))
    most = -(-frames // 3) // 6  # three phones of two states, a third as many frames
    task = AsrTask(recogniser, [replace(utterances[0], text=" ".join(["asi"] * most))])
    assert task.step(task.model, task.load([0], 0)).loss.item() > 0
    with pytest.raises(InputError):
        AsrTask(recogniser, [replace(utterances[0], text=" ".join(["asi"] * (most + 1)))])


# The running prior


def test_training_moves_the_prior_and_adaptation_can_keep_it(
    make_recogniser: MakeRecogniser, utterances: list[Utterance]
) -> None:
    for keep_prior in (False, True):
        recogniser = make_recogniser(hmm={"prior_decay": 0.5})
        before = recogniser.model.head().prior.clone()
        task = AsrTask(recogniser, utterances[:8], keep_prior=keep_prior)
        Trainer(task, settings(steps=2)).fit()
        after = recogniser.model.head().prior
        assert torch.equal(before, after) == keep_prior
        assert after.sum().item() == pytest.approx(1.0, abs=1e-5)


def test_the_prior_is_the_decayed_mean_posterior_of_each_step(
    make_recogniser: MakeRecogniser, utterances: list[Utterance]
) -> None:
    recogniser = make_recogniser(hmm={"prior_decay": 0.75})
    task = AsrTask(recogniser, utterances[:8])
    rows = task.batches(0)[0]
    expected = 0.75 * recogniser.model.head().prior
    step = task.step(recogniser.model.eval(), task.load(rows, 0))
    expected = expected + 0.25 * step.logits.softmax(-1)[step.mask].mean(0).detach()
    Trainer(task, settings(steps=1)).fit()
    torch.testing.assert_close(recogniser.model.head().prior, expected, atol=1e-6, rtol=0)


def test_neither_evaluation_nor_a_source_model_touches_the_prior(
    make_recogniser: MakeRecogniser, utterances: list[Utterance]
) -> None:
    recogniser, source = make_recogniser(), make_recogniser(seed=1)
    task = AsrTask(recogniser, utterances[:4], dev=utterances[4:6])
    batch = task.load([0, 1], 0)
    source.model.train()
    with torch.no_grad():
        compared = task.step(source.model, batch)
    assert compared.logits.isfinite().all()
    assert compared.loss == 0, "nobody asks for the loss of a model that is only compared with"
    recogniser.model.eval()
    task.step(recogniser.model, batch)
    task.evaluate(recogniser.model)
    assert not recogniser.model.head().take_observed().any()
    assert not source.model.head().take_observed().any()


# Alignment


def test_alignments_are_the_viterbi_paths_and_the_loss_is_their_cross_entropy(
    make_recogniser: MakeRecogniser, utterances: list[Utterance]
) -> None:
    recogniser = make_recogniser(encoder={"dropout": 0.4})
    task = AsrTask(recogniser, utterances[:4])
    recogniser.model.train()
    task.align()
    assert recogniser.model.training
    assert task.alignments is not None
    batch = task.load([0, 1, 2, 3], 0)
    step = task.step(recogniser.model.eval(), batch)
    expected = 0.0
    for row, (_, scores) in enumerate(sorted(recogniser.scores(task.train))):
        graph = pack_graphs([task.graphs[row]])
        states, _ = viterbi(torch.from_numpy(scores).unsqueeze(0), torch.tensor([len(scores)]), graph)
        pdfs = graph.pdf[0][states[0]]
        assert torch.equal(task.alignments[row], pdfs)
        assert batch.alignment is not None
        assert batch.alignment[row].tolist() == [*pdfs.tolist(), *[-1] * (batch.alignment.shape[1] - len(pdfs))]
        expected -= step.logits[row, : len(pdfs)].log_softmax(-1).gather(1, pdfs.view(-1, 1)).sum().item()
    assert step.loss.item() == pytest.approx(expected, rel=1e-5)


def test_alignments_of_faster_and_slower_rows_keep_their_order_and_ends(
    make_recogniser: MakeRecogniser, utterances: list[Utterance]
) -> None:
    task = AsrTask(make_recogniser(), utterances[:4], augment=AugmentConfig(speeds=[0.8, 1.25]))
    task.align()
    assert task.alignments is not None
    for epoch in range(4):
        batch = task.load([0, 1, 2, 3], epoch)
        lengths = task.model.output_lengths(batch.lengths).tolist()
        assert batch.alignment is not None
        for row, length in enumerate(lengths):
            stretched, plain = batch.alignment[row, :length].tolist(), task.alignments[row].tolist()
            assert batch.alignment[row, length:].eq(-1).all()
            assert length != len(plain)
            for frame, pdf in enumerate(stretched):
                position = (frame + 0.5) * len(plain) / length
                assert pdf in plain[max(0, int(position) - 1) : int(position) + 2]


# Learning


@pytest.fixture(scope="module")
def dev(tiny_corpus: TinyCorpus) -> list[Utterance]:
    return list(DataDir.read(tiny_corpus.dev))


def test_without_dev_data_nothing_is_evaluated(make_recogniser: MakeRecogniser, utterances: list[Utterance]) -> None:
    recogniser = make_recogniser()
    assert AsrTask(recogniser, utterances[:2]).evaluate(recogniser.model) == {}


@pytest.mark.parametrize("kind", ["tdnn", "conformer"])
def test_a_flat_start_learns_to_recognise_and_a_second_pass_keeps_it(
    kind: str, make_recogniser: MakeRecogniser, utterances: list[Utterance], dev: list[Utterance]
) -> None:
    recogniser = make_recogniser(encoder={"kind": kind, "norm": "batch" if kind == "tdnn" else "layer"})
    task = AsrTask(recogniser, utterances, dev, batch_seconds=12.0)
    untrained = task.evaluate(recogniser.model.eval())["wer"]
    train = settings(epochs=10, learning_rate=6e-3, schedule="onecycle", warmup=0.2, clip_norm=5.0, evaluate_every=None)
    Trainer(task, train).fit()
    trained = task.evaluate(recogniser.model)["wer"]
    assert untrained > 60
    assert trained < 12
    task.align()
    Trainer(task, settings(epochs=2, learning_rate=1e-3, evaluate_every=None)).fit()
    assert task.evaluate(recogniser.model)["wer"] <= trained + 3
