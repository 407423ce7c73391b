"""The panels behind the page: what buttons do, what the state says, and how questions are asked."""

import asyncio

import pytest
from NeuroSAM2MRML.engine.choice import EngineChoice, Place
from NeuroSAM2MRML.workplace.panel_memory import PanelMemory
from NeuroSAM2MRML.workplace.ribbon import Mark
from NeuroSAM2Web.bridge import WorkerBridge
from NeuroSAM2Web.engine_panel import OWN_FILE, EnginePanel
from NeuroSAM2Web.example import NAME, add_example, example_file
from NeuroSAM2Web.host import WebHost
from NeuroSAM2Web.segment_state import ribbon_style

from NeuroSAM2Core.protocol import AUTOMATIC, EngineSwitches, OpenVolume
from NeuroSAM2Core.volume import Cleaning, Direction
from Testing.Support.apart import run_apart
from Testing.Support.fake_engine import FakeEngine
from Testing.Web.room import HEIGHT, WIDTH, Room

TINY = "sam2.1_hiera_tiny"


@pytest.fixture
def room(tmp_path):
    return Room(tmp_path)


@pytest.fixture
def engine(room, tmp_path):
    return EnginePanel(room.desk, lambda choice: FakeEngine(), tmp_path / "engine.json")


def box(room):
    room.desk.views.box("Red", [150, 100, 250, 200], WIDTH, HEIGHT)


def settle(room):
    """Events are taken in a little at a time."""
    for _ in range(100):
        room.wake()
        if not room.state.is_under_way and room.state.activity == "ready":
            return
    raise AssertionError(f"it never settles: {room.state.line}")


def volumes(room):
    found = room.host.scene.GetNodesByClass("vtkMRMLScalarVolumeNode")
    return [found.GetItemAsObject(number) for number in range(found.GetNumberOfItems())]


def test_the_state_says_what_can_be_done(room):
    assert room.state.can_prompt
    assert not room.state.can_propagate
    assert room.state.line.startswith("Ready. Press X")
    box(room)
    assert room.state.can_propagate
    assert room.state.can_undo
    assert room.state.undo_tip == "Take back: Box"
    (row,) = room.state.objects
    assert row["name"] == "object 1"
    assert (row["done"], row["confirmed"], row["prompts"]) == (1, 1, 1)
    assert row["ml"] == pytest.approx(room.workplace.view().volume_ml, abs=0.005)
    marks = [mark for mark, _ in room.state.ribbon]
    assert marks.count("CONFIRMED") == 1
    assert marks.index("CONFIRMED") == room.state.positions["Red"]["index"]
    assert room.state.ribbon_axis == room.state.positions["Red"]["axis"]


def test_every_mark_of_the_ribbon_has_a_colour():
    assert all(f".ns-{mark.name}{{" in ribbon_style() for mark in Mark)


def test_pointing_shows_what_a_click_would_give_and_records_nothing(room):
    room.state.tool = "positive"
    before = room.record
    room.desk.views.point("Red", 200, 150, WIDTH, HEIGHT, True)
    outline = room.workplace.session.preview.outline
    for _ in range(3):
        room.wake()
    assert outline.is_shown
    assert room.record == before
    assert not room.state.objects
    assert not room.state.can_undo
    room.desk.views.leave()
    assert not outline.is_shown


def test_holes_and_islands_are_seen_to_as_typed_and_what_is_no_size_is_not_taken(room):
    memory = PanelMemory(room.host.scene)
    assert (room.state.hole_mm, room.state.island_mm) == ("", "")
    room.panel.set_cleaning("hole_mm", "2,5")
    room.panel.set_cleaning("island_mm", "0")
    room.panel.set_cleans_whole(True)
    assert memory.cleaning == Cleaning(hole_mm=2.5, island_mm=0.0, is_whole=True)
    assert room.workplace.session.talk.cleaning == memory.cleaning
    assert (room.state.hole_mm, room.state.island_mm, room.state.cleans_whole) == ("2.5", "0", True)
    for nonsense in ("wide", "-1", "nan"):
        room.panel.set_cleaning("hole_mm", nonsense)
        assert memory.cleaning.hole_mm == 2.5
    room.panel.set_cleaning("hole_mm", "")
    assert memory.cleaning.hole_mm is None


