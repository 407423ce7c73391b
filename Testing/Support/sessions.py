"""Sessions on real MRML with a quick engine, for tests."""

import numpy as np
from NeuroSAM2Lib.engine.link import EngineLink
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.session_observer import SessionObserver

from NeuroSAM2Core.remote import LoadModel
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.fake_engine import FakeEngine
from Testing.Support.scenes import GEOMETRIES, add_segmentation, add_volume

SHAPE = (9, 20, 24)


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
            if not self.session.engine_sync.is_waiting and self.session.engine_sync.propagation_request is None:
                return
        raise AssertionError(f"it never settles: {self.session.notice}")

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
