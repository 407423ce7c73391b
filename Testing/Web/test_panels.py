"""The panels behind the page: what buttons do, what the state says, and how questions are asked."""

import asyncio

import pytest
from NeuroSAM2Lib.engine.choice import EngineChoice, Place
from NeuroSAM2Lib.presenters.panel_settings import PanelSettings
from NeuroSAM2Lib.presenters.segment_view_model import Mark
from NeuroSAM2Web.app_state import NAME, WebHost, add_example, example_file
from NeuroSAM2Web.bridge import WorkerBridge
from NeuroSAM2Web.ui.engine_panel import OWN_FILE, EnginePanel
from NeuroSAM2Web.ui.segment_panel import quality_strip_style

from NeuroSAM2Core.remote import AUTOMATIC, EngineSwitches, OpenVolume
from NeuroSAM2Core.volume import Direction, MaskCleanup
from Testing.Support.apart import run_apart
from Testing.Support.fake_engine import FakeEngine
from Testing.Web.app_user import HEIGHT, WIDTH, AppUser

TINY = "sam2.1_hiera_tiny"


@pytest.fixture
def user(tmp_path):
    return AppUser(tmp_path)


@pytest.fixture
def engine(user, tmp_path):
    return EnginePanel(user.app_state, lambda choice: FakeEngine(), tmp_path / "engine.json")


def box(user):
    user.app_state.views.box("Red", [150, 100, 250, 200], WIDTH, HEIGHT)


def settle(user):
    """Events are taken in a little at a time."""
    for _ in range(100):
        user.wake()
        if not user.state.is_under_way and user.state.activity == "ready":
            return
    raise AssertionError(f"it never settles: {user.state.line}")


def volumes(user):
    found = user.host.scene.GetNodesByClass("vtkMRMLScalarVolumeNode")
    return [found.GetItemAsObject(number) for number in range(found.GetNumberOfItems())]


def test_the_state_says_what_can_be_done(user):
    assert user.state.can_prompt
    assert not user.state.can_propagate
    assert user.state.line.startswith("Ready. Press X")
    box(user)
    assert user.state.can_propagate
    assert user.state.can_undo
    assert user.state.undo_tip == "Take back: Box"
    (row,) = user.state.objects
    assert row["name"] == "object 1"
    assert (row["done"], row["prompted"], row["confirmed"], row["prompts"]) == (1, 1, 0, 1)
    assert row["ml"] == pytest.approx(user.presenter.view().volume_ml, abs=0.005)
    marks = [mark for mark, _ in user.state.quality_strip]
    assert marks.count("PROMPTED") == 1
    assert marks.index("PROMPTED") == user.state.positions["Red"]["index"]
    assert user.state.quality_strip_axis == user.state.positions["Red"]["axis"]


def test_every_mark_of_the_quality_strip_has_a_colour():
    assert all(f".ns-{mark.name}{{" in quality_strip_style() for mark in Mark)


def test_pointing_shows_what_a_click_would_give_and_records_nothing(user):
    user.state.tool = "positive"
    before = user.record
    user.app_state.views.point("Red", 200, 150, WIDTH, HEIGHT, True)
    outline = user.presenter.session.preview.outline
    for _ in range(3):
        user.wake()
    assert outline.is_shown
    assert user.record == before
    assert not user.state.objects
    assert not user.state.can_undo
    user.app_state.views.leave()
    assert not outline.is_shown


def test_holes_and_islands_are_seen_to_as_typed_and_what_is_no_size_is_not_taken(user):
    memory = PanelSettings(user.host.scene)
    assert (user.state.hole_mm, user.state.island_mm) == ("", "")
    user.panel.set_cleanup_size("hole_mm", "2,5")
    user.panel.set_cleanup_size("island_mm", "0")
    user.panel.set_volume_cleanup(True)
    assert memory.cleanup == MaskCleanup(hole_mm=2.5, island_mm=0.0, is_whole=True)
    assert user.presenter.session.engine_sync.cleanup == memory.cleanup
    assert (user.state.hole_mm, user.state.island_mm, user.state.is_volume_cleanup) == ("2.5", "0", True)
    for nonsense in ("wide", "-1", "nan"):
        user.panel.set_cleanup_size("hole_mm", nonsense)
        assert memory.cleanup.hole_mm == 2.5
    user.panel.set_cleanup_size("hole_mm", "")
    assert memory.cleanup.hole_mm is None


