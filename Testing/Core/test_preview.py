"""A preview says what a click would give, and leaves everything as it was."""

import copy

import numpy as np
import pytest
import torch

from NeuroSAM2Core import EngineOptions, Session
from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.inference.propagation.track import KeptMemory
from NeuroSAM2Core.prompts import BoxPrompt, PointPrompt, PromptSet
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.models import small_model
from Testing.Support.volumes import noise_volume

OPTIONS = EngineOptions(stop_after_absent=None)
BOX = BoxPrompt(10, 12, 40, 44)
PLACES = [(20.0, 20.0), (30.0, 41.0), (5.0, 50.0)]


def prompts(index, *points, box=None, object_id=1, axis=Axis.K):
    prompts = tuple(PointPrompt(row, col, positive) for row, col, positive in points)
    return PromptSet(object_id=object_id, plane=SlicePlane(axis, index), points=prompts, box=box, revision=7)


def blank(session):
    return session


def boxed(session):
    session.set_prompts(prompts(5, box=BOX))
    return session


def tracked(session):
    list(boxed(session).propagate(1))
    return session


def reopened(session):
    """A slice that was prompted and some that were tracked, told by another session."""
    before = tracked(Session(session.model, session.volume, options=OPTIONS))
    session.restore(before.slice_mask(1, "k", 5), prompts(5, box=BOX))
    for index in (8, 9, 10, 11):
        session.restore(before.slice_mask(1, "k", index))
    return session


WAYS = [blank, boxed, tracked, reopened]


@pytest.fixture
def session():
    return Session(small_model(), noise_volume(16, 48, 56), options=OPTIONS)


def clicks(session, index, *points):
    there = [one for one in session.prompts(1) if one.plane.index == index] if session.object_ids else []
    before = there[0] if there else prompts(index)
    return prompts(index, *[(p.row, p.col, p.positive) for p in before.points], *points, box=before.box)


@pytest.mark.parametrize("prepare", WAYS)
@pytest.mark.parametrize("index", [5, 9])
def test_the_click_gives_what_its_preview_showed(session, prepare, index):
    prepare(session)
    for row, col in PLACES:  # the pointer moves
        shown = session.preview(clicks(session, index, (row, col, True)))
    given = session.set_prompts(clicks(session, index, (*PLACES[-1], True)))
    np.testing.assert_array_equal(shown.mask, given.mask)
    assert (shown.predicted_iou, shown.object_score, shown.revision) == (given.predicted_iou, given.object_score, 7)
    assert shown.mask.any()


def state_of(session):
    """All that the session knows of its objects, tensor for tensor."""
    return copy.deepcopy(session._objects)


def assert_identical(one, other):
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_identical(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_identical(a, b)
    elif isinstance(one, KeptMemory) and one.encoded is None:
        pass  # whoever reads it first encodes it
    elif hasattr(one, "__dataclass_fields__"):
        for name in one.__dataclass_fields__:
            assert_identical(getattr(one, name), getattr(other, name))
    else:
        assert one == other


@pytest.mark.parametrize("prepare", WAYS)
def test_previews_leave_every_bit_of_the_objects_as_it_was(session, prepare):
    prepare(session)
    before = state_of(session)
    for index in (5, 9, 14):
        for row, col in PLACES:
            session.preview(clicks(session, index, (row, col, False)))
    session.preview(prompts(3, (10, 20, True), object_id=2, axis=Axis.J))
    assert_identical(before, session._objects)


def test_a_session_with_previews_in_between_gives_the_same_masks(session):
    other = Session(session.model, session.volume, options=OPTIONS)
    for one in (session, other):
        tracked(one)
        if one is session:
            one.preview(clicks(one, 9, (20, 20, True)))
        one.set_prompts(prompts(9, (30, 41, False)))
        list(one.propagate(1))
    np.testing.assert_array_equal(session.mask(1), other.mask(1))


def test_a_preview_after_a_change_sees_the_change(session):
    boxed(session)
    session.preview(clicks(session, 9, (20, 20, True)))
    list(session.propagate(1))
    shown = session.preview(clicks(session, 9, (20, 20, True)))
    np.testing.assert_array_equal(shown.mask, session.set_prompts(clicks(session, 9, (20, 20, True))).mask)


def test_nothing_reported_is_nothing_to_preview(session):
    with pytest.raises(PromptError, match="nothing to preview"):
        session.preview(prompts(5))
    with pytest.raises(PromptError, match="outside the slice"):
        session.preview(prompts(5, (900, 3, True)))
    assert session.object_ids == []
