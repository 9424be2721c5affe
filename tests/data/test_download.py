import errno
import hashlib
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import TCPServer

import pytest

from harness.data.datasets import DataError
from harness.data.download import fetch, md5_of

CONTENT = bytes(range(256)) * 20_000  # 5 MB
MD5 = hashlib.md5(CONTENT).hexdigest()
LIMIT = 6_000_000


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        first = 0
        if server.resumes and (asked := self.headers.get("Range")):
            first = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
        if self.path != "/file.bin":
            self.send_error(404)
        elif first >= len(CONTENT):
            self.send_error(416)
        else:
            self.send_response(206 if first else 200)
            if server.tells_length:
                self.send_header("Content-Length", str(len(server.content) - first))
            self.end_headers()
            last = len(CONTENT) if server.breaks_at is None else server.breaks_at
            self.wfile.write(server.content[first:last])

    def log_message(self, *_):
        pass


class Server(HTTPServer):
    def server_bind(self):
        TCPServer.server_bind(self)  # without asking for the machine's name, which can take seconds
        self.server_name, self.server_port = self.server_address

    def handle_error(self, *_):
        pass  # a client that hangs up is part of the tests


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as server:
        server.ranges, server.resumes, server.tells_length = [], True, True
        server.breaks_at, server.content = None, CONTENT
        server.url = f"http://127.0.0.1:{server.server_port}/file.bin"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "downloads" / "file.bin"


def left(path):
    return sorted(p.name for p in path.parent.iterdir())


def test_download(server, path):
    seen = []
    fetch(server.url, path, MD5, LIMIT, lambda *step: seen.append(step))
    assert path.read_bytes() == CONTENT
    assert left(path) == ["file.bin"]
    downloading = [step for step in seen if step[0] == "downloading file.bin"]
    assert downloading[-1] == ("downloading file.bin", len(CONTENT), len(CONTENT))
    assert len(downloading) > 3
    fetch(server.url, path, MD5, LIMIT)
    assert server.ranges == [None]  # nothing is fetched twice


@pytest.mark.parametrize("resumes", [True, False])
def test_a_broken_download_is_kept_and_continued(server, path, resumes):
    server.breaks_at, server.resumes = 3_000_000, resumes
    with pytest.raises(DataError, match=r"cannot fetch .* Run it again to go on from 3,000,000 bytes"):
        fetch(server.url, path, MD5, LIMIT)
    assert left(path) == ["file.bin.part"]
    server.breaks_at = None
    fetch(server.url, path, MD5, LIMIT)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=3000000-"]


def test_a_part_that_is_whole_already(server, path):
    path.parent.mkdir()
    path.with_name("file.bin.part").write_bytes(CONTENT)
    fetch(server.url, path, MD5, LIMIT)
    assert path.read_bytes() == CONTENT


def test_a_wrong_checksum_deletes_what_was_fetched(server, path):
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(DataError, match=rf"has MD5 [0-9a-f]{{32}}, not {MD5} as published"):
        fetch(server.url, path, MD5, LIMIT)
    assert left(path) == []


@pytest.mark.parametrize("tells_length", [True, False])
def test_more_than_the_file_can_have(server, path, tells_length):
    server.tells_length = tells_length
    with pytest.raises(DataError, match=r"4,000,000.* it can have: not this dataset, refused"):
        fetch(server.url, path, MD5, 4_000_000)
    assert left(path) == []


def test_no_server(server, path):
    with pytest.raises(DataError, match=r"cannot fetch .*404.*fetch the file by hand and pass it with --from"):
        fetch(server.url + "x", path, MD5, LIMIT)
    assert left(path) == []


def test_full_disk(server, path):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        fetch(server.url, path, MD5, LIMIT, full)
    assert left(path) == []


def test_md5_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    assert md5_of(tmp_path / "a") == "d41d8cd98f00b204e9800998ecf8427e"
