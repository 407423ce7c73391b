"""A host in a process of its own that works on a scene until it is killed: each brings back what the one before it left unsaved."""

import json
import random
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from NeuroSAM2Lib.segmentation.journal import PromptsLine, Unsaved, unsaved_in
from NeuroSAM2Lib.segmentation.recovery import recover, unsaved_work

from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.scenes import make_app
from Testing.Support.sessions import SHAPE, SimulatedUser, place_point

MODULES = ["Testing.Support.host_process"]
Prompts = frozenset[str]
"""What was said: a word for every click and box."""


def work_until_killed(folder: Path, seed: int, told: Connection) -> None:
    """Brings back what is unsaved, then clicks and propagates; tells the prompts whenever the session has taken it.

    Args:
        folder: Where journals are kept.
        seed: Of what is done.
        told: Where `Prompts` go.
    """
    rng = random.Random(seed)
    user = SimulatedUser(make_app(folder))
    left = unsaved_work(user.app.journal_folder, user.document.volume)
    if left:
        recover(user.document, max(left, key=lambda one: len(said_in(one))))
        told.send(("recovered", message_of(user)))
    while True:
        plane = SlicePlane(Axis.K, rng.randrange(SHAPE[0]))
        row, col = rng.randrange(SHAPE[1] - 6), rng.randrange(SHAPE[2] - 6)
        what = rng.random()
        if what < 0.6 or not message_of(user):
            place_point(user.session, plane, row, col, positive=rng.random() < 0.7)
        elif what < 0.8:
            told.send(("replaces", boxes_of(user, plane)))
            user.session.add_box(plane, BoxPrompt(row, col, row + 5, col + 5))
        else:
            user.session.propagate()
        told.send(("said", message_of(user)))
        if rng.random() < 0.5:
            user.settle()


def message_of(user: SimulatedUser) -> Prompts:
    """What a session knows that was said."""
    prompts = (user.document.objects.record(number).prompts for number in user.document.objects.segments)
    return frozenset(word for one in prompts for word in _words(one))


def boxes_of(user: SimulatedUser, plane: SlicePlane) -> Prompts:
    """The boxes that a new box on a slice takes the place of."""
    prompts = user.document.active_record.prompts
    return frozenset(json.dumps(repr(one)) for one in prompts.boxes if one.index == plane.index)


def said_in(unsaved: Unsaved) -> Prompts:
    """What a journal knows that was said."""
    last = {line.object_id: line.prompts for line in unsaved.lines() if isinstance(line, PromptsLine)}
    return frozenset(word for one in last.values() for word in _words(one))


def left_in(folder: Path) -> list[Prompts]:
    """What each journal of a host that is gone knows."""
    return [said_in(one) for one in unsaved_in(folder / "journals")]


def _words(prompts: object) -> Iterator[str]:
    for one in (*prompts.points, *prompts.boxes):
        yield json.dumps(repr(one))
