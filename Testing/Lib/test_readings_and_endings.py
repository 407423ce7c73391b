"""Another reading of a click is one step in the scene; a slice says why its object ends, and one more can be asked for."""

from dataclasses import replace

import numpy as np
import pytest
from NeuroSAM2Lib.engine.link import EngineLink
from NeuroSAM2Lib.presenters.segment_view_model import Mark, QualityCell, quality_cells
from NeuroSAM2Lib.scene.arrays import to_vtk
from NeuroSAM2Lib.scene.segments.segment_writer import EditPolicy, SegmentWriter
from NeuroSAM2Lib.scene.volume_nodes import read_volume
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.session_view import session_view
from NeuroSAM2Lib.segmentation.sidecar import sidecar_text
from NeuroSAM2Lib.view_state import ENDING_MESSAGES, QualitySlice, SliceQuality

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.inference.propagation.track import Ending
from NeuroSAM2Core.prompts import BoxPrompt, ChosenReading, ObjectPrompts, PointPrompt, PromptSet
from NeuroSAM2Core.remote import LoadModel, PredictSlice, PreviewSlice, Propagate, RestoreSlice
from NeuroSAM2Core.volume import Axis, Direction, SlicePlane
from Testing.Support.fake_engine import FakeEngine, answer_to
from Testing.Support.scenes import make_app, world
from Testing.Support.sessions import SimulatedUser, place_point

PLANE = SlicePlane(Axis.K, 4)
READINGS = 4


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    """A click has several readings, and an object is on five slices at most."""
    monkeypatch.setattr(FakeEngine, "num_readings", READINGS)
    monkeypatch.setattr(FakeEngine, "reach", 2)


@pytest.fixture
def user(app):
    return SimulatedUser(app)


@pytest.fixture
def clicked(user):
    place_point(user.session, PLANE, 7, 10)
    user.settle()
    return user


def expected(user, reading, *points):
    prompt_set = PromptSet(object_id=1, plane=PLANE, points=(PointPrompt(7, 10), *points), reading=reading)
    return answer_to(prompt_set, PLANE.of(user.voxels).shape, READINGS)


def shown(user):
    """The reading that is shown and how many there are, after checking that the mask is its."""
    chosen = user.document.active_record.open_reading(PLANE)
    np.testing.assert_array_equal(user.mask(PLANE), expected(user, chosen[0]))
    return chosen


def test_the_next_reading_goes_round(clicked):
    seen = [shown(clicked)]
    for _ in range(READINGS):
        clicked.session.next_reading(PLANE)
        clicked.settle()
        seen.append(shown(clicked))
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (0, 4)]


def test_several_readings_taken_in_a_row_need_no_answer_in_between(app):
    patient = SimulatedUser(app, is_patient=True)
    place_point(patient.session, PLANE, 7, 10)
    patient.settle()
    patient.session.next_reading(PLANE)
    patient.session.next_reading(PLANE)
    patient.settle()
    assert shown(patient) == (2, 4)


def test_a_reading_is_one_step_that_undo_takes_back_and_redo_brings(clicked):
    clicked.session.next_reading(PLANE)
    clicked.settle()
    assert session_view(clicked.session).undo_name == "Next reading"
    clicked.session.undo()
    clicked.settle()
    assert shown(clicked) == (0, 4)
    clicked.session.redo()
    clicked.settle()
    assert shown(clicked) == (1, 4)


def test_after_an_undo_the_readings_can_be_gone_through_again(clicked):
    clicked.session.next_reading(PLANE)
    clicked.settle()
    clicked.session.undo()
    clicked.settle()
    for reading in (1, 2):
        clicked.session.next_reading(PLANE)
        clicked.settle()
        assert shown(clicked) == (reading, 4)


@pytest.mark.parametrize("undo_state", ["asked", "answered"])
def test_a_reading_outlives_the_engine(app, undo_state):
    patient = SimulatedUser(app, is_patient=True)
    place_point(patient.session, PLANE, 7, 10)
    patient.settle()
    patient.session.next_reading(PLANE)
    if undo_state == "answered":
        patient.settle()
    patient.engines.last.kill()
    patient.session.poll()
    patient.settle()
    assert shown(patient) == (1, 4)
    patient.session.next_reading(PLANE)
    patient.settle()
    assert shown(patient) == (2, 4)
    patient.session.propagate()
    patient.settle()
    prompt_set = [
        r.prompts for r in patient.engines.last.requests if isinstance(r, PredictSlice | RestoreSlice) and r.prompts
    ]
    assert {prompts.reading for prompts in prompt_set} <= {1, 2}


def test_one_more_click_goes_on_from_the_reading_and_settles_it(clicked):
    clicked.session.next_reading(PLANE)
    place_point(clicked.session, PLANE, 15, 18, positive=False)
    clicked.settle()
    assert clicked.document.active_record.open_reading(PLANE) is None
    prompt_set = [r.prompts for r in clicked.engines.last.requests if isinstance(r, PredictSlice)]
    assert (prompt_set[-1].reading, len(prompt_set[-1].points)) == (1, 2)
    with pytest.raises(PromptError, match="no other reading on slice 4"):
        clicked.session.next_reading(PLANE)


