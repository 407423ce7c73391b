"""How masks are cleaned is remembered in the scene, said with every request, and done for the whole object at the end of a propagation."""

import numpy as np
import pytest
from NeuroSAM2Lib.engine.choice import EngineChoice
from NeuroSAM2Lib.presenters.panel_settings import HOLES, PanelSettings
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter

from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.remote import CleanObject, PredictSlice, Propagate, RestoreSlice
from NeuroSAM2Core.volume import DEFAULT_CLEANUP, Axis, MaskCleanup, SlicePlane
from Testing.Support.fake_engine import FakeEngine, cleaned_from
from Testing.Support.sessions import SimulatedUser, place_point

PLANE = SlicePlane(Axis.K, 4)
WHOLE = MaskCleanup(hole_mm=3.0, island_mm=0.0, is_whole=True)


@pytest.fixture
def user(app):
    return outlined(SimulatedUser(app))


@pytest.fixture
def patient(app):
    return outlined(SimulatedUser(app, is_patient=True))


def outlined(user):
    user.session.engine_sync.cleanup = WHOLE
    user.session.add_box(PLANE, BoxPrompt(4, 4, 12, 15))
    user.settle()
    return user


def requests(user, kind):
    return [one for one in user.engines.last.requests if isinstance(one, kind)]


def test_every_request_says_how_masks_are_cleaned(user):
    user.session.propagate()
    user.settle()
    user.session.engine_sync.cleanup = DEFAULT_CLEANUP
    place_point(user.session, SlicePlane(Axis.K, 6), 8, 8)
    user.settle()
    assert [one.cleanup for one in requests(user, PredictSlice)] == [WHOLE, DEFAULT_CLEANUP]
    assert [one.cleanup for one in requests(user, Propagate)] == [WHOLE]
    assert {one.cleanup for one in requests(user, RestoreSlice)} == {DEFAULT_CLEANUP}


def test_propagation_ends_with_a_volume_cleanup_that_can_be_undone(user):
    engine_sync = user.session.engine_sync
    engine_sync.cleanup = DEFAULT_CLEANUP
    user.session.propagate()
    user.settle()
    rough = user.voxels_of()
    assert requests(user, CleanObject) == []
    user.session.undo()
    engine_sync.cleanup = WHOLE
    user.session.propagate()
    user.settle()
    clean = user.voxels_of()
    np.testing.assert_array_equal(clean[4], rough[4])
    for index in (0, 3, 5, 8):
        np.testing.assert_array_equal(clean[index], cleaned_from(rough[index]))
    assert user.document.undo_stack.current_name() == "Clean up"
    user.session.undo()
    np.testing.assert_array_equal(user.voxels_of(), rough)
    assert user.document.undo_stack.current_name() == "Propagate"
    user.session.redo()
    np.testing.assert_array_equal(user.voxels_of(), clean)


def test_a_propagation_that_was_stopped_is_not_cleaned_until_it_is_through(patient):
    session = patient.session
    session.propagate()
    patient.engines.last.work(3)
    session.poll()
    session.stop()
    patient.settle()
    assert requests(patient, CleanObject) == []
    session.resume()
    patient.settle()
    assert len(requests(patient, CleanObject)) == 1


def test_after_cleaning_the_engine_is_notified_the_masks_as_they_are(user):
    user.session.propagate()
    user.settle()
    place_point(user.session, SlicePlane(Axis.K, 6), 8, 8)
    user.settle()
    told = {one.mask.plane.index: one.mask.mask for one in requests(user, RestoreSlice)}
    np.testing.assert_array_equal(told[1], user.mask(SlicePlane(Axis.K, 1)))


def test_undo_while_the_object_is_being_cleaned_gives_it_up(patient):
    session = patient.session
    session.propagate()
    for _ in range(30):
        patient.engines.last.work(1)
        session.poll()
        if requests(patient, CleanObject):
            break
    assert session.engine_sync.propagation.request is not None
    session.undo()
    patient.settle()
    assert patient.voxels_of().any(axis=(1, 2)).sum() == 1
    assert session.engine_sync.propagation.request is None


def test_the_scene_remembers_how_masks_are_cleaned(app, tmp_path):
    presenter = SegmentPresenter(app, EngineChoice(), lambda choice: FakeEngine())
    user = SimulatedUser(app)
    presenter.select(user.volume_node, user.segmentation_node)
    assert presenter.session.engine_sync.cleanup == DEFAULT_CLEANUP
    presenter.set_cleanup(WHOLE)
    assert presenter.session.engine_sync.cleanup == WHOLE
    presenter.select(None, None)
    presenter.select(user.volume_node, user.segmentation_node)
    assert presenter.session.engine_sync.cleanup == WHOLE
    memory = PanelSettings(app.scene)
    assert memory.cleanup == WHOLE
    memory.node.SetParameter(HOLES, "wide")
    assert memory.cleanup == DEFAULT_CLEANUP
    memory.cleanup = DEFAULT_CLEANUP
    assert memory.cleanup == DEFAULT_CLEANUP
