"""Who may use the app."""

import pytest
from aiohttp import ClientSession, CookieJar, WSServerHandshakeError, web
from NeuroSAM2Web.server.guard import WRONG_HOST, WRONG_ORIGIN, WRONG_TOKEN, AuthPolicy, auth_middleware

from Testing.Support.apart import run_apart

ACCESS = AuthPolicy("the key of this start")
HERE = "127.0.0.1:8742"


def refusal(*, host=HERE, origin=None, shown=(ACCESS.token,)):
    return ACCESS.refusal(host=host, origin=origin, shown=shown)


@pytest.mark.parametrize("host", [HERE, "localhost:9", "LOCALHOST", "[::1]:80", "127.0.0.1"])
def test_loopback_names_pass_whatever_the_port_so_that_tunnels_work(host):
    assert refusal(host=host) == ""


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8742",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8742",
        "",
        "[",
        "10.0.0.5:8742",
    ],
)
def test_a_foreign_name_is_refused_even_with_the_token(host):
    assert refusal(host=host) == WRONG_HOST


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "https://127.0.0.1:8742", "http://127.0.0.1:9999", "http://localhost:8742"],
)
def test_another_pages_requests_are_refused_even_with_the_token(origin):
    assert refusal(origin=origin) == WRONG_ORIGIN


def test_the_apps_own_page_passes():
    assert refusal(origin=f"http://{HERE}") == ""


@pytest.mark.parametrize("shown", [(), ("",), ("the key of this star",), ("the key of this start ",), ("schlüssel",)])
def test_without_the_token_nothing_passes(shown):
    assert refusal(shown=shown) == WRONG_TOKEN


def test_every_start_has_a_token_and_a_cookie_of_its_own():
    tokens = {AuthPolicy().token for _ in range(50)}
    assert len(tokens) == 50
    assert min(map(len, tokens)) >= 43
    assert len({AuthPolicy(token).cookie for token in tokens}) == 50
    assert AuthPolicy("secret").token not in repr(AuthPolicy("secret"))


@pytest.fixture
def visit():
    """Runs a visit against a small server behind the authentication: a page, and a socket that echoes."""

    async def page(_request):
        return web.Response(text="the page")

    async def echo(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    async def run(act, jar):
        app = web.Application(middlewares=[auth_middleware(ACCESS)])
        app.router.add_routes([web.get("/index.html", page), web.post("/index.html", page), web.get("/ws", echo)])
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with ClientSession(cookie_jar=CookieJar(unsafe=True) if jar else None) as session:
            try:
                return await act(session, address)
            finally:
                await session.close()
                await runner.cleanup()

    return lambda act, *, jar=True: run_apart(run(act, jar))


def test_the_address_with_the_token_leads_to_the_page_and_is_remembered(visit):
    async def act(session, address):
        async with session.get(f"{address}/?token={ACCESS.token}") as first:
            assert first.url.path == "/index.html"
            assert "token" not in first.url.query
            output = await first.text()
        cookie = first.history[0].headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        async with session.get(f"{address}/index.html") as again, session.ws_connect(f"{address}/ws") as socket:
            await socket.send_str("hello")
            return output, await again.text(), (await socket.receive()).data, again.headers

    output, again, echoed, headers = visit(act)
    assert (output, again, echoed) == ("the page", "the page", "hello")
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/index.html", {}),
        ("/", {}),
        ("/nothing/here", {}),
        ("/?token=wrong", {}),
        ("/?token=%ff%ED%A0%80", {}),
        (f"/?token={ACCESS.token}", {"Host": "evil.example"}),
        (f"/?token={ACCESS.token}", {"Origin": "http://evil.example"}),
        ("/index.html", {"Cookie": f"{ACCESS.cookie}=wrong"}),
        ("/index.html", {"Cookie": f"other={ACCESS.token}"}),
    ],
)
def test_everything_else_gets_a_sentence_and_no_page(visit, path, headers):
    async def act(session, address):
        async with session.get(address + path, headers=headers) as answer:
            return answer.status, await answer.text()

    status, text = visit(act)
    assert status == 403
    assert text in (WRONG_TOKEN, WRONG_HOST, WRONG_ORIGIN)


@pytest.mark.parametrize(
    "headers", [{}, {"Cookie": f"{ACCESS.cookie}={ACCESS.token}", "Origin": "http://evil.example"}]
)
def test_a_websocket_without_the_token_or_from_another_page_is_not_opened(visit, headers):
    async def act(session, address):
        with pytest.raises(WSServerHandshakeError) as refused:
            await session.ws_connect(f"{address}/ws", headers=headers)
        return refused.value.status

    assert visit(act, jar=False) == 403
