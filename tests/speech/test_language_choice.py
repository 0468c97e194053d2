"""Which language an utterance is in."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.decoder import Hypothesis
from speechnlp_tl.speech.language_choice import (
    LEAST_DEVIATION,
    choose_language,
    log_odds,
    measure_scores,
    path_score,
    transcribe_languages,
)
from speechnlp_tl.speech.lexicon import Lexicon
from speechnlp_tl.speech.multilingual import MultilingualRecogniser, ScoreStatistics
from tests.speech.two_languages import recognisers, spoken


def test_a_path_is_compared_with_the_best_states() -> None:
    scores = np.array([[0.0, -1.0], [-3.0, -1.0]], dtype=np.float32)
    assert path_score(scores, Hypothesis(["a"], score=-5.0)) == pytest.approx((-5.0 - (0.0 - 1.0)) / 2)
    assert path_score(scores, Hypothesis(["a"], score=-5.0, complete=False)) == -math.inf
    assert path_score(scores[:0], Hypothesis([], score=0.0)) == -math.inf


def test_log_odds_are_those_of_two_normal_distributions() -> None:
    own = ScoreStatistics(mean=-1.0, deviation=0.3, other_mean=-2.0, other_deviation=0.4)
    both = math.sqrt((0.3**2 + 0.4**2) / 2)
    for score in (-3.0, -1.4, -0.2):
        expected = norm.logpdf(score, -1.0, both) - norm.logpdf(score, -2.0, both)
        assert log_odds(score, own) == pytest.approx(expected)
    assert log_odds(-math.inf, own) == -math.inf


def test_a_language_that_explains_its_own_speech_no_better_says_nothing(
    lexicon: Lexicon, utterances: list[Utterance]
) -> None:
    confused = ScoreStatistics(mean=-1.3, deviation=0.2, other_mean=-1.2, other_deviation=0.2)
    assert log_odds(-6.0, confused) == log_odds(-1.0, confused) == 0.0
    made = recognisers(lexicon)
    decode = made.config.languages["xa"].decode
    short = ScoreStatistics(mean=-4.0, deviation=0.5)
    usual = short.model_copy(update=dict(zip(("other_mean", "other_deviation"), (-4.8, 0.25), strict=True)))
    made = made.with_settings("xa", decode, confused)
    speech = spoken(utterances[:2], "xa")
    first, second = (choose_language(made.with_settings("xb", decode, each), speech) for each in (short, usual))
    for name, choice in first.items():
        assert choice.scores == pytest.approx(second[name].scores)


def test_the_language_with_the_largest_log_odds_is_chosen(lexicon: Lexicon, utterances: list[Utterance]) -> None:
    made = recognisers(lexicon)
    speech = spoken(utterances[:2], "xa")
    decode = made.config.languages["xa"].decode
    common, rare = ScoreStatistics(mean=-50.0, deviation=1.0), ScoreStatistics(mean=50.0, deviation=1.0)
    for favoured, other in (("xa", "xb"), ("xb", "xa")):
        told = made.with_settings(favoured, decode, common).with_settings(other, decode, rare)
        chosen = choose_language(told, speech)
        assert {choice.language for choice in chosen.values()} == {favoured}
        assert all(choice.scores[favoured] > choice.scores[other] for choice in chosen.values())
        own = told.language(favoured).transcribe(speech)
        assert {name: choice.hypothesis.words for name, choice in chosen.items()} == {
            name: hypothesis.words for name, hypothesis in own.items()
        }


def test_a_language_scores_its_own_speech_and_that_of_the_others(lexicon: Lexicon, utterances: list[Utterance]) -> None:
    made = recognisers(lexicon)
    own, others = spoken(utterances[:3], "xa"), spoken(utterances[3:5], "xb")
    found = measure_scores(made, [*own, *others])
    for name, mine, foreign in (("xa", own, others), ("xb", others, own)):
        scores, of_others = (_path_scores(made, name, speech) for speech in (mine, foreign))
        assert found[name].mean == pytest.approx(np.mean(scores))
        assert found[name].deviation == pytest.approx(max(np.std(scores), LEAST_DEVIATION))
        assert found[name].other_mean == pytest.approx(np.mean(of_others))
        assert found[name].other_deviation == pytest.approx(max(np.std(of_others), LEAST_DEVIATION))
    alone = measure_scores(made, own)
    assert list(alone) == ["xa"]
    assert alone["xa"].other_mean is None


def _path_scores(made: MultilingualRecogniser, name: str, speech: list[Utterance]) -> list[float]:
    one = made.language(name)
    dataset = SpeechDataset(speech, made.config.features)
    return [path_score(scores, one.decoder.decode(scores, False)) for _, scores in one.scores(dataset)]


def test_a_language_that_heard_no_other_takes_what_is_usual_in_the_model(
    lexicon: Lexicon, utterances: list[Utterance]
) -> None:
    made = recognisers(lexicon)
    decode = made.config.languages["xa"].decode
    complete = ScoreStatistics(mean=-1.0, deviation=0.5, other_mean=-3.0, other_deviation=0.7)
    made = made.with_settings("xa", decode, complete)
    given = ScoreStatistics(mean=-4.0, deviation=0.5)
    same = given.model_copy(update={"other_mean": -6.0, "other_deviation": 0.7})
    speech = spoken(utterances[:2], "xa")
    short, long = (choose_language(made.with_settings("xb", decode, each), speech) for each in (given, same))
    assert {name: choice.scores for name, choice in short.items()} == {
        name: choice.scores for name, choice in long.items()
    }


def test_languages_without_statistics_are_told(lexicon: Lexicon, utterances: list[Utterance]) -> None:
    with pytest.raises(InputError) as told:
        choose_language(recognisers(lexicon), utterances[:1])
    assert [problem.what.split()[1] for problem in told.value.problems] == ["xa", "xb"]


def test_each_utterance_is_decoded_in_its_language(lexicon: Lexicon, utterances: list[Utterance]) -> None:
    made = recognisers(lexicon)
    mixed = [*spoken(utterances[:2], "xa"), *spoken(utterances[2:4], "xb")]
    found = transcribe_languages(made, mixed, {each.id: each.language or "" for each in mixed})
    assert list(found) == [each.id for each in mixed]
    for each in mixed:
        alone = made.language(each.language or "").transcribe([each])[each.id]
        assert found[each.id].words == alone.words
        assert all(word.startswith(f"{each.language}_") for word in found[each.id].words)
    with pytest.raises(InputError) as told:
        transcribe_languages(made, mixed, {mixed[0].id: "zz"})
    assert len(told.value.problems) == 4
