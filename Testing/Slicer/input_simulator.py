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

from NeuroSAM2Lib.engine.choice import READY, EngineChoice  # noqa: E402  (found by the lines above)
from NeuroSAM2Lib.scene.arrays import to_matrix  # noqa: E402
from NeuroSAM2Qt.application import load_sample, slice_views  # noqa: E402

from Testing.Support.fake_engine import FakeEngine  # noqa: E402

LIMIT_S = 20.0
NAP_S = 0.002
SEGMENT, TRAIN = "NeuroSAM2Segment", "NeuroSAM2Train"


def show(name):
    """A person chooses a module; without a main window its panel is told that it is seen."""
    if slicer.util.mainWindow() is None:
        slicer.util.getModuleWidget(name).enter()
    else:
        slicer.util.selectModule(name)


def reload(name):
    """What the button Reload does; a panel that is not seen is told that it is."""
    slicer.util.reloadScriptedModule(name)
    widget = slicer.util.getModuleWidget(name)
    if not widget.parent.isVisible():
        widget.enter()


def add_volume(voxels, name):
    """A volume of one's own comes into the scene.

    Args:
        voxels: (K, J, I).
        name: For the list of volumes.
    """
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, voxels)
    node.CreateDefaultDisplayNodes()
    return node


class InputSimulator:
    """On the segmentation panel.

    Args:
        has_engine: The engine is a real one; if not, one that answers at once, so that neither torch nor a network is needed.
    """

    def __init__(self, *, has_engine=False):
        self._engine = mock.patch.object(EngineChoice, "connect", lambda choice, slicer_python: FakeEngine())
        if not has_engine:
            self._engine.start()
        self._has_engine = has_engine
        self._end_engine()  # one from before would go on to be used
        show(SEGMENT)
        self.panel.enter()
        self.panel.segment_presenter.plan = READY

    def put_down(self):
        """As it was before."""
        self._end_engine()
        if not self._has_engine:
            self._engine.stop()

    def _end_engine(self):
        self.panel.segment_presenter.link.close()
        self.panel.bridge.wake()  # nobody listens to it any more

    @property
    def panel(self):
        """The one there is now: the module may have been loaded anew."""
        return slicer.util.getModuleWidget(SEGMENT).panel

    @property
    def ui(self):
        return self.panel.ui

    @property
    def session(self):
        return self.panel.segment_presenter.session

    @property
    def engine(self):
        return self.panel.segment_presenter.link.engine

    def reload(self):
        """The module is loaded anew."""
        reload(SEGMENT)
        self.panel.segment_presenter.plan = READY

    def begin(self, volume=None):
        """A volume, the practice volume if None, and an empty segmentation are chosen."""
        self.ui.volumeSelector.setCurrentNode(volume or load_sample())
        self.ui.segmentationSelector.setCurrentNode(self.panel.segment_presenter.new_segmentation())
        self.panel.bridge.wake()  # a selector says nothing where the name is the same
        self.sit_down()

    def sit_down(self):
        """The first view along k is the one to work in; it shows the chosen volume."""
        slicer.util.setSliceViewerLayers(background=self.ui.volumeSelector.currentNode(), fit=True)
        self.node, self.interactor = next(
            (node, interactor) for node, interactor in slice_views() if node.GetOrientation() == "Axial"
        )

    def outline(self, low, high):
        """A box is dragged and answered."""
        self.ui.boxButton.click()
        self.drag(low, high)
        self.settle()

    def exclude(self, *ijk):
        """A point is placed with the Exclude tool, which is put down again."""
        self.ui.negativeButton.click()
        self.click(*ijk)
        self.settle()
        self.ui.negativeButton.click()

    def set_visible_plane(self, *ijk):
        self.node.JumpSliceByOffsetting(*self.ras(*ijk))

    def ras(self, i, j, k):
        return self.session.document.volume.to_ras(np.array([i, j, k], float))

    def mouse(self, event, ijk):
        """An event of the mouse at voxel indices of the shown slice."""
        x, y, _, _ = np.linalg.inv(to_matrix(self.node.GetXYToRAS())) @ [*self.ras(*ijk), 1]
        self.interactor.SetEventInformation(round(x), round(y), 0, 0, chr(0), 0, None)
        self.interactor.InvokeEvent(event)

    def hover(self, *ijk):
        self.set_visible_plane(*ijk)
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

    def settle(self, limit_s=LIMIT_S):
        """Until everything that was asked is answered."""
        self.until(
            lambda: not self.session.engine_sync.is_waiting and self.session.engine_sync.propagation.request is None,
            limit_s,
        )

    def until(self, is_so, limit_s=LIMIT_S):
        """The event loop turns until something is so.

        Raises:
            AssertionError: It never is.
        """
        end = time.monotonic() + limit_s
        while not is_so():
            assert time.monotonic() < end, f"it never happens; the panel says: {self.ui.stateLabel.text}"
            slicer.app.processEvents()
            time.sleep(NAP_S)
        slicer.app.processEvents()

    def done(self):
        """The slices of the quality strip that have an outline."""
        table = self.ui.qualityStripTable
        tips = [table.item(0, k).toolTip() for k in range(table.columnCount)]
        return [k for k, tip in enumerate(tips) if "not segmented" not in tip]

    def mask(self, k):
        from NeuroSAM2Core.volume import Axis, SlicePlane

        return self.session.document.slice_io.read(self.session.document.active, SlicePlane(Axis.K, k))
