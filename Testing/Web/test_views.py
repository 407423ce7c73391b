"""What the page calls: pictures when they have changed, and the mouse in the views."""

from io import BytesIO

import numpy as np
import pytest
from NeuroSAM2Lib.headless.views import ORIENTATIONS
from NeuroSAM2Lib.scene.views.slice_views import shown_slice
from PIL import Image

from NeuroSAM2Core.volume import SlicePlane, resolve_axis
from Testing.Support.scenes import GEOMETRIES, add_volume
from Testing.Web.app_user import HEIGHT, WIDTH, AppUser

MIDDLE = WIDTH / 2, HEIGHT / 2


@pytest.fixture
def user(tmp_path):
    return AppUser(tmp_path)


def pixels(answer):
    return np.asarray(Image.open(BytesIO(answer["data"])), int)


def drag(user, button, *, shift=False, by=(60, 40)):
    event = {"button": button, "width": WIDTH, "height": HEIGHT, "has_shift": shift}
    for phase, part in (("down", 0), ("move", 0.5), ("move", 1), ("up", 1)):
        place = {"x": MIDDLE[0] + part * by[0], "y": MIDDLE[1] + part * by[1]}
        user.app_state.views.mouse("Red", {"phase": phase, **place, **event})


def looks(user):
    """Window and level, the middle of the axial view, and how much of the world it shows."""
    display = user.app_state.volume_node.GetDisplayNode()
    view = user.app_state.views.views["Red"]
    return (display.GetWindow(), display.GetLevel()), tuple(view.to_ras(*MIDDLE)), view.node.GetFieldOfView()[0]


def test_a_picture_has_the_size_that_is_asked_for_and_shows_the_volume_upright(user):
    picture = pixels(user.app_state.views.picture("Red", 300, 200))
    assert picture.shape == (200, 300, 3)
    view = user.app_state.views.views["Red"]
    drawn = view.draw()[::-1].astype(int)
    assert np.abs(picture - drawn).mean() < 2
    assert picture.max() > 150


@pytest.mark.parametrize("name", list(ORIENTATIONS))
def test_a_click_is_a_prompt_on_the_slice_and_at_the_place_that_were_clicked(user, name):
    view = user.app_state.views.views[name]
    x, y = 0.45 * WIDTH, 0.4 * HEIGHT
    user.app_state.views.click(name, x, y, WIDTH, HEIGHT, True)
    (placed,) = user.record.prompts.points
    volume = user.presenter.session.document.volume
    there = volume.to_ijk(view.to_ras(x, HEIGHT - 1 - y))
    axis = user.record.prompts.axis
    assert str(axis) == user.state.positions[name]["axis"]
    assert placed.index == round(there["ijk".index(axis)])
    plane = SlicePlane(axis, placed.index)
    np.testing.assert_allclose((placed.point.row, placed.point.col), plane.to_pixel(*there), atol=0.01)
    assert placed.point.positive


@pytest.mark.parametrize("geometry", ["oblique", "left-handed oblique", "sagittal storage", "under a quarter turn"])
def test_any_scan_is_shown_along_its_own_slices(tmp_path, geometry):
    voxels = np.random.default_rng(0).integers(0, 100, (20, 24, 28)).astype(np.int16)
    user = AppUser(tmp_path, lambda host: add_volume(host, voxels, GEOMETRIES[geometry]))
    volume = user.presenter.session.document.volume
    for view in user.app_state.views.views.values():
        assert shown_slice(volume, view.node).notice == ""
    user.app_state.views.click("Red", *MIDDLE, WIDTH, HEIGHT, True)
    assert user.record.prompts.points[0].index == user.state.positions["Red"]["index"]
    assert user.record.prompts.axis == resolve_axis(volume, "axial")


