"""What is said on the state line is over when it is over."""

import numpy as np
import pytest
from NeuroSAM2MRML.engine.choice import EngineChoice
from NeuroSAM2MRML.workplace.state_line import Fix
from NeuroSAM2MRML.workplace.workplace import Workplace

from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.protocol import LoadModel, VolumeClosed
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.fake_engine import FakeEngine
from Testing.Support.scenes import GEOMETRIES, add_volume, world

SHAPE = (9, 20, 24)
PLANE, BOX = SlicePlane(Axis.K, 4), BoxPrompt(4, 4, 12, 12)


class Place:
    """A workplace with a volume and a segmentation."""

    def __init__(self, app):
        self.engines = []
        self.workplace = Workplace(app, EngineChoice(), self.make)
        voxels = np.random.default_rng(0).integers(0, 100, SHAPE).astype(np.int16)
        self.workplace.select(add_volume(app, voxels, GEOMETRIES["upright"]), self.workplace.new_segmentation())

    def make(self, _choice):
        self.engines.append(FakeEngine(is_patient=True))
        return self.engines[-1]

    @property
    def session(self):
        return self.workplace.session

    @property
    def state(self):
        return self.workplace.view().state

    def box(self, plane=PLANE):
        self.workplace.act(lambda session: session.add_box(plane, BOX))

    def settle(self):
        for _ in range(10):
            for engine in self.engines:
                engine.work()
            self.workplace.poll()

    def refuse(self):
        """The person asks for something that cannot be."""
        self.workplace.act(lambda session: session.click(np.full(3, 1e4)))
        assert "outside" in self.state.sentence


@pytest.fixture
def place(app):
    return Place(app)


def test_an_engine_that_was_given_up_on_says_so_in_the_buttons_word_until_it_is_tried_again(place):
    place.box()
    for _ in range(3):
        place.engines[-1].kill()
        place.workplace.poll()
    assert place.session.link.is_given_up
    for act in (lambda: None, place.session.undo, lambda: place.workplace.act(lambda session: session.confirm(PLANE))):
        act()
        assert place.state.fix is Fix.RETRY
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
    assert place.session.desk.keeper.read(1, PLANE).any()
    assert place.state.sentence.startswith("Ready.")


def test_a_volume_that_the_engine_had_let_go_of_is_no_matter_any_more(place):
    place.box()
    place.settle()
    place.box(SlicePlane(Axis.K, 5))
    engine = place.engines[-1]
    engine._queue.clear()
    engine._events.append(
        VolumeClosed(request_id=0, volume_id=place.session.talk._volume_id, reason="there was no room for it")
    )
    place.workplace.poll()
    assert "no room" in place.session.notice
    place.settle()
    assert place.state.sentence.startswith("Ready.")


def test_a_refusal_is_over_with_a_point_that_is_placed_in_a_view(place):
    place.box()
    place.settle()
    place.refuse()
    place.settle()
    assert "outside" in place.state.sentence
    node = place.workplace.watch.expect_point(1, positive=True)
    node.AddControlPointWorld(*world(place.session.desk.volume, 8, 8, 4))
    place.settle()
    assert len(place.session.desk.active_record.prompts.points) == 1
    assert place.state.sentence.startswith("Ready.")


def test_that_no_slice_is_doubtful_is_over_when_one_is(place, monkeypatch):
    place.box()
    place.settle()
    place.workplace.go_to_next_doubtful()
    assert "doubtful" in place.state.sentence
    monkeypatch.setattr(type(place.session), "next_doubtful", lambda session, plane: SlicePlane(Axis.K, 2))
    place.workplace.go_to_next_doubtful()
    assert place.state.sentence.startswith("Ready.")
