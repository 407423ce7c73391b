"""The audit of packages: what is known is named, nothing is passed in silence, and no network is no failure."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tools import audit


@pytest.fixture
def database():
    """A server that calls one package vulnerable, or answers as it is told."""

    class Answers(BaseHTTPRequestHandler):
        said = None
        vulnerable = "numpy"

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            assert all(one["package"]["ecosystem"] == "PyPI" and "+" not in one["version"] for one in asked)
            names = [one["package"]["name"] for one in asked]
            results = [{"vulns": [{"id": "GHSA-1"}]} if name == self.vulnerable else {} for name in names]
            content = json.dumps({"results": results}).encode() if self.said is None else self.said
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Answers, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_a_known_vulnerability_is_named_and_fails(database, capsys):
    assert audit.main(["--address", database[1]]) == 1
    assert "numpy" in (said := capsys.readouterr().out)
    assert "GHSA-1" in said


def test_where_none_is_known_that_is_reported(database, capsys):
    database[0].vulnerable = "none"
    assert audit.main(["--address", database[1]]) == 0
    assert "0 of" in capsys.readouterr().out


@pytest.mark.parametrize("said", [b"<html>", b"{}", b"[]", b'{"results": [{}]}', b'{"results": 3}'])
def test_a_database_that_answers_something_else_is_skipped(database, capsys, said):
    database[0].said = said
    assert audit.main(["--address", database[1]]) == 0
    assert "audit: skipped" in capsys.readouterr().out


def test_without_a_network_it_is_skipped_and_reported(capsys):
    assert audit.main(["--address", "http://127.0.0.1:9/"]) == 0
    assert "audit: skipped" in capsys.readouterr().out