def test_what_the_engine_does_is_switched_and_shown(room):
    box(room)
    assert (room.state.crops, room.state.ends_by_shape) == ("auto", "auto")
    room.panel.set_switch("crops", "on")
    room.panel.set_switch("ends_by_shape", "off")
    assert (room.state.crops, room.state.ends_by_shape, room.state.carries_boxes) == ("on", "off", "auto")
    opened = [request.switches for request in room.engines[0].requests if isinstance(request, OpenVolume)]
    assert opened == [AUTOMATIC, EngineSwitches(crops=True), EngineSwitches(crops=True, ends_by_shape=False)]
    room.panel.set_switch("crops", "auto")
    assert PanelMemory(room.host.scene).switches == EngineSwitches(ends_by_shape=False)


def test_buttons_act_and_show_what_came_of_it(room):
    box(room)
    room.panel.does(lambda session: session.undo())()
    assert not room.state.objects
    room.panel.does(lambda session: session.redo())()
    assert room.state.objects
    room.panel.does(lambda session: session.next_object())()
    assert [row["is_active"] for row in room.state.objects] == [False, True]
    room.panel.choose(room.state.objects[0]["id"])
    assert [row["is_active"] for row in room.state.objects] == [True, False]


def test_a_click_is_read_in_another_way(room, monkeypatch):
    monkeypatch.setattr(FakeEngine, "num_readings", 3)
    assert (room.state.can_read, room.state.reading_title) == (False, "Next reading")
    room.desk.views.click("Red", 200, 150, WIDTH, HEIGHT, True)
    assert (room.state.can_read, room.state.reading_title) == (True, "Next reading: 1 of 3")
    before = room.state.objects[0]["ml"]
    room.panel.do(room.workplace.next_reading)()
    settle(room)
    assert room.state.reading_title == "Next reading: 2 of 3"
    assert room.state.objects[0]["ml"] > before
    assert room.state.undo_tip == "Take back: Next reading"
    box(room)
    assert not room.state.can_read


def test_an_outline_that_has_ended_says_why_and_goes_on_for_one_more_slice(room, monkeypatch):
    monkeypatch.setattr(FakeEngine, "reach", 2)
    box(room)
    assert not room.state.can_extend
    room.panel.do(room.workplace.propagate)()
    settle(room)
    middle = room.state.positions["Red"]["index"]
    assert "ends here: its area fell below 20 %" in room.state.ribbon[middle + 3][1]
    assert room.state.can_extend
    room.panel.do(room.workplace.extend)()
    settle(room)
    assert [mark for mark, _ in room.state.ribbon].index("SURE") <= middle - 3
    assert "ends here" not in room.state.ribbon[middle + 3][1]


def test_a_segment_of_the_persons_own_is_listed_and_becomes_an_object_when_chosen(room):
    segmentation = room.desk.segmentation_node.GetSegmentation()
    segmentation.AddEmptySegment("", "thalamus", (1.0, 0.5, 0.0))
    room.wake()
    (other,) = room.state.others
    assert (other["name"], other["colour"]) == ("thalamus", "rgb(255, 128, 0)")
    room.panel.choose(other["id"])
    assert not room.state.others
    assert [(row["name"], row["is_active"]) for row in room.state.objects] == [("thalamus", True)]


def test_the_range_is_remembered_in_the_scene_and_kept_in_bounds(room):
    room.panel.set_whole(False)
    last = room.state.num_slices - 1
    assert (room.state.first, room.state.last) == (0, last)
    room.panel.set_end("first", "7")
    room.panel.set_end("last", str(last + 50))
    room.panel.set_end("first", "a few")
    room.panel.set_direction("up")
    memory = PanelMemory(room.host.scene)
    assert memory.slice_range == (7, last)
    assert memory.direction is Direction.UP
    assert (room.state.first, room.state.last, room.state.direction) == (7, last, "up")
    room.panel.set_end("last", "3")
    assert memory.slice_range == (3, 3)
    room.panel.set_whole(True)
    assert memory.slice_range is None


def test_a_volume_that_is_chosen_again_comes_with_its_own_segmentation(room):
    first, segmentation = room.desk.volume_node, room.desk.segmentation_node
    box(room)
    room.desk.choose_volume(add_example(room.host))
    assert room.desk.segmentation_node is not segmentation
    assert not room.state.objects
    room.desk.choose_volume(first)
    assert room.desk.segmentation_node is segmentation
    assert len(room.state.objects) == 1


def test_the_example_is_the_brain_of_nilearn(tmp_path):
    pytest.importorskip("nilearn", reason="the example brain comes with nilearn")
    node = add_example(WebHost(tmp_path))
    assert node.GetName() == NAME
    assert node.GetImageData().GetDimensions() == (197, 233, 189)


