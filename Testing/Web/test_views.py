"""What the page calls: pictures when they have changed, and the mouse in the views."""

from io import BytesIO

import numpy as np
import pytest
from NeuroSAM2MRML.headless_views import ORIENTATIONS
from NeuroSAM2MRML.scene.slice_views import shown_slice
from PIL import Image

from NeuroSAM2Core.volume import SlicePlane, resolve_axis
from Testing.Support.scenes import GEOMETRIES, add_volume
from Testing.Web.room import HEIGHT, WIDTH, Room

MIDDLE = WIDTH / 2, HEIGHT / 2


@pytest.fixture
def room(tmp_path):
    return Room(tmp_path)


def pixels(answer):
    return np.asarray(Image.open(BytesIO(answer["data"])), int)


def drag(room, button, *, shift=False, by=(60, 40)):
    said = {"button": button, "width": WIDTH, "height": HEIGHT, "has_shift": shift}
    for phase, part in (("down", 0), ("move", 0.5), ("move", 1), ("up", 1)):
        place = {"x": MIDDLE[0] + part * by[0], "y": MIDDLE[1] + part * by[1]}
        room.desk.views.mouse("Red", {"phase": phase, **place, **said})


def looks(room):
    """Window and level, the middle of the axial view, and how much of the world it shows."""
    display = room.desk.volume_node.GetDisplayNode()
    view = room.desk.views.views["Red"]
    return (display.GetWindow(), display.GetLevel()), tuple(view.to_ras(*MIDDLE)), view.node.GetFieldOfView()[0]


def test_a_picture_has_the_size_that_is_asked_for_and_shows_the_volume_upright(room):
    picture = pixels(room.desk.views.picture("Red", 300, 200))
    assert picture.shape == (200, 300, 3)
    view = room.desk.views.views["Red"]
    drawn = view.draw()[::-1].astype(int)
    assert np.abs(picture - drawn).mean() < 2
    assert picture.max() > 150


@pytest.mark.parametrize("name", list(ORIENTATIONS))
def test_a_click_is_a_prompt_on_the_slice_and_at_the_place_that_were_clicked(room, name):
    view = room.desk.views.views[name]
    x, y = 0.45 * WIDTH, 0.4 * HEIGHT
    room.desk.views.click(name, x, y, WIDTH, HEIGHT, True)
    (placed,) = room.record.prompts.points
    volume = room.workplace.session.desk.volume
    there = volume.to_ijk(view.to_ras(x, HEIGHT - 1 - y))
    axis = room.record.prompts.axis
    assert str(axis) == room.state.positions[name]["axis"]
    assert placed.index == round(there["ijk".index(axis)])
    plane = SlicePlane(axis, placed.index)
    np.testing.assert_allclose((placed.point.row, placed.point.col), plane.to_pixel(*there), atol=0.01)
    assert placed.point.positive


@pytest.mark.parametrize("geometry", ["oblique", "left-handed oblique", "sagittal storage", "under a quarter turn"])
def test_any_scan_is_shown_along_its_own_slices(tmp_path, geometry):
    voxels = np.random.default_rng(0).integers(0, 100, (20, 24, 28)).astype(np.int16)
    room = Room(tmp_path, lambda host: add_volume(host, voxels, GEOMETRIES[geometry]))
    volume = room.workplace.session.desk.volume
    for view in room.desk.views.views.values():
        assert shown_slice(volume, view.node).notice == ""
    room.desk.views.click("Red", *MIDDLE, WIDTH, HEIGHT, True)
    assert room.record.prompts.points[0].index == room.state.positions["Red"]["index"]
    assert room.record.prompts.axis == resolve_axis(volume, "axial")


def test_a_box_has_its_corners_where_the_mouse_went_down_and_up(room):
    room.desk.views.box("Red", [150, 100, 250, 200], WIDTH, HEIGHT)
    (placed,) = room.record.prompts.boxes
    view, volume = room.desk.views.views["Red"], room.workplace.session.desk.volume
    plane = SlicePlane(room.record.prompts.axis, placed.index)
    corners = [plane.to_pixel(*volume.to_ijk(view.to_ras(x, HEIGHT - 1 - y))) for x, y in ((150, 100), (250, 200))]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    np.testing.assert_allclose((placed.box.row0, placed.box.col0, placed.box.row1, placed.box.col1), (*low, *high))


def test_a_click_in_a_page_of_another_size_means_what_that_page_shows(room):
    views = room.desk.views
    views.picture("Red", 800, 600)
    ras = views.views["Red"].to_ras(400, 599 - 300)
    views.picture("Red", WIDTH, HEIGHT)
    views.click("Red", 400, 300, 800, 600, True)
    (placed,) = room.record.prompts.points
    volume = room.workplace.session.desk.volume
    plane = SlicePlane(room.record.prompts.axis, placed.index)
    np.testing.assert_allclose((placed.point.row, placed.point.col), plane.to_pixel(*volume.to_ijk(ras)), atol=0.01)


def test_a_place_outside_the_volume_is_refused_with_a_sentence(room):
    room.desk.views.click("Red", 1, 1, WIDTH, HEIGHT, True)
    assert "outside the volume" in room.state.line
    assert not room.state.objects


def test_a_new_picture_is_announced_where_something_has_changed_and_only_there(room):
    numbers = {name: room.state[f"picture_{name}"] for name in ORIENTATIONS}
    room.desk.views.picture("Green", 320, 240)
    assert {name: room.state[f"picture_{name}"] for name in ORIENTATIONS} == numbers
    room.desk.views.wheel("Red", 1)
    assert room.state.picture_Red > numbers["Red"]
    assert room.desk.views.picture("Red", WIDTH, HEIGHT)["number"] == room.state.picture_Red


@pytest.mark.parametrize(("button", "shift", "changes"), [(0, False, 0), (0, True, 1), (1, False, 1), (2, False, 2)])
def test_dragging_without_a_tool_is_as_in_slicer(room, button, shift, changes):
    before = looks(room)
    drag(room, button, shift=shift)
    changed = [not np.allclose(a, b) for a, b in zip(before, looks(room), strict=True)]
    assert changed == [number == changes for number in range(3)]


def test_the_wheel_and_the_bar_go_to_slices_and_stop_at_the_ends(room):
    start, count = room.state.positions["Red"]["index"], room.state.positions["Red"]["count"]
    room.desk.views.wheel("Red", 3)
    assert room.state.positions["Red"]["index"] == start + 3
    room.desk.views.wheel("Red", -2)
    assert room.state.positions["Red"]["index"] == start + 1
    room.desk.views.go("Red", 10 * count)
    assert room.state.positions["Red"]["index"] == count - 1
    room.desk.views.wheel("Red", -10 * count)
    assert room.state.positions["Red"]["index"] == 0


def test_without_a_session_the_mouse_does_nothing(room):
    room.workplace.select(None, None)
    room.wake()
    room.desk.views.click("Red", *MIDDLE, WIDTH, HEIGHT, True)
    room.desk.views.wheel("Red", 1)
    assert room.state.positions["Red"]["count"] == 0
    assert not room.state.can_prompt
