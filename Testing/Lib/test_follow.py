"""The next scan: objects of an earlier one become prompts once the person has seen the registration and said yes."""

import sys
from pathlib import Path

import numpy as np
import pytest
from NeuroSAM2Lib.engine.choice import EngineChoice
from NeuroSAM2Lib.presenters.follow_presenter import FollowPhase, FollowPresenter
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.scene.segments.segment_masks import SegmentationSnapshot
from NeuroSAM2Lib.scene.segments.segment_writer import SegmentWriter
from NeuroSAM2Lib.segmentation.object_actions import add_carried, add_objects, carry_objects, read_objects
from NeuroSAM2Lib.segmentation.session_view import session_view

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.labels import LabelEntry, LabelTable
from NeuroSAM2Core.registration import Registration
from NeuroSAM2Core.volume import Axis
from Testing.Support.fake_engine import FakeEngine
from Testing.Support.scenes import GEOMETRIES, Geometry, add_segmentation, add_volume, turned
from Testing.Support.sessions import SHAPE, SimulatedUser

TABLE = LabelTable((LabelEntry(1, "tumor", (255, 0, 51)), LabelEntry(2, "thin", (0, 102, 204))))
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[2:6, 4:12, 5:14] = 1
for step in range(14):
    LABELS[6:8, 3 + step, 4 + step] = 2
SHIFT = turned(origin=(2.0, -1.0, 0.0))
"""From the later scan to the earlier one: two voxels and one."""
REGISTRATION = Registration(later_to_earlier=tuple(map(tuple, SHIFT.tolist())), similarity_before=0.3, similarity=0.9)
COMPOSITE = "vtkMRMLSliceCompositeNode"


class Program:
    """A registration that ends when it is told to."""

    def __init__(self, command, log):
        self.command, self.log, self.code, self.is_killed = command, Path(log), None, False

    def say(self, text):
        with self.log.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def end(self, code=0):
        if code == 0:
            Path(self.command[-1]).write_text(REGISTRATION.to_text(), encoding="utf-8")
        self.code = code

    def poll(self):
        return self.code

    def wait(self, timeout_s):
        return self.code

    def kill(self):
        self.is_killed, self.code = True, -9


class Follower:
    """A person with an earlier scan that is outlined, in front of the later one."""

    def __init__(self, app, geometry="upright"):
        self.app, self.programs = app, []
        first = SimulatedUser(app, geometry=geometry)
        add_objects(
            first.session, read_objects(first.document.volume, first.document.volume.with_voxels(LABELS), TABLE)
        )
        self.earlier = first.volume_node, first.segmentation_node
        first.session.end("the next scan")
        self.engines = []
        self.presenter = SegmentPresenter(app, EngineChoice(), self.engine)
        known = GEOMETRIES[geometry]
        self.later = add_volume(app, first.voxels, Geometry(np.linalg.inv(SHIFT) @ known.matrix), name="later")
        self.presenter.select(self.later, add_segmentation(app)[0])
        self.view = app.scene.AddNewNodeByClass(COMPOSITE)
        self.view.SetBackgroundVolumeID(self.later.GetID())
        self.follow = FollowPresenter(self.presenter, lambda: (sys.executable,), self.start)

    def engine(self, choice):
        self.engines.append(FakeEngine())
        return self.engines[-1]

    def start(self, command, log, *, stop_file=None):
        self.programs.append(Program(command, log))
        return self.programs[-1]

    def settle(self):
        for _ in range(60):
            for engine in self.engines:
                engine.work()
            self.presenter.poll()


@pytest.fixture
def person(app):
    return Follower(app)


