"""Whoever has no token can neither learn it nor hold the app up."""

import asyncio
import logging
import stat
import subprocess
import sys
import webbrowser

import pytest
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage
from NeuroSAM2Web.server.guard import RequestLog, SlowRequestGuard, forwarding_file, open_page
from NeuroSAM2Web.server.transfer import Transfer

from NeuroSAM2Core.log_rate_limit import LogRateLimiter
from Testing.Support.apart import run_apart
from Testing.Support.launcher import make_script

ADDRESS = "http://127.0.0.1:8742/?token=the-key_of_this-start"


def test_the_browser_is_given_a_file_that_only_its_owner_reads_and_never_the_token(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(webbrowser, "open", given.append)
    (tmp_path / "open.html").write_text("of an earlier start", encoding="utf-8")
    open_page(ADDRESS, tmp_path)
    (path,) = tmp_path.iterdir()
    assert given == [path.as_uri()]
    assert "the-key" not in given[0]
    assert ADDRESS in path.read_text(encoding="utf-8")
    assert sys.platform == "win32" or stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform == "win32", reason="the browser is a shell script")
def test_the_browsers_command_line_does_not_hold_the_token(tmp_path):
    """As all users of the computer see it."""
    code = (
        "import sys; from pathlib import Path; from NeuroSAM2Web.server.guard import open_page; "
        "open_page(sys.stdin.read(), Path(sys.argv[1]))"
    )
    note = tmp_path / "browser"
    make_script(note, f'echo "$@" > "{tmp_path / "said"}"')
    environment = {"BROWSER": f'"{note}" %s', "PYTHONPATH": ":".join(filter(None, sys.path))}
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        input=ADDRESS,
        text=True,
        encoding="utf-8",
        env=environment,
        check=True,
    )
    assert (tmp_path / "said").read_text(encoding="utf-8").strip() == (tmp_path / "open.html").as_uri()


def test_the_file_leads_a_browser_to_the_page(browser, tmp_path):
    from Testing.Web.visit import AppProcess

    with AppProcess(tmp_path / "home") as app:
        page = browser.new_page()
        page.goto(forwarding_file(app.address, tmp_path).as_uri())
        page.wait_for_url("**/index.html")
        page.wait_for_function("document.title === 'NeuroSAM2' && !!window.trame")
        page.close()


def test_records_of_unauthenticated_clients_are_few_and_say_how_many_were_left_out():
    now = [0.0]
    rate_limiter = LogRateLimiter(most=3, period_s=60, clock=lambda: now[0])
    assert [rate_limiter.take() for _ in range(10)] == ["", "", "", *[None] * 7]
    now[0] = 61.0
    assert [rate_limiter.take(), rate_limiter.take()] == [" (7 such records were left out before)", ""]


def test_what_was_sent_is_not_in_the_log():
    output = []
    logger, handler = logging.Logger("a"), logging.Handler()
    handler.emit = lambda record: output.append(logging.Formatter().format(record))
    logger.addHandler(handler)
    logger.addFilter(RequestLog(LogRateLimiter(most=2)))
    for error in (*[BadHttpMessage("GET /?token=the-key")] * 5, ValueError("a defect of ours")):
        logger.error("Error handling request from %s", "127.0.0.1", exc_info=error)
    assert output[:2] == ["a request could not be understood: BadHttpMessage"] * 2
    assert len(output) == 3
    assert "a defect of ours" in output[2]


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n", b"GET "])
def test_half_a_request_is_closed_and_a_whole_one_is_not(sent):
    async def slow(_request):
        await asyncio.sleep(0.5)
        return web.Response(text="whole")

    async def run():
        app = web.Application()
        app.router.add_get("/", slow)
        runner = web.AppRunner(app)
        half = SlowRequestGuard(lambda: runner.server.connections if runner.server else (), limit_s=0.2)
        app.middlewares.append(half.middleware())
        app.cleanup_ctx.append(half.watch)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        whole, half_open = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        whole[1].write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        half_open[1].write(sent)
        try:
            async with asyncio.timeout(10):
                with pytest.raises(ConnectionError):
                    if await half_open[0].read() == b"":
                        raise ConnectionResetError
                return await whole[0].readuntil(b"whole")
        finally:
            for _, writer in (whole, half_open):
                writer.close()
            await runner.cleanup()

    assert b"200 OK" in run_apart(run())


def test_an_upload_that_stands_still_is_given_up(tmp_path):
    async def run():
        transfer = Transfer(tmp_path, lambda *_: pytest.fail("it is not whole"), max_pause_s=0.1)
        app = web.Application()
        app.router.add_routes(transfer.routes())
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1])
        writer.write(b"POST /files/upload?name=a.nii HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf")
        try:
            async with asyncio.timeout(10):
                return await reader.readline()
        finally:
            writer.close()
            await runner.cleanup()

    assert b" 408 " in run_apart(run())
    assert list(tmp_path.iterdir()) == []
