"""Where the app listens, and what stands in front of trame's web server: authentication, our own routes, a first page under our own name.

It listens on the port that was asked for, or the usual one where that is free, and opens the page in the person's browser without the
token on any command line, which all users of a computer can read.

Who holds this start's token, from a page of this very app, through a loopback name, may use the app: `AuthPolicy` decides (pure),
middleware of aiohttp asks it for every HTTP request and every websocket. Of requests that aiohttp does not understand few records are
kept, without what was sent; connections on which no complete request arrives in time are closed. Here are the files of `client/`, too,
and where the page finds them.
"""

import asyncio
import hashlib
import hmac
import html
import json
import logging
import os
import secrets
import socket
import time
import webbrowser
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware
from trame_client.module import vue3
from trame_server import Server

from NeuroSAM2Core.errors import WorkerError
from NeuroSAM2Core.log_rate_limit import LogRateLimiter

HOST = "127.0.0.1"


def choose_port(asked: int | None, usual: int) -> int:
    """A port that is free now.

    Args:
        asked: What the person asked for; 0 for any, None for the usual one.
        usual: Taken where nothing was asked for; any other where it is in use.

    Raises:
        WorkerError: The one that was asked for cannot be had.
    """
    if asked is None:
        return usual if _problem(usual) is None else 0
    if problem := _problem(asked):
        raise WorkerError(f"cannot listen on port {asked}: {problem}", hint="choose another --port, or leave it out")
    return asked


def _problem(port: int) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            return getattr(error, "strerror", None) or str(error)
    return None


NAME = "open.html"


def open_page(address: str, folder: Path) -> None:
    """Opens an address with a token in it, by way of a file that only its owner can read.

    Args:
        address: Of the page.
        folder: For the file.
    """
    webbrowser.open(forwarding_file(address, folder).as_uri())


def forwarding_file(address: str, folder: Path) -> Path:
    """A page in a folder that leads to an address."""
    path = folder / NAME
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(
            '<!DOCTYPE html><meta charset="utf-8"><title>NeuroSAM2</title>'
            f'<meta http-equiv="refresh" content="1;url={html.escape(address)}">'
            f"<script>location.replace({json.dumps(address)})</script>"
            f'<a href="{html.escape(address)}">NeuroSAM2</a>'
        )
    return path


logger = logging.getLogger(__name__)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKEN_BYTES = 32
WRONG_TOKEN = "Open the address that neurosam2 app has printed: it carries the key of this start."
WRONG_HOST = "The app answers only under 127.0.0.1 or localhost; from another computer, come through an SSH tunnel."
WRONG_ORIGIN = "This request comes from another page than the app's own."


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(TOKEN_BYTES)


@dataclass(frozen=True, slots=True)
class AuthPolicy:
    """The rules of one start of the app."""

    token: str = field(default_factory=new_token, repr=False)

    @property
    def cookie(self) -> str:
        """The name under which the browser keeps the token: another for each start, since ports share their cookies."""
        return f"neurosam2_{hashlib.sha256(self.token.encode()).hexdigest()[:12]}"

    def refusal(self, *, host: str, origin: str | None, shown: Iterable[str]) -> str:
        """Why a request is refused; empty where it may pass.

        Args:
            host: Its Host header; a foreign name there is how another page would reach us through DNS.
            origin: Its Origin header; None where the browser sends none.
            shown: The tokens that it carries.
        """
        if _name_in(host) not in LOOPBACK:
            return WRONG_HOST
        if origin is not None and origin.lower() != f"http://{host.lower()}":
            return WRONG_ORIGIN
        if not any(hmac.compare_digest(one.encode(errors="replace"), self.token.encode()) for one in shown):
            return WRONG_TOKEN
        return ""