def test_what_the_engine_does_is_switched_and_shown(user):
    box(user)
    assert (user.state.crops, user.state.ends_by_shape) == ("auto", "auto")
    user.panel.set_switch("crops", "on")
    user.panel.set_switch("ends_by_shape", "off")
    assert (user.state.crops, user.state.ends_by_shape, user.state.carries_boxes) == ("on", "off", "auto")
    opened = [request.switches for request in user.engines[0].requests if isinstance(request, OpenVolume)]
    assert opened == [AUTOMATIC, EngineSwitches(crops=True), EngineSwitches(crops=True, ends_by_shape=False)]
    user.panel.set_switch("crops", "auto")
    assert PanelSettings(user.host.scene).switches == EngineSwitches(ends_by_shape=False)


def test_buttons_act_and_show_what_came_of_it(user):
    box(user)
    user.panel.does(lambda session: session.undo())()
    assert not user.state.objects
    user.panel.does(lambda session: session.redo())()
    assert user.state.objects
    user.panel.does(lambda session: session.next_object())()
    assert [row["is_active"] for row in user.state.objects] == [False, True]
    user.panel.choose(user.state.objects[0]["id"])
    assert [row["is_active"] for row in user.state.objects] == [True, False]


def test_what_is_drawn_in_a_page_is_prompts_repairs_and_paint(user):
    line, around = [[150, 150], [200, 150], [250, 150]], [[150, 100], [250, 100], [250, 200], [150, 200]]

    def draw(tool, path):
        user.app_state.views.stroke("Red", tool, path, WIDTH, HEIGHT)
        settle(user)

    user.panel.hold(True)
    draw("scribble", line)
    draw("scribble-out", [[300, 250], [320, 250]])
    assert (user.state.is_held, user.state.objects[0]["done"]) == (True, 0)
    user.panel.hold(False)
    settle(user)
    assert user.state.objects[0]["done"] == 1
    assert [one.scribble.positive for one in user.record.prompts.scribbles] == [True, False]
    draw("lasso", around)
    assert len(user.record.prompts.lassos) == 1
    outlined = user.state.objects[0]["ml"]
    user.panel.set_brush_radius("4,5")
    user.panel.set_brush_radius("no radius")
    user.panel.set_sphere(True)
    assert (user.state.brush_mm, user.state.is_sphere) == ("4.5", True)
    draw("brush", [[110, 150], [118, 150]])
    painted = user.state.objects[0]["ml"]
    assert painted > outlined
    for tool, path, name in (
        ("remove-part", [[114, 150]], "Remove part"),
        ("eraser", line, "Eraser"),
        ("cut", around, "Scissors"),
    ):
        before = user.state.objects[0]["ml"]
        draw(tool, path)
        assert user.state.objects[0]["ml"] < before
        assert user.state.undo_tip == f"Take back: {name}"
    draw("keep-part", [[1, 1]])
    assert user.state.line


def test_a_click_is_read_in_another_way(user, monkeypatch):
    monkeypatch.setattr(FakeEngine, "num_readings", 3)
    assert (user.state.can_read, user.state.reading_title) == (False, "Next reading")
    user.app_state.views.click("Red", 200, 150, WIDTH, HEIGHT, True)
    assert (user.state.can_read, user.state.reading_title) == (True, "Next reading: 1 of 3")
    before = user.state.objects[0]["ml"]
    user.panel.do(user.presenter.next_reading)()
    settle(user)
    assert user.state.reading_title == "Next reading: 2 of 3"
    assert user.state.objects[0]["ml"] > before
    assert user.state.undo_tip == "Take back: Next reading"
    box(user)
    assert not user.state.can_read


