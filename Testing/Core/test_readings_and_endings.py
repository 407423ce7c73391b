"""What a person can choose about a click's mask and about where an object ends."""

from dataclasses import replace

import numpy as np
import pytest

from NeuroSAM2Core import Session
from NeuroSAM2Core.errors import GeometryError, PromptError
from NeuroSAM2Core.inference import EngineOptions
from NeuroSAM2Core.inference.propagation.track import Ending, ObjectTrack, Shrinkage, SliceEvidence, ending_of
from NeuroSAM2Core.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.models import small_model
from Testing.Support.volumes import noise_volume

PLANE = SlicePlane(Axis.K, 8)
HERE, THERE = PointPrompt(20, 20), PointPrompt(70, 90)
NEVER_ENDS = EngineOptions(
    crops=True,
    carries_boxes=True,
    refines_boxes=False,  # in noise there is nothing to find
    refines_masks=False,
    ends_by_shape=True,
    min_iou=0.0,
    min_area_ratio=0.0,
)
ENDS_AT_ONCE = replace(NEVER_ENDS, min_iou=1.1)


def make(options=NEVER_ENDS):
    return Session(small_model(rasterize_prompts=True), noise_volume(16, 96, 112), options=options)


def clicks(*points, **more):
    return PromptSet(object_id=1, plane=PLANE, points=points, **more)


@pytest.fixture
def session():
    return make()


def test_an_answer_and_a_preview_say_how_many_readings_a_click_has(session):
    shown = session.preview(clicks(HERE))
    answered = session.set_prompts(clicks(HERE))
    count = len(session.readings(1, "axial", 8))
    assert count > 1
    assert shown.num_readings == answered.num_readings == session.slice_mask(1, "axial", 8).num_readings == count
    assert session.choose_reading(1, "axial", 8, 1).num_readings == count


@pytest.mark.parametrize(
    "prompts",
    [
        clicks(HERE, THERE),
        clicks(HERE, box=BoxPrompt(10, 10, 40, 40)),
        clicks(box=BoxPrompt(10, 10, 40, 40)),
        clicks(mask=MaskPrompt(np.ones((96, 112), bool))),
    ],
    ids=["a second click", "a click in a box", "a box in place of the click", "a mask"],
)
def test_more_than_a_click_has_one_reading(session, prompts):
    session.set_prompts(clicks(HERE))
    assert session.set_prompts(prompts).num_readings == 1
    assert session.readings(1, "axial", 8) == []


def test_a_click_in_place_of_another_has_readings_of_its_own(session):
    session.set_prompts(clicks(HERE))
    session.preview(clicks(HERE))
    shown, alone = session.preview(clicks(THERE)), make().preview(clicks(THERE))
    np.testing.assert_array_equal(shown.mask, alone.mask)
    np.testing.assert_array_equal(session.set_prompts(clicks(THERE)).mask, alone.mask)


def test_a_click_without_crops_has_one_reading():
    session = make(replace(NEVER_ENDS, crops=False))
    assert session.set_prompts(clicks(HERE)).num_readings == 1


def test_the_chosen_reading_is_what_propagation_goes_on_from(session):
    chosen = session.set_prompts(clicks(HERE, reading=1))
    assert not np.array_equal(chosen.mask, make().set_prompts(clicks(HERE)).mask)
    masks = list(session.propagate(1))
    assert masks
    np.testing.assert_array_equal(session.slice_mask(1, "axial", 8).mask, chosen.mask)


def test_a_restored_click_can_be_read_in_another_way(session):
    chosen = session.set_prompts(clicks(HERE, reading=1))
    other = make()
    other.restore(chosen, clicks(HERE, reading=1))
    known = other.slice_mask(1, "axial", 8)
    np.testing.assert_array_equal(known.mask, chosen.mask)
    assert known.num_readings == chosen.num_readings
    np.testing.assert_array_equal(
        other.choose_reading(1, "axial", 8, 0).mask, session.choose_reading(1, "axial", 8, 0).mask
    )


@pytest.fixture
def ended():
    session = make(ENDS_AT_ONCE)
    session.add_box(1, "axial", 8, (30, 40, 60, 80))
    for _ in session.propagate(1):
        pass
    return session


def test_a_slice_says_why_the_object_ends_there(ended):
    assert ended.slice_mask(1, "axial", 9).ending == Ending.EXPECTED_IOU
    assert not ended.slice_mask(1, "axial", 9).mask.any()
    assert ended.slice_mask(1, "axial", 8).ending == ""


def test_a_restored_slice_still_says_why(ended):
    other = make(ENDS_AT_ONCE)
    other.restore(ended.slice_mask(1, "axial", 8), ended.prompts(1)[0])
    other.restore(ended.slice_mask(1, "axial", 9))
    assert other.slice_mask(1, "axial", 9).ending == Ending.EXPECTED_IOU


@pytest.mark.parametrize("index", [9, 7])
def test_one_slice_more_is_answered_as_if_the_object_went_on(ended, index):
    free = make()
    free.add_box(1, "axial", 8, (30, 40, 60, 80))
    for _ in free.propagate(1, first=7, last=9):
        pass
    expected = free.slice_mask(1, "axial", index)
    assert expected.mask.any()
    before = {n: ended.slice_mask(1, "axial", n) for n in (6, 8, 10)}
    more = ended.extend(1, "axial", index)
    np.testing.assert_array_equal(more.mask, expected.mask)
    assert more.ending == ""
    np.testing.assert_array_equal(ended.slice_mask(1, "axial", index).mask, more.mask)
    for n, known in before.items():
        np.testing.assert_array_equal(ended.slice_mask(1, "axial", n).mask, known.mask)
    assert list(ended.propagate(1)) == []


