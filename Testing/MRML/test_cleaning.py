"""How masks are cleaned is remembered in the scene, said with every request, and done for the whole object at the end of a propagation."""

import numpy as np
import pytest
from NeuroSAM2MRML.engine.choice import EngineChoice
from NeuroSAM2MRML.workplace.panel_memory import HOLES, PanelMemory
from NeuroSAM2MRML.workplace.workplace import Workplace

from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.protocol import CleanObject, PredictSlice, Propagate, RestoreSlice
from NeuroSAM2Core.volume import BY_ITSELF, Axis, Cleaning, SlicePlane
from Testing.Support.fake_engine import FakeEngine, cleaned_from
from Testing.Support.sessions import Sitting

PLANE = SlicePlane(Axis.K, 4)
WHOLE = Cleaning(hole_mm=3.0, island_mm=0.0, is_whole=True)


@pytest.fixture
def sitting(app):
    return outlined(Sitting(app))


@pytest.fixture
def patient(app):
    return outlined(Sitting(app, is_patient=True))


def outlined(sitting):
    sitting.session.talk.cleaning = WHOLE
    sitting.session.add_box(PLANE, BoxPrompt(4, 4, 12, 15))
    sitting.settle()
    return sitting


def requests(sitting, kind):
    return [one for one in sitting.engines.last.requests if isinstance(one, kind)]


def test_every_request_says_how_masks_are_cleaned(sitting):
    sitting.session.propagate()
    sitting.settle()
    sitting.session.talk.cleaning = BY_ITSELF
    sitting.session.add_point(SlicePlane(Axis.K, 6), 8, 8)
    sitting.settle()
    assert [one.cleaning for one in requests(sitting, PredictSlice)] == [WHOLE, BY_ITSELF]
    assert [one.cleaning for one in requests(sitting, Propagate)] == [WHOLE]
    assert {one.cleaning for one in requests(sitting, RestoreSlice)} == {BY_ITSELF}


def test_at_the_end_of_a_propagation_the_whole_object_is_cleaned_as_a_step_that_undo_takes_back(sitting):
    talk = sitting.session.talk
    talk.cleaning = BY_ITSELF
    sitting.session.propagate()
    sitting.settle()
    rough = sitting.voxels_of()
    assert requests(sitting, CleanObject) == []
    sitting.session.undo()
    talk.cleaning = WHOLE
    sitting.session.propagate()
    sitting.settle()
    clean = sitting.voxels_of()
    np.testing.assert_array_equal(clean[4], rough[4])
    for index in (0, 3, 5, 8):
        np.testing.assert_array_equal(clean[index], cleaned_from(rough[index]))
    assert sitting.desk.steps.current_name() == "Clean up"
    sitting.session.undo()
    np.testing.assert_array_equal(sitting.voxels_of(), rough)
    assert sitting.desk.steps.current_name() == "Propagate"
    sitting.session.redo()
    np.testing.assert_array_equal(sitting.voxels_of(), clean)


def test_a_propagation_that_was_stopped_is_not_cleaned_until_it_is_through(patient):
    session = patient.session
    session.propagate()
    patient.engines.last.work(3)
    session.poll()
    session.stop()
    patient.settle()
    assert requests(patient, CleanObject) == []
    session.go_on()
    patient.settle()
    assert len(requests(patient, CleanObject)) == 1


def test_after_cleaning_the_engine_is_told_the_masks_as_they_are(sitting):
    sitting.session.propagate()
    sitting.settle()
    sitting.session.add_point(SlicePlane(Axis.K, 6), 8, 8)
    sitting.settle()
    told = {one.mask.plane.index: one.mask.mask for one in requests(sitting, RestoreSlice)}
    np.testing.assert_array_equal(told[1], sitting.mask(SlicePlane(Axis.K, 1)))


def test_undo_while_the_object_is_being_cleaned_gives_it_up(patient):
    session = patient.session
    session.propagate()
    for _ in range(30):
        patient.engines.last.work(1)
        session.poll()
        if requests(patient, CleanObject):
            break
    assert session.talk.journey is not None
    session.undo()
    patient.settle()
    assert patient.voxels_of().any(axis=(1, 2)).sum() == 1
    assert session.talk.journey is None


def test_the_scene_remembers_how_masks_are_cleaned(app, tmp_path):
    workplace = Workplace(app, EngineChoice(), lambda choice: FakeEngine())
    sitting = Sitting(app)
    workplace.select(sitting.volume_node, sitting.segmentation_node)
    assert workplace.session.talk.cleaning == BY_ITSELF
    workplace.clean_by(WHOLE)
    assert workplace.session.talk.cleaning == WHOLE
    workplace.select(None, None)
    workplace.select(sitting.volume_node, sitting.segmentation_node)
    assert workplace.session.talk.cleaning == WHOLE
    memory = PanelMemory(app.scene)
    assert memory.cleaning == WHOLE
    memory.node.SetParameter(HOLES, "wide")
    assert memory.cleaning == BY_ITSELF
    memory.cleaning = BY_ITSELF
    assert memory.cleaning == BY_ITSELF
