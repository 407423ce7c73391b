"""Sessions on real MRML with a quick engine, for tests."""

import numpy as np
import slicer
from NeuroSAM2Lib.engine.link import EngineLink
from NeuroSAM2Lib.scene.arrays import to_vtk
from NeuroSAM2Lib.scene.volume_nodes import read_volume
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.session_observer import SessionObserver

from NeuroSAM2Core.remote import LoadModel
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.fake_engine import FakeEngine
from Testing.Support.scenes import GEOMETRIES, add_segmentation, add_volume

SHAPE = (9, 20, 24)


def place_point(session, plane, row, col, *, positive=True):
    """A click on a pixel of a slice, in a view that shows it: a control point in the Markups list of the active object."""
    document = session.document
    volume = read_volume(document.volume_node) if document.has_new_image else document.volume
    place = volume.to_ras(np.array(plane.to_ijk(row, col)))
    columns = np.roll(volume.ijk_to_ras[:, :3], 2 - "ijk".index(plane.axis), axis=1)
    view = slicer.vtkMRMLSliceNode()
    view.GetSliceToRAS().DeepCopy(to_vtk(np.column_stack([columns, [*place, 1.0]])))
    place_at(session, place, positive=positive, view=view)


def place_at(session, ras, *, positive=True, view=None):
    """A click at a world position, with the pointer in a view or in none."""
    document = session.document
    crosshair = document.host.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    if view is None:
        crosshair.SetCursorPositionInvalid()
    else:
        crosshair.SetCursorPositionXYZ([0.0, 0.0, 0.0], view)
    number = document.active or document.next_number
    document.nodes.points_node(number, positive=positive).AddControlPointWorld(*map(float, ras))
    crosshair.SetCursorPositionInvalid()


class Engines:
    """Makes fake engines and remembers them."""

    def __init__(self, *, is_patient=False):
        self.is_patient, self.made = is_patient, []

    def __call__(self):
        self.made.append(FakeEngine(is_patient=self.is_patient))
        return self.made[-1]

    @property
    def last(self):
        return self.made[-1]


class SimulatedUser:
    """A person in front of a scene."""

    def __init__(self, app, *, geometry="upright", shape=SHAPE, is_patient=False, segmentation=None):
        self.app = app
        rng = np.random.default_rng(0)
        self.voxels = rng.integers(0, 100, shape).astype(np.int16)
        self.volume_node = add_volume(app, self.voxels, GEOMETRIES[geometry])
        self.segmentation_node = segmentation or add_segmentation(app)[0]
        self.engines = Engines(is_patient=is_patient)
        self.link = EngineLink(self.engines, LoadModel(model="nano"))
        self.begin()

    def begin(self):
        self.session = SessionController(self.app, self.link, self.volume_node, self.segmentation_node)
        self.watch = SessionObserver(self.session)

    @property
    def document(self):
        return self.session.document

    def settle(self):
        """Until nothing happens any more."""
        for _ in range(20):
            if self.engines.made:
                self.engines.last.work()
            self.session.poll()
            if not self.session.engine_sync.is_waiting and self.session.engine_sync.propagation.request is None:
                return
        raise AssertionError(f"it never settles: {self.session.notice}")

    def take_in(self):
        """Everything that the engine has sent, in as many turns as a busy machine needs."""
        self.session.poll()
        while self.session.has_more:
            self.session.poll()

    def mask(self, plane, number=1):
        return self.document.slice_io.read(number, plane)

    def voxels_of(self, number=1):

        return np.stack([self.mask(SlicePlane(Axis.K, k), number) for k in range(self.document.volume.shape[0])])

    def bytes(self):
        """Every voxel of every segment, and what bears it: the exact state of the segmentation."""
        segmentation = self.segmentation_node.GetSegmentation()
        state = []
        for name in segmentation.GetSegmentIDs():
            image = segmentation.GetSegment(name).GetRepresentation("Binary labelmap")
            scalars = image.GetPointData().GetScalars()
            data = b"" if scalars is None else bytes(memoryview(scalars))
            state.append((name, segmentation.GetSegment(name).GetLabelValue(), image.GetExtent(), data))
        return tuple(state)
