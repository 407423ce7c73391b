"""Workers are killed at random moments, a hundred of them, and nothing that was said or accepted is lost."""

import os
import random
import signal

import numpy as np
import pytest

from NeuroSAM2Core.client import EngineClient, RemoteSession
from NeuroSAM2Core.client.ledger import Ledger
from NeuroSAM2Core.client.replay import restate
from NeuroSAM2Core.prompts import PointPrompt
from NeuroSAM2Core.protocol.messages import (
    Disconnected,
    Failed,
    LoadModel,
    PredictSlice,
    Propagate,
    SliceAnswered,
    SliceTracked,
)
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.forked import WarmProcess
from Testing.Support.volumes import ball_volume
from Testing.Support.worker import TOKEN, events_until

NUM_SEEDS, KILLS_PER_SEED = 4, 25


@pytest.fixture(scope="module")
def warm():
    process = WarmProcess(TOKEN)
    yield process
    process.close()


class Person:
    """Clicks and propagates at random over workers that die, and remembers what was said and shown."""

    def __init__(self, warm, volume, model, seed):
        self.warm, self.random = warm, random.Random(seed)
        self.ledger = Ledger(LoadModel(model=model, device="cpu"), volume)
        self.said, self.shown, self.kills = {}, {}, 0
        self.begin()

    def begin(self):
        port, self.pid = self.warm.fork()
        self.client = EngineClient.connect("127.0.0.1", port, TOKEN)
        numbers = restate(self.client, self.ledger.statement)
        self.key = self.client.volume_id(numbers[1])

    def submit(self, request):
        number = self.client.submit(request)
        self.ledger.note_request(number, request)

    def click(self):
        plane = SlicePlane(Axis.K, self.random.randrange(8))
        said = self.ledger.prompts(1, plane)
        point = PointPrompt(self.random.randrange(48), self.random.randrange(56), self.random.random() < 0.8)
        self.said[plane] = said.with_point(point)
        self.submit(PredictSlice(volume_id=self.key, prompts=self.said[plane]))

    def propagate(self):
        if self.said:
            self.submit(Propagate(volume_id=self.key, object_ids=(1,)))

    def hear(self, count):
        """Takes events until so many have come, nothing is asked any more, or the worker is gone. Returns whether it is there."""
        while count > 0 and (self.client.unanswered or not self.client.is_ready):
            events = events_until(self.client, lambda _: True)
            for event in events:
                assert not isinstance(event, Failed), event
                if isinstance(event, Disconnected):
                    return False
                self.ledger.note_event(event)
                if isinstance(event, SliceAnswered | SliceTracked):
                    self.shown[event.mask.plane] = event.mask
            count -= len(events)
        return True

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        self.kills += 1
        events = events_until(self.client, lambda e: isinstance(e, Disconnected))
        for event in events:
            self.ledger.note_event(event)
            if isinstance(event, SliceAnswered | SliceTracked):
                self.shown[event.mask.plane] = event.mask
        self.begin()

    def check_nothing_is_lost(self):
        for plane, said in self.said.items():
            assert self.ledger.prompts(1, plane).points == said.points
        for mask in self.ledger.masks:
            np.testing.assert_array_equal(mask.mask, self.shown[mask.plane].mask)


@pytest.mark.parametrize("seed", range(NUM_SEEDS))
def test_nothing_is_lost_when_workers_are_killed_while_prompting_and_propagating(warm, small_model_file, seed):
    volume = ball_volume((8, 48, 56))[0]
    person = Person(warm, volume, small_model_file, seed)
    while person.kills < KILLS_PER_SEED:
        person.random.choice([person.click, person.click, person.propagate])()
        person.hear(person.random.randrange(6))
        if person.random.random() < 0.6:
            person.kill()
        person.check_nothing_is_lost()
    while not person.hear(10_000):
        person.begin()
    person.propagate()
    person.hear(10_000)
    person.check_nothing_is_lost()
    assert not person.client.unanswered
    masks = {one.plane: one for one in person.ledger.masks}
    assert len(masks) == 8  # every slice has one in the end
    for plane, said in person.said.items():
        assert masks[plane].revision == said.revision  # the answer to all that was said there
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
