from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_prep.download import download
from speechnlp_tl.errors import InputError

CONTENT = bytes((i * i + i // 256) % 256 for i in range(300_000))


class Server:
    """A web server on this machine that can break, ignore ranges, and change its file."""

    def __init__(self) -> None:
        self.content, self.etag, self.ranges = CONTENT, '"one"', True
        self.break_after: list[int] = []  # bytes of the body after which each connection breaks, in order
        self.status = 0
        self.requests: list[str | None] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/corpus.tar.gz"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.requests.append(asked)
        if self.status:
            handler.send_error(self.status)
            return
        start = 0
        match = re.fullmatch(r"bytes=(\d+)-", asked or "")
        if match and self.ranges and handler.headers.get("If-Range", self.etag) == self.etag:
            start = int(match[1])
            if start >= len(self.content):
                handler.send_error(416)
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        else:
            handler.send_response(200)
        handler.send_header("Content-Length", str(len(self.content) - start))
        handler.send_header("ETag", self.etag)
        handler.end_headers()
        body = self.content[start:]
        handler.wfile.write(body[: self.break_after.pop(0)] if self.break_after else body)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_download_is_what_the_server_has(server: Server, tmp_path: Path) -> None:
    download(server.url, tmp_path / "new" / "corpus.tar.gz")
    assert (tmp_path / "new" / "corpus.tar.gz").read_bytes() == CONTENT
    assert leftovers(tmp_path / "new") == {"corpus.tar.gz"}


def test_a_broken_connection_goes_on_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.break_after = [100_000, 50_000]
    download(server.url, tmp_path / "c", pause=0)
    assert (tmp_path / "c").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=100000-", "bytes=150000-"]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server: Server, tmp_path: Path) -> None:
    server.break_after = [100_000, 0]
    with pytest.raises(InputError, match="100000 bytes have arrived and are kept"):
        download(server.url, tmp_path / "c", attempts=1, pause=0)
    assert not (tmp_path / "c").exists()
    download(server.url, tmp_path / "c", pause=0)
    assert (tmp_path / "c").read_bytes() == CONTENT
    assert server.requests[-1] == "bytes=100000-"


def test_a_file_that_changed_on_the_server_is_not_mixed_with_the_old_one(server: Server, tmp_path: Path) -> None:
    server.break_after = [100_000, 0]
    with pytest.raises(InputError):
        download(server.url, tmp_path / "c", attempts=1, pause=0)
    server.content, server.etag = CONTENT[::-1], '"two"'
    download(server.url, tmp_path / "c", pause=0)
    assert (tmp_path / "c").read_bytes() == CONTENT[::-1]


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.ranges, server.break_after = False, [100_000]
    download(server.url, tmp_path / "c", pause=0)
    assert (tmp_path / "c").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "c.part").write_bytes(CONTENT + b"more")
    download(server.url, tmp_path / "c", pause=0)
    assert (tmp_path / "c").read_bytes() == CONTENT


def test_an_address_that_is_gone_is_not_tried_again(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(InputError, match="404") as error:
        download(server.url, tmp_path / "c", pause=0)
    assert error.value.problems[0].file == server.url
    assert len(server.requests) == 1
    assert leftovers(tmp_path) == set()


def test_no_server_is_an_input_error_that_names_the_address(server: Server, tmp_path: Path) -> None:
    server.server.shutdown()
    server.server.server_close()
    with pytest.raises(InputError, match="refused") as error:
        download(server.url, tmp_path / "c", attempts=2, pause=0)
    assert server.url in str(error.value)


def test_a_full_disk_is_not_taken_for_a_broken_connection(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    (tmp_path / "c.part").symlink_to(full)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        download(server.url, tmp_path / "c", pause=0)
    assert len(server.requests) == 1
