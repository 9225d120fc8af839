"""A download arrives whole under its name, or leaves nothing."""

import contextlib
import hashlib
import http.server
import shutil
import socket
import threading

import pytest
from every import every

from mixnam.data.download import fetch
from mixnam.data.table import DataError, DataMissing

CONTENT = bytes(range(256)) * 2000  # several reads long


SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Publisher(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/no-http":
            self.wfile.write(b"hello, who is there?\r\n\r\n")
            self.close_connection = True
            return
        self.send_response(200)
        chunked = "chunked" in self.path
        self.send_header(*("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(CONTENT))))
        self.end_headers()
        sent = CONTENT[: len(CONTENT) // 2] if "half" in self.path else CONTENT
        if chunked:
            self.wfile.write(f"{len(CONTENT):x}\r\n".encode() + sent)
        else:
            self.wfile.write(sent)
        if "half" in self.path:
            self.close_connection = True
        elif chunked:
            self.wfile.write(b"\r\n0\r\n\r\n")

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def publisher():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@every("page", ["whole", "chunked"])
def test_a_download_arrives_under_its_name(page, publisher, tmp_path):
    path = tmp_path / "new" / "table.tgz"
    fetch(f"{publisher}/{page}", path, SHA256, "table")
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_other_content_than_expected_is_not_kept(publisher, tmp_path):
    with pytest.raises(DataError, match="other content than expected") as caught:
        fetch(f"{publisher}/whole", tmp_path / "table.tgz", "0" * 64, "table")
    assert SHA256 in str(caught.value)
    assert "0" * 64 in str(caught.value)
    assert f"{publisher}/whole" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@every("page", ["half", "half-chunked", "missing", "no-http"])
def test_a_download_that_fails_is_reported_and_leaves_nothing(page, publisher, tmp_path):
    with pytest.raises(DataMissing, match=f"table: could not download {publisher}/{page}"):
        fetch(f"{publisher}/{page}", tmp_path / "table.tgz", SHA256, "table")
    assert list(tmp_path.iterdir()) == []


def test_a_refused_connection_is_reported_and_leaves_nothing(tmp_path):
    with pytest.raises(DataMissing, match="could not download"):
        fetch(f"http://127.0.0.1:{free_port()}/table", tmp_path / "table.tgz", SHA256, "table")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_download_leaves_nothing(publisher, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "move", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(f"{publisher}/whole", tmp_path / "table.tgz", SHA256, "table")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_leaves_the_old_file(publisher, tmp_path):
    path = tmp_path / "table.tgz"
    path.write_bytes(b"old")
    with contextlib.suppress(DataError):
        fetch(f"{publisher}/whole", path, "0" * 64, "table")
    assert path.read_bytes() == b"old"
