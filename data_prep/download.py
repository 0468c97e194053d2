"""Downloads over HTTP: resumed where they broke, complete or absent under their name."""

from __future__ import annotations

import http.client
import os
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from speechnlp_tl.errors import InputError, Problem

_CHUNK = 1 << 16


def download(url: str, target: Path, *, attempts: int = 4, pause: float = 1.0, timeout: float = 30.0) -> None:
    """Fetch `url` into the file `target`.

    What has arrived waits in `<target>.part`, beside it the server's version of the file in `<target>.part.version`:
    a later call goes on there when the server still has the same version, and starts over otherwise.

    Args:
        url: an http or https address.
        target: the file to write; it appears when the download is complete.
        attempts: how often a broken connection that brought nothing new is tried.
        pause: seconds before the second attempt; doubled before each further one.
        timeout: seconds without a byte after which a connection counts as broken.

    Raises:
        InputError: the address cannot be reached, refuses, or the disk is full. What has arrived stays for next time.
    """
    part = target.with_name(target.name + ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    failures, reason = 0, ""
    while failures < attempts:
        if failures:
            time.sleep(pause * 2 ** (failures - 1))
        before = _size(part)
        try:
            _receive(url, part, timeout)
        except urllib.error.HTTPError as error:
            reason = f"the server answers {error.code} {error.reason}"
            if error.code == 416:  # what we hold is longer than what the server has: it is another file
                _forget(part)
            elif 400 <= error.code < 500 and error.code not in (408, 429):
                break
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        else:
            part.replace(target)
            _forget(part)
            return
        failures = 0 if _size(part) > before else failures + 1
    arrived = f" ({_size(part)} bytes have arrived and are kept)" if _size(part) else ""
    raise InputError(Problem(f"cannot be downloaded: {reason}{arrived}", file=url))


def _receive(url: str, part: Path, timeout: float) -> None:
    """One connection: append to `part` until the end of the file; OSError or HTTPException when it breaks before."""
    have = _size(part)
    version = part.with_name(part.name + ".version")
    headers = {"User-Agent": "speechnlp_tl", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if version.is_file():
            headers["If-Range"] = version.read_text(encoding="utf-8")
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=timeout) as response:
        start = have if response.status == 206 and _starts_at(response, have) else 0
        if response.status == 206 and have and not start:
            _forget(part)
            raise ConnectionError("the server sent another part than the one asked for")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else None
        if not start:
            _remember(version, response.headers.get("ETag") or response.headers.get("Last-Modified"))
        _copy(response, part, start, total)
    if total is not None and _size(part) < total:
        raise ConnectionError(f"the connection broke after {_size(part)} of {total} bytes")


def _copy(response: Any, part: Path, start: int, total: int | None) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with (
        _open(part, "ab" if start else "wb") as file,
        Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task(part.name.removesuffix(".part"), total=total, completed=start)
        while chunk := response.read(_CHUNK):
            try:
                file.write(chunk)
            except OSError as error:
                raise _cannot_write(part, error) from error
            progress.advance(task, len(chunk))
        try:
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            raise _cannot_write(part, error) from error


def _open(part: Path, mode: str) -> Any:
    try:
        return part.open(mode)
    except OSError as error:
        raise _cannot_write(part, error) from error


def _cannot_write(part: Path, error: OSError) -> InputError:
    return InputError(
        Problem(
            f"cannot be written: {error.strerror or error}",
            file=part,
            remedy="free space or set XDG_CACHE_HOME to another disk, then run the command again",
        )
    )


def _starts_at(response: Any, position: int) -> bool:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return match is not None and int(match[1]) == position


def _remember(version: Path, tag: str | None) -> None:
    """Keep the server's version of the file; a weak tag (W/...) does not stand for the bytes and is not kept."""
    version.unlink(missing_ok=True)
    if tag and not tag.startswith("W/"):
        version.write_text(tag, encoding="utf-8")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_name(part.name + ".version").unlink(missing_ok=True)


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0