def test_a_box_has_its_corners_where_the_mouse_went_down_and_up(user):
    user.app_state.views.box("Red", [150, 100, 250, 200], WIDTH, HEIGHT)
    (placed,) = user.record.prompts.boxes
    view, volume = user.app_state.views.views["Red"], user.presenter.session.document.volume
    plane = SlicePlane(user.record.prompts.axis, placed.index)
    corners = [plane.to_pixel(*volume.to_ijk(view.to_ras(x, HEIGHT - 1 - y))) for x, y in ((150, 100), (250, 200))]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    np.testing.assert_allclose((placed.box.row0, placed.box.col0, placed.box.row1, placed.box.col1), (*low, *high))


def test_a_click_in_a_page_of_another_size_means_what_that_page_shows(user):
    views = user.app_state.views
    views.picture("Red", 800, 600)
    ras = views.views["Red"].to_ras(400, 599 - 300)
    views.picture("Red", WIDTH, HEIGHT)
    views.click("Red", 400, 300, 800, 600, True)
    (placed,) = user.record.prompts.points
    volume = user.presenter.session.document.volume
    plane = SlicePlane(user.record.prompts.axis, placed.index)
    np.testing.assert_allclose((placed.point.row, placed.point.col), plane.to_pixel(*volume.to_ijk(ras)), atol=0.01)


def test_a_place_outside_the_volume_is_refused_with_a_sentence(user):
    user.app_state.views.click("Red", 1, 1, WIDTH, HEIGHT, True)
    assert "outside the volume" in user.state.line
    assert not user.state.objects


def test_a_new_picture_is_announced_where_something_has_changed_and_only_there(user):
    numbers = {name: user.state[f"picture_{name}"] for name in ORIENTATIONS}
    user.app_state.views.picture("Green", 320, 240)
    assert {name: user.state[f"picture_{name}"] for name in ORIENTATIONS} == numbers
    user.app_state.views.wheel("Red", 1)
    assert user.state.picture_Red > numbers["Red"]
    assert user.app_state.views.picture("Red", WIDTH, HEIGHT)["number"] == user.state.picture_Red


def test_a_page_that_has_the_picture_gets_it_only_once(user):
    views = user.app_state.views
    first = views.picture("Red", WIDTH, HEIGHT)
    assert views.picture("Red", WIDTH, HEIGHT, first["number"]) == {"number": first["number"], "data": None}
    assert views.picture("Red", WIDTH, HEIGHT)["data"] == first["data"]
    assert views.picture("Red", WIDTH, HEIGHT, first["number"] - 1)["data"] == first["data"]
    assert views.picture("Red", WIDTH // 2, HEIGHT, first["number"])["data"]
    views.wheel("Red", 1)
    second = views.picture("Red", WIDTH, HEIGHT, first["number"])
    assert second["data"] != first["data"]
    assert views.picture("Red", WIDTH, HEIGHT, first["number"])["data"] == second["data"]


@pytest.mark.parametrize(("button", "shift", "changes"), [(0, False, 0), (0, True, 1), (1, False, 1), (2, False, 2)])
def test_dragging_without_a_tool_is_as_in_slicer(user, button, shift, changes):
    before = looks(user)
    drag(user, button, shift=shift)
    changed = [not np.allclose(a, b) for a, b in zip(before, looks(user), strict=True)]
    assert changed == [number == changes for number in range(3)]


def test_the_wheel_and_the_bar_go_to_slices_and_stop_at_the_ends(user):
    start, count = user.state.positions["Red"]["index"], user.state.positions["Red"]["count"]
    user.app_state.views.wheel("Red", 3)
    assert user.state.positions["Red"]["index"] == start + 3
    user.app_state.views.wheel("Red", -2)
    assert user.state.positions["Red"]["index"] == start + 1
    user.app_state.views.go("Red", 10 * count)
    assert user.state.positions["Red"]["index"] == count - 1
    user.app_state.views.wheel("Red", -10 * count)
    assert user.state.positions["Red"]["index"] == 0


def test_without_a_session_the_mouse_does_nothing(user):
    user.presenter.select(None, None)
    user.wake()
    user.app_state.views.click("Red", *MIDDLE, WIDTH, HEIGHT, True)
    user.app_state.views.wheel("Red", 1)
    assert user.state.positions["Red"]["count"] == 0
    assert not user.state.can_prompt