def test_an_outline_that_has_ended_says_why_and_goes_on_for_one_more_slice(user, monkeypatch):
    monkeypatch.setattr(FakeEngine, "reach", 2)
    box(user)
    assert not user.state.can_extend
    user.panel.do(user.presenter.propagate)()
    settle(user)
    middle = user.state.positions["Red"]["index"]
    assert "ends here: its area became too small" in user.state.quality_strip[middle + 3][1]
    assert user.state.can_extend
    user.panel.do(user.presenter.extend)()
    settle(user)
    assert [mark for mark, _ in user.state.quality_strip].index("SURE") <= middle - 3
    assert "ends here" not in user.state.quality_strip[middle + 3][1]


def test_a_segment_of_the_persons_own_is_listed_and_becomes_an_object_when_chosen(user):
    segmentation = user.app_state.segmentation_node.GetSegmentation()
    segmentation.AddEmptySegment("", "thalamus", (1.0, 0.5, 0.0))
    user.wake()
    (other,) = user.state.others
    assert (other["name"], other["colour"]) == ("thalamus", "rgb(255, 128, 0)")
    user.panel.choose(other["id"])
    assert not user.state.others
    assert [(row["name"], row["is_active"]) for row in user.state.objects] == [("thalamus", True)]


def test_the_range_is_remembered_in_the_scene_and_kept_in_bounds(user):
    user.panel.set_whole(False)
    last = user.state.num_slices - 1
    assert (user.state.first, user.state.last) == (0, last)
    user.panel.set_end("first", "7")
    user.panel.set_end("last", str(last + 50))
    user.panel.set_end("first", "a few")
    user.panel.set_direction("up")
    memory = PanelSettings(user.host.scene)
    assert memory.slice_range == (7, last)
    assert memory.direction is Direction.UP
    assert (user.state.first, user.state.last, user.state.direction) == (7, last, "up")
    user.panel.set_end("last", "3")
    assert memory.slice_range == (3, 3)
    user.panel.set_whole(True)
    assert memory.slice_range is None


def test_a_volume_that_is_chosen_again_comes_with_its_own_segmentation(user):
    first, segmentation = user.app_state.volume_node, user.app_state.segmentation_node
    box(user)
    user.app_state.choose_volume(add_example(user.host))
    assert user.app_state.segmentation_node is not segmentation
    assert not user.state.objects
    user.app_state.choose_volume(first)
    assert user.app_state.segmentation_node is segmentation
    assert len(user.state.objects) == 1


def test_the_example_is_the_brain_of_nilearn(tmp_path):
    pytest.importorskip("nilearn", reason="the example brain comes with nilearn")
    node = add_example(WebHost(tmp_path))
    assert node.GetName() == NAME
    assert node.GetImageData().GetDimensions() == (197, 233, 189)


