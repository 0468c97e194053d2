"""Unpacking archives of strangers: nothing leaves the folder, nothing but files and folders comes out."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from speechnlp_tl.errors import InputError, Problem

LARGEST_BYTES = 8 << 30
MOST_MEMBERS = 500_000
_SUSPICIOUS = "the archive is not upstream's or was tampered with: remove it and fetch it from the official address"


def unpack(archive: Path, folder: Path, *, largest: int = LARGEST_BYTES, most: int = MOST_MEMBERS) -> None:
    """Unpack a tar archive (plain, gz, bz2 or xz) or a zip archive into `folder`, which exists and is empty.

    The caller owns `folder` and throws it away when this raises (`atomic_directory` does), so that nothing of a bad
    archive remains. Owners, permissions and times are not taken over.

    Args:
        archive: the archive file.
        folder: where to.
        largest: most bytes that may come out.
        most: most members that may come out.

    Raises:
        InputError: members that climb out of the folder, links, devices or doubles (all of them are listed); more
            bytes or members than allowed; a damaged archive.
    """
    if zipfile.is_zipfile(archive):
        _unpack_zip(archive, folder, largest, most)
        return
    problems: list[Problem] = []
    total = 0
    try:
        with tarfile.open(archive, "r:*") as tar:
            for count, member in enumerate(tar, start=1):
                total += member.size
                if total > largest or count > most:
                    raise _too_large(archive, largest, most)
                if reason := _refuse(member, folder):
                    problems.append(Problem(f"member {member.name!r} {reason}", file=archive, remedy=_SUSPICIOUS))
                elif not problems:  # after the first problem the rest is only looked at
                    _extract(tar, member, folder)
            _read_to_end(tar, largest - total)
    except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
        raise _damaged(archive, str(error)) from error
    except OSError as error:
        # gzip, bz2 and lzma report damage as OSError without a number; a full disk or a missing right has one
        if error.errno is None:
            raise _damaged(archive, str(error)) from error
        raise
    except Exception as error:
        if type(error).__name__ == "LZMAError":  # lzma may be missing from a Python build, so it is not imported
            raise _damaged(archive, str(error)) from error
        raise
    if problems:
        raise InputError(problems)


def _unpack_zip(archive: Path, folder: Path, largest: int, most: int) -> None:
    """As `unpack`; a link in a zip archive is a small file here, nothing follows it."""
    problems: list[Problem] = []
    try:
        with zipfile.ZipFile(archive) as members:
            if sum(info.file_size for info in members.infolist()) > largest or len(members.infolist()) > most:
                raise _too_large(archive, largest, most)
            for info in members.infolist():
                target = folder / PurePosixPath(info.filename)
                if _climbs(info.filename):
                    what = f"member {info.filename!r} climbs out of the folder"
                    problems.append(Problem(what, file=archive, remedy=_SUSPICIOUS))
                elif target.exists() and not info.is_dir():
                    what = f"member {info.filename!r} stands twice"
                    problems.append(Problem(what, file=archive, remedy=_SUSPICIOUS))
                elif info.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                elif not problems:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with members.open(info) as source, target.open("xb") as file:
                        shutil.copyfileobj(source, file, 1 << 20)
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
        raise _damaged(archive, str(error)) from error
    if problems:
        raise InputError(problems)


def _too_large(archive: Path, largest: int, most: int) -> InputError:
    what = f"holds more than {largest / (1 << 30):g} GiB or {most} members"
    return InputError(Problem(what, file=archive, remedy=_SUSPICIOUS))


def _climbs(name: str) -> bool:
    """Whether a member's name leads out of the folder, on any system."""
    path = PurePosixPath(name)
    drive = bool(path.parts) and path.parts[0][1:2] == ":"
    return path.is_absolute() or ".." in path.parts or drive or "\\" in name


def _refuse(member: tarfile.TarInfo, folder: Path) -> str | None:
    """Why a member is not unpacked; None when it is."""
    path = PurePosixPath(member.name)
    if _climbs(member.name):
        return "climbs out of the folder"
    if member.issym() or member.islnk():
        return "is a link"
    if not (member.isreg() or member.isdir()):
        return "is a device or something else that is not a file"
    if member.isreg() and (folder / path).exists():
        return "stands twice"
    return None


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    target = folder / PurePosixPath(member.name)
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    assert source is not None
    with source, target.open("xb") as file:
        shutil.copyfileobj(source, file, 1 << 20)


def _read_to_end(tar: tarfile.TarFile, most: int) -> None:
    """Read what follows the last member, so that the decompressor compares its checksum with what came out."""
    stream = tar.fileobj
    while stream is not None and most >= 0 and (chunk := stream.read(1 << 20)):
        most -= len(chunk)


def _damaged(archive: Path, reason: str) -> InputError:
    return InputError(
        Problem(
            f"is damaged or not a tar or zip archive: {reason}", file=archive, remedy="remove it and fetch it again"
        )
    )
