"""What stands in front of trame's web server: authentication, our own routes, and a first page under our own name."""

import logging
from collections.abc import Iterable
from pathlib import Path

from aiohttp import web
from trame_client.module import vue3
from trame_server import Server

from NeuroSAM2Core.log_rate_limit import LogRateLimiter
from NeuroSAM2Web.server.auth_middleware import HOME, TOKEN, auth_middleware
from NeuroSAM2Web.server.auth_policy import AuthPolicy
from NeuroSAM2Web.server.client_files import SERVED
from NeuroSAM2Web.server.port import HOST
from NeuroSAM2Web.server.request_log import RequestLog
from NeuroSAM2Web.server.slow_request_guard import SlowRequestGuard

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
