"""The app put together: scene, views, workplace, panels, page, server."""

import asyncio
import sys
from collections.abc import Callable

from NeuroSAM2MRML.engine.choice import EngineChoice
from NeuroSAM2MRML.engine.link import Engine
from NeuroSAM2MRML.workplace.workplace import Workplace
from trame.app import get_server

from NeuroSAM2Web.bridge import WorkerBridge
from NeuroSAM2Web.desk import Desk
from NeuroSAM2Web.engine_panel import EnginePanel
from NeuroSAM2Web.host import WebHost
from NeuroSAM2Web.options import AppOptions
from NeuroSAM2Web.page import Panel, build_page
from NeuroSAM2Web.segment_panel import SegmentPanel


def start_engine(choice: EngineChoice) -> Engine:
    """The engine of a choice."""
    return choice.connect(sys.executable)


class App:
    """One person's app.

    Args:
        options: How it is started.
    """

    def __init__(self, options: AppOptions) -> None:
        self.options = options
        options.home.mkdir(parents=True, exist_ok=True)
        self.server = get_server("neurosam2", client_type="vue3")
        self.host = WebHost(options.home)
        settings = options.home / "engine.json"
        choice = EngineChoice.from_text(settings.read_text() if settings.is_file() else "")
        self.workplace = Workplace(self.host, choice, start_engine, sys.executable)
        self.bridge = WorkerBridge(self.poll, lambda: self.workplace.link.engine)
        self.desk = Desk(self.host, self.workplace, self.server, self.bridge.wake)
        self.panels: tuple[Panel, ...] = (
            SegmentPanel(self.desk),
            EnginePanel(self.desk, start_engine, settings),
        )
        build_page(self.desk, self.panels)

    def poll(self) -> bool:
        """Takes in and shows what there is; true while more is expected soon."""
        busy = [panel.poll() for panel in self.panels]
        self.desk.copy()
        self.server.state.flush()
        return any(busy)

    async def run(self, announce: Callable[[str], None]) -> None:
        """Serves the page until it is stopped."""

        def ready(**_state: object) -> None:
            self._begin()
            announce(f"http://{self.options.host}:{self.server.port}/")

        self.server.controller.on_server_ready.add(ready)
        try:
            await self.server.start(
                exec_mode="coroutine",
                host=self.options.host,
                port=self.options.port,
                open_browser=False,
                show_connection_info=False,
                timeout=0,
            )
        finally:
            self.close()

    def close(self) -> None:
        """Ends everything that was started."""
        self.bridge.stop()
        for panel in self.panels:
            panel.close()

    def _begin(self) -> None:
        self.bridge.start()
        if self.options.image is None:
            self.desk.open_example()
        else:
            self.desk.choose_volume(self.host.load_volume(self.options.image))


def run(options: AppOptions, announce: Callable[[str], None]) -> None:
    """Runs the app until it is stopped.

    Args:
        options: How it is started.
        announce: Is told the address once the page can be opened.
    """
    asyncio.run(App(options).run(announce))
