"""The app: scene, views, presenter, panels, page, server.

How the app is started. Plain values; no library for drawing or serving is needed to make them.
"""

import asyncio
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aiohttp.web_runner import GracefulExit
from NeuroSAM2Lib.engine.choice import EngineChoice
from NeuroSAM2Lib.engine.link import Engine
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from trame.app import get_server

from NeuroSAM2Core.catalog import SET_HOME, models_folder
from NeuroSAM2Core.disk import ScratchFolder
from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.startup import keep_from_collector
from NeuroSAM2Web.app_state import AppState, WebHost
from NeuroSAM2Web.bridge import WorkerBridge
from NeuroSAM2Web.file_io import FileIO
from NeuroSAM2Web.server.allowed_folders import AllowedFolders
from NeuroSAM2Web.server.guard import HOST, AuthPolicy, address, guard, open_page
from NeuroSAM2Web.ui.cohort_panel import CohortPanel, build_cohort_form
from NeuroSAM2Web.ui.engine_panel import EnginePanel, build_engine_form
from NeuroSAM2Web.ui.file_panel import FilePanel
from NeuroSAM2Web.ui.follow_panel import FollowPanel
from NeuroSAM2Web.ui.measurements_panel import MeasurementsPanel
from NeuroSAM2Web.ui.page import Tab, build_page
from NeuroSAM2Web.ui.segment_form import build_segment_form
from NeuroSAM2Web.ui.segment_panel import SegmentPanel
from NeuroSAM2Web.ui.train_form import build_train_form
from NeuroSAM2Web.ui.train_panel import TrainPanel
from NeuroSAM2Web.ui.view_panel import ViewPanel, build_view_form


@dataclass(frozen=True, kw_only=True, slots=True)
class AppOptions:
    """The options of the app."""

    image: Path | None = None
    """A volume, or a saved scene; the example if None."""
    port: int = 0
    """0 for any that is free."""
    folders: tuple[Path, ...] = ()
    """Files in them may be read and written, besides the image's own folder and the working directory."""
    opens_browser: bool = True
    home: Path = models_folder().parent / "app"
    """Where settings are kept, and work that was not saved."""


def start_engine(choice: EngineChoice) -> Engine:
    """The engine of a choice."""
    return choice.connect(sys.executable)


def make_home(folder: Path) -> None:
    """Makes the folder where the app keeps what it must remember, and checks that it takes files.

    Raises:
        ConfigError: It does not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror or error}", hint=SET_HOME) from error


class App:
    """The app of one user.

    Args:
        options: How it is started.
    """

    def __init__(self, options: AppOptions) -> None:
        self.options = options
        make_home(options.home)
        self.server = get_server("neurosam2", client_type="vue3")
        self.host = WebHost(options.home)
        settings = options.home / "engine.json"
        choice = EngineChoice.from_text(
            settings.read_text(encoding="utf-8", errors="replace") if settings.is_file() else ""
        )
        self.presenter = SegmentPresenter(self.host, choice, start_engine, sys.executable)
        self.bridge = WorkerBridge(self.poll, lambda: self.presenter.link.engine)
        self.app_state = AppState(self.host, self.presenter, self.server, self.bridge.wake)
        self.segment = SegmentPanel(self.app_state)
        folders = AllowedFolders(
            [*([] if options.image is None else [options.image.parent]), Path.cwd(), *options.folders]
        )
        self.train, self.engine = (
            TrainPanel(self.app_state, folders),
            EnginePanel(self.app_state, start_engine, settings),
        )
        self.cohort = CohortPanel(self.app_state, folders, self.train)
        self.view = ViewPanel(self.app_state)
        self.auth_policy = AuthPolicy()
        self._scratch = ScratchFolder()
        self.files = FilePanel(FileIO(self.app_state), folders, self._scratch.path, self.segment.show_settings)
        self.follow = FollowPanel(self.app_state)
        self.measurements = MeasurementsPanel(self.app_state, self.files.transfer)
        self.server.trigger("measures")(self.measurements.show)
        self.panels = (self.segment, self.view, self.train, self.engine, self.measurements, self.follow, self.cohort)
        guard(self.server, self.auth_policy, self.files.transfer.routes())
        tabs = (
            Tab("segment", "Segment", "mdi-draw", partial(build_segment_form, self.segment)),
            Tab("view", "View", "mdi-eye-outline", partial(build_view_form, self.view)),
            Tab("train", "Train", "mdi-school-outline", self._build_cases),
            Tab("engine", "Engine", "mdi-memory", partial(build_engine_form, self.engine)),
        )
        build_page(self.app_state, tabs, self.files, self.measurements, self.follow)

    def poll(self) -> bool:
        """Takes in and shows what there is; true while more is expected soon."""
        busy = [panel.poll() for panel in self.panels]
        self.app_state.copy()
        self.server.state.flush()
        return any(busy)

    async def run(self, announce: Callable[[str], None]) -> None:
        """Serves the page until it is stopped."""

        def ready(**_state: object) -> None:
            keep_from_collector()
            self._begin()
            page = address(self.server, self.auth_policy)
            announce(page)
            if self.options.opens_browser:
                open_page(page, self._scratch.path)

        self.server.controller.on_server_ready.add(ready)
        try:
            await self.server.start(
                exec_mode="coroutine",
                host=HOST,
                port=self.options.port,
                open_browser=False,
                show_connection_info=False,
                timeout=0,
            )
        finally:
            await self.view.tools.surfaces.close()
            self.close()

    def close(self) -> None:
        """Ends everything that was started."""
        self.bridge.stop()
        for panel in self.panels:
            panel.close()
        self._scratch.remove()

    def _build_cases(self) -> None:
        build_train_form(self.train)
        build_cohort_form(self.cohort)

    def _begin(self) -> None:
        self.bridge.start()
        if self.options.image is None:
            self.app_state.open_example()
        else:
            self.files.open(str(self.options.image))


def run(options: AppOptions, announce: Callable[[str], None]) -> None:
    """Runs the app until it is stopped.

    Args:
        options: How it is started.
        announce: Is told the address once the page can be opened.
    """
    with suppress(GracefulExit):  # a signal asked for it
        asyncio.run(App(options).run(announce))
