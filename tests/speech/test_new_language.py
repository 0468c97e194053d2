"""A language added to a model: what each method trains, what it leaves, and what the old languages keep."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from speechnlp_tl.core.trainer import Trainer
from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.experiment import tuned
from speechnlp_tl.speech.language_choice import measure_scores
from speechnlp_tl.speech.lexicon import Lexicon
from speechnlp_tl.speech.multilingual import MultilingualRecogniser, ScoreStatistics
from speechnlp_tl.speech.new_language import (
    ANNEAL,
    SEARCH,
    Learned,
    NewLanguageConfig,
    fill_defaults,
    learn_language,
    old_fisher,
    parse_new_language,
    usual_search,
    usual_steps,
)
from speechnlp_tl.speech.recogniser import DecodeConfig
from tests.speech.two_languages import recognisers, spoken, words


def learn(
    lexicon: Lexicon, utterances: list[Utterance], method: str, norm: str = "layer", **settings: Any
) -> tuple[MultilingualRecogniser, Learned]:
    source = recognisers(lexicon, ("xa", "xb"), norm=norm)
    source.model.eval()
    config = NewLanguageConfig.model_validate({"method": method, "steps": 4, "batch_seconds": 5} | settings)
    speech = spoken(utterances[:6], "xc")
    fisher = old_fisher(source, spoken(utterances[:3], "xa")) if "ewc" in method else None
    return source, learn_language(source, "xc", speech, words(lexicon, "xc"), config, fisher)


def changed(before: MultilingualRecogniser, after: MultilingualRecogniser) -> set[str]:
    """Tensors of the source that are different afterwards."""
    new = after.model.state_dict()
    return {name for name, tensor in before.model.state_dict().items() if not torch.equal(tensor, new[name])}


def test_more_speech_is_learned_in_more_steps_up_to_a_limit() -> None:
    steps = [usual_steps(seconds) for seconds in (1, 30, 60, 180, 600, 36000)]
    assert steps == [250, 250, 360, 1080, 2000, 2000]


@pytest.mark.parametrize("norm", ["layer", "batch"])
@pytest.mark.parametrize("method", ["new-language+frozen", "new-language+progressive"])
def test_old_languages_are_the_same_bit_by_bit(
    lexicon: Lexicon, utterances: list[Utterance], method: str, norm: str
) -> None:
    source, learned = learn(lexicon, utterances, method, norm)
    assert changed(source, learned.recognisers) == set()
    features, lengths = torch.randn(2, 30, 16, generator=torch.Generator().manual_seed(3)), torch.tensor([30, 20])
    with torch.no_grad():
        for head in ("xa", "xb"):
            before, after = (each.model(features, lengths, head).logits for each in (source, learned.recognisers))
            assert torch.equal(before, after)


def test_what_is_new_has_learned(lexicon: Lexicon, utterances: list[Utterance]) -> None:
    for method in ("new-language+frozen", "new-language+progressive"):
        source, learned = learn(lexicon, utterances, method)
        column = 32 if method.endswith("progressive") else None
        fresh = source.with_language("xc", words(lexicon, "xc"), 0, column).model.state_dict()
        own = {name: tensor for name, tensor in learned.recognisers.model.state_dict().items() if ".xc." in name}
        moved = [name for name, tensor in own.items() if not torch.equal(tensor, fresh[name])]
        assert {name.split(".")[0] for name in moved} == ({"heads", "columns"} if column else {"heads"})
        if column:
            assert any("laterals" in name for name in moved)
            assert any("encoder" in name for name in moved)


def test_finetuning_moves_shared_layers_and_no_old_head(lexicon: Lexicon, utterances: list[Utterance]) -> None:
    source, learned = learn(lexicon, utterances, "new-language", "batch")
    moved = changed(source, learned.recognisers)
    assert any(name.startswith("encoder.subsampling") for name in moved)
    assert not any(name.startswith("heads.") for name in moved)
    assert not any("running_" in name for name in moved), "minutes say little about statistics"


def test_layers_are_copied_frozen_or_fresh(lexicon: Lexicon, utterances: list[Utterance]) -> None:
    layers = {"copy": "first:2", "rest": "fresh"}
    source, learned = learn(lexicon, utterances, "new-language+layers", layers=layers)
    moved = changed(source, learned.recognisers)
    assert {name.split(".")[1] + name.split(".")[2] for name in moved} == {"layers1"}
    assert learned.report.counts()["fresh"] >= len(moved)


@pytest.mark.parametrize(
    ("method", "layers", "anneal"),
    [
        ("new-language", {}, 0.0),
        ("new-language+frozen", {}, 0.0),
        ("new-language+progressive", {}, ANNEAL),
        ("new-language+layers", {"copy": "first:2", "rest": "fresh"}, ANNEAL),
        ("new-language+layers", {"copy": "last:2", "rest": "fresh"}, ANNEAL),
        ("new-language+layers", {"copy": "all", "rest": "fresh"}, 0.0),
    ],
)
def test_a_head_that_borrows_nothing_has_an_annealed_start(
    lexicon: Lexicon, utterances: list[Utterance], method: str, layers: dict[str, str], anneal: float
) -> None:
    _, learned = learn(lexicon, utterances, method, layers=layers, steps=2)
    assert learned.settings.anneal == anneal


def test_a_head_of_random_weights_may_be_wanted(lexicon: Lexicon, utterances: list[Utterance]) -> None:
    source, learned = learn(lexicon, utterances, "new-language+frozen", borrow=False, steps=1)
    assert learned.settings.anneal == ANNEAL
    for borrow in (False, True):
        grown = source.with_language("xd", words(lexicon, "xd"), seed=3, borrow=borrow)
        other = source.with_language("xd", words(lexicon, "xd"), seed=4, borrow=borrow)
        # the mean state of silence is the old languages' with every seed, unless nothing is borrowed
        alike = [torch.equal(a, b) for a, b in zip(grown.model.head("xd").parameters(),
                                                   other.model.head("xd").parameters(), strict=True)]  # fmt: skip
        silent = torch.equal(*(each.model.head("xd").linear.weight[:1] for each in (grown, other)))
        assert silent is borrow
        assert not all(alike)


def test_a_head_beside_columns_alone_has_an_annealed_start(lexicon: Lexicon, utterances: list[Utterance]) -> None:
    _, learned = learn(lexicon, utterances, "new-language+progressive", steps=1)
    column = learned.recognisers.without("xa").without("xb")
    config = NewLanguageConfig(method="new-language+frozen", steps=1, batch_seconds=5)
    found = learn_language(column, "xd", spoken(utterances[:2], "xd"), words(lexicon, "xd"), config)
    assert found.settings.anneal == ANNEAL


def test_the_first_layers_are_copied_whatever_else_is_set() -> None:
    for layers in ({}, {"rest": "fresh"}, {"freeze": False}):
        given = {"method": "new-language+layers", "layers": layers}
        assert NewLanguageConfig.model_validate(given).layers.copy_ == "first:3"


@pytest.mark.parametrize(
    ("method", "settings", "idle"),
    [
        ("new-language", {"kld": 0.9}, "kld"),
        ("new-language+frozen", {"kld": 0.9, "ewc": 3, "lateral": 7}, "kld, ewc, lateral"),
        ("new-language+kld", {"layers": {"copy": "first:1"}}, "layers"),
        ("new-language+progressive", {"borrow": False}, "borrow"),
    ],
)
def test_settings_that_a_method_has_no_use_for_are_refused(method: str, settings: dict[str, Any], idle: str) -> None:
    with pytest.raises(ValidationError, match=f"has no use for {idle}"):
        NewLanguageConfig.model_validate({"method": method} | settings)


@pytest.mark.parametrize("method", ["new-language", "new-language+frozen", "new-language+layers+kld"])
def test_settings_that_were_written_down_are_read_again(method: str) -> None:
    settings = fill_defaults(NewLanguageConfig(method=method), 60)
    assert NewLanguageConfig.model_validate(settings.model_dump(mode="json")) == settings


def test_posteriors_of_a_column_hold_the_layers_that_it_reads(lexicon: Lexicon, utterances: list[Utterance]) -> None:
    _, learned = learn(lexicon, utterances, "new-language+progressive", steps=2)
    made = learned.recognisers
    features = torch.randn(1, 30, 16, generator=torch.Generator().manual_seed(3))
    made.model(features, torch.tensor([30]), "xc").logits.sum().backward()
    gradient = made.model.encoder.layers[0].convolution.weight.grad
    assert gradient is not None
    assert bool(gradient.any())


def test_annealing_changes_what_is_learned(lexicon: Lexicon, utterances: list[Utterance]) -> None:
    heads = [
        learn(lexicon, utterances, "new-language+frozen", anneal=anneal)[1].recognisers.model.head("xc").linear.weight
        for anneal in (0.0, 1.0)
    ]
    assert not torch.equal(*heads)


@pytest.mark.parametrize("held", ["kld", "l2sp", "ewc"])
def test_what_holds_back_holds_back(lexicon: Lexicon, utterances: list[Utterance], held: str) -> None:
    strength = {"kld": 0.99, "l2sp": 1e3, "ewc": 1e8}[held]
    settings: dict[str, Any] = {"steps": 20, "learning_rate": 3e-3}
    source, free = learn(lexicon, utterances, "new-language", **settings)
    _, kept = learn(lexicon, utterances, f"new-language+{held}", **settings, **{held: strength})
    features, lengths = torch.randn(2, 30, 16, generator=torch.Generator().manual_seed(3)), torch.tensor([30, 20])

    def distance(learned: Learned) -> float:
        with torch.no_grad():
            old, new = (each.model(features, lengths, "xa").logits for each in (source, learned.recognisers))
        return float((old - new).abs().mean())

    assert distance(kept) < 0.7 * distance(free), (distance(kept), distance(free))


def test_what_holds_back_does_so_in_every_phase_that_moves_old_layers(
    lexicon: Lexicon, utterances: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[list[str]] = []

    class Watched(Trainer):
        def __init__(self, task: Any, config: Any, directory: Any, terms: Any, source: Any) -> None:
            held.append([term.name for term in terms])
            super().__init__(task, config, directory, terms, source)

    monkeypatch.setattr("speechnlp_tl.speech.new_language.Trainer", Watched)
    learn(lexicon, utterances, "new-language+kld", steps=2)
    assert held == [[], ["kld"]], "the head alone, then all"
    held.clear()
    layers = {"copy": "first:1", "then_finetune_all": True}
    learn(lexicon, utterances, "new-language+layers+kld", steps=2, layers=layers)
    assert held == [["kld"], ["kld"]], "the second and third layer, then all"


def test_each_phase_is_trained_in_its_own_way(
    lexicon: Lexicon, utterances: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    phases: list[dict[str, Any]] = []

    class Watched(Trainer):
        def __init__(self, task: Any, config: Any, directory: Any, terms: Any, source: Any) -> None:
            outputs = [term.outputs for term in terms]
            phases.append(
                {"seed": config.seed, "decay": config.weight_decay, "anneal": task.anneal, "outputs": outputs}
            )
            super().__init__(task, config, directory, terms, source)

    monkeypatch.setattr("speechnlp_tl.speech.new_language.Trainer", Watched)
    layers = {"copy": "first:2", "rest": "fresh", "then_finetune_all": True}
    learn(lexicon, utterances, "new-language+layers+kld", steps=2, seed=5, anneal=0.3, layers=layers)
    kept = ["old:xa", "old:xb"]
    first, second = phases
    assert first == {"seed": 5, "decay": 0.0, "anneal": 0.6, "outputs": [kept]}, "0.3 of all steps, all in the first"
    assert second == {"seed": 6, "decay": 0.0, "anneal": 0.0, "outputs": [kept]}


def test_what_holds_back_needs_a_layer_to_hold(lexicon: Lexicon, utterances: list[Utterance]) -> None:
    with pytest.raises(InputError, match="kld hold back layers"):
        learn(lexicon, utterances, "new-language+layers+kld", layers={"copy": "all"})
    learn(lexicon, utterances, "new-language+layers+kld", layers={"copy": "all", "freeze": False}, steps=1)


@pytest.mark.parametrize(("held", "strength"), [("l2sp", 1e4), ("ewc", 1e9)])
def test_fresh_layers_are_not_drawn_to_those_of_the_source(
    lexicon: Lexicon, utterances: list[Utterance], held: str, strength: float
) -> None:
    layers = {"copy": "first:2", "rest": "fresh", "freeze": False}
    settings: dict[str, Any] = {"layers": layers, "steps": 40, "learning_rate": 1e-2, held: strength}
    source, learned = learn(lexicon, utterances, f"new-language+layers+{held}", **settings)
    before, after = source.model.state_dict(), learned.recognisers.model.state_dict()

    def shift(name: str) -> float:
        return float((after[name] - before[name]).norm() / before[name].norm())

    assert shift("encoder.layers.1.convolution.weight") > 0.5, "random weights are far from others"
    assert shift("encoder.layers.0.convolution.weight") < 0.1


def test_all_that_is_copied_is_held(lexicon: Lexicon, utterances: list[Utterance]) -> None:
    source, learned = learn(lexicon, utterances, "new-language+l2sp", steps=1)
    assert set(learned.report.names("copied")) == set(source.model.state_dict())


def test_a_head_over_a_fresh_layer_begins_afresh(lexicon: Lexicon, utterances: list[Utterance]) -> None:
    borrowed = []
    for copied in ("last:2", "first:2"):
        layers = {"copy": copied, "rest": "fresh"}
        settings: dict[str, Any] = {"layers": layers, "steps": 1, "learning_rate": 1e-9}
        source, learned = learn(lexicon, utterances, "new-language+layers", **settings)
        given = source.with_language("xc", words(lexicon, "xc")).model.head("xc").linear.weight
        borrowed.append(torch.allclose(learned.recognisers.model.head("xc").linear.weight, given, atol=1e-6))
    assert borrowed == [True, False]


def test_what_matters_to_the_old_languages_does_not_depend_on_what_was_said(
    lexicon: Lexicon, utterances: list[Utterance]
) -> None:
    source = recognisers(lexicon)
    said = spoken(utterances[:3], "xa")
    unknown = [replace(each, text="words that no lexicon has " * 20) for each in said]
    known, other = (old_fisher(source, speech) for speech in (said, unknown))
    assert all(torch.equal(known[name], other[name]) for name in known)
    assert any(bool(value.any()) for value in known.values())


def test_what_matters_is_measured_on_all_old_languages(
    lexicon: Lexicon, utterances: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speechnlp_tl.speech.data_split.FISHER_UTTERANCES", 4)
    speech = [*spoken(utterances[:10], "xa"), *spoken(utterances[10:20], "xb")]
    fisher = old_fisher(recognisers(lexicon), speech)
    assert all(bool(fisher[f"heads.{name}.linear.weight"].any()) for name in ("xa", "xb"))


def test_methods_are_parsed_or_refused() -> None:
    assert parse_new_language("new-language").name == "new-language"
    assert parse_new_language("new-language+layers+kld").held_back == ("kld",)
    for name, message in (
        ("new-language+frozn", "did you mean 'frozen'"),
        ("new-language+frozen+layers", "cannot be combined"),
        ("new-language+frozen+kld", "never changes"),
        ("new-language+kld+kld", "named twice"),
    ):
        with pytest.raises(InputError) as told:
            parse_new_language(name)
        assert message in str(told.value.problems[0])


@pytest.mark.parametrize("method", ["new-language", "new-language+frozen"])
def test_old_speech_tells_languages_apart(lexicon: Lexicon, utterances: list[Utterance], method: str) -> None:
    source = recognisers(lexicon, ("xa", "xb"))
    measured = ScoreStatistics(mean=-7.0, deviation=1.0)
    source = source.with_settings("xa", source.config.languages["xa"].decode, measured)
    config = NewLanguageConfig(method=method, steps=2, batch_seconds=5)
    speech, old = spoken(utterances[:2], "xc"), spoken(utterances[2:4], "xa")
    for given in ([], old):
        learned = learn_language(source, "xc", speech, words(lexicon, "xc"), config, old_speech=given)
        scores = {name: own.scores for name, own in learned.recognisers.config.languages.items()}
        expected: dict[str, ScoreStatistics | None] = {"xa": None, "xb": None}
        expected |= measure_scores(learned.recognisers, [*speech, *given])
        if method.endswith("frozen"):
            expected |= {"xa": measured, "xb": None}
        assert scores == expected
        assert scores["xc"] is not None
        assert (scores["xc"].other_mean is None) == (not given)


def test_dev_speech_chooses_search_weights_and_is_what_scores_are_measured_on(
    lexicon: Lexicon, utterances: list[Utterance]
) -> None:
    source = recognisers(lexicon, ("xa", "xb"))
    config = NewLanguageConfig(method="new-language+frozen", steps=20, batch_seconds=5)
    speech, dev = spoken(utterances[:6], "xc"), spoken(utterances[30:36], "xc")
    of_words = replace(words(lexicon, "xc"), decode=DecodeConfig(lm_scale=3.0))
    plain, chosen = (
        learn_language(source, "xc", speech, of_words, config, dev=given).recognisers for given in ([], dev)
    )
    assert plain.config.languages["xc"].decode == of_words.decode
    best, _ = tuned(plain.language("xc"), SpeechDataset(dev, plain.config.features), SEARCH)
    assert chosen.config.languages["xc"].decode == best.config.decode
    assert best.config.decode.lm_scale in SEARCH.lm_scales
    assert chosen.config.languages["xc"].scores == measure_scores(chosen, dev)["xc"]
    assert plain.config.languages["xc"].scores == measure_scores(plain, speech)["xc"]


def test_ewc_needs_old_speech(lexicon: Lexicon, utterances: list[Utterance]) -> None:
    source = recognisers(lexicon)
    config = NewLanguageConfig(method="new-language+ewc", steps=1)
    with pytest.raises(InputError, match="Fisher"):
        learn_language(source, "xc", spoken(utterances[:2], "xc"), words(lexicon, "xc"), config)


def test_search_weights_are_the_mean_of_the_others(lexicon: Lexicon) -> None:
    source = recognisers(lexicon)
    source = source.with_settings("xa", DecodeConfig(lm_scale=2.0, insertion_penalty=-1.0), None)
    found = usual_search(source)
    assert (found.lm_scale, found.insertion_penalty) == (1.5, -0.5)
