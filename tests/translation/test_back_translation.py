from __future__ import annotations

import pytest
import torch

from speechnlp_tl.errors import InputError
from speechnlp_tl.translation.back_translation import back_translated
from speechnlp_tl.translation.experiment import load_experiment, train
from speechnlp_tl.translation.inputs import decoder_start, encoder_input, padded
from speechnlp_tl.translation.search import beam_search
from speechnlp_tl.translation.subwords import PAD
from speechnlp_tl.translation.task import TranslationTask, back_directions, directions_of
from tests.translation.conftest import say, sentences
from tests.translation.test_experiment import config  # noqa: F401 - a fixture


@pytest.fixture
def corpora(subwords):
    def encoded(languages, seed):
        said = sentences(30, seed)
        return {language: subwords.encode([say(each, language) for each in said]) for language in languages}

    return [encoded(("de", "en"), 0), encoded(("en", "fr"), 1)]


@pytest.fixture
def task(tiny, subwords, corpora):
    def make(**shape):
        rows = [*directions_of(corpora), *back_directions(corpora, ["de-fr", "fr-de"])]
        return TranslationTask(tiny(**shape), subwords, rows, back_translation=0.5, batch_tokens=300)

    return make


@pytest.mark.parametrize("where", ["source", "target", "both"])
def test_marked_rows_hold_the_models_own_translation_and_others_stay(tiny, subwords, where):
    model = tiny(language_token=where)
    given = subwords.encode(["dea deb dec", "ena enb", "ded"])
    source = padded([encoder_input(row, "de", language, subwords, where)
                     for row, language in zip(given, ("fr", "de", "fr"), strict=True)])  # fmt: skip
    made = back_translated(model, source, ["fr", None, "fr"], ["de", "de", "de"], subwords)
    for place in (0, 2):
        row = source[place : place + 1]
        row = row[:, : int((row != PAD).sum())]
        limit = [row.shape[1] + row.shape[1] // 2 + 2]
        start, number = decoder_start("fr", subwords, where), subwords.languages.index("fr")
        silent = subwords.silent("fr")
        [alone] = beam_search(model, row, start, number, beam=1, limits=limit, forbidden=silent)
        wanted = encoder_input(alone.pieces, "fr", "de", subwords, where)
        assert made[place][made[place] != PAD].tolist() == wanted
    assert made[1][made[1] != PAD].tolist() == source[1][source[1] != PAD].tolist()


def test_a_step_learns_true_targets_from_written_sources(task, subwords):
    made = task()
    first = sum(len(each) for each in made.directions if each.kind == "translate")
    batch = made.load([0, first, first + 1], 0)
    assert batch.written == (None, "de", "de")
    assert batch.wanted == ("en", "fr", "fr")
    made.model.train()
    written = back_translated(made.model, batch.source, batch.written, batch.wanted, subwords)
    torch.manual_seed(0)
    loss = made.step(made.model, batch).loss
    batch.source, batch.written = written, ()
    torch.manual_seed(0)
    assert torch.equal(made.step(made.model, batch).loss, loss)
    assert made.model.training
    # what is to come out is the true French sentence, which nothing wrote
    true = made.directions[-2].targets[0]
    assert made.directions[-2].name == "de-fr"
    assert batch.outputs[1, : len(true)].tolist() == list(true)


def test_an_epoch_has_its_share_of_them(task):
    made = task()
    first = sum(len(each) for each in made.directions if each.kind == "translate")
    rows = [row for step in made.batches(0) for row in step]
    assert sum(row >= first for row in rows) == pytest.approx(0.5 * first, abs=2)


def test_the_directions_are_those_without_sentences_and_say_so(config, tmp_path):  # noqa: F811
    path = config(back_translation=0.5)
    experiment = load_experiment(path)
    assert experiment.written_directions == ["de-fr", "fr-de"]
    trained = train(experiment, tmp_path / "exp", quiet=True)
    assert "back-translation 0.5 (de-fr, fr-de)" in (trained.model_dir / "README.md").read_text()


def test_sources_are_written_from_a_third_language(tiny, subwords, corpora):
    rows = back_directions(corpora, ["de-fr", "fr-de"], "en")
    assert [(each.name, each.written_from) for each in rows] == [("de-fr", "en"), ("fr-de", "en")]
    assert rows[0].sources == corpora[1]["en"]
    assert rows[0].targets == corpora[1]["fr"]
    task = TranslationTask(tiny(), subwords, [*directions_of(corpora), *rows], back_translation=0.5)
    first = sum(len(each) for each in task.directions if each.kind == "translate")
    batch = task.load([first], 0)
    # English pieces that ask for German stand there until German is written; the target is the true French
    there = batch.source[0][batch.source[0] != PAD].tolist()
    assert there == encoder_input(corpora[1]["en"][0], "en", "de", subwords, "source")
    assert (batch.written, batch.wanted) == (("de",), ("fr",))
    assert batch.outputs[0, :-1].tolist() == list(corpora[1]["fr"][0])
    # so that the model sees what it makes of the English, and not of the French
    [written] = back_translated(task.model, batch.source, batch.written, batch.wanted, subwords).tolist()
    limit = [batch.source.shape[1] + batch.source.shape[1] // 2 + 2]
    start, number = decoder_start("de", subwords, "source"), subwords.languages.index("de")
    [alone] = beam_search(task.model, batch.source, start, number, 1, limits=limit, forbidden=subwords.silent("de"))
    assert written == encoder_input(alone.pieces, "de", "fr", subwords, "source")


def test_corpora_without_the_third_language_are_left_out(corpora):
    alone = [{"fr": [[9], [10]]}]
    assert len(back_directions([*corpora, *alone], ["de-fr"])[0]) == 32
    assert len(back_directions([*corpora, *alone], ["de-fr"], "en")[0]) == 30


def test_training_through_a_third_language_says_so(config, tmp_path):  # noqa: F811
    experiment = load_experiment(config(back_translation=0.5, back_through="en"))
    assert experiment.written_directions == ["de-fr", "fr-de"]
    trained = train(experiment, tmp_path / "exp", quiet=True)
    assert "back-translation 0.5 through en (de-fr, fr-de)" in (trained.model_dir / "README.md").read_text()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"back_through": "en"}, "'back_through' is for back-translation"),
        ({"back_translation": 0.5, "back_through": "xx"}, "no corpus of 'train' has xx beside the target of any"),
        (
            {"back_translation": 0.5, "back_through": "en", "back_directions": ["de-en", "de-fr"]},
            "has en beside the target of de-en",
        ),
        ({"back_directions": ["de-fr"]}, "set 'back_translation' above 0"),
        ({"back_translation": 0.5, "back_directions": ["de-xx", "de-de"]}, "de-xx, de-de"),
    ],
)
def test_directions_that_cannot_be_are_refused(config, settings, told):  # noqa: F811
    with pytest.raises(InputError, match=told):
        load_experiment(config(**settings))
