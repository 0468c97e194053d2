import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from speechnlp_tl.commands.score import score
from speechnlp_tl.errors import InputError

app = typer.Typer()
app.command()(score)


@pytest.fixture
def folder(tmp_path):
    utterances = [f"{speaker}-{n}" for speaker in "abc" for n in range(4)]
    (tmp_path / "text").write_text("".join(f"{name} one two three\n" for name in utterances))
    (tmp_path / "hyp").write_text("".join(f"{name} one two\n" for name in utterances[1:]))
    (tmp_path / "hyp0").write_text("".join(f"{name} one\n" for name in utterances))
    (tmp_path / "utt2spk").write_text("".join(f"{name} {name[0]}\n" for name in utterances))
    return tmp_path


def run(folder, *arguments):
    command = ["--ref", str(folder / "text"), "--hyp", str(folder / "hyp"), *map(str, arguments)]
    return CliRunner().invoke(app, command, catch_exceptions=True)


def test_headline_speakers_baseline_and_missing_utterances_are_printed(folder):
    result = run(folder, "--baseline", folder / "hyp0", "--cer")
    assert result.exit_code == 0
    assert "WER 38.89 % [" in result.output
    assert "(14 errors / 36 words: 0 S, 14 D, 0 I), 12 utterances, 3 speakers" in result.output
    assert "CER " in result.output
    assert "baseline WER 66.67 %, difference -27.78 points" in result.output
    assert "bootstrap over 3 speakers" in result.output
    assert "1 of 12 utterances have no hypothesis" in result.output
    assert "a-0" in result.output


def test_speakers_are_found_beside_the_reference_or_where_named(folder):
    (folder / "utt2spk").rename(folder / "speakers")
    assert "no speakers given" in run(folder).output
    assert "over 3 speakers" in run(folder, "--utt2spk", folder / "speakers").output


def test_json_and_alignments_are_written(folder):
    result = run(folder, "--json", folder / "scores.json", "--alignments", folder / "aligned.txt")
    assert result.exit_code == 0
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["errors"] == 14
    assert set(scores["per_speaker"]) == set("abc")
    assert scores["baseline"] is None
    assert "Eval:         D" in (folder / "aligned.txt").read_text()


def test_problems_of_all_files_are_listed_together(folder):
    (folder / "hyp").write_text("a-0 x\na-0 y\n")
    (folder / "utt2spk").write_text("a-0\n")
    result = run(folder, "--baseline", folder / "nothing")
    assert isinstance(result.exception, InputError)
    assert len(result.exception.problems) == 3


def test_unknown_hypotheses_are_an_error_and_nothing_is_written(folder):
    (folder / "hyp").write_text("zz x\n")
    result = run(folder, "--json", folder / "scores.json")
    assert isinstance(result.exception, InputError)
    assert "zz is not in the reference" in str(result.exception)
    assert not (folder / "scores.json").exists()


def test_naming_the_verb_imports_nothing_heavy():
    heavy = "{'numpy', 'torch', 'matplotlib', 'kaldialign', 'pydantic', 'jiwer'}"
    code = (
        f"import sys, speechnlp_tl.commands.score, speechnlp_tl.commands.report; print(*({heavy} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.split() == []
