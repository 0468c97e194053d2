"""The command line must answer at once: what takes seconds to import waits until a verb needs it."""

import subprocess
import sys

import pytest

HEAVY = (
    "accelerate",
    "datasets",
    "kaldi_decoder",
    "kaldifst",
    "matplotlib",
    "numpy",
    "peft",
    "pydantic",
    "scipy",
    "sklearn",
    "soundfile",
    "tensorboard",
    "torch",
    "torchaudio",
    "transformers",
)
VERBS = (
    "train",
    "adapt",
    "merge",
    "transcribe",
    "classify",
    "score",
    "report",
    "data",
    "data validate",
    "data import-tsv",
    "embed",
    "embed train",
    "embed align",
    "embed translate",
    "embed evaluate",
)


def modules_after(statements: str) -> set[str]:
    code = f"import sys\n{statements}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_command_line_imports_nothing_heavy() -> None:
    assert not modules_after("import speechnlp_tl.cli").intersection(HEAVY)


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_imports_nothing_heavy(verb: str) -> None:
    statements = (
        "import contextlib, io, speechnlp_tl.cli\n"
        f"sys.argv = ['speechnlp-tl', *{verb.split()!r}, '--help']\n"
        "shown = io.StringIO()\n"
        "try:\n"
        "    with contextlib.redirect_stdout(shown):\n"
        "        speechnlp_tl.cli.main()\n"
        "except SystemExit as exit:\n"
        "    assert not exit.code, exit.code\n"
        "assert 'Usage' in shown.getvalue()"
    )
    # typer itself takes pydantic, where it is there, to describe a verb's arguments
    assert not modules_after(statements).intersection(HEAVY) - {"pydantic"}


def test_the_check_itself_sees_heavy_modules() -> None:
    assert "numpy" in modules_after("import numpy")
