"""Which language an utterance is in."""

from __future__ import annotations

import math

import numpy as np
import pytest

from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.decoder import Hypothesis
from speechnlp_tl.speech.language_choice import choose_language, path_score, transcribe_languages
from speechnlp_tl.speech.lexicon import Lexicon
from speechnlp_tl.speech.multilingual import ScoreStatistics
from tests.speech.two_languages import recognisers, spoken


def test_a_path_is_compared_with_the_best_states() -> None:
    scores = np.array([[0.0, -1.0], [-3.0, -1.0]], dtype=np.float32)
    assert path_score(scores, Hypothesis(["a"], score=-5.0)) == pytest.approx((-5.0 - (0.0 - 1.0)) / 2)
    assert path_score(scores, Hypothesis(["a"], score=-5.0, complete=False)) == -math.inf
    assert path_score(scores[:0], Hypothesis([], score=0.0)) == -math.inf


def test_scores_are_compared_after_standardising(lexicon: Lexicon, utterances: list[Utterance]) -> None:
    made = recognisers(lexicon)
    speech = spoken(utterances[:2], "xa")
    decode = made.config.languages["xa"].decode
    for favoured, other in (("xa", "xb"), ("xb", "xa")):
        told = made.with_settings(favoured, decode, ScoreStatistics(mean=-50.0, deviation=1.0))
        told = told.with_settings(other, decode, ScoreStatistics(mean=50.0, deviation=1.0))
        chosen = choose_language(told, speech)
        assert {choice.language for choice in chosen.values()} == {favoured}
        assert all(choice.scores[favoured] > choice.scores[other] for choice in chosen.values())
        own = told.language(favoured).transcribe(speech)
        assert {name: choice.hypothesis.words for name, choice in chosen.items()} == {
            name: hypothesis.words for name, hypothesis in own.items()
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
