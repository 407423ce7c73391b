"""A person at an engine whose workers die, and what may never be lost: the prompts, and what was shown."""

import os
import random
import signal
import threading

import numpy as np

from NeuroSAM2Core.prompts import PointPrompt
from NeuroSAM2Core.remote import EngineClient
from NeuroSAM2Core.remote.messages import (
    Disconnected,
    Failed,
    LoadModel,
    Propagate,
    SliceAnswered,
    SliceTracked,
)
from NeuroSAM2Core.remote.remote_session import SessionState
from NeuroSAM2Core.remote.state_sync import StateSync
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.worker import TOKEN, events_until


class Person:
    """Clicks and propagates at random over workers that die, and remembers the prompts and shown."""

    def __init__(self, warm, volume, model, seed):
        self.warm, self.random = warm, random.Random(seed)
        self.model, self.volume = LoadModel(model=model, device="cpu"), volume
        self.session_state = SessionState()
        self.said, self.shown, self.num_slices = {}, {}, volume.shape[0]
        self.kills, self.kills_at_the_start = 0, 0
        self.begin()

    def begin(self):
        """A worker takes over the prompts and shown."""
        port, self.pid = self.warm.fork()
        self.client = EngineClient.connect("127.0.0.1", port, TOKEN)
        self.client.submit(self.model)
        self.key = self.client.volume_id(self.client.open_volume(self.volume))
        self.sync = StateSync(self.client.submit)
        self.sync.begin(self.key)
        for number in self.session_state.object_ids:
            self.sync.restore(self.session_state, number)

    def note(self, event):
        """What an event says of prompts and masks is kept and shown; an answer to prompts that are no longer the latest is neither."""
        answered = self.sync.settle(event)
        if isinstance(event, SliceAnswered) and answered is not None:
            self.session_state.answer(answered, event)
        elif isinstance(event, SliceTracked):
            self.session_state.put(event.mask)
        else:
            return
        self.shown[event.mask.plane] = event.mask

    def click(self):
        plane = SlicePlane(Axis.K, self.random.randrange(8))
        said = self.session_state.prompt_set(1, plane)
        point = PointPrompt(self.random.randrange(48), self.random.randrange(56), self.random.random() < 0.8)
        self.said[plane] = said.with_point(point)
        self.session_state.set_prompts(self.said[plane])
        self.sync.forget_slice(1, plane)
        self.sync.sync(self.session_state)

    def propagate(self):
        if self.said:
            self.client.submit(Propagate(volume_id=self.key, object_ids=(1,)))

    def hear(self, count):
        """Takes events until so many have come, nothing is asked any more, or the worker is gone. Returns whether it is there."""
        while count > 0 and (self.client.unanswered or not self.client.is_ready):
            events = events_until(self.client, lambda _: True)
            for event in events:
                assert not isinstance(event, Failed), event
                if isinstance(event, Disconnected):
                    return False
                self.note(event)
            count -= len(events)
        return True

    def work_through(self, kills):
        """Acts while workers are killed so many times, then lets the last one finish, and checks all of it."""
        while self.kills < kills:
            self.random.choice([self.click, self.click, self.propagate])()
            self.hear(self.random.randrange(6))
            if self.random.random() < 0.6:
                self.random.choice([self.kill, self.kill, self.kill, self.kill_at_the_start])()
            self.check_nothing_is_lost()
        while not self.hear(10_000):
            self.begin()
        self.propagate()
        self.hear(10_000)
        self.check_nothing_is_lost()
        assert not self.client.unanswered
        masks = {one.plane: one for one in self.session_state.masks}
        assert len(masks) == self.num_slices or not self.said  # every slice has one in the end
        for plane, said in self.said.items():
            assert masks[plane].revision == said.revision  # the answer to all that was said there

    def kill_at_the_start(self):
        """Kills a worker, and the next one while it takes over; whoever waits for it is told."""
        self.kill()
        killer = threading.Timer(self.random.uniform(0.0, 0.03), os.kill, (self.pid, signal.SIGKILL))
        killer.start()
        self.kills, self.kills_at_the_start = self.kills + 1, self.kills_at_the_start + 1
        (*_, told) = events_until(self.client, lambda e: isinstance(e, Disconnected))
        killer.join()
        assert told.reason
        self.client.close()
        self.begin()

    def kill(self):
        """Kills a worker at work."""
        os.kill(self.pid, signal.SIGKILL)
        self.kills += 1
        events = events_until(self.client, lambda e: isinstance(e, Disconnected))
        for event in events:
            self.note(event)
        self.client.close()
        self.begin()

    def check_nothing_is_lost(self):
        for plane, said in self.said.items():
            assert self.session_state.prompt_set(1, plane).points == said.points
        for mask in self.session_state.masks:
            np.testing.assert_array_equal(mask.mask, self.shown[mask.plane].mask)
