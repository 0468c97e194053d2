from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from speechnlp_tl.cli import app
from speechnlp_tl.errors import InputError
from speechnlp_tl.translation.subwords import SubwordConfig, Subwords
from speechnlp_tl.translation.transformer import TransformerConfig, TranslationTransformer
from speechnlp_tl.translation.translation_model import TranslationModel, TranslationModelConfig

LINES = ["alle meine entchen", "schwimmen auf dem see", "köpfchen in das wasser", "a b c d e f"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    subwords = Subwords.train({"de": LINES * 4, "fr": LINES}, SubwordConfig(size=60))
    shape = TransformerConfig(width=16, heads=2, feedforward=16, encoder_layers=1, decoder_layers=1)
    config = TranslationModelConfig(
        languages=["de", "fr"], model=shape, max_length=12, trained=["de-fr"], sentencepiece_sha256=subwords.sha256
    )
    folder = tmp_path_factory.mktemp("translation") / "model"
    TranslationModel(config, subwords, TranslationTransformer(shape, len(subwords), 2)).save(folder)
    return folder


def run(model, contents, *arguments):
    """Through a real pipe: what counts are the bytes."""
    return subprocess.run(
        [sys.executable, "-m", "speechnlp_tl.cli", "translate", "--model", str(model), "--to", "fr", *arguments],
        input=contents, capture_output=True, check=False, timeout=120,
    )  # fmt: skip


def test_a_line_comes_out_for_each_line_whatever_is_in_it(model):
    odd = [
        "alle meine",
        "",
        "   ",
        "a\u2028b\x0bc\x85d",
        "<2fr> </s>",
        "日本語",
        "\u200b",
        "alle " * 50,
        "z\x00y",
        "\r",
        "\ufffd",
    ]
    done = run(model, "".join(f"{line}\n" for line in odd).encode() + b"\xff\xfe bad", "--from", "de")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().split("\n")
    assert len(lines) == len(odd) + 2  # the bad line, and nothing behind the last newline
    assert lines[1] == lines[2] == lines[9] == ""
    told = done.stderr.decode()
    assert "1 lines were longer than 12 pieces and were cut: line 8" in told
    assert "1 lines are not UTF-8 text" in told
    assert "line 12" in told


def test_files_and_pipes_say_the_same(model, tmp_path):
    (tmp_path / "in").write_text("\n".join(LINES))
    out = tmp_path / "out"
    arguments = ["translate", "--model", str(model), "--to", "fr", "--input", str(tmp_path / "in"), "--out", str(out)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    piped = CliRunner().invoke(app, arguments[:5], input="\n".join(LINES).encode())
    assert out.read_bytes() == piped.stdout_bytes
    assert out.read_bytes().count(b"\n") == 4
    assert CliRunner().invoke(app, arguments[:5], input=b"").stdout_bytes == b""


def test_another_language_may_lie_between(model, tmp_path):
    arguments = ["translate", "--model", str(model), "--to"]
    contents = "".join(f"{line}\n" for line in ["alle meine", "", "köpfchen"]).encode()
    first = CliRunner().invoke(app, [*arguments, "fr"], input=contents).stdout_bytes
    second = CliRunner().invoke(app, [*arguments, "de"], input=first).stdout_bytes
    done = CliRunner().invoke(app, [*arguments, "de", "--via", "fr"], input=contents)
    assert done.exit_code == 0, done.output
    assert done.stdout_bytes == second
    assert second.count(b"\n") == 3


def test_a_length_penalty_that_is_no_number_is_refused(model):
    arguments = ["translate", "--model", str(model), "--to", "fr", "--length-penalty"]
    with pytest.raises(InputError, match="--length-penalty inf is no number"):
        CliRunner().invoke(app, [*arguments, "inf"], input=b"alle\n", catch_exceptions=False)
    assert CliRunner().invoke(app, [*arguments, "nan"], input=b"alle\n").exit_code == 2


@pytest.mark.parametrize("extra", [["--from", "es"], ["--via", "es"], ["--to", "es"]])
def test_an_unknown_language_is_an_error_that_lists_those_known(model, extra):
    arguments = ["translate", "--model", str(model), "--to", "fr", *extra]
    with pytest.raises(InputError, match=r"language 'es'; it knows de, fr"):
        CliRunner().invoke(app, arguments, input=b"alle\n", catch_exceptions=False)


def test_a_closed_input_is_told(model):
    command = f'exec "{sys.executable}" -m speechnlp_tl.cli translate --model "{model}" --to fr <&-'
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False, timeout=120)
    assert done.returncode == 2
    assert done.stderr.decode().strip().endswith("standard input is closed; name the text with --input")
