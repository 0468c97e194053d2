from speechnlp_tl.evaluation.sclite import display_width, sclite_text
from speechnlp_tl.evaluation.wer import score

REFERENCE = {"f01-1": ["the", "cat", "sat"], "m01-1": ["你好", "yes"], "m01-2": ["no"]}
HYPOTHESIS = {"f01-1": ["the", "hat", "sat", "on"], "m01-1": ["你好"]}
SPEAKERS = {"f01-1": "f01", "m01-1": "m01", "m01-2": "m01"}


def test_alignment_shows_what_a_reader_of_sclite_expects():
    text = sclite_text(score(REFERENCE, HYPOTHESIS, SPEAKERS))
    assert (
        "Speaker sentences   0:  f01   #utts: 1\n"
        "id: (f01-1)\n"
        "Scores: (#C #S #D #I) 2 1 0 1\n"
        "REF:  the cat sat **\n"
        "HYP:  the hat sat on\n"
        "Eval:     S       I\n"
    ) in text
    assert "REF:  你好 yes\nHYP:  你好 ***\nEval:      D\n" in text
    assert "id: (m01-2)   no hypothesis" in text


def test_summary_totals_are_over_words_and_means_over_speakers():
    lines = sclite_text(score(REFERENCE, HYPOTHESIS, SPEAKERS)).splitlines()
    row = {line.split()[1]: line.replace("|", " ").split()[1:] for line in lines if line.startswith("| ")}
    assert row["f01"] == ["1", "3", "66.7", "33.3", "0.0", "33.3", "66.7", "100.0"]
    assert row["m01"] == ["2", "3", "33.3", "0.0", "66.7", "0.0", "66.7", "100.0"]
    assert row["Sum/Avg"] == ["3", "6", "50.0", "16.7", "33.3", "16.7", "66.7", "100.0"]
    assert row["Mean"] == ["1.5", "3.0", "50.0", "16.7", "33.3", "16.7", "66.7", "100.0"]


def test_summary_is_a_rectangle():
    table = sclite_text(score(REFERENCE, HYPOTHESIS, SPEAKERS)).split("\n,")[1].splitlines()
    assert {display_width(line) for line in table[1:]} == {display_width("," + table[0])}


def test_long_utterances_wrap_with_all_rows_in_step():
    words = [f"word{n}" for n in range(60)]
    text = sclite_text(score({"u": words}, {"u": words[1:]}))
    assert all(len(line) < 130 for line in text.splitlines())
    shown = [word for line in text.splitlines() if "REF:" in line for word in line.partition("REF:")[2].split()]
    assert shown == words
    assert ">> REF:" in text


def test_a_speaker_without_reference_words_has_no_rates():
    text = sclite_text(score({"a": [], "b": ["x"]}, {"a": ["y"], "b": ["x"]}, {"a": "quiet", "b": "loud"}))
    assert "| quiet   |     1     0 |     -" in text
