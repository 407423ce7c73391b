"""A hundred engines die at random moments, while prompting and while propagating, and nothing is lost."""

import random

import numpy as np

from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.scenes import make_app
from Testing.Support.sessions import SHAPE, SimulatedUser, place_point

KILLS = 120


def act(session, rng):
    """Something a person does."""
    plane = SlicePlane(Axis.K, rng.randrange(SHAPE[0]))
    row, col = rng.randrange(SHAPE[1] - 6), rng.randrange(SHAPE[2] - 6)
    what = rng.random()
    if what < 0.5 or not session.document.active_record.prompts.indices:
        place_point(session, plane, row, col, positive=rng.random() < 0.7)
    elif what < 0.7:
        session.add_box(plane, BoxPrompt(row, col, row + 5, col + 5))
    else:
        session.propagate()


def test_a_hundred_random_kills_lose_nothing(tmp_path):
    rng = random.Random(11)
    places = [tmp_path / name for name in ("killed", "spared")]
    for place in places:
        place.mkdir()
    killed, spared = (SimulatedUser(make_app(place), is_patient=True) for place in places)
    kills = 0
    while kills < KILLS:
        seed = rng.random()
        for user in (killed, spared):
            act(user.session, random.Random(seed))
        for _ in range(rng.randrange(3)):
            prompts = killed.document.nodes.read(1, killed.document.volume)
            done = {plane: killed.mask(plane) for plane in killed.document.active_record.quality}
            killed.engines.last.work(rng.randrange(4))
            killed.engines.last.kill()
            killed.session.poll()
            killed.session.retry()
            kills += 1
            assert killed.document.nodes.read(1, killed.document.volume) == prompts
            for plane, mask in done.items():
                np.testing.assert_array_equal(killed.mask(plane), mask)
        for user in (killed, spared):
            user.settle()
        assert killed.document.active_record.prompts == spared.document.active_record.prompts
        np.testing.assert_array_equal(killed.voxels_of(1), spared.voxels_of(1))
    assert len(killed.engines.made) > KILLS
    steps = 0
    while spared.session.undo():
        assert killed.session.undo()
        steps += 1
        assert killed.document.objects.segments.keys() == spared.document.objects.segments.keys()
        if 1 in killed.document.objects.segments:
            np.testing.assert_array_equal(killed.voxels_of(1), spared.voxels_of(1))
    assert steps > 5
