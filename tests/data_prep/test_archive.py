from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from data_prep.archive import unpack
from speechnlp_tl.errors import InputError


def make_tar(path: Path, *members: tuple[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def special(name: str, kind: bytes, target: str = "") -> tuple[str, tarfile.TarInfo]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return name, info


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "place" / "folder").mkdir(parents=True)
    return tmp_path / "place" / "folder"


def contents(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_files_come_out_as_they_went_in(tmp_path: Path, folder: Path) -> None:
    unpack(make_tar(tmp_path / "a.tar.gz", ("top/a.wav", b"abc"), ("top/deep/b", b"")), folder)
    assert contents(folder) == {"top/a.wav", "top/deep/b"}
    assert (folder / "top/a.wav").read_bytes() == b"abc"


@pytest.mark.parametrize(
    "bad",
    [
        ("../evil", b"x"),
        ("top/../../evil", b"x"),
        ("/absolute/evil", b"x"),
        ("top\\..\\..\\evil", b"x"),
        ("C:/evil", b"x"),
        special("top/link", tarfile.SYMTYPE, "/etc/passwd"),
        special("top/link", tarfile.SYMTYPE, "good"),
        special("top/link", tarfile.LNKTYPE, "top/good"),
        special("top/device", tarfile.CHRTYPE),
        special("top/pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda bad: f"{bad[0]}-{bad[1].type.decode() if isinstance(bad[1], tarfile.TarInfo) else 'file'}",
)
def test_an_archive_that_climbs_or_links_is_refused_by_name(
    tmp_path: Path, folder: Path, bad: tuple[str, bytes | tarfile.TarInfo]
) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", bad, ("top/good", b"x"))
    with pytest.raises(InputError) as error:
        unpack(archive, folder)
    assert [problem.file for problem in error.value.problems] == [archive]
    assert repr(bad[0]) in str(error.value)
    assert contents(folder) == set()  # it stood first, so nothing was unpacked
    assert contents(tmp_path) == {"a.tar.gz"}


def test_a_file_through_a_link_of_the_same_archive_stays_inside(tmp_path: Path, folder: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = make_tar(tmp_path / "a.tar.gz", special("top", tarfile.SYMTYPE, str(outside)), ("top/evil", b"x"))
    with pytest.raises(InputError):
        unpack(archive, folder)
    assert contents(outside) == set()


def test_all_bad_members_are_listed_at_once(tmp_path: Path, folder: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", ("good", b"x"), ("../one", b"x"), ("good", b"y"), ("/two", b"x"))
    with pytest.raises(InputError) as error:
        unpack(archive, folder)
    assert [p.what.split("'")[1] for p in error.value.problems] == ["../one", "good", "/two"]


def test_an_archive_that_grows_beyond_the_limits_is_refused(tmp_path: Path, folder: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", ("a", bytes(1000)), ("b", bytes(1001)))
    with pytest.raises(InputError, match="more than"):
        unpack(archive, folder, largest=2000)
    assert not (folder / "b").exists()
    with pytest.raises(InputError, match="more than"):
        unpack(make_tar(tmp_path / "c.tar.gz", ("c", b""), ("d", b"")), folder, most=1)


def truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    return content[:-200] + bytes([content[-200] ^ 0xFF]) + content[-199:]


@pytest.mark.parametrize(
    "damage",
    [truncate, flip, lambda _: b"<html>please log in</html>", lambda _: b"", lambda _: gzip.compress(b"no tar")],
    ids=["truncated", "flipped", "html", "empty", "no-tar"],
)
def test_a_damaged_archive_is_named_with_a_remedy(tmp_path: Path, folder: Path, damage: object) -> None:
    noise = bytes((17 * i * i + i // 7) % 251 for i in range(50_000))
    archive = make_tar(tmp_path / "a.tar.gz", ("a", noise))
    archive.write_bytes(damage(archive.read_bytes()))  # type: ignore[operator]
    with pytest.raises(InputError) as error:
        unpack(archive, folder)
    assert error.value.problems[0].file == archive
    assert error.value.problems[0].remedy