def test_slice_by_slice_an_object_goes_on_as_far_as_it_is_asked_to(ended):
    assert all(ended.extend(1, "axial", index).mask.any() for index in (9, 10, 11))


def test_one_slice_more_goes_on_from_restored_masks(ended):
    other = make(ENDS_AT_ONCE)
    other.restore(ended.slice_mask(1, "axial", 8), ended.prompts(1)[0])
    other.restore(ended.slice_mask(1, "axial", 9))
    np.testing.assert_array_equal(other.extend(1, "axial", 9).mask, ended.extend(1, "axial", 9).mask)


@pytest.mark.parametrize(
    ("object_id", "axis", "index", "error", "words"),
    [
        (1, "axial", 8, PromptError, "slice 8 is confirmed"),
        (1, "axial", 14, PromptError, "propagate up to there first"),
        (1, "axial", 99, GeometryError, "no slice 99"),
        (1, "sagittal", 9, PromptError, "segmented along k"),
        (2, "axial", 9, PromptError, "no object 2"),
    ],
)
def test_a_slice_that_cannot_be_gone_on_to_is_reported(ended, object_id, axis, index, error, words):
    with pytest.raises(error, match=words):
        ended.extend(object_id, axis, index)


def test_an_empty_track_has_no_readings(session):
    session.add_box(1, "axial", 3, (30, 40, 60, 80))
    assert session._view(Axis.K).num_readings(ObjectTrack(), 5) == 1


def propagated(session):
    return [one.plane.index for one in session.propagate(1)]


def known(ended, index, *, is_there):
    """A slice of an object as an earlier session has left it."""
    there = ended.slice_mask(1, "axial", 8)
    plane = SlicePlane(Axis.K, index)
    if is_there:
        return replace(there, plane=plane)
    return replace(there, plane=plane, mask=np.zeros_like(there.mask), object_score=0.01, ending=Ending.AREA)


def on_slices_8_to_10(ended, options):
    """A session with an object that an earlier one has propagated."""
    session = make(options)
    session.restore(known(ended, 8, is_there=True), ended.prompts(1)[0])
    for index in (9, 10):
        session.restore(known(ended, index, is_there=True))
    for index in (5, 6, 7, 11, 12, 13):
        session.restore(known(ended, index, is_there=False))
    assert propagated(session) == []
    return session


@pytest.fixture
def corrected(ended):
    """An object on slices 8 to 10, with a correction on the last of them."""
    session = on_slices_8_to_10(ended, NEVER_ENDS)
    session.add_point(1, "axial", 10, (45, 60), positive=False)
    return session


def test_its_shape_does_not_end_an_object_before_it_is_known_to_end(ended):
    session = on_slices_8_to_10(ended, ENDS_AT_ONCE)
    session.add_point(1, "axial", 9, (45, 60), positive=False)
    assert propagated(session) == [10]
    assert session.mask(1)[10].any()


def test_a_correction_does_not_make_an_object_longer(corrected):
    assert corrected.span(1, SlicePlane(Axis.K, 10)) == (9, 10)
    assert propagated(corrected) == [9]
    assert corrected.slice_mask(1, "axial", 11).ending == Ending.AREA
    assert not corrected.mask(1)[11:].any()
    assert not corrected.mask(1)[:8].any()


def test_an_object_that_is_there_again_beyond_a_gap_stays_there(ended, corrected):
    corrected.restore(known(ended, 12, is_there=True))
    corrected.add_point(1, "axial", 10, (50, 50), positive=False)
    propagated(corrected)
    assert corrected.mask(1)[12].any()


def test_a_prompt_beyond_its_end_makes_an_object_longer(corrected):
    corrected.add_box(1, "axial", 14, (30, 40, 60, 80))
    assert corrected.span(1, SlicePlane(Axis.K, 14)) == (11, 15)
    assert set(propagated(corrected)) == {9, 11, 12, 13, 15}


def test_other_prompts_on_the_only_slice_begin_anew(ended):
    ended.add_box(1, "axial", 8, (10, 20, 80, 100))
    assert ended.span(1, SlicePlane(Axis.K, 8)) == (0, 15)
    assert set(propagated(ended)) >= {7, 9}


@pytest.mark.parametrize(
    ("areas", "ends_on"),
    [
        ([100, 90, 60, 70, 110, 121], 5),  # it had shrunk to 60, and doubled
        ([100, 90, 60, 70, 110, 119], None),
        ([50, 100, 200, 400], None),  # it only grows
        ([100, 80, 150, 300], None),  # it had not shrunk enough
        ([100, 60, 0, 0, 110], None),  # without the object says nothing
    ],
)
def test_an_object_that_shrinks_and_then_doubles_has_run_into_a_neighbour(areas, ends_on):
    options = EngineOptions(ends_by_shape=True, min_iou=0.0, min_area_ratio=0.0, min_overlap=0.0, area_ratio_slope=0.0)
    shrinkage, found = Shrinkage.of(areas[:1]), None
    for number, area in enumerate(areas[1:], start=1):
        if area and found is None:
            evidence = SliceEvidence(
                object_score_logits=3.0, expected_iou=0.8, area=area, overlap=0.7, has_shrunk_to=shrinkage.has_shrunk_to
            )
            if ending_of(evidence, max(areas), options) is Ending.REGROWTH:
                found = number
        shrinkage.add(area)
    assert found == ends_on
