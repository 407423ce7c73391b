"""Downloads from a server on this machine: cut, resumed, spoilt, cancelled."""

import contextlib
import hashlib
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from NeuroSAM2Core.checkpoint import CatalogEntry, Checkpoint, download
from NeuroSAM2Core.errors import Cancelled, DownloadError, NeuroSAM2Error
from Testing.Support.files import published_state, save_foreign


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "tiny.pt"
    save_foreign({"model": {k: v.half() for k, v in published_state("sam2_hiera_t").items()}}, path)
    return path.read_bytes()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cut_after, self.honours_ranges, self.etag, self.asked = content, None, True, '"one"', []
        self.headers, self.sends_on_to = {}, None


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        if server.sends_on_to:
            self.send_response(302)
            self.send_header("Location", server.sends_on_to)
            self.end_headers()
            return
        start = 0
        if wanted and server.honours_ranges and self.headers.get("If-Range") == server.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        body = server.content[start:]
        self.send_response(206 if start else 200)
        for name, value in ({"Content-Length": str(len(body)), "ETag": server.etag} | server.headers).items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who asked has heard enough
            self.wfile.write(body if server.cut_after is None else body[: server.cut_after])


@pytest.fixture
def server(content):
    server = Server(content)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def entry(server, content):
    return CatalogEntry(
        name="tiny",
        description="a test",
        licence="Apache-2.0",
        url=f"http://127.0.0.1:{server.server_address[1]}/tiny.pt",
        sha256=hashlib.sha256(content).hexdigest(),
        sha256_source="this test",
    )


def test_a_download_is_verified_converted_and_installed(entry, tmp_path, content):
    seen = []
    path = download(entry, tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    checkpoint = Checkpoint.load(path)
    assert checkpoint.provenance.source_sha256 == entry.sha256
    assert seen[-1] == (len(content), len(content))
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.safetensors"]


def test_an_installed_model_is_not_fetched_again(entry, tmp_path, server):
    assert download(entry, tmp_path) == download(entry, tmp_path)
    assert len(server.asked) == 1


@pytest.mark.parametrize("honours_ranges", [True, False])
def test_a_cut_download_goes_on_where_it_stopped(entry, tmp_path, server, honours_ranges):
    server.cut_after, server.honours_ranges = 3_000_000, honours_ranges
    with pytest.raises(DownloadError):
        download(entry, tmp_path)
    server.cut_after = None
    assert download(entry, tmp_path).exists()
    assert server.asked[1] is not None


def test_a_file_that_changed_meanwhile_is_fetched_from_the_start(entry, tmp_path, server):
    server.cut_after = 3_000_000
    with pytest.raises(DownloadError):
        download(entry, tmp_path)
    server.cut_after, server.etag = None, '"two"'
    assert download(entry, tmp_path).exists()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"tag": 3}', "[]", "9" * 5000])
def test_a_cut_download_whose_record_is_damaged_begins_anew(entry, tmp_path, server, text):
    server.cut_after = 3_000_000
    with pytest.raises(DownloadError):
        download(entry, tmp_path)
    (record,) = tmp_path.glob("*.part.json")
    record.write_text(text, encoding="utf-8")
    server.cut_after = None
    assert download(entry, tmp_path).exists()


def test_a_spoilt_file_is_deleted_and_reported_so(entry, tmp_path, server):
    server.content = bytes([server.content[0] ^ 1]) + server.content[1:]
    with pytest.raises(DownloadError, match="does not verify"):
        download(entry, tmp_path)
    assert not list(tmp_path.glob("*.pt*.part"))
    assert not list(tmp_path.glob("*.safetensors"))


def test_without_a_published_hash_the_first_one_is_kept_and_checked(entry, tmp_path, server, content):
    entry = replace(entry, sha256="", sha256_source="")
    path = download(entry, tmp_path)
    assert hashlib.sha256(content).hexdigest() in (tmp_path / "tiny.pt.sha256").read_text(encoding="utf-8")
    path.unlink()
    server.content = content + b"tail"
    with pytest.raises(DownloadError, match="does not verify"):
        download(entry, tmp_path)


def test_a_stopped_download_keeps_what_it_has(entry, tmp_path):
    with pytest.raises(Cancelled):
        download(entry, tmp_path, is_cancelled=lambda: True)
    assert (tmp_path / "tiny.pt.part").stat().st_size > 0
    assert download(entry, tmp_path).exists()


def test_no_network_is_reported_with_what_to_do(entry, tmp_path, server):
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match=r"could not reach 127\.0\.0\.1") as caught:
        download(entry, tmp_path)
    assert "neurosam2 convert" in caught.value.hint