def test_a_box_leaves_nothing_open(clicked):
    clicked.session.next_reading(PLANE)
    clicked.session.add_box(PLANE, BoxPrompt(4, 4, 12, 15))
    clicked.settle()
    assert clicked.document.active_record.prompts.readings == frozenset()
    assert clicked.document.active_record.open_reading(PLANE) is None


def test_propagation_goes_on_from_the_chosen_reading(clicked):
    clicked.session.propagate()
    clicked.settle()
    before = clicked.mask(SlicePlane(Axis.K, 5)).sum()
    clicked.session.next_reading(PLANE)
    clicked.settle()
    assert clicked.session.can_continue
    clicked.session.propagate()
    clicked.settle()
    assert clicked.mask(SlicePlane(Axis.K, 5)).sum() == expected(clicked, 1).sum() > before


def test_a_click_that_is_moved_begins_with_its_most_likely_reading(clicked):
    clicked.session.next_reading(PLANE)
    clicked.settle()
    node = clicked.document.nodes.points_node(1, positive=True)
    node.SetNthControlPointPositionWorld(0, *world(clicked.document.volume, 14, 9, 4))
    node.InvokeEvent(node.PointEndInteractionEvent)
    clicked.settle()
    assert clicked.document.active_record.prompts.reading_on(4) == 0
    assert clicked.document.nodes.read(1, clicked.document.volume) == clicked.document.active_record.prompts


def test_readings_endings_and_their_number_come_back_with_the_scene(clicked, tmp_path):
    clicked.session.next_reading(PLANE)
    clicked.settle()
    clicked.session.propagate()
    clicked.settle()
    clicked.app.save(tmp_path / "scene.mrb")
    again = make_app(tmp_path)
    again.load(tmp_path / "scene.mrb")
    find = again.scene.GetFirstNodeByName
    link = EngineLink(FakeEngine, LoadModel(model="nano"))
    session = SessionController(again, link, find("T1"), find("Segmentation"))
    record, before = session.document.active_record, clicked.document.active_record
    assert record.prompts == before.prompts
    assert record.prompts.reading_on(4) == 1
    assert record.open_reading(PLANE) == (1, 4)
    assert {p: q.ending for p, q in record.quality.items()} == {p: q.ending for p, q in before.quality.items()}
    assert session_view(session).can_extend
    session.next_reading(PLANE)
    for _ in range(5):
        session.poll()
    assert session.document.active_record.open_reading(PLANE) == (2, 4)
    np.testing.assert_array_equal(session.document.slice_io.read(1, PLANE), expected(clicked, 2))


def test_what_an_earlier_version_remembered_of_a_slice_is_read(clicked):
    node = clicked.document.node
    node.write_quality(1, clicked.document.active_record)
    text = node.node.GetParameter("Quality1")
    node.node.SetParameter("Quality1", text.replace(", 4.0, 0.0]", "]"))
    assert node.node.GetParameter("Quality1") != text
    (quality,) = node.read_quality(1).values()
    assert (quality.num_readings, quality.ending) == (1, "")


def test_a_grid_that_is_counted_from_the_other_end_takes_the_readings_along(clicked):
    prompt_set = (
        ObjectPrompts().with_point(SlicePlane(Axis.K, 3), PointPrompt(7, 10)).with_reading(SlicePlane(Axis.K, 3), 1)
    )
    clicked.document.nodes.write(1, prompt_set, clicked.document.volume)
    matrix = clicked.document.volume.ijk_to_ras.copy()
    matrix[:3, 3] += 8 * matrix[:3, 2]
    matrix[:3, 2] *= -1
    clicked.volume_node.SetIJKToRASMatrix(to_vtk(matrix))
    assert clicked.document.nodes.read(1, read_volume(clicked.volume_node)).readings == {ChosenReading(5, 1)}


def test_the_sidecar_names_the_readings_and_endings(clicked):
    clicked.session.next_reading(PLANE)
    clicked.settle()
    clicked.session.propagate()
    clicked.settle()
    text = sidecar_text(clicked.document)
    assert '"reading": 1' in text
    assert '"ending": "area"' in text


def test_a_preview_shows_the_most_likely_reading(clicked):
    clicked.session.next_reading(PLANE)
    clicked.settle()
    clicked.session.preview.point(world(clicked.document.volume, 10, 7, 6))
    clicked.settle()
    assert clicked.session.preview.outline.is_shown
    asked = [request for request in clicked.engines.last.requests if isinstance(request, PreviewSlice)]
    assert asked[-1].prompts.reading == 0


