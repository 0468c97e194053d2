from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from speechnlp_tl.core.config import TrainConfig
from speechnlp_tl.core.trainer import Trainer
from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.adversarial import DANN
from speechnlp_tl.translation.subwords import END, PAD
from speechnlp_tl.translation.task import (
    NoiseConfig,
    TranslationTask,
    add_noise,
    denoising_directions,
    directions_of,
)
from tests.translation.conftest import say, sentences


def corpus(subwords, languages, count, seed=0):
    said = sentences(count, seed)
    return {language: subwords.encode([say(each, language) for each in said]) for language in languages}


@pytest.fixture
def task(tiny, subwords):
    def make(model=None, **given):
        corpora = [corpus(subwords, ("de", "en"), 60), corpus(subwords, ("fr", "en"), 20, 1)]
        rows = [*directions_of(corpora), *denoising_directions(corpora)]
        return TranslationTask(model or tiny(), subwords, rows, **{"batch_tokens": 300, **given})

    return make


def drawn(task, epoch):
    return Counter(row for step in task.batches(epoch) for row in step)


def test_directions_are_all_that_the_corpora_hold_or_those_asked_for(subwords):
    corpora = [corpus(subwords, ("de", "en"), 6), corpus(subwords, ("fr", "en"), 3), corpus(subwords, ("en", "de"), 2)]
    assert {each.name: len(each) for each in directions_of(corpora)} == {"de-en": 8, "en-de": 8, "fr-en": 3, "en-fr": 3}
    assert [each.name for each in directions_of(corpora, ["en-fr"])] == ["en-fr"]
    assert {each.name: len(each) for each in denoising_directions(corpora)} == {"de-de": 8, "en-en": 11, "fr-fr": 3}


def test_an_epoch_is_a_function_of_its_number(task):
    assert task().batches(2) == task().batches(2)
    assert task().batches(2) != task().batches(3)


def test_an_epoch_without_temperature_shows_each_row_once(task):
    assert drawn(task(), 1) == Counter(range(160))


def test_a_high_temperature_shows_directions_alike(task):
    sizes = {"de-en": 60, "en-de": 60, "fr-en": 20, "en-fr": 20}
    for temperature, expected in ((1.0, sizes), (1e6, dict.fromkeys(sizes, 40))):
        made = task(temperature=temperature)
        counts = Counter(made._place(row)[0].name for step in made.batches(0) for row in step)
        assert counts == expected


def test_denoising_adds_its_share(task):
    assert sum(drawn(task(denoising=0.5), 0).values()) == pytest.approx(240, abs=2)


def test_steps_keep_to_their_tokens(task):
    made = task(denoising=0.5)
    for epoch in range(3):
        for step in made.batches(epoch):
            batch = made.load(step, epoch)
            assert len(step) == 1 or batch.source.numel() + batch.inputs.numel() <= 2 * 300
            assert max(made._costs[step]) * len(step) <= 300


def test_a_row_says_its_language_where_the_config_wants_it(task, tiny, subwords):
    for where in ("source", "target"):
        made = task(tiny(language_token=where))
        batch = made.load([0], 0)  # de-en
        token = subwords.tokens["en"]
        assert (batch.source[0, 0] == token) == (where == "source")
        assert (batch.inputs[0, 0] == token) == (where == "target")
        assert batch.outputs[0, -1] == END
        assert torch.equal(batch.inputs[0, 1:], batch.outputs[0, :-1])
        assert batch.domain.tolist() == [made.number["de"]]
        assert batch.languages.tolist() == [made.number["en"]]


def test_noise_depends_on_seed_epoch_and_row_alone(task):
    made = task(denoising=1.0)
    rows = [row for row in drawn(made, 0) if row >= 160][:30]
    one, again = made.load(rows, 0), made.load(rows, 0)
    other = made.load(rows, 1)
    assert torch.equal(one.source, again.source)
    assert not torch.equal(one.source, other.source) or one.source.shape != other.source.shape
    assert torch.equal(one.outputs, other.outputs)
    assert torch.equal(made.load(rows[3:4], 0).source[0, :3], one.source[3, :3])


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(st.lists(st.integers(10, 19), max_size=3), min_size=1, max_size=12),
    drop=st.floats(0, 0.9),
    shuffle=st.integers(0, 4),
    seed=st.integers(0, 1000),
)
def test_noise_drops_whole_words_and_moves_them_little(words, drop, shuffle, seed):
    begins = np.zeros(100, dtype=bool)
    begins[20:] = True  # a word is one of 20 to 99 and what follows below 20
    sentence = [[20 + number, *rest] for number, rest in enumerate(words)]
    config = NoiseConfig(drop=drop, mask=0, shuffle=shuffle)
    noisy = add_noise([p for w in sentence for p in w], begins, 9, config, np.random.default_rng(seed))
    order = [piece - 20 for piece in noisy if piece >= 20]
    assert noisy == [piece for number in order for piece in sentence[number]]
    assert len(order) >= 1
    assert len(set(order)) == len(order)
    kept = sorted(order)
    assert all(abs(place - kept.index(number)) <= shuffle for place, number in enumerate(order))


def test_everything_masked_is_as_many_masks_as_words():
    begins = np.ones(30, dtype=bool)
    noisy = add_noise([11, 12, 13], begins, 9, NoiseConfig(drop=0, mask=0.999999999), np.random.default_rng(0))
    assert noisy == [9, 9, 9]


def test_the_loss_is_label_smoothed_cross_entropy_over_real_pieces(task):
    made = task(label_smoothing=0.2)
    batch = made.load([0, 1, 65], 0)
    made.model.eval()
    with torch.no_grad():
        step = made.step(made.model, batch)
    log_p = F.log_softmax(step.logits, -1)
    total = 0.0
    for row in range(3):
        for place, wanted in enumerate(batch.outputs[row].tolist()):
            if wanted != PAD:
                total -= 0.8 * float(log_p[row, place, wanted]) + 0.2 * float(log_p[row, place].mean())
    assert float(step.loss) == pytest.approx(total, rel=1e-5)
    assert int(step.mask.sum()) == batch.units


def test_the_language_adversary_of_sentiment_fits_as_it_is(task):
    made = task(batch_tokens=2000)
    term = DANN("encoder", 16, domains=3, weight=0.5, schedule=None)
    Trainer(made, TrainConfig(steps=3), None, [term]).fit()
    assert 0 <= term.metrics()["domain_accuracy"] <= 100
    step = made.step(made.model, made.load([0, 1, 130, 150], 0))
    term(step, None).backward()
    assert made.model.encoder[0].feedforward[0].weight.grad.abs().sum() > 0


def test_dev_loss_is_measured_by_direction(task, subwords):
    made = task(dev=directions_of([corpus(subwords, ("de", "fr"), 9, 5)]))
    made.model.eval()
    with torch.no_grad():
        found = made.evaluate(made.model)
    assert set(found) == {"de-fr_loss", "fr-de_loss", "loss"}
    assert found["loss"] == pytest.approx((found["de-fr_loss"] + found["fr-de_loss"]) / 2)


def test_without_rows_there_is_nothing_to_train(tiny, subwords):
    with pytest.raises(InputError, match="at least one direction"):
        TranslationTask(tiny(), subwords, [])
