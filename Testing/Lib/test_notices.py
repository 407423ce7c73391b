"""Notices in the status bar end with their cause."""

import numpy as np
import pytest
from NeuroSAM2Lib.engine.choice import EngineChoice
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.presenters.segment_view_model import StatusAction

from NeuroSAM2Core.errors import WorkerError
from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.remote import LoadModel, VolumeClosed
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.fake_engine import FakeEngine
from Testing.Support.scenes import GEOMETRIES, add_volume, world
from Testing.Support.sessions import place_at

SHAPE = (9, 20, 24)
PLANE, BOX = SlicePlane(Axis.K, 4), BoxPrompt(4, 4, 12, 12)


class Place:
    """A presenter with a volume and a segmentation."""

    def __init__(self, app):
        self.engines = []
        self.presenter = SegmentPresenter(app, EngineChoice(), self.make)
        voxels = np.random.default_rng(0).integers(0, 100, SHAPE).astype(np.int16)
        self.presenter.select(add_volume(app, voxels, GEOMETRIES["upright"]), self.presenter.new_segmentation())

    def make(self, _choice):
        self.engines.append(FakeEngine(is_patient=True))
        return self.engines[-1]

    @property
    def session(self):
        return self.presenter.session

    @property
    def state(self):
        return self.presenter.view().state

    def box(self, plane=PLANE):
        self.presenter.act(lambda session: session.add_box(plane, BOX))

    def settle(self):
        for _ in range(10):
            for engine in self.engines:
                engine.work()
            self.presenter.poll()

    def refuse(self):
        """The person asks for something that cannot be."""
        place_at(self.session, np.full(3, 1e4))
        assert "outside" in self.state.sentence


@pytest.fixture
def place(app):
    return Place(app)


def test_a_failed_engine_is_reported_in_the_buttons_word_until_retried(place):
    place.box()
    for _ in range(3):
        place.engines[-1].kill()
        place.presenter.poll()
    assert place.session.link.has_failed
    for act in (lambda: None, place.session.undo, lambda: place.presenter.act(lambda session: session.confirm(PLANE))):
        act()
        assert place.state.fix is StatusAction.RETRY
        assert place.state.sentence.startswith("The engine ended 3 times in a row")
        assert place.state.button in place.state.sentence
        assert "Retry" not in place.state.sentence
        assert " log" not in place.state.sentence
    place.box()
    place.session.retry()
    place.settle()
    assert place.state.sentence.startswith("Ready.")


def test_a_trouble_with_the_engine_is_over_with_the_next_mask(place):
    place.box()
    place.engines[-1].fail_next = "the model's file is damaged"
    place.settle()
    assert "damaged" in place.state.sentence
    place.session.link.use(LoadModel(model="another"))
    place.session.warm_up()
    place.settle()
    assert place.session.document.slice_io.read(1, PLANE).any()
    assert place.state.sentence.startswith("Ready.")


def test_an_engine_that_could_not_be_started_is_over_with_the_next_mask(place, monkeypatch):
    def refuse():
        raise WorkerError("there is no such program")

    monkeypatch.setattr(place.session.link, "_make", refuse)
    place.box()
    assert "no such program" in place.state.sentence
    monkeypatch.undo()
    place.session.warm_up()
    place.settle()
    assert place.session.document.slice_io.read(1, PLANE).any()
    assert place.state.sentence.startswith("Ready.")


def test_a_volume_that_the_engine_had_let_go_of_is_no_matter_any_more(place):
    place.box()
    place.settle()
    place.box(SlicePlane(Axis.K, 5))
    engine = place.engines[-1]
    engine._queue.clear()
    engine._events.append(
        VolumeClosed(request_id=0, volume_id=place.session.engine_sync.volume_id, reason="there was no room for it")
    )
    place.presenter.poll()
    assert "no room" in place.session.notice
    place.settle()
    assert place.state.sentence.startswith("Ready.")


def test_a_refusal_is_over_with_a_point_that_is_placed_in_a_view(place):
    place.box()
    place.settle()
    place.refuse()
    place.settle()
    assert "outside" in place.state.sentence
    node = place.presenter.watch.expect_point(1, positive=True)
    node.AddControlPointWorld(*world(place.session.document.volume, 8, 8, 4))
    place.settle()
    assert len(place.session.document.active_record.prompts.points) == 1
    assert place.state.sentence.startswith("Ready.")


def test_that_no_slice_is_doubtful_is_over_when_one_is(place, monkeypatch):
    place.box()
    place.settle()
    place.presenter.jump_to_next_doubtful()
    assert "doubtful" in place.state.sentence
    monkeypatch.setattr(type(place.session), "next_doubtful", lambda session, plane: SlicePlane(Axis.K, 2))
    place.presenter.jump_to_next_doubtful()
    assert place.state.sentence.startswith("Ready.")