def test_a_prompt_value_keeps_no_reading_without_its_click():
    prompt_set = ObjectPrompts().with_point(PLANE, PointPrompt(7, 10)).with_reading(PLANE, 2)
    assert prompt_set.reading_on(4) == 2
    assert prompt_set.with_confirmed(PLANE).readings == frozenset()
    assert prompt_set.without(4) == ObjectPrompts()
    assert prompt_set.with_reading(PLANE, 0) == ObjectPrompts().with_point(PLANE, PointPrompt(7, 10))
    assert prompt_set.changed_since(prompt_set.with_reading(PLANE, 1)) == (PLANE,)


@pytest.fixture
def ended(clicked):
    clicked.session.propagate()
    clicked.settle()
    return clicked


def there(user):
    return np.flatnonzero(user.voxels_of().any(axis=(1, 2))).tolist()


def test_it_is_reported_where_and_why_an_object_ends(ended):
    assert there(ended) == [2, 3, 4, 5, 6]
    reason = "its area became too small beside the largest slice"
    assert ended.session.notice == f"the object ends on slice 1 ({reason}) and on slice 7 ({reason})"
    cells = quality_cells(session_view(ended.session).quality_strip, 9)
    assert cells[7].sentence == f"Slice 7: the object ends here: {reason}"
    assert cells[1].sentence == f"Slice 1: the object ends here: {reason}"
    assert cells[8].sentence == "Slice 8: the object is not here"


def test_an_end_that_the_model_is_not_sure_of_is_doubtful_and_says_why():
    def mark(index, object_score, **more):
        return QualitySlice(
            plane=SlicePlane(Axis.K, index),
            quality=SliceQuality(predicted_iou=0.9, object_score=object_score, **more),
            is_confirmed=False,
            is_prompted=False,
            is_doubtful=bool(more),
        )

    cells = quality_cells([mark(0, 0.9), mark(1, 0.3, ending="expected IoU")], 2)
    assert cells[1] == QualityCell(Mark.DOUBTFUL, "Slice 1: the object ends here: the model expects a poor mask")


def test_every_reason_of_the_engine_has_a_sentence_of_its_own():
    assert list(ENDING_MESSAGES) == [str(one) for one in Ending]
    assert len(set(ENDING_MESSAGES.values())) == len(Ending)


def test_an_ending_of_a_later_version_is_kept_as_one_that_is_not_known(ended):
    record = ended.document.active_record
    plane = SlicePlane(Axis.K, 7)
    ended.document.node.write_quality(1, record.with_quality(plane, replace(record.quality[plane], ending="texture")))
    assert ended.document.node.read_quality(1)[plane].ending == "unknown"


@pytest.mark.parametrize(
    ("direction", "slices"),
    [
        (Direction.BOTH, [1, 2, 3, 4, 5, 6, 7]),
        (Direction.UP, [2, 3, 4, 5, 6, 7]),
        (Direction.DOWN, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_one_more_slice_goes_beyond_the_end_and_is_one_step(ended, direction, slices):
    ended.session.extend(direction=direction)
    ended.settle()
    assert there(ended) == slices
    assert ended.engines.last.requests[-1].beyond
    assert session_view(ended.session).undo_name == "One more slice"
    ended.session.undo()
    assert there(ended) == [2, 3, 4, 5, 6]


def test_slice_by_slice_an_object_reaches_the_ends_of_the_volume_and_no_further(ended):
    for _ in range(2):
        ended.session.extend()
        ended.settle()
    assert there(ended) == list(range(9))
    assert not session_view(ended.session).can_extend
    with pytest.raises(PromptError, match="propagate first, or choose the other direction"):
        ended.session.extend()


def test_where_nothing_has_ended_there_is_nothing_to_go_on_from(clicked):
    assert not session_view(clicked.session).can_extend
    with pytest.raises(PromptError, match="no end to go on from"):
        clicked.session.extend()


def test_one_more_slice_outlives_the_engine(app):
    patient = SimulatedUser(app, is_patient=True)
    place_point(patient.session, PLANE, 7, 10)
    patient.session.propagate()
    patient.settle()
    patient.session.extend()
    patient.engines.last.kill()
    patient.session.poll()
    patient.settle()
    assert there(patient) == [1, 2, 3, 4, 5, 6, 7]
    assert [r.beyond for r in patient.engines.last.requests if isinstance(r, Propagate)] == [(1, 7)]


def test_a_slice_painted_by_hand_at_the_end_is_kept(ended):
    mask = np.zeros(PLANE.of(ended.voxels).shape, bool)
    mask[2:5, 2:5] = True
    writer = SegmentWriter(ended.segmentation_node, ended.volume_node, ended.document.volume)
    plane = SlicePlane(Axis.K, 7)
    writer.write(ended.document.objects.segment_id(1), plane, mask, policy=EditPolicy(), keeping=set())
    ended.session.extend()
    ended.settle()
    np.testing.assert_array_equal(ended.mask(plane), mask)
    assert plane in ended.document.active_record.prompts.planes
    assert there(ended) == [1, 2, 3, 4, 5, 6, 7]
