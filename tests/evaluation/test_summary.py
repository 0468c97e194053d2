import json

import pytest

from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.summary import p_value, summarise

REFERENCE = {f"{speaker}-{n}": ["one", "two", "three"] for speaker in "abcd" for n in range(5)}
SPEAKERS = {utterance: utterance[0] for utterance in REFERENCE}
HYPOTHESIS = {
    utterance: ["one", "too", "three"] if utterance[0] in "ab" else words for utterance, words in REFERENCE.items()
}


def test_json_has_exactly_the_promised_keys_and_percentages():
    scores = summarise(REFERENCE, HYPOTHESIS, SPEAKERS, baseline={}).to_json()
    json.dumps(scores, allow_nan=False)
    counts = {"words", "errors", "substitutions", "deletions", "insertions"}
    assert set(scores) == {"wer", "cer", "ci95", "per_speaker", "baseline"} | counts
    assert set(scores["baseline"]) == {"wer", "difference", "ci95", "p"}
    assert set(scores["per_speaker"]["a"]) == {"wer"} | counts
    assert scores["wer"] == pytest.approx(100 * 10 / 60)
    assert scores["cer"] == pytest.approx(100 * 10 / (20 * len("one two three")))
    assert scores["per_speaker"]["a"]["wer"] == pytest.approx(100 / 3)
    assert scores["ci95"][0] <= scores["wer"] <= scores["ci95"][1]
    assert scores["baseline"]["wer"] == 100.0
    assert scores["baseline"]["difference"] == pytest.approx(scores["wer"] - 100.0)


def test_what_cannot_be_known_is_null_and_not_a_made_up_number():
    scores = summarise({"a": ["x"], "b": []}, {"a": ["x"], "b": ["y"]}, {"a": "s", "b": "quiet"}).to_json()
    assert scores["baseline"] is None
    assert scores["per_speaker"]["quiet"]["wer"] is None
    single = summarise({"a": ["x"]}, {"a": ["x"]})
    assert single.to_json()["ci95"] is None
    assert "single utterance" in single.interval_note()


def test_headline_reads_as_documented():
    summary = summarise(REFERENCE, HYPOTHESIS, SPEAKERS, baseline={})
    assert summary.headline().startswith("WER 16.67 % [")
    assert summary.headline().endswith("(10 errors / 60 words: 10 S, 0 D, 0 I), 20 utterances, 4 speakers")
    assert summary.headline("char").startswith("CER 3.85 % [")
    assert summary.baseline_line().startswith(
        "baseline WER 100.00 %, difference -83.33 points [-100.00, -66.67], p 0.12"
    )
    assert summary.interval_note() == "95 % interval: bootstrap over 4 speakers"


def test_it_is_said_when_utterances_had_to_be_resampled():
    one = summarise(REFERENCE, HYPOTHESIS, dict.fromkeys(REFERENCE, "s"))
    assert "over 20 utterances (only one speaker" in one.interval_note()
    assert "no speakers given" in summarise(REFERENCE, HYPOTHESIS).interval_note()


def test_missing_hypotheses_are_named_but_not_without_end():
    note = summarise(REFERENCE, {}).missing_note()
    assert note.startswith("20 of 20 utterances have no hypothesis")
    assert "a-0" in note
    assert note.endswith("and 10 more")
    assert summarise(REFERENCE, HYPOTHESIS).missing_note() == ""


def test_speaker_table_is_aligned_and_complete():
    lines = summarise(REFERENCE, HYPOTHESIS, SPEAKERS).speaker_table().splitlines()
    assert [line.split()[0] for line in lines] == ["speaker", "a", "b", "c", "d"]
    assert lines[1].split()[1:] == ["5", "15", "5", "5", "0", "0", "33.33", "7.69"]
    assert len({len(line) for line in lines}) == 1
    assert summarise(REFERENCE, HYPOTHESIS).speaker_table() == ""


@pytest.mark.parametrize(("p", "text"), [(0.5, "0.5"), (0.0312, "0.031"), (0.00012, "0.00012"), (1e-7, "< 0.0001")])
def test_p_is_shown_without_false_precision(p, text):
    assert p_value(p) == text


def test_a_baseline_of_another_test_set_is_refused_by_name():
    with pytest.raises(InputError, match="the baseline's x is not in the reference") as caught:
        summarise(REFERENCE, HYPOTHESIS, SPEAKERS, baseline={"x": [], "y": []})
    assert len(caught.value.problems) == 2
