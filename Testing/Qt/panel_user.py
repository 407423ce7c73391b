"""A person in front of the segmentation panel: volumes, clicks, keys, and what there is to see."""

from pathlib import Path

import numpy as np
import slicer
from NeuroSAM2Lib.scene.volume_nodes import read_volume

from Testing.Qt.host import pythonqt
from Testing.Qt.host.modules import load_module
from Testing.Support.scenes import GEOMETRIES, add_volume

qt = pythonqt.install()
SLICER = Path(__file__).parents[2] / "NeuroSAM2Slicer"
SHAPE = (12, 48, 56)
CENTRE = (6, 24, 28)


def blob(shape=SHAPE, centre=CENTRE, radius=9.0, seed=0):
    """A bright ball in noise, (K, J, I) int16."""
    grid = np.stack(np.mgrid[tuple(slice(n) for n in shape)]).astype(float)
    scaled = [
        (axis - c) * (3.0 if number == 0 else 1.0) for number, (axis, c) in enumerate(zip(grid, centre, strict=True))
    ]
    inside = np.sqrt(sum(one**2 for one in scaled)) < radius
    return (np.random.default_rng(seed).normal(60, 6, shape) + 90 * inside).astype(np.int16)


class PanelUser:
    """The panel, its views, and the hands."""

    def __init__(self, application, loop):
        self.application, self.loop = application, loop
        self.module = load_module(SLICER / "NeuroSAM2Segment" / "NeuroSAM2Segment.py")
        self.panel = self.module.widget.panel
        self.ui = self.panel.ui

    @property
    def segment_presenter(self):
        return self.panel.segment_presenter

    @property
    def session(self):
        return self.segment_presenter.session

    def close(self):
        self.module.close()

    def load(self, voxels=None, geometry="anisotropic", *, name="T1"):
        """A volume comes into the scene, is shown, and is chosen; the button makes the segmentation."""
        node = add_volume(self.application.mrml, blob() if voxels is None else voxels, GEOMETRIES[geometry], name=name)
        self.show(node)
        self.ui.volumeSelector.setCurrentNode(node)
        self.ui.stateButton.click()
        return node

    def show(self, node):
        middle = (np.array(node.GetImageData().GetDimensions()) - 1) / 2
        for name in self.application.layoutManager().sliceViewNames():
            self.view(name).show(node, read_volume(node).to_ras(middle))

    def view(self, name="Red"):
        return self.application.layoutManager().sliceWidget(name).view

    def ras(self, i, j, k):
        return self.session.document.volume.to_ras(np.array([i, j, k], float))

    def click(self, i, j, k, name="Red"):
        """A click in a view, on voxel indices; the view goes to that slice first."""
        view = self.view(name)
        view.node.JumpSliceByOffsetting(*self.ras(i, j, k))
        view.click(*view.to_xy(self.ras(i, j, k)))

    def hover(self, i, j, k, name="Red"):
        """The pointer comes to voxel indices and rests there; the view goes to that slice first."""
        view = self.view(name)
        view.node.JumpSliceByOffsetting(*self.ras(i, j, k))
        view.mouse("EnterEvent", *view.to_xy(self.ras(i, j, k)))
        view.mouse("MouseMoveEvent", *view.to_xy(self.ras(i, j, k)))

    def drag(self, low, high, name="Red"):
        """Press on one place, release on another."""
        view = self.view(name)
        view.node.JumpSliceByOffsetting(*self.ras(*low))
        view.drag(view.to_xy(self.ras(*low)), view.to_xy(self.ras(*high)))

    def key(self, text):
        """A key is pressed in the main window."""
        for shortcut in self.panel.shortcuts.active():
            if shortcut.key.toString() == text:
                shortcut.activated.emit()

    def object_cell(self, row, title):
        """A cell of the table of objects, by its column's title."""
        table = self.ui.objectTable
        titles = [table.horizontalHeaderItem(column).text() for column in range(table.columnCount)]
        return table.item(row, titles.index(title))

    def object_text(self, row, title):
        return self.object_cell(row, title).data(qt.Qt.DisplayRole)

    def paint(self, k, segment_id=None):
        """What a manual tool does: a rectangle on a slice, and nothing else of the segment changes. Returns the slice."""
        segmentation, node = self.ui.segmentationSelector.currentNode(), self.ui.volumeSelector.currentNode()
        segment_id = segment_id or self.session.document.objects.segment_id(1)
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, node).copy()
        voxels[k, 20:30, 20:34] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, segmentation, segment_id, node)
        return voxels[k].astype(bool)

    def settled(self):
        """Nothing is going on any more."""
        session = self.session
        return not session.engine_sync.is_waiting and session.engine_sync.propagation.request is None

    def mask(self, k, number=1):
        from NeuroSAM2Core.volume import Axis, SlicePlane

        return self.session.document.slice_io.read(number, SlicePlane(Axis.K, k))

    def nodes(self, kind):
        return slicer.mrmlScene.GetNumberOfNodesByClass(kind)

    def nodes_of(self, kind):
        found = slicer.mrmlScene.GetNodesByClass(kind)
        return [found.GetItemAsObject(number) for number in range(found.GetNumberOfItems())]
