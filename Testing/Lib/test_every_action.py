"""Every action of a person is one step that undo takes back and redo brings again, bit by bit; no action is left out here."""

import inspect

import numpy as np
import pytest
from NeuroSAM2Lib.presenters.tools import StrokeActions
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.object_actions import (
    CarriedObjects,
    ObjectActions,
    add_carried,
    add_objects,
    read_objects,
)
from NeuroSAM2Lib.segmentation.objects.scene_objects import DisplayProperties
from NeuroSAM2Lib.segmentation.repair_actions import Brush, RepairActions, RepairSettings
from NeuroSAM2Lib.segmentation.session_view import session_view

from NeuroSAM2Core.prompts import BoxPrompt, ObjectPrompts
from NeuroSAM2Core.volume import Axis, SliceMask, SlicePlane
from Testing.Support.fake_engine import FakeEngine
from Testing.Support.sessions import SHAPE, SimulatedUser, place_point

PLANE = SlicePlane(Axis.K, 4)
OTHER = SlicePlane(Axis.K, 6)


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    """A click has several readings, and an object is on five slices at most."""
    monkeypatch.setattr(FakeEngine, "num_readings", 3)
    monkeypatch.setattr(FakeEngine, "reach", 2)


@pytest.fixture(params=["upright", "anisotropic oblique"])
def user(app, request):
    """A person with three objects: one of two parts with a hole, one that overlaps it, and the active one, clicked and propagated."""
    user = SimulatedUser(app, geometry=request.param)
    mask = np.zeros(SHAPE, bool)
    mask[2:7, 3:13, 3:13] = mask[3:6, 15:18, 15:19] = True
    mask[4, 7:9, 7:9] = False
    user.session.add_box(PLANE, BoxPrompt(3, 3, 12, 12))
    user.settle()
    document = user.document
    with document.step("as it is"), document.writing():
        for index in range(SHAPE[0]):
            document.put(SliceMask.drawn(1, SlicePlane(Axis.K, index), mask[index]))
    user.session.next_object()
    user.session.add_box(OTHER, BoxPrompt(8, 8, 16, 20))
    user.settle()
    user.session.next_object()
    place_point(user.session, PLANE, 9, 14)
    user.settle()
    user.session.propagate(first=1, last=7)
    user.settle()
    return user


def state(user):
    """All that a step may change: voxels, order, names, colours, locks, prompts, and the prompts in the scene."""
    document = user.document
    numbers = sorted(document.objects.segments)
    about = [
        (
            document.objects.display_properties(number),
            document.objects.is_locked(number),
            document.objects.record(number).prompts,
            document.nodes.read(number, document.volume),
        )
        for number in numbers
    ]
    return user.bytes(), numbers, about


def places(user, *pixels, plane=PLANE):
    return [user.document.volume.to_ras(np.array(plane.to_ijk(float(row), float(col)))) for row, col in pixels]


def segment(user, number):
    return user.document.objects.segment_id(number)


def repairs(user):
    return RepairActions(user.session, PLANE, RepairSettings(length_mm=1.5))


def on_first(act):
    """Does something to the first object."""

    def do(user):
        user.session.choose(segment(user, 1))
        act(user)

    return do


def add_label_map(user):
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:4, 2:9, 2:9], labels[5:7, 3:6, 3:6] = 1, 2
    add_objects(user.session, read_objects(user.document.volume, user.document.volume.with_voxels(labels)))


def carry_over(user):
    labels = np.zeros(SHAPE, np.uint8)
    labels[4, 4:12, 4:12] = 1
    prompts = ObjectPrompts().with_box(OTHER, BoxPrompt(4, 4, 11, 11)).with_confirmed(PLANE)
    shown = DisplayProperties("carried", (0.1, 0.2, 0.3))
    add_carried(user.session, CarriedObjects(user.document.volume, (shown,), (prompts,), labels, ()))


