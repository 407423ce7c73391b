"""The app's parts without a page or a server: what the page would call is called here."""

from NeuroSAM2Lib.engine.choice import EngineChoice
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.scene.practice_volume import add_practice_volume
from NeuroSAM2Web.app_state import AppState, WebHost
from NeuroSAM2Web.ui.segment_panel import SegmentPanel
from trame_server import Server

from Testing.Support.fake_engine import FakeEngine

WIDTH, HEIGHT = 400, 300


class AppUser:
    """A person in front of the practice volume, with a quick engine."""

    def __init__(self, folder, add=lambda host: add_practice_volume(host.scene)):
        self.engines = []
        self.host = WebHost(folder)
        self.presenter = SegmentPresenter(self.host, EngineChoice(), self._start)
        self.server = Server("room")
        self.app_state = AppState(self.host, self.presenter, self.server, self.wake)
        self.panel = None
        self.panel = SegmentPanel(self.app_state)
        self.app_state.choose_volume(add(self.host))
        for name in self.app_state.views.views:
            self.app_state.views.picture(name, WIDTH, HEIGHT)

    @property
    def state(self):
        return self.server.state

    @property
    def record(self):
        return self.presenter.session.document.active_record

    def wake(self):
        if self.panel is not None:
            self.panel.poll()
            self.app_state.copy()

    def _start(self, choice):
        self.engines.append(FakeEngine())
        return self.engines[-1]
