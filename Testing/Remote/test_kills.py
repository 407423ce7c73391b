"""Workers are killed at random moments, a hundred of them, and no prompt and no accepted mask is lost."""

import os
import signal

import numpy as np
import pytest

from NeuroSAM2Core.remote import EngineClient, RemoteSession
from Testing.Support.forked import WarmProcess
from Testing.Support.person import Person
from Testing.Support.volumes import ball_volume
from Testing.Support.worker import TOKEN

NUM_SEEDS, KILLS_PER_SEED = 4, 25


@pytest.fixture(scope="module")
def warm():
    process = WarmProcess(TOKEN)
    yield process
    process.close()


@pytest.mark.parametrize("seed", range(NUM_SEEDS))
def test_nothing_is_lost_when_workers_are_killed_while_prompting_and_propagating(warm, small_model_file, seed):
    person = Person(warm, ball_volume((8, 48, 56))[0], small_model_file, seed)
    person.work_through(KILLS_PER_SEED)
    person.client.close()


def test_a_script_does_not_notice_that_its_worker_dies(warm, small_model_file, ball):
    pids = []

    def make_client():
        port, pid = warm.fork()
        pids.append(pid)
        return EngineClient.connect("127.0.0.1", port, TOKEN)

    with RemoteSession(make_client, ball, model=small_model_file, device="cpu") as session:
        session.add_box(1, "axial", 7, (12, 14, 35, 41))
        os.kill(pids[-1], signal.SIGKILL)
        session.add_point(1, "axial", 7, (20, 20))
        seen = []
        for one in session.propagate(1):
            seen.append(one.plane.index)
            if len(seen) in (2, 5, 9):
                os.kill(pids[-1], signal.SIGKILL)
        assert sorted(set(seen)) == [n for n in range(16) if n != 7]
        assert len(pids) == 5
        assert session.mask(1)[7].any()
        assert session.object_ids == [1]
        session.remove(1)
        assert session.object_ids == []


def test_the_answer_after_a_crash_is_the_one_that_would_have_come(warm, small_model_file):
    """Where slices were prompted from the start the new worker is exactly where the old one was."""
    volume = ball_volume((8, 48, 56))[0]

    def clicked(is_killed):
        person = Person(warm, volume, small_model_file, 0)
        for _ in range(6):
            person.click()
            person.hear(10_000)
            if is_killed:
                person.kill()
        person.hear(10_000)
        person.client.close()
        return person.shown

    through, killed = clicked(False), clicked(True)
    assert through.keys() == killed.keys()
    for plane, mask in through.items():
        np.testing.assert_array_equal(mask.mask, killed[plane].mask)
        assert mask.predicted_iou == killed[plane].predicted_iou
