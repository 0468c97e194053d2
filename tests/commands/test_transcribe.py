"""`speechnlp-tl transcribe`: recordings or data directories in, words out."""

from __future__ import annotations

from pathlib import Path

from speechnlp_tl.speech.data_dir import DataDir
from tests.tiny import TinyCorpus


def test_a_data_directory_becomes_a_text_file_that_can_be_scored(
    run, tiny_experiment: Path, tiny_corpus: TinyCorpus, tmp_path: Path
):
    outcome = run("transcribe", "--model", tiny_experiment, "--data", tiny_corpus.dev, "--out", tmp_path / "deep/hyp")
    assert outcome.code == 0, outcome.err
    assert f"{tmp_path / 'deep/hyp'}: 12 utterances" in outcome.out
    lines = (tmp_path / "deep/hyp").read_text().splitlines()
    assert [line.split()[0] for line in lines] == [utterance.id for utterance in DataDir.read(tiny_corpus.dev)]
    scored = run("score", "--ref", tiny_corpus.dev / "text", "--hyp", tmp_path / "deep/hyp")
    assert scored.code == 0
    assert scored.out.startswith("WER 0.00 %")


def test_what_is_printed_is_what_would_be_written(run, tiny_experiment: Path, tiny_corpus: TinyCorpus, tmp_path: Path):
    arguments = ("transcribe", "--model", tiny_experiment / "model", "--data", tiny_corpus.test)
    printed = run(*arguments)
    assert run(*arguments, "--out", tmp_path / "hyp").code == 0
    assert printed.out == (tmp_path / "hyp").read_text()


def test_recordings_are_named_by_their_paths_in_the_order_given(run, tiny_experiment: Path, tiny_corpus: TinyCorpus):
    utterances = list(DataDir.read(tiny_corpus.dev))[4:1:-1]
    outcome = run("transcribe", "--model", tiny_experiment, *(utterance.audio for utterance in utterances))
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines() == [f"{utterance.audio} {utterance.text}" for utterance in utterances]


def test_a_recording_is_understood_alike_alone_and_in_company(run, tiny_experiment: Path, tiny_corpus: TinyCorpus):
    audio = [utterance.audio for utterance in DataDir.read(tiny_corpus.test)]
    together = run("transcribe", "--model", tiny_experiment, *audio).out.splitlines()
    alone = [run("transcribe", "--model", tiny_experiment, path).out.strip() for path in audio[:5]]
    assert together[:5] == alone


def test_spaces_in_a_file_name_do_not_end_the_id(run, tiny_experiment: Path, tiny_corpus: TinyCorpus, tmp_path: Path):
    (utterance, *_) = DataDir.read(tiny_corpus.test)
    recording = tmp_path / "my recording.wav"
    recording.write_bytes(Path(utterance.audio).read_bytes())
    outcome = run("transcribe", "--model", tiny_experiment, recording, "--out", tmp_path / "hyp")
    assert outcome.code == 0, outcome.err
    name, *words = (tmp_path / "hyp").read_text().split()
    assert name == str(recording).replace(" ", "_")
    assert set(words) <= {"aim", "asi", "isu", "mui", "sam", "usa"}


def test_confidence_stands_behind_the_id(run, tiny_experiment: Path, tiny_corpus: TinyCorpus):
    plain = run("transcribe", "--model", tiny_experiment, "--data", tiny_corpus.test).out.splitlines()
    rated = run("transcribe", "--model", tiny_experiment, "--data", tiny_corpus.test, "--confidence").out.splitlines()
    values = []
    for line, with_confidence in zip(plain, rated, strict=True):
        name, value, *words = with_confidence.split()
        assert [name, *words] == line.split()
        values.append(float(value))
    assert all(0 <= value <= 1 for value in values)
    assert len(set(values)) > 3


def test_new_hypotheses_replace_the_old_ones(run, tiny_experiment: Path, tiny_corpus: TinyCorpus, tmp_path: Path):
    (tmp_path / "hyp").write_text("old-1 nothing\n")
    arguments = ("--data", tiny_corpus.dev, "--out", tmp_path / "hyp")
    assert run("transcribe", "--model", tiny_experiment, *arguments).code == 0
    assert "old-1" not in (tmp_path / "hyp").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["hyp"]