def test_without_nilearn_the_example_is_made_on_the_spot(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert example_file() is None
    assert add_example(WebHost(tmp_path)).GetImageData() is not None


def test_the_example_is_opened_once_and_anew_where_it_is_gone(user):
    user.app_state.open_example()
    first = user.app_state.volume_node
    user.app_state.choose_volume(next(node for node in volumes(user) if node is not first))
    user.app_state.open_example()
    assert user.app_state.volume_node is first
    user.host.scene.RemoveNode(first)
    user.app_state.open_example()
    assert user.app_state.volume_node is not first
    assert len(volumes(user)) == 2


def test_a_question_is_asked_first_and_the_action_done_after_a_yes(tmp_path):
    host, done = WebHost(tmp_path), []
    host.attempt(lambda: done.append(host.confirm("Download it?")))
    assert done == [False]
    assert host.question == "Download it?"
    host.answer(is_yes=True)
    assert done == [False, True]
    assert host.question == ""
    assert not host.confirm("Download it?")


def test_after_a_no_nothing_is_done(tmp_path):
    host, done = WebHost(tmp_path), []
    host.attempt(lambda: done.append(host.confirm("Download it?")))
    host.answer(is_yes=False)
    assert done == [False]
    assert host.question == ""


def test_a_model_that_is_not_here_is_asked_about_and_then_downloaded(user, engine, monkeypatch, tmp_path):
    monkeypatch.setattr(user.presenter.models, "_folder", tmp_path / "models")
    started = []
    monkeypatch.setattr(user.presenter.models, "_start", lambda command, log: started.append(command))
    user.state.engine_model = TINY
    engine.use()
    user.app_state.copy()
    assert user.state.question.startswith("Download")
    assert not started
    user.host.answer(is_yes=True)
    assert len(started) == 1
    assert TINY in started[0]


def test_the_test_of_an_engine_says_how_it_went_and_whether_it_runs(user, engine):
    engine.test()
    engine.poll()
    assert user.state.is_testing or user.state.engine_sentence
    while engine.poll():
        pass
    assert user.state.engine_sentence.startswith("It works: nano on cpu")
    assert not user.state.is_testing


def test_a_choice_that_is_not_complete_is_refused_with_a_sentence(user, engine):
    user.state.engine_place = Place.REMOTE.value
    user.state.engine_port = "many"
    engine.use()
    engine.poll()
    assert "port" in user.state.engine_sentence
    assert user.presenter.choice == EngineChoice()


def test_the_choice_is_kept_for_the_next_start_without_its_secret(user, engine, tmp_path):
    user.state.update(
        {"engine_place": "remote", "engine_port": "4711", "engine_token": "secret", "engine_device": "cpu"}
    )
    engine.use()
    engine.poll()
    text = (tmp_path / "engine.json").read_text(encoding="utf-8")
    assert "secret" not in text
    kept = EngineChoice.from_text(text)
    assert (kept.place, kept.port, kept.device) == (Place.REMOTE, 4711, "cpu")


def test_a_model_file_that_is_none_is_refused(user, engine):
    user.state.update({"engine_model": OWN_FILE, "engine_file": "/nowhere/brain.txt"})
    engine.use()
    engine.poll()
    assert "not a model file" in user.state.engine_sentence


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


def test_names_and_colours_are_edited_in_the_list(user):
    box(user)
    (row,) = user.state.objects
    user.panel.rename(row["id"], " tumour ")
    user.panel.recolour(row["id"], "#ff8000")
    user.panel.recolour(row["id"], "red")
    assert [(row["name"], row["colour"]) for row in user.state.objects] == [("tumour", "#ff8000")]
    user.panel.rename(row["id"], "")
    assert "needs a name" in user.state.line


def test_what_is_shown_is_set_in_the_list(user):
    box(user)
    segment_id, display = user.state.objects[0]["id"], user.presenter.chosen[1].GetDisplayNode()
    user.panel.show(segment_id, False)
    assert not user.state.objects[0]["is_shown"]
    user.panel.show_only(segment_id)
    assert user.state.objects[0]["is_shown"]
    user.panel.set_opacity(30)
    user.panel.set_fill("outline")
    user.panel.toggle_all()
    assert (user.state.opacity, user.state.fill, user.state.is_hidden) == (30, "outline", True)
    assert (display.GetOpacity(), display.GetVisibility2DFill(), display.GetVisibility()) == (0.3, False, False)


def test_whole_objects_are_locked_copied_put_together_and_deleted(user):
    box(user)
    first = user.state.objects[0]["id"]
    user.panel.lock(first, True)
    user.panel.delete(first)
    assert "is locked" in user.state.line
    user.panel.lock(first, False)
    user.panel.duplicate(first)
    copy = user.state.objects[1]["id"]
    user.panel.move(copy, -1)
    assert [row["name"] for row in user.state.objects] == ["object 1 copy", "object 1"]
    user.panel.subtract(copy, first)
    assert not user.presenter.session.document.slice_io.read(2, user.presenter.visible_plane()).any()
    user.panel.merge(copy, first)
    assert [row["name"] for row in user.state.objects] == ["object 1"]
    user.panel.delete(first)
    assert not user.state.objects
