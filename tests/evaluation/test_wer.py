import jiwer
import kaldialign
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.wer import GAP, Counts, score

WORDS = st.lists(st.sampled_from(["a", "b", "c", "dd", "é"]), max_size=8)
SPOKEN = st.dictionaries(st.sampled_from([f"u{n}" for n in range(6)]), WORDS, min_size=1).filter(
    lambda reference: any(reference.values())
)


@st.composite
def scored(draw):
    reference = draw(SPOKEN)
    hypothesis = {name: draw(WORDS) for name in reference if draw(st.integers(0, 4))}
    return reference, hypothesis


def brute_force_distance(first, second):
    table = list(range(len(second) + 1))
    for row, left in enumerate(first, start=1):
        previous, table[0] = table[0], row
        for column, right in enumerate(second, start=1):
            previous, table[column] = (
                table[column],
                min(table[column] + 1, table[column - 1] + 1, previous + (left != right)),
            )
    return table[-1]


@given(scored())
def test_word_errors_are_those_of_jiwer_kaldialign_and_brute_force(pair):
    reference, hypothesis = pair
    result = score(reference, hypothesis)
    names = [name for name in sorted(reference) if reference[name]]  # jiwer refuses an empty reference
    kept = {name: result.per_utterance[name].errors for name in names}
    spoken = [" ".join(reference[name]) for name in names]
    heard = [" ".join(hypothesis.get(name, [])) for name in names]
    measured = jiwer.process_words(spoken, heard)
    assert sum(kept.values()) == measured.substitutions + measured.deletions + measured.insertions
    everything = sorted(reference)
    total = kaldialign.batch_error_rate(
        [reference[name] for name in everything], [hypothesis.get(name, []) for name in everything]
    )
    assert result.errors == total["total"]
    assert result.wer == pytest.approx(100 * total["err_rate"])
    for name in everything:
        assert result.per_utterance[name].errors == brute_force_distance(reference[name], hypothesis.get(name, []))


@given(scored())
def test_character_errors_are_those_of_jiwer(pair):
    reference, hypothesis = pair
    names = [name for name in sorted(reference) if reference[name]]
    reference = {name: reference[name] for name in names}
    hypothesis = {name: hypothesis[name] for name in names if name in hypothesis}
    expected = jiwer.cer(
        [" ".join(reference[name]) for name in names], [" ".join(hypothesis.get(name, [])) for name in names]
    )
    assert score(reference, hypothesis, unit="char").wer == pytest.approx(100 * expected)


@given(scored())
def test_alignment_restores_both_sides_and_accounts_for_every_error(pair):
    reference, hypothesis = pair
    for utterance in score(reference, hypothesis).utterances:
        assert [spoken for spoken, _ in utterance.alignment if spoken != GAP] == reference[utterance.id]
        assert [heard for _, heard in utterance.alignment if heard != GAP] == hypothesis.get(utterance.id, [])
        assert (GAP, GAP) not in utterance.alignment
        counts = utterance.counts
        assert counts.correct == sum(spoken == heard for spoken, heard in utterance.alignment)
        assert counts.errors == sum(spoken != heard for spoken, heard in utterance.alignment)
        assert counts.words == len(reference[utterance.id])


def test_each_kind_of_error_is_counted_as_itself():
    result = score({"u": ["the", "cat", "sat", "on"]}, {"u": ["the", "hat", "sat", "on", "it"]})
    assert result.counts == Counts(words=4, substitutions=1, deletions=0, insertions=1)
    assert result.wer == 50.0
    assert score({"u": ["a", "b"]}, {"u": ["b"]}).counts == Counts(2, deletions=1)


def test_rate_is_errors_over_words_and_not_a_mean_over_utterances():
    reference = {"long": ["a"] * 9, "short": ["b"]}
    assert score(reference, {"long": ["a"] * 9, "short": ["x"]}).wer == 10.0


def test_missing_hypotheses_count_as_deletions_and_are_named():
    result = score({"u1": ["a"], "u2": ["b", "c"]}, {"u1": ["a"]})
    assert (result.deletions, result.errors, result.missing) == (2, 2, ["u2"])


def test_empty_hypothesis_is_not_missing():
    assert score({"u1": ["a"]}, {"u1": []}).missing == []


def test_empty_reference_contributes_its_insertions():
    result = score({"u1": ["a"], "u2": []}, {"u1": ["a"], "u2": ["x", "y"]})
    assert (result.insertions, result.words, result.wer) == (2, 1, 200.0)


def test_unknown_hypotheses_and_utterances_without_speaker_are_all_listed():
    with pytest.raises(InputError) as caught:
        score({"u1": ["a"], "u2": ["b"]}, {"x": ["a"], "y": []}, speakers={"u1": "s"})
    assert [str(problem).split(";")[0] for problem in caught.value.problems] == [
        "hypothesis x is not in the reference",
        "hypothesis y is not in the reference",
        "utterance u2 has no speaker",
    ]


@pytest.mark.parametrize("reference", [{}, {"u": []}])
def test_reference_without_words_is_a_clear_error(reference):
    with pytest.raises(InputError, match="the reference holds no words"):
        score(reference, {})


def test_speakers_add_up_to_the_whole():
    reference = {"a1": ["x", "y"], "a2": ["z"], "b1": ["x"]}
    result = score(reference, {"a1": ["x"], "a2": ["q"], "b1": ["x", "x"]}, {"a1": "a", "a2": "a", "b1": "b", "c": "c"})
    assert result.per_speaker == {"a": Counts(3, 1, 1, 0), "b": Counts(1, 0, 0, 1)}
    assert sum(result.per_speaker.values(), Counts()) == result.counts
    assert score(reference, {}).per_speaker == {}


def test_characters_count_spaces_between_words():
    result = score({"u": ["ice", "cream"]}, {"u": ["icecream"]}, unit="char")
    assert result.counts == Counts(words=9, deletions=1)


def test_characters_of_scripts_without_spaces_are_counted_one_by_one():
    assert score({"u": ["你好世界"]}, {"u": ["你世界"]}, unit="char").counts == Counts(words=4, deletions=1)
