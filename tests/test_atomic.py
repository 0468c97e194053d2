"""Files and directories appear whole or not at all, whatever happens on the way."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechnlp_tl.atomic import atomic_directory, atomic_file, write_text
from speechnlp_tl.errors import InputError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\r")))
def test_text_is_written_as_utf8_and_nothing_else_is_left(tmp_path: Path, text: str) -> None:
    write_text(tmp_path / "deep" / "file", text)
    assert (tmp_path / "deep" / "file").read_bytes() == text.encode()
    assert names(tmp_path / "deep") == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, InputError])
def test_an_error_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    write_text(tmp_path / "file", "old")
    with pytest.raises(error), atomic_file(tmp_path / "file") as temporary:  # noqa: PT012
        temporary.write_text("half of the n")
        raise error("stop")
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def no_space(*arguments: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


FAILING = {"fsync": (os, "fsync"), "replace": (Path, "replace")}


@pytest.mark.parametrize("call", FAILING)
def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path: Path, monkeypatch, call: str) -> None:
    write_text(tmp_path / "file", "old")
    with monkeypatch.context() as patched:
        patched.setattr(*FAILING[call], no_space)
        with pytest.raises(InputError) as caught:
            write_text(tmp_path / "file", "new")
    (problem,) = caught.value.problems
    assert problem.file == tmp_path / "file"
    assert problem.what == "cannot be written: No space left on device"
    assert "free space" in str(problem.remedy)
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("call", FAILING)
def test_a_full_disk_leaves_no_half_directory(tmp_path: Path, monkeypatch, call: str) -> None:
    with (  # noqa: PT012
        monkeypatch.context() as patched,
        pytest.raises(InputError, match="target: cannot be written: No space left"),
        atomic_directory(tmp_path / "target") as folder,
    ):
        (folder / "file").write_text("new")
        patched.setattr(*FAILING[call], no_space)
    assert names(tmp_path) == []


def test_an_error_inside_a_new_directory_names_the_place_it_would_have_had(tmp_path: Path) -> None:
    with (  # noqa: PT012
        pytest.raises(InputError, match=f"^{tmp_path}/target/file/deep: cannot be written"),
        atomic_directory(tmp_path / "target") as folder,
    ):
        write_text(folder / "file", "a file, no folder")
        write_text(folder / "file" / "deep", "x")


@pytest.mark.parametrize("write", [lambda path: write_text(path, "x"), lambda path: atomic_directory(path).__enter__()])
def test_a_place_below_a_file_is_an_input_error(tmp_path: Path, write: Callable[[Path], object]) -> None:
    write_text(tmp_path / "file", "old")
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path / "file" / "new")
    assert names(tmp_path) == ["file"]


def test_a_file_never_takes_the_place_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    with pytest.raises(InputError, match="target: cannot be written"):
        write_text(tmp_path / "target", "x")
    assert names(tmp_path) == ["target"]


def test_a_directory_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "target") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_text("x")
        assert not (tmp_path / "target").exists()
    assert (tmp_path / "target" / "inner" / "file").read_text() == "x"
    assert names(tmp_path) == ["target"]


def test_an_empty_directory_may_be_filled_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with atomic_directory(tmp_path / "empty") as folder:
        (folder / "file").write_text("x")
    for target in (tmp_path / "empty", tmp_path / "empty" / "file"):
        with pytest.raises(InputError, match="exists already"), atomic_directory(target):
            pytest.fail("the block must not run")
    assert (tmp_path / "empty" / "file").read_text() == "x"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_no_half_directory(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), atomic_directory(tmp_path / "target") as folder:  # noqa: PT012
        (folder / "file").write_text("x")
        raise error
    assert names(tmp_path) == []


KILLED = """
import os, signal, sys
from speechnlp_tl.atomic import atomic_directory, atomic_file
with (atomic_file if sys.argv[1] == "file" else atomic_directory)(sys.argv[2]) as place:
    (place if sys.argv[1] == "file" else place / "weights").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_killed_process_leaves_what_was_there_before(tmp_path: Path, kind: str) -> None:
    if kind == "file":
        write_text(tmp_path / "target", "old")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", KILLED, kind, str(tmp_path / "target")]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    if kind == "file":
        assert (tmp_path / "target").read_text() == "old"
        write_text(tmp_path / "target", "new")
        assert (tmp_path / "target").read_text() == "new"
    else:
        assert not (tmp_path / "target").exists()
        with atomic_directory(tmp_path / "target") as folder:
            assert names(folder) == []


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    versions = ["a" * 200_000, "b" * 300_000]
    write_text(tmp_path / "file", versions[0])
    seen = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add((tmp_path / "file").read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(40):
        write_text(tmp_path / "file", versions[turn % 2])
    done.set()
    reader.join()
    assert seen <= set(versions)
