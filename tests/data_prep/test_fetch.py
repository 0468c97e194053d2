from __future__ import annotations

import dataclasses
import hashlib
import http.server
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from data_prep.fetch import CORPORA, Corpus, fetch, is_available
from speechnlp_tl.errors import InputError

FILES = {"wav/a.wav": b"one", "wav/b.wav": b"two", "etc/words": b"three"}


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server's address and its folder, which holds the archive of a corpus."""
    folder = tmp_path / "web"
    make_corpus(tmp_path / "upstream" / "mini-1.0")
    folder.mkdir()
    pack(tmp_path / "upstream" / "mini-1.0", folder / "mini.tar.gz")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/mini.tar.gz", folder
    server.shutdown()
    server.server_close()


@pytest.fixture
def corpus(web: tuple[str, Path], tmp_path: Path) -> Corpus:
    checksums = tmp_path / "mini.sha256"
    checksums.write_text("".join(f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in FILES.items()))
    return Corpus("mini", web[0], "mini.tar.gz", "none", checksums)


def make_corpus(root: Path) -> Path:
    for name, body in {**FILES, "tools/extra.py": b"not listed"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(body)
    return root


def pack(root: Path, archive: Path) -> None:
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(root, arcname=root.name)


def assert_whole(root: Path) -> None:
    assert {name: (root / name).read_bytes() for name in FILES} == FILES


def test_a_download_is_unpacked_into_the_cache_and_found_there_again(
    corpus: Corpus, web: tuple[str, Path], no_corpora: Path
) -> None:
    assert not is_available(corpus)
    root = fetch(corpus)
    assert root == no_corpora / "mini" / "mini-1.0"
    assert_whole(root)
    assert not (no_corpora / "mini.tar.gz").exists()
    (web[1] / "mini.tar.gz").unlink()  # from now on there is nothing to download
    assert is_available(corpus)
    assert fetch(corpus) == root


def test_the_user_s_folder_comes_before_the_environment_before_the_cache(
    corpus: Corpus, no_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = fetch(corpus)
    data = tmp_path / "data"
    in_data = make_corpus(data / "mini" / "any-name")
    monkeypatch.setenv("SPEECHNLP_DATA", str(data))
    mine = make_corpus(tmp_path / "mine")
    assert fetch(corpus) == in_data
    assert fetch(corpus, mine) == mine
    monkeypatch.setenv("SPEECHNLP_DATA", str(tmp_path / "nothing"))
    assert fetch(corpus) == cached


@pytest.mark.parametrize("place", ["environment", "cache", "argument"])
def test_the_archive_itself_is_enough(
    place: str,
    corpus: Corpus,
    web: tuple[str, Path],
    no_corpora: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = no_corpora if place == "cache" else tmp_path / "data"
    folder.mkdir(parents=True)
    archive = (web[1] / "mini.tar.gz").rename(folder / "mini.tar.gz")
    if place == "environment":
        monkeypatch.setenv("SPEECHNLP_DATA", str(folder))
    assert_whole(fetch(corpus, archive if place == "argument" else None))
    assert archive.exists()  # it is the user's


def test_without_network_the_error_says_what_to_get_where_from_and_where_to_put_it(
    corpus: Corpus, web: tuple[str, Path], no_corpora: Path
) -> None:
    (web[1] / "mini.tar.gz").unlink()
    with pytest.raises(InputError) as error:
        fetch(corpus)
    message = str(error.value)
    assert corpus.url in message
    assert str(no_corpora / "mini.tar.gz") in message
    assert "SPEECHNLP_DATA" in message


def test_every_damaged_and_missing_file_is_named(corpus: Corpus, no_corpora: Path, tmp_path: Path) -> None:
    root = make_corpus(tmp_path / "mine")
    (root / "wav/a.wav").write_bytes(b"One")
    (root / "etc/words").unlink()
    (root / "tools/extra.py").write_bytes(b"of no interest")
    with pytest.raises(InputError) as error:
        fetch(corpus, root)
    damaged, missing = error.value.problems
    assert (str(damaged.file), "damaged" in damaged.what) == (f"{root}/wav/a.wav", True)
    assert (str(missing.file), "missing" in missing.what) == (f"{root}/etc/words", True)
    assert corpus.url in (damaged.remedy or "")


def test_thousands_of_missing_files_are_counted_not_printed(no_corpora: Path, tmp_path: Path) -> None:
    (tmp_path / "wav").mkdir()
    list_of_many = tmp_path / "many.sha256"
    list_of_many.write_text("".join(f"{'0' * 64}  wav/{number}.wav\n" for number in range(1000)))
    (tmp_path / "wav/0.wav").write_bytes(b"")
    with pytest.raises(InputError) as error:
        fetch(Corpus("many", "http://127.0.0.1:1/", "many.tar.gz", "none", list_of_many), tmp_path)
    assert len(error.value.problems) == 21
    assert "980 more" in error.value.problems[-1].what


def test_a_damaged_archive_leaves_nothing_in_the_cache(
    corpus: Corpus, web: tuple[str, Path], no_corpora: Path, tmp_path: Path
) -> None:
    root = make_corpus(tmp_path / "bad")
    (root / "wav/b.wav").write_bytes(b"TWO")
    pack(root, tmp_path / "bad.tar.gz")
    with pytest.raises(InputError, match=r"bad\.tar\.gz/wav/b\.wav: file is damaged"):
        fetch(corpus, tmp_path / "bad.tar.gz")
    assert [path for path in no_corpora.iterdir() if path.suffix != ".lock"] == []
    assert_whole(fetch(corpus))  # and a good one is taken afterwards


def test_a_climbing_archive_leaves_nothing_anywhere(corpus: Corpus, no_corpora: Path, tmp_path: Path) -> None:
    archive = tmp_path / "climb.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(make_corpus(tmp_path / "mini"), arcname="mini")
        tar.addfile(tarfile.TarInfo("../../escaped"))
    with pytest.raises(InputError, match="climbs out"):
        fetch(corpus, archive)
    assert not list(tmp_path.rglob("escaped"))
    assert [path for path in no_corpora.iterdir() if path.suffix != ".lock"] == []


def test_a_cache_that_was_damaged_says_which_folder_to_remove(corpus: Corpus, no_corpora: Path) -> None:
    (fetch(corpus) / "wav/a.wav").write_bytes(b"")
    with pytest.raises(InputError, match=f"remove {no_corpora / 'mini'}, then run the command again"):
        fetch(corpus)


@pytest.mark.parametrize("content", [None, "empty folder", "other file"])
def test_a_given_place_without_the_corpus_is_an_error_and_no_download(
    content: str | None, corpus: Corpus, no_corpora: Path, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    if content == "empty folder":
        place.mkdir()
    elif content:
        place.write_text("not an archive")
    with pytest.raises(InputError) as error:
        fetch(corpus, place)
    assert str(error.value.problems[0].file) == str(place)
    assert not (no_corpora / "mini").exists()


@pytest.mark.parametrize(("name", "count"), [("an4", 1086), ("fsdd", 3001), ("yesno", 60), ("amazon", 8)])
def test_the_committed_lists_are_complete(name: str, count: int) -> None:
    assert len(CORPORA[name].expected()) == count


@pytest.mark.parametrize("module", ["an4", "fsdd", "yesno", "amazon"])
def test_a_missing_corpus_ends_the_command_with_code_2_and_the_problem(module: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"data_prep.{module}", "--out", str(tmp_path / "o"), "--corpus-dir"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "XDG_CACHE_HOME": str(tmp_path)}
    result = subprocess.run([*command, str(tmp_path / "no")], capture_output=True, text=True, env=environment)
    assert result.returncode == 2
    assert f"{tmp_path / 'no'}: no {module} here" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "o").exists()


def test_a_corpus_is_found_on_its_shelf_and_two_folders_deep(
    corpus: Corpus, no_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelved = dataclasses.replace(corpus, shelf="text/mini_files")
    data = tmp_path / "data"
    on_shelf = make_corpus(data / "text" / "mini_files")
    monkeypatch.setenv("SPEECHNLP_DATA", str(data))
    assert is_available(shelved)
    assert fetch(shelved) == on_shelf
    deep = make_corpus(tmp_path / "unpacked" / "repository-1.0" / "data")
    assert fetch(corpus, tmp_path / "unpacked") == deep