def _name_in(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


class RequestLog(logging.Filter):
    """For aiohttp's logger.

    Args:
        rate_limiter: How many records pass.
    """

    def __init__(self, rate_limiter: LogRateLimiter) -> None:
        super().__init__()
        self._rate_limiter = rate_limiter

    def filter(self, record: logging.LogRecord) -> bool:
        """A request that is no HTTP may be one with the token in a damaged line: only its kind of damage is kept."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            return True
        if (left_out := self._rate_limiter.take()) is None:
            return False
        record.msg, record.args = f"a request could not be understood: {type(error).__name__}{left_out}", ()
        record.exc_info = record.exc_text = None
        return True


LIMIT_S = 20.0


class SlowRequestGuard:
    """Watches over the connections of a server; each of them carries one request, see `auth_middleware`.

    Args:
        connections: Those that are open now.
        limit_s: For how long a request may take to arrive.
    """

    def __init__(self, connections: Callable[[], Iterable[web.RequestHandler]], *, limit_s: float = LIMIT_S) -> None:
        self._connections, self._limit_s = connections, limit_s
        self._since: dict[web.RequestHandler, float] = {}
        self._whole: set[web.RequestHandler] = set()

    def middleware(self) -> Middleware:
        """Notes that a request has arrived; the outermost one."""

        @web.middleware
        async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._whole.add(request.protocol)
            return await handler(request)

        return note

    async def watch(self, _app: web.Application) -> AsyncIterator[None]:
        """Watches while an application runs; for its `cleanup_ctx`."""
        watching = asyncio.create_task(self._watch())
        yield
        watching.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._limit_s / 4)
            now, there = time.monotonic(), set(self._connections())
            self._whole &= there
            self._since = {one: self._since.get(one, now) for one in there - self._whole}
            for connection, since in self._since.items():
                if now - since >= self._limit_s:
                    connection.force_close()
                    if connection.transport is not None:
                        connection.transport.abort()


SERVED = "__neurosam2"
"""Where the page finds what is in `client/`."""
MODULE = {
    "serve": {SERVED: str(Path(__file__).parents[1] / "client")},
    "scripts": [f"{SERVED}/neurosam2.js", f"{SERVED}/files.js", f"{SERVED}/curves.js", f"{SERVED}/surfaces.js"],
    "styles": [f"{SERVED}/neurosam2.css", f"{SERVED}/shell.css"],
    "vue_use": ["NeuroSAM2", "NeuroSAM2Curves", "NeuroSAM2Surfaces"],
}
"""The files that the server provides, in trame's form."""


TOKEN = "token"
"""Query parameter of the address that is printed."""
HOME = "/index.html"
FORWARD = (
    f'<!DOCTYPE html><meta charset="utf-8"><title>NeuroSAM2</title><meta http-equiv="refresh" content="0;url={HOME}">'
)
"""A page of our own that leads on: the browser sends a strict cookie only where one of our own pages does."""


def auth_middleware(auth_policy: AuthPolicy) -> Middleware:
    """Lets pass what `access` lets pass; the first visit trades the token in the address for a cookie.

    Args:
        auth_policy: Of this start.
    """
    rate_limiter = LogRateLimiter()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        shown = request.query.get(TOKEN, ""), request.cookies.get(auth_policy.cookie, "")
        refusal = auth_policy.refusal(host=request.host, origin=request.headers.get("Origin"), shown=shown)
        response: web.StreamResponse
        if refusal:
            if (left_out := rate_limiter.take()) is not None:
                logger.warning("a request was refused: %s%s", refusal, left_out)
            response = web.Response(status=403, text=refusal)
        elif request.method == "GET" and TOKEN in request.query:
            if request.headers.get("Sec-Fetch-Site") == "cross-site":  # from the file that `open_page` writes
                response = web.Response(text=FORWARD, content_type="text/html")
            else:
                response = web.Response(status=303, headers={"Location": HOME})
            response.set_cookie(auth_policy.cookie, auth_policy.token, httponly=True, samesite="Strict", path="/")
        else:
            try:
                response = await handler(request)
            except web.HTTPException as answer:
                _complete(answer, request.host)
                raise
        if not response.prepared:
            _complete(response, request.host)
        return response

    return check


def _complete(response: web.StreamResponse, host: str) -> None:
    response.headers.update(headers(host))
    response.force_close()  # one request a connection, so that `SlowRequestGuard` sees whether it arrived


def headers(host: str) -> dict[str, str]:
    """What a page may do: load and call nothing but this app, and be framed by nobody.

    Args:
        host: The Host header of the request.
    """
    policy = {
        "default-src": "'self'",
        "script-src": "'self' 'unsafe-inline' 'unsafe-eval'",  # Vue compiles its templates in the browser
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": f"'self' ws://{host}",
        "object-src": "'none'",
        "base-uri": "'self'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{key} {value}" for key, value in policy.items()),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }


FAVICON = f"{SERVED}/favicon.svg"
TITLE = "NeuroSAM2"
LOADER = '<p style="display:grid;place-items:center;height:100vh;margin:0;font:16px Roboto,sans-serif;color:#888">NeuroSAM2 is starting</p>'


def guard(server: Server, auth_policy: AuthPolicy, routes: Iterable[web.RouteDef]) -> None:
    """Adds authentication to a server that is not started yet, and routes behind it.

    Args:
        server: Of trame.
        auth_policy: Who is let in.
        routes: What the server answers besides the page.
    """
    server.state.trame__favicon = FAVICON
    logging.getLogger("aiohttp.access").disabled = True  # the first address carries the token
    logging.getLogger("aiohttp.server").addFilter(RequestLog(LogRateLimiter()))

    def bind(wslink: web.Application) -> None:
        def connections() -> Iterable[web.RequestHandler]:
            return () if wslink.runner is None else wslink.runner.server.connections  # type: ignore[attr-defined]

        half = SlowRequestGuard(connections)
        wslink.app.middlewares.extend([half.middleware(), auth_middleware(auth_policy)])  # type: ignore[attr-defined]
        wslink.app.cleanup_ctx.append(half.watch)  # type: ignore[attr-defined]
        ours = [web.get(HOME, _home), web.get("/loading.tpl", _loader), web.post("/paraview/", _session)]
        wslink.app.add_routes([*ours, *routes])  # type: ignore[attr-defined]

    server.controller.on_server_bind.add(bind)


def address(server: Server, auth_policy: AuthPolicy) -> str:
    """Where the page of a server that is ready is opened, with the token of this start."""
    return f"http://{HOST}:{server.port}/?{TOKEN}={auth_policy.token}"


async def _home(_request: web.Request) -> web.Response:
    """The client's page with our icon and title, before any of its scripts runs."""
    page = (Path(vue3.www) / "index.html").read_text(encoding="utf-8")
    for theirs, ours in (
        ('href="logo.png"', f'href="{FAVICON}"'),
        ("<title>trame is built by Kitware</title>", f"<title>{TITLE}</title>"),
        ("Application built with trame, a product from Kitware", "NeuroSAM2 in the browser"),
    ):
        page = page.replace(theirs, ours)
    return web.Response(text=page, content_type="text/html")


async def _loader(_request: web.Request) -> web.Response:
    return web.Response(text=LOADER, content_type="text/html")


async def _session(request: web.Request) -> web.Response:
    """The client asks a launcher, where there is one, for the address of its server; it is this one."""
    return web.json_response({"sessionURL": f"ws://{request.host}/ws"})
