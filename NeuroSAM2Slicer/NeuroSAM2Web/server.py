"""The web server: what trame serves, behind the gate, on this computer only. Nothing in the page comes from elsewhere."""

import webbrowser
from collections.abc import Callable, Iterable
from pathlib import Path

from aiohttp import web
from trame_client.module import vue3 as client
from trame_server import Server

from NeuroSAM2Web.access import Access
from NeuroSAM2Web.gate import HOME, TOKEN, gate
from NeuroSAM2Web.port import HOST

ASSETS = Path(__file__).with_name("assets")
SERVED = "neurosam2"
"""Where the page finds our assets."""
FAVICON = f"{SERVED}/favicon.svg"
TITLE = "NeuroSAM2"
LOADER = '<div style="display:grid;place-items:center;height:100vh;font-family:Roboto,sans-serif;color:#888">NeuroSAM2 is starting</div>'


def prepare(server: Server, access: Access, routes: Iterable[web.RouteDef] = ()) -> None:
    """Puts the gate in front of a server that is not started yet, and our assets and routes behind it.

    Args:
        server: Of trame.
        access: What the gate demands.
        routes: More that the server answers.
    """
    server.enable_module({"serve": {SERVED: str(ASSETS)}, "scripts": [f"{SERVED}/neurosam2.js"]})
    server.state.trame__favicon = FAVICON
    server.state.trame__title = TITLE

    def bind(wslink: "web.Application") -> None:
        app: web.Application = wslink.app  # type: ignore[attr-defined]
        app.middlewares.append(gate(access))
        app.router.add_routes([web.get(HOME, _home), web.get("/loading.tpl", _loader), *routes])

    server.controller.on_server_bind.add(bind)


def run(server: Server, access: Access, port: int, announce: Callable[[str], None], *, opens_browser: bool) -> None:
    """Serves until the process is told to stop.

    Args:
        server: Prepared.
        access: Of this start.
        port: 0 for any.
        announce: Is told the address, once pages are answered.
        opens_browser: A tab is opened there.
    """

    def ready(**_: object) -> None:
        address = f"http://{HOST}:{server.port}/?{TOKEN}={access.token}"
        announce(address)
        if opens_browser:
            webbrowser.open(address)

    server.controller.on_server_ready.add(ready)
    server.start(host=HOST, port=port, open_browser=False, show_connection_info=False, timeout=0, disable_logging=True)


async def _home(_request: web.Request) -> web.Response:
    """The client's page under our name."""
    page = (Path(client.www) / "index.html").read_text()
    page = page.replace('href="logo.png"', f'href="{FAVICON}"').replace(
        "<title>trame is built by Kitware</title>", f"<title>{TITLE}</title>"
    )
    return web.Response(text=page, content_type="text/html")


async def _loader(_request: web.Request) -> web.Response:
    return web.Response(text=LOADER, content_type="text/html")
