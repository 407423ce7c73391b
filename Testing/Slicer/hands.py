"""A person's hands in a running Slicer: what can be done to the views and the panels, and how to wait for what comes of it."""

import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import slicer

ROOT = Path(__file__).parents[2]
for folder in (ROOT, ROOT / "NeuroSAM2Slicer"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

from NeuroSAM2MRML.engine.choice import EngineChoice  # noqa: E402  (found by the lines above)
from NeuroSAM2MRML.engine.installation import READY  # noqa: E402
from NeuroSAM2MRML.scene.arrays import to_matrix  # noqa: E402
from NeuroSAM2Qt.samples import load_sample  # noqa: E402
from NeuroSAM2Qt.views import slice_views  # noqa: E402

from Testing.Support.fake_engine import FakeEngine  # noqa: E402

LIMIT_S = 20.0


class Hands:
    """On the segmentation panel, with an engine that answers at once, so that neither torch nor a network is needed."""

    def __init__(self):
        self._engine = mock.patch.object(EngineChoice, "connect", lambda choice, own_python: FakeEngine())
        self._engine.start()
        self.panel = slicer.util.getModuleWidget("NeuroSAM2Segment").panel
        self.ui = self.panel.ui
        self.panel.workplace.link.close()  # an engine from before would go on to be used
        self.panel.enter()
        self.panel.workplace.plan = READY

    def put_down(self):
        """As it was before."""
        self.panel.workplace.link.close()
        self._engine.stop()

    @property
    def session(self):
        return self.panel.workplace.session

    def begin(self):
        """The practice volume and an empty segmentation are chosen; the first view along k is the one to work in."""
        self.ui.volumeSelector.setCurrentNode(load_sample())
        self.ui.segmentationSelector.setCurrentNode(self.panel.workplace.new_segmentation())
        self.panel.bridge.wake()  # a selector says nothing where the name is the same
        self.node, self.interactor = next(
            (node, interactor) for node, interactor in slice_views() if node.GetOrientation() == "Axial"
        )

    def look_at(self, *ijk):
        self.node.JumpSliceByOffsetting(*self.ras(*ijk))

    def ras(self, i, j, k):
        return self.session.desk.volume.to_ras(np.array([i, j, k], float))

    def mouse(self, event, ijk):
        """An event of the mouse at voxel indices of the shown slice."""
        x, y, _, _ = np.linalg.inv(to_matrix(self.node.GetXYToRAS())) @ [*self.ras(*ijk), 1]
        self.interactor.SetEventInformation(round(x), round(y), 0, 0, chr(0), 0, None)
        self.interactor.InvokeEvent(event)

    def hover(self, *ijk):
        self.look_at(*ijk)
        for event in ("EnterEvent", "MouseMoveEvent"):
            self.mouse(event, ijk)

    def click(self, *ijk):
        self.hover(*ijk)
        for event in ("LeftButtonPressEvent", "LeftButtonReleaseEvent"):
            self.mouse(event, ijk)

    def drag(self, low, high):
        self.hover(*low)
        self.mouse("LeftButtonPressEvent", low)
        self.mouse("MouseMoveEvent", high)
        self.mouse("LeftButtonReleaseEvent", high)

    def settle(self):
        """Until everything that was asked is answered."""
        self.until(lambda: not self.session.talk.is_waiting and self.session.talk.journey is None)

    def until(self, is_so):
        """The event loop turns until something is so.

        Raises:
            AssertionError: It never is.
        """
        end = time.monotonic() + LIMIT_S
        while not is_so():
            assert time.monotonic() < end, "it never happens"
            slicer.app.processEvents()
        slicer.app.processEvents()

    def mask(self, k):
        from NeuroSAM2Core.volume import Axis, SlicePlane

        return self.session.desk.keeper.read(self.session.desk.active, SlicePlane(Axis.K, k))
