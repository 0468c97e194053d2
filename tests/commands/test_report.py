import typer
from typer.testing import CliRunner

from speechnlp_tl.commands.report import report
from speechnlp_tl.errors import InputError

app = typer.Typer()
app.command()(report)


def test_report_is_written_and_its_path_printed(tmp_path):
    (tmp_path / "ref").write_text("u one\n")
    (tmp_path / "hyp").write_text("u won\n")
    out = tmp_path / "out" / "report.html"
    result = CliRunner().invoke(app, [str(tmp_path), "--out", str(out), "--title", "Mine"])
    assert result.exit_code == 0
    assert str(out) in result.output
    assert out.read_text().startswith("<!DOCTYPE html>")
    assert "<title>Mine</title>" in out.read_text()


def test_nothing_is_written_when_an_experiment_holds_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    out = tmp_path / "report.html"
    result = CliRunner().invoke(app, [str(tmp_path / "empty"), str(tmp_path / "absent"), "--out", str(out)])
    assert isinstance(result.exception, InputError)
    assert len(result.exception.problems) == 2
    assert not out.exists()