def test_the_registration_is_shown_over_the_later_scan_and_used_only_after_a_yes(person):
    person.follow.begin(*person.earlier)
    (program,) = person.programs
    assert program.command[1] == "follow"
    program.say("progress 0.10\nprogress 0.42")
    assert person.follow.poll()
    assert (person.follow.view.phase, person.follow.view.percent) == (FollowPhase.REGISTERING, 42)
    program.end()
    assert not person.follow.poll()
    view = person.follow.view
    assert view.phase is FollowPhase.REVIEW
    assert "moved by 2.2 mm; mutual information 0.30 before, 0.90 after" in view.sentence
    overlay = person.app.scene.GetNodeByID(person.view.GetForegroundVolumeID())
    assert overlay.GetName() == "T1 registered"
    assert person.view.GetForegroundOpacity() == 0.5
    assert session_view(person.presenter.session).objects == ()
    assert not Path(program.command[-1]).parent.exists()

    person.follow.use(person.follow.carry())
    assert person.view.GetForegroundVolumeID() is None
    assert not person.app.scene.IsNodePresent(overlay)
    person.settle()
    rows = session_view(person.presenter.session).objects
    assert [row.name for row in rows] == ["tumor", "thin"]
    document = person.presenter.session.document
    boxes = document.objects.record(1).prompts.boxes
    assert [one.index for one in boxes] == [3, 5]
    assert document.objects.record(2).prompts.kept == {7}
    reader = SegmentWriter(person.presenter.chosen[1], person.later, document.volume)
    (plane,) = document.objects.record(2).prompts.planes
    np.testing.assert_array_equal(reader.read(document.objects.segment_id(2), plane), LABELS[7] == 2)
    assert {one.index for one in document.objects.record(1).quality} >= {2, 3, 4, 5}


@pytest.mark.parametrize("when", ["registering", "review"])
def test_cancelling_leaves_everything_as_it_was(person, when):
    before = person.app.scene.GetNumberOfNodes()
    person.follow.begin(*person.earlier)
    (program,) = person.programs
    if when == "review":
        program.end()
        person.follow.poll()
    person.follow.cancel()
    assert program.is_killed == (when == "registering")
    assert person.follow.view.phase is FollowPhase.IDLE
    assert person.app.scene.GetNumberOfNodes() <= before + 1  # a display of the volume may stay
    assert person.view.GetForegroundVolumeID() is None
    assert not Path(program.command[-1]).parent.exists()
    assert session_view(person.presenter.session).objects == ()


def test_what_is_outlined_on_another_image_can_be_carried(person):
    (found,) = person.follow.scans.values()
    assert (found.volume_node, found.segmentation_node) == person.earlier
    person.follow.begin_with(found.segmentation_node.GetID())
    assert len(person.programs) == 1
    person.follow.begin_with("gone")
    assert len(person.programs) == 1


def test_nothing_is_carried_to_another_image_that_was_chosen_meanwhile(person):
    person.follow.begin(*person.earlier)
    person.programs[0].end()
    person.follow.poll()
    person.presenter.select(person.earlier[0], person.earlier[1])
    with pytest.raises(DataError, match="another image was chosen"):
        person.follow.carry()


def test_a_registration_that_fails_is_a_sentence(person):
    person.follow.begin(*person.earlier)
    person.programs[0].say("neurosam2: registration needs SimpleITK")
    person.programs[0].end(2)
    person.follow.poll()
    assert "SimpleITK" in person.follow.view.sentence
    assert person.follow.view.phase is FollowPhase.IDLE
    person.follow.begin(person.later, person.earlier[1])
    assert "the scan itself" in person.follow.view.sentence


def test_carrying_is_one_undo_step(person):
    session = person.presenter.session
    earlier = SegmentationSnapshot.take(person.earlier[1], person.earlier[0])
    add_carried(session, carry_objects(earlier, session.document.volume, REGISTRATION))
    person.settle()
    assert len(session_view(session).objects) == 2
    while session.document.objects.segments:
        assert session.undo()
    assert session.redo()
    assert len(session.document.objects.segments) == 2
    assert session.document.axis_of(1) is Axis.K


@pytest.mark.parametrize("geometry", ["oblique", "left-handed", "sagittal storage"])
def test_masks_are_carried_to_their_place_in_any_geometry(app, geometry):
    person = Follower(app, geometry)
    document = person.presenter.session.document
    earlier = SegmentationSnapshot.take(person.earlier[1], person.earlier[0])
    carried = carry_objects(earlier, document.volume, REGISTRATION)
    assert carried.lost == ()
    (plane,) = [one for one in carried.prompts[1].planes if one.index in carried.prompts[1].kept][:1] or [None]
    if plane is not None:
        np.testing.assert_array_equal(plane.of(carried.labels) == 2, plane.of(LABELS) == 2)