OBJECTS = {
    ObjectActions.set_name: lambda user, objects: objects.set_name(segment(user, 1), "left thalamus"),
    ObjectActions.recolour: lambda user, objects: objects.recolour(segment(user, 2), (0.1, 0.9, 0.4)),
    ObjectActions.lock: lambda user, objects: objects.lock(segment(user, 2), is_locked=True),
    ObjectActions.move: lambda user, objects: objects.move(segment(user, 3), -1),
    ObjectActions.delete: lambda user, objects: objects.delete(segment(user, 2)),
    ObjectActions.duplicate: lambda user, objects: objects.duplicate(segment(user, 1)),
    ObjectActions.merge: lambda user, objects: objects.merge(segment(user, 2), segment(user, 1)),
    ObjectActions.subtract: lambda user, objects: objects.subtract(segment(user, 1), segment(user, 2)),
}
STROKES = {
    StrokeActions.scribble: lambda user, strokes: strokes.scribble(places(user, (9, 10), (10, 18))),
    StrokeActions.lasso: lambda user, strokes: strokes.lasso(places(user, (3, 3), (3, 15), (15, 15), (15, 3))),
}
REPAIRS = {
    RepairActions.keep_largest: RepairActions.keep_largest,
    RepairActions.fill_holes: RepairActions.fill_holes,
    RepairActions.smooth: RepairActions.smooth,
    RepairActions.open: RepairActions.open,
    RepairActions.close: RepairActions.close,
    RepairActions.grow: RepairActions.grow,
    RepairActions.shrink: RepairActions.shrink,
    RepairActions.split: RepairActions.split,
    RepairActions.remove_from_slice: RepairActions.remove_from_slice,
    RepairActions.copy_to_neighbour: lambda one: one.copy_to_neighbour(1),
}
DRAWN_REPAIRS = {
    RepairActions.remove_small: lambda user, one: RepairActions(
        user.session, PLANE, RepairSettings(length_mm=6.0)
    ).remove_small(),
    RepairActions.keep_part: lambda user, one: one.keep_part(*places(user, (16, 16))),
    RepairActions.remove_part: lambda user, one: one.remove_part(*places(user, (16, 16))),
    RepairActions.paint: lambda user, one: one.paint(places(user, (10, 15), (11, 18)), Brush(radius_mm=2.0)),
    RepairActions.cut: lambda user, one: one.cut(places(user, (14, 14), (14, 20), (19, 20), (19, 14))),
    RepairActions.fill_between: lambda user, one: (
        one.paint(places(user, (10, 15), plane=SlicePlane(Axis.K, 8)), Brush(radius_mm=4.0)),
        one.fill_between(),
    ),
}
SESSION = {
    SessionController.place_point: lambda user: place_point(user.session, PLANE, 12, 17, positive=False),
    SessionController.drag_box: lambda user: user.session.drag_box(*places(user, (5, 6), (14, 18))),
    SessionController.add_box: lambda user: user.session.add_box(OTHER, BoxPrompt(4, 4, 9, 9)),
    SessionController.next_reading: lambda user: user.session.next_reading(PLANE),
    SessionController.remove_last_prompt: lambda user: user.session.remove_last_prompt(PLANE),
    SessionController.confirm: lambda user: user.session.confirm(SlicePlane(Axis.K, 5)),
    SessionController.propagate: on_first(lambda user: user.session.propagate(first=0, last=8)),
    SessionController.extend: lambda user: user.session.extend(),
    SessionController.next_object: lambda user: user.session.next_object(),
    SessionController.clear: lambda user: user.session.clear(),
    SessionController.set_prompts: lambda user: user.session.set_prompts(
        3, user.document.active_record.prompts.with_box(PLANE, BoxPrompt(2, 2, 9, 9)), "Box"
    ),
    SessionController.sync_prompts: lambda user: user.document.nodes.points_node(
        3, positive=True
    ).RemoveNthControlPoint(0),
}
NO_STEPS = {
    *(
        "undo",
        "redo",
        "choose",
        "poll",
        "end",
        "stop",
        "resume",
        "retry",
        "hold",
        "switch",
        "warm_up",
        "warm_up_if_due",
        "abandon",
    ),
    *("action", "pick_drawn", "set_visible_plane", "next_doubtful", "reading", "check_unchanged", "propagate_new"),
}
"""What of a session changes nothing that undo could take back, or is part of an action; `resume` is `propagate` or `extend`."""
ACTIONS = {
    **{one.__qualname__: lambda user, act=act: act(user, ObjectActions(user.session)) for one, act in OBJECTS.items()},
    **{one.__qualname__: lambda user, act=act: act(user, StrokeActions(user.session)) for one, act in STROKES.items()},
    **{one.__qualname__: on_first(lambda user, act=act: act(repairs(user))) for one, act in REPAIRS.items()},
    **{
        one.__qualname__: on_first(lambda user, act=act: act(user, repairs(user))) for one, act in DRAWN_REPAIRS.items()
    },
    **{one.__qualname__: act for one, act in SESSION.items()},
    "add_objects": add_label_map,
    "add_carried": carry_over,
}


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_is_undone_and_redone_bit_exact(user, name):
    states = [state(user)]
    steps = session_view(user.session).undo_name
    ACTIONS[name](user)
    user.settle()
    assert (state(user), session_view(user.session).undo_name) != (states[0], steps), (
        f"it does nothing: {user.session.notice}"
    )
    names = []
    while session_view(user.session).undo_name != steps or state(user) != states[0]:
        states.append(state(user))
        names.append(session_view(user.session).undo_name)
        assert len(states) < 5, f"its steps are never over: {names}"
        assert user.session.undo()
        user.settle()
    before, *after = states[0], *states[:0:-1]
    for _ in range(2):
        for one in after:
            assert user.session.redo(), names
            user.settle()
            assert state(user) == one
        for one in (*after[-2::-1], before):
            assert user.session.undo()
            user.settle()
            assert state(user) == one


@pytest.mark.parametrize(
    ("kind", "known", "others"),
    [
        (ObjectActions, OBJECTS, set()),
        (StrokeActions, STROKES, set()),
        (RepairActions, {**REPAIRS, **DRAWN_REPAIRS}, set()),
        (SessionController, SESSION, NO_STEPS),
    ],
)
def test_no_action_is_left_out(kind, known, others):
    methods = {name for name, one in vars(kind).items() if inspect.isfunction(one) and not name.startswith("_")}
    assert methods == {one.__name__ for one in known} | others