def test_without_nilearn_the_example_is_made_on_the_spot(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert example_file() is None
    assert add_example(WebHost(tmp_path)).GetImageData() is not None


def test_the_example_is_opened_once_and_anew_where_it_is_gone(room):
    room.desk.open_example()
    first = room.desk.volume_node
    room.desk.choose_volume(next(node for node in volumes(room) if node is not first))
    room.desk.open_example()
    assert room.desk.volume_node is first
    room.host.scene.RemoveNode(first)
    room.desk.open_example()
    assert room.desk.volume_node is not first
    assert len(volumes(room)) == 2


def test_a_question_is_asked_first_and_the_action_done_after_a_yes(tmp_path):
    host, done = WebHost(tmp_path), []
    host.attempt(lambda: done.append(host.is_agreed("Download it?")))
    assert done == [False]
    assert host.question == "Download it?"
    host.answer(is_yes=True)
    assert done == [False, True]
    assert host.question == ""
    assert not host.is_agreed("Download it?")


def test_after_a_no_nothing_is_done(tmp_path):
    host, done = WebHost(tmp_path), []
    host.attempt(lambda: done.append(host.is_agreed("Download it?")))
    host.answer(is_yes=False)
    assert done == [False]
    assert host.question == ""


def test_a_model_that_is_not_here_is_asked_about_and_then_downloaded(room, engine, monkeypatch, tmp_path):
    monkeypatch.setattr(room.workplace.models, "_folder", tmp_path / "models")
    started = []
    monkeypatch.setattr(room.workplace.models, "_start", lambda command, log: started.append(command))
    room.state.engine_model = TINY
    engine.use()
    room.desk.copy()
    assert room.state.question.startswith("Download")
    assert not started
    room.host.answer(is_yes=True)
    assert len(started) == 1
    assert TINY in started[0]


def test_the_test_of_an_engine_says_how_it_went_and_whether_it_runs(room, engine):
    engine.test()
    engine.poll()
    assert room.state.is_testing or room.state.engine_sentence
    while engine.poll():
        pass
    assert room.state.engine_sentence.startswith("It works: nano on cpu")
    assert not room.state.is_testing


def test_a_choice_that_is_not_complete_is_refused_with_a_sentence(room, engine):
    room.state.engine_place = Place.REMOTE.value
    room.state.engine_port = "many"
    engine.use()
    engine.poll()
    assert "port" in room.state.engine_sentence
    assert room.workplace.choice == EngineChoice()


def test_the_choice_is_kept_for_the_next_start_without_its_secret(room, engine, tmp_path):
    room.state.update(
        {"engine_place": "remote", "engine_port": "4711", "engine_token": "secret", "engine_device": "cpu"}
    )
    engine.use()
    engine.poll()
    text = (tmp_path / "engine.json").read_text(encoding="utf-8")
    assert "secret" not in text
    kept = EngineChoice.from_text(text)
    assert (kept.place, kept.port, kept.device) == (Place.REMOTE, 4711, "cpu")


def test_a_model_file_that_is_none_is_refused(room, engine):
    room.state.update({"engine_model": OWN_FILE, "engine_file": "/nowhere/brain.txt"})
    engine.use()
    engine.poll()
    assert "not a model file" in room.state.engine_sentence


class Talker:
    """An engine with a real descriptor."""

    def __init__(self, sock):
        self.sock = sock

    def fileno(self):
        return self.sock.fileno()


def _refused(*_):
    raise NotImplementedError


def test_the_bridge_wakes_when_the_engine_speaks_and_survives_a_failure():
    import socket

    ours, theirs = socket.socketpair()
    heard = []

    async def listen():
        done = asyncio.Event()

        def poll():
            if not heard:
                heard.append("start")
                raise ValueError("once")
            ours.setblocking(False)
            try:
                heard.append(ours.recv(10))
                done.set()
            except BlockingIOError:
                pass
            return False

        loop = asyncio.get_running_loop()
        for name in ("add_reader", "remove_reader"):  # as asyncio's loop on Windows has none
            setattr(loop, name, _refused)
        bridge = WorkerBridge(poll, lambda: Talker_)
        bridge.start()
        theirs.send(b"news")
        await asyncio.wait_for(done.wait(), 10)
        bridge.stop()

    Talker_ = Talker(ours)  # noqa: N806
    run_apart(listen())
    ours.close()
    theirs.close()
    assert heard == ["start", b"news"]