def test_a_file_that_is_no_model_is_not_installed(entry, tmp_path, server):
    server.content = b"a web page that says sign in"
    with pytest.raises(NeuroSAM2Error):
        download(replace(entry, sha256=""), tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


def test_only_safe_addresses_are_fetched(entry, tmp_path):
    with pytest.raises(DownloadError, match="not an https address"):
        download(replace(entry, url="http://example.com/tiny.pt"), tmp_path)


@pytest.mark.parametrize("target", ["http://example.com/tiny.pt", "ftp://example.com/tiny.pt", "file:///etc/passwd"])
def test_a_redirect_to_an_unsafe_address_is_not_followed(entry, tmp_path, server, target):
    server.sends_on_to = target
    with pytest.raises(DownloadError, match=r"not an https address|not allowed") as caught:
        download(entry, tmp_path)
    assert caught.value.__cause__ is None or caught.value.__cause__.closed, (
        "later Pythons warn of an answer that is left open"
    )


@pytest.mark.parametrize("length", ["many", "-1", "1e9", "\u00b2", "9" * 4000])
def test_a_bad_content_length_is_reported(entry, tmp_path, server, length):
    server.headers = {"Content-Length": length}
    with pytest.raises(DownloadError, match="unusable Content-Length"):
        download(entry, tmp_path)


@pytest.mark.parametrize("says_length", [True, False])
def test_no_more_is_taken_than_the_model_has(entry, tmp_path, server, content, says_length):
    server.headers = {} if says_length else {"Content-Length": None}
    with pytest.raises(DownloadError, match=r"tiny has no more than 2,000,000"):
        download(replace(entry, num_bytes=2_000_000), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_whose_size_nobody_states_is_bounded_too(entry, tmp_path, server):
    server.headers = {"Content-Length": str(10 << 40)}
    with pytest.raises(DownloadError, match="has no more than"):
        download(entry, tmp_path)


def test_a_file_of_another_size_is_not_fetched(entry, tmp_path, content):
    with pytest.raises(DownloadError, match="it is another file"):
        download(replace(entry, num_bytes=len(content) + 1), tmp_path)


@pytest.mark.parametrize(
    ("kind", "is_pinned"), [("text/html; charset=utf-8", True), ("application/octet-stream", False)]
)
def test_a_login_page_once_does_not_refuse_the_model_for_ever(entry, tmp_path, server, content, kind, is_pinned):
    entry = entry if is_pinned else replace(entry, sha256="")
    server.content, server.headers = b"\n<!DOCTYPE html><title>Sign in</title>", {"Content-Type": kind}
    with pytest.raises(DownloadError, match="sent a web page, not a model"):
        download(entry, tmp_path)
    assert not list(tmp_path.glob("*.sha256"))
    server.content, server.headers = content, {}
    assert download(entry, tmp_path).exists()


@pytest.mark.parametrize("record", ["0" * 64 + "  tiny.pt\n", "\N{GRINNING FACE}"])
def test_a_record_that_proves_nothing_refuses_nothing(entry, tmp_path, record):
    (tmp_path / "tiny.pt.sha256").write_text(record, encoding="utf-16" if record[0] != "0" else "utf-8")
    assert download(replace(entry, sha256=""), tmp_path).exists()


def test_a_body_that_is_cut_without_a_length_is_no_model(entry, tmp_path, server):
    server.headers, server.cut_after = {"Content-Length": None}, 5_000_000
    with pytest.raises(NeuroSAM2Error, match=r"damaged|ended after"):
        download(replace(entry, sha256=""), tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".part"]
    server.cut_after = None
    assert download(entry, tmp_path).exists()


def test_another_model_under_the_name_is_neither_recorded_nor_installed(entry, tmp_path):
    with pytest.raises(DownloadError, match=r"recognised as sam2_hiera_t, .*expected sam2\.1_hiera_t"):
        download(replace(entry, sha256="", architecture="sam2.1_hiera_t"), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("headers", [{"Content-Range": "bytes 7-9/10"}, {"ETag": '"two"'}])
def test_a_resumed_answer_of_another_file_is_not_joined(entry, tmp_path, server, headers):
    server.cut_after = 3_000_000
    with pytest.raises(DownloadError):
        download(entry, tmp_path)
    server.cut_after, server.headers = None, headers
    with pytest.raises(DownloadError, match="another part of the file"):
        download(entry, tmp_path)
    server.headers = {}
    assert download(entry, tmp_path).exists()
