"""Batches of several languages: whose head is trained, with what, how often, and what is refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.asr_task import AsrTask
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.features import AugmentConfig
from speechnlp_tl.speech.lexicon import Lexicon
from speechnlp_tl.speech.multilingual import SHARED_HEAD, MultilingualRecogniser
from speechnlp_tl.speech.multilingual_task import OLD_HEAD, MultilingualTask, shared_views
from speechnlp_tl.transfer.adversarial import DANN
from tests.speech.two_languages import recognisers, spoken, words


@pytest.fixture
def mixed(utterances: list[Utterance]) -> list[Utterance]:
    """Twelve utterances of one language and four of the other."""
    return [*spoken(utterances[:12], "xa"), *spoken(utterances[20:24], "xb")]


def task_of(made: MultilingualRecogniser, speech: list[Utterance], **settings: object) -> MultilingualTask:
    data = SpeechDataset(speech, made.config.features)
    return MultilingualTask(made, data, **settings)  # type: ignore[arg-type]


def test_the_loss_is_that_of_each_language_alone(lexicon: Lexicon, mixed: list[Utterance]) -> None:
    made = recognisers(lexicon)
    made.model.head("xb").prior.copy_(torch.rand(made.model.head("xb").num_pdfs).softmax(0))
    task = task_of(made, mixed)
    rows = [0, 13, 1, 14]
    step = task.step(made.model, task.load(rows, 0))
    alone = 0.0
    for name, part in (("xa", [0, 1]), ("xb", [13, 14])):
        own = AsrTask(made.language(name), [mixed[row] for row in part])
        alone += own.step(made.model, own.load([0, 1], 0)).loss.item()
    assert step.loss.item() == pytest.approx(alone, rel=1e-5)
    assert step.domain is not None
    assert step.domain.tolist() == [0, 1, 0, 1]


def test_a_head_learns_from_its_own_language_alone(lexicon: Lexicon, mixed: list[Utterance]) -> None:
    made = recognisers(lexicon)
    task = task_of(made, mixed)
    task.step(made.model, task.load([0, 1], 0)).loss.backward()
    assert all(weight.grad is None for weight in made.model.head("xb").parameters())
    assert all(weight.grad is not None for weight in made.model.head("xa").parameters())
    assert all(weight.grad is not None for weight in made.model.encoder.parameters())


def test_priors_are_kept_by_head(lexicon: Lexicon, mixed: list[Utterance]) -> None:
    made = recognisers(lexicon)
    task = task_of(made, mixed)
    made.model.train()
    task.step(made.model, task.load([0, 1], 0))
    before = made.model.head("xb").prior.clone()
    task.end_step(lambda tensor: tensor)
    assert torch.equal(made.model.head("xb").prior, before)
    own = made.model.head("xa").prior
    assert not torch.allclose(own, torch.full_like(own, 1 / len(own)))
    assert own.sum().item() == pytest.approx(1)
    # a mixed step: each head's prior moves by the mean posterior of its own rows
    rows = [2, 12, 3]
    step = task.step(made.model, task.load(rows, 0))
    pdfs = made.model.head("xb").num_pdfs
    posteriors = step.logits[1].softmax(-1)[step.mask[1], :pdfs].mean(0)
    task.end_step(lambda tensor: tensor)
    decay = made.config.hmm.prior_decay
    torch.testing.assert_close(made.model.head("xb").prior, decay * before + (1 - decay) * posteriors.detach())


@pytest.mark.parametrize(("temperature", "least", "most"), [(1.0, 2, 6), (1e6, 7, 9)])
def test_languages_share_an_epoch_by_temperature(
    lexicon: Lexicon, mixed: list[Utterance], temperature: float, least: int, most: int
) -> None:
    task = task_of(recognisers(lexicon), mixed, temperature=temperature, batch_seconds=5)
    drawn = [row for step in task.batches(0) for row in step]
    counts = Counter(mixed[row % len(mixed)].language for row in drawn)
    assert least <= counts["xb"] <= most, counts
    assert task.batches(0) == task.batches(0)
    assert task.batches(0) != task.batches(1)
    shown = Counter(row % len(mixed) for row in drawn if mixed[row % len(mixed)].language == "xb")
    assert max(shown.values()) - min(shown.get(row, 0) for row in range(12, 16)) <= 1


def test_with_a_shared_head_beside_both_are_trained(lexicon: Lexicon, mixed: list[Utterance]) -> None:
    made = recognisers(lexicon, heads="both")
    task = task_of(made, mixed, shared_weight=0.25)
    rows = [0, 13]
    made.model.train()
    step = task.step(made.model, task.load(rows, 0))
    own = task_of(made, mixed, shared_weight=0.0)
    apart = own.step(made.model, own.load(rows, 0)).loss.item()
    views = shared_views(made)
    beside = 0.0
    for row in rows:
        view = views[mixed[row].language or ""]
        single = AsrTask(view, [mixed[row]])
        beside += single.step(made.model, single.load([0], 0)).loss.item()
    assert step.loss.item() == pytest.approx(0.75 * apart + 0.25 * beside, rel=1e-5)
    # while it anneals, the shared head's paths do as well
    task.anneal, own.anneal, task.progress, own.progress = 1.0, 1.0, 0.5, 0.5
    annealed = task.step(made.model, task.load(rows, 0)).loss.item()
    apart, beside = own.step(made.model, own.load(rows, 0)).loss.item(), 0.0
    for row in rows:
        single = AsrTask(views[mixed[row].language or ""], [mixed[row]])
        single.anneal, single.progress = 1.0, 0.5
        beside += single.step(made.model, single.load([0], 0)).loss.item()
    assert annealed != pytest.approx(step.loss.item(), rel=1e-3)
    assert annealed == pytest.approx(0.75 * apart + 0.25 * beside, rel=1e-5)
    before = made.model.head(SHARED_HEAD).prior.clone()
    task.end_step(lambda tensor: tensor)
    assert not torch.equal(before, made.model.head(SHARED_HEAD).prior)


def test_languages_that_share_a_head_train_it_together(lexicon: Lexicon, mixed: list[Utterance]) -> None:
    made = recognisers(lexicon, heads="shared")
    task = task_of(made, mixed)
    step = task.step(made.model, task.load([0, 13], 0))
    assert step.logits.shape[-1] == made.model.head(SHARED_HEAD).num_pdfs
    assert step.domain is not None
    assert step.domain.tolist() == [0, 1]
    assert [head is made.model.head(SHARED_HEAD) for head in task.trained_heads] == [True]


def test_old_heads_are_features_of_model_and_source(lexicon: Lexicon, mixed: list[Utterance]) -> None:
    source = recognisers(lexicon, ("xa",))
    grown = source.with_language("xb", words(lexicon, "xb"))
    task = task_of(grown, mixed[12:], old_heads=["xa"])
    batch = task.load([0, 1], 0)
    step = task.step(grown.model, batch)
    with torch.no_grad():
        old = task.step(source.model.eval(), batch)
    grown.model.eval()
    torch.testing.assert_close(step.features[f"{OLD_HEAD}xa"], old.features[f"{OLD_HEAD}xa"])
    assert step.logits.shape[-1] == grown.language("xb").topology.num_pdfs


def test_an_adversary_turns_the_gradient_of_telling_languages_apart(lexicon: Lexicon, mixed: list[Utterance]) -> None:
    made = recognisers(lexicon)
    task = task_of(made, mixed)
    step = task.step(made.model, task.load([0, 13], 0))
    weight = made.model.encoder.layers[-1].convolution.weight  # type: ignore[union-attr]
    gradients = {}
    for strength in (0.0, 1.0):
        term = DANN("layer3", 24, 2, weight=strength, schedule=None)
        term.progress = 1.0
        torch.manual_seed(5)
        for parameter in term.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        gradients[strength] = torch.autograd.grad(term(step, None), weight, retain_graph=True)[0]  # type: ignore[arg-type]
    assert gradients[0.0].abs().sum() == 0
    # the classifier's own gradient by hand: each language alike, and padding takes no part
    assert step.domain is not None
    losses = []
    for row, domain in enumerate(step.domain.tolist()):
        told = term.classifier(step.features["layer3"][row][step.mask[row]])
        losses.append(F.cross_entropy(told, torch.full((len(told),), domain)))
    plain = torch.autograd.grad(sum(losses) / 2, weight, retain_graph=True)[0]  # type: ignore[arg-type]
    torch.testing.assert_close(gradients[1.0], -plain)
    assert not step.mask.all(), "one of the two is padded"


def test_every_step_mixes_languages_of_unlike_length_and_amount(lexicon: Lexicon, utterances: list[Utterance]) -> None:
    """One language has a few long utterances, the other many: buckets of like length would keep them apart."""
    by_length = sorted(utterances, key=lambda each: each.duration or len(each.words))
    speech = [*spoken(by_length[:30], "xa"), *spoken(by_length[-4:], "xb")]
    task = task_of(recognisers(lexicon), speech, temperature=1e6, batch_seconds=12)
    for epoch in range(3):
        steps = task.batches(epoch)
        languages = [{speech[row % len(speech)].language for row in step} for step in steps]
        assert len(steps) > 2
        assert sum(len(each) == 2 for each in languages) >= 0.8 * len(steps), languages


def test_what_is_shown_again_is_perturbed_in_another_way(lexicon: Lexicon, mixed: list[Utterance]) -> None:
    made = recognisers(lexicon)
    augment = AugmentConfig(warps=[0.8, 0.85, 0.9, 0.95, 1.05, 1.1, 1.15, 1.2])
    task = MultilingualTask(
        made, SpeechDataset(mixed, made.config.features, augment), temperature=1e6, batch_seconds=60
    )
    rows = [row for step in task.batches(0) for row in step]
    again = [row for row in rows if row % len(mixed) == 12]
    assert len(again) == 2
    assert {task.showing(row) for row in again} == {0, 1}
    batch = task.load(sorted(again), 0)
    assert batch.ids[0] == batch.ids[1]
    assert batch.heads == ["xb", "xb"]
    assert not torch.equal(batch.inputs[0], batch.inputs[1])
    assert torch.equal(task.load(sorted(again)[:1], 0).inputs[0], batch.inputs[0]), "it does not depend on the batch"


def test_utterances_without_or_with_an_unknown_language_are_listed(lexicon: Lexicon, mixed: list[Utterance]) -> None:
    wrong = [replace(mixed[0], language=None), replace(mixed[1], language="zz"), *mixed[2:]]
    with pytest.raises(InputError) as told:
        task_of(recognisers(lexicon), wrong)
    assert len(told.value.problems) == 2
    assert "has no language" in str(told.value.problems[0])
    assert "utt2lang" in str(told.value.problems[0])
    assert "language zz" in str(told.value.problems[1])
    assert "xa, xb" in str(told.value.problems[1])


def test_words_that_a_language_lacks_are_listed(lexicon: Lexicon, mixed: list[Utterance]) -> None:
    wrong = [replace(mixed[0], text="xb_asi"), *mixed[1:]]
    with pytest.raises(InputError, match="xb_asi"):
        task_of(recognisers(lexicon), wrong)


def test_dev_speech_is_scored_by_language(lexicon: Lexicon, mixed: list[Utterance]) -> None:
    made = recognisers(lexicon)
    task = task_of(made, mixed, dev=[mixed[0], mixed[12]])
    found = task.evaluate(made.model.eval())
    assert set(found) == {"wer", "wer_xa", "wer_xb"}
    assert found["wer"] == pytest.approx((found["wer_xa"] + found["wer_xb"]) / 2)
