"""Source speech has the loss, the target's audio only features, and both stand in every step."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from speechnlp_tl.core.batching import split_rows
from speechnlp_tl.speech.asr_task import SOURCE, TARGET, AsrTask
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.dataset import NO_AUGMENTATION
from speechnlp_tl.speech.domain_task import DomainAsrTask
from speechnlp_tl.speech.features import AugmentConfig


@pytest.fixture
def parts(utterances: list[Utterance]) -> tuple[list[Utterance], list[Utterance]]:
    """Source speech, and a target's whose transcripts no lexicon would take."""
    target = [replace(utterance, text="no such words") for utterance in utterances[40:52]]
    return utterances[:40], target


def test_the_loss_is_that_of_the_source_rows_alone(make_recogniser, parts):
    source, target = parts
    recogniser = make_recogniser()
    both = DomainAsrTask(recogniser, source, target, NO_AUGMENTATION)
    alone = AsrTask(recogniser, source, keep_prior=True)
    mixed = both.load([3, 41, 7, 45, 44], 0)
    assert mixed.domain.tolist() == [SOURCE, TARGET, SOURCE, TARGET, TARGET]
    plain = alone.load([3, 7], 0)
    assert mixed.units == plain.units
    step = both.step(recogniser.model, mixed)
    torch.testing.assert_close(step.loss, alone.step(recogniser.model, plain).loss)
    assert torch.equal(step.domain, mixed.domain)
    assert step.mask.shape == step.features["layer1"].shape[:2]


def test_rows_of_the_target_alone_have_no_loss(make_recogniser, parts):
    recogniser = make_recogniser()
    task = DomainAsrTask(recogniser, *parts, NO_AUGMENTATION)
    batch = task.load([40, 41], 0)
    assert batch.units == 0
    step = task.step(recogniser.model, batch)
    step.loss.backward()
    assert step.loss == 0
    assert step.mask.any()


def test_features_on_the_device_give_the_same_step(make_recogniser, parts):
    """Speed, warp and normalisation by speaker are the target's own."""
    augment = AugmentConfig(warps=[0.9, 1.1])
    losses = []
    for on_device in (False, True):
        recogniser = make_recogniser(features={"on_device": on_device, "cmvn": "speaker"})
        task = DomainAsrTask(recogniser, *parts, augment)
        step = task.step(recogniser.model, task.load([3, 41, 7, 45], 1))
        losses.append((step.loss, step.logits[step.mask]))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-2, atol=1e-2)  # the cache holds half precision


def test_a_target_with_a_source_speakers_name_is_normalised_by_itself(make_recogniser, utterances):
    own, same_name = utterances[:10], [replace(one, speaker=utterances[0].speaker) for one in utterances[50:]]
    recogniser = make_recogniser(features={"cmvn": "speaker"})
    task = DomainAsrTask(recogniser, own, same_name, NO_AUGMENTATION)
    mean, _ = task.train.speaker_statistics(0)
    assert not torch.allclose(mean, task.target.speaker_statistics(0)[0])
    alone = AsrTask(recogniser, own)
    assert torch.equal(mean, alone.train.speaker_statistics(0)[0])


def test_an_epoch_passes_once_over_the_target_and_every_step_has_both(make_recogniser, parts):
    source, target = parts
    task = DomainAsrTask(make_recogniser(), source, target, NO_AUGMENTATION, batch_seconds=8.0)
    seen: set[int] = set()
    for epoch in range(8):
        steps = task.batches(epoch)
        rows = [row for step in steps for row in step if row >= len(source)]
        assert sorted(rows) == list(range(len(source), len(source) + len(target)))
        for step in steps:
            spoken = sum(row < len(source) for row in step)
            parts_of_step = 2 if min(spoken, len(step) - spoken) >= 2 else 1
            for part in range(parts_of_step):
                kinds = {row < len(source) for row in split_rows(step, parts_of_step, part)}
                assert kinds == {True, False}, "also where a step is split over two processes"
        seen |= {row for step in steps for row in step if row < len(source)}
    assert task.batches(3) == task.batches(3)
    assert len(seen) > len(source) * 0.8, "epochs draw other source speech"
