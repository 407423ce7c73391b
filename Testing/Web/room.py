"""The app's parts without a page or a server: what the page would call is called here."""

from NeuroSAM2MRML.engine.choice import EngineChoice
from NeuroSAM2MRML.scene.practice_volume import add_practice_volume
from NeuroSAM2MRML.workplace.workplace import Workplace
from NeuroSAM2Web.desk import Desk
from NeuroSAM2Web.host import WebHost
from NeuroSAM2Web.segment_panel import SegmentPanel
from trame_server import Server

from Testing.Support.fake_engine import FakeEngine

WIDTH, HEIGHT = 400, 300


class Room:
    """A person in front of the practice volume, with a quick engine."""

    def __init__(self, folder, add=lambda host: add_practice_volume(host.scene)):
        self.engines = []
        self.host = WebHost(folder)
        self.workplace = Workplace(self.host, EngineChoice(), self._start)
        self.server = Server("room")
        self.desk = Desk(self.host, self.workplace, self.server, self.wake)
        self.panel = None
        self.panel = SegmentPanel(self.desk)
        self.desk.choose_volume(add(self.host))
        for name in self.desk.views.views:
            self.desk.views.picture(name, WIDTH, HEIGHT)

    @property
    def state(self):
        return self.server.state

    @property
    def record(self):
        return self.workplace.session.desk.active_record

    def wake(self):
        if self.panel is not None:
            self.panel.poll()
            self.desk.copy()

    def _start(self, choice):
        self.engines.append(FakeEngine())
        return self.engines[-1]
