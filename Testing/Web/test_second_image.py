"""A second image in the app: over the first one, or beside it; what belongs to another image is not shown."""

from io import BytesIO

import numpy as np
import pytest
from NeuroSAM2Web.ui.view_panel import ViewPanel
from NeuroSAM2Web.views import SECOND
from PIL import Image

from Testing.Support.scenes import GEOMETRIES, add_volume
from Testing.Web.app_user import HEIGHT, WIDTH, AppUser

SHAPE = (20, 40, 44)
BRIGHT = 150


def half(side):
    """A volume that is bright on one side along i."""
    voxels = np.zeros(SHAPE, np.int16)
    voxels[:, 4:-4, slice(0, 22) if side == "first" else slice(22, 44)] = 1000
    return voxels


@pytest.fixture
def user(tmp_path):
    user = AppUser(tmp_path, lambda host: add_volume(host, half("first"), GEOMETRIES["oblique"], name="T1"))
    user.view = ViewPanel(user.app_state)
    user.second = add_volume(user.host, half("second"), GEOMETRIES["oblique"], name="FLAIR")
    for node in (user.app_state.volume_node, user.second):
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevel(1000, 500)
    return user


def picture(user, name="Red", width=WIDTH, height=HEIGHT):
    answer = user.app_state.views.picture(name, width, height)
    return np.asarray(Image.open(BytesIO(answer["data"])), int)


def bright_sides(user, name="Red"):
    """Whether the left and the right half of a view's image are bright."""
    columns = (picture(user, name).mean(axis=2) > BRIGHT).sum(axis=0)
    return bool(columns[: WIDTH // 2].sum() > 1000), bool(columns[WIDTH // 2 :].sum() > 1000)


def test_a_second_image_lies_over_the_first_with_its_opacity(user):
    (first,) = {side for side in (0, 1) if bright_sides(user)[side]}
    user.view.set_second_opacity(100)
    user.view.set_second(user.second.GetID())
    assert bright_sides(user)[1 - first]
    assert not bright_sides(user)[first]
    user.view.set_second_opacity(0)
    assert bright_sides(user)[first]
    user.view.set_second_opacity(50)
    assert bright_sides(user) == (False, False)
    user.view.set_second("")
    assert bright_sides(user)[first]
    user.view.poll()
    assert user.state.second == ""


def test_side_by_side_shows_the_same_slice_of_the_second_image(user):
    user.view.set_second(user.second.GetID())
    user.view.set_second_opacity(0)
    first, second = bright_sides(user), bright_sides(user, SECOND)
    assert first[0] != first[1]
    assert second == first[::-1]
    views = user.app_state.views
    number = user.state[f"picture_{SECOND}"]
    views.wheel("Red", 3)
    assert user.state[f"picture_{SECOND}"] > number
    views.picture(SECOND, WIDTH // 2, HEIGHT)
    red, beside = views.views["Red"].node, views.views[SECOND].node
    middles = [view.GetSliceToRAS().GetElement(2, 3) for view in (red, beside)]
    assert middles[0] == middles[1]
    mm_per_px = [view.GetFieldOfView()[0] / view.GetDimensions()[0] for view in (red, beside)]
    assert mm_per_px[0] == pytest.approx(mm_per_px[1])
    views.wheel(SECOND, -2)
    assert user.state.positions["Red"]["index"] == user.state.positions[SECOND]["index"]


def test_looking_at_the_second_view_does_not_change_it(user):
    user.view.set_second(user.second.GetID())
    user.app_state.views.picture(SECOND, WIDTH, HEIGHT)
    number = user.state[f"picture_{SECOND}"]
    user.app_state.views.picture(SECOND, WIDTH, HEIGHT)
    assert user.state[f"picture_{SECOND}"] == number


def test_outlines_of_another_image_do_not_stay(user):
    user.app_state.views.click("Red", WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT, True)
    user.engines[-1].work()
    user.wake()
    first = user.app_state.volume_node
    is_coloured = np.ptp(picture(user), axis=2) > 60
    assert is_coloured.any()
    user.app_state.choose_volume(user.second)
    assert not (np.ptp(picture(user), axis=2) > 60).any()
    user.app_state.choose_volume(first)
    assert (np.ptp(picture(user), axis=2) > 60).any()


def test_fit_keeps_the_slices(user):
    views = user.app_state.views
    views.wheel("Red", 4)
    before = dict(user.state.positions)
    whole = views.views["Red"].node.GetFieldOfView()
    views.views["Red"].node.SetFieldOfView(10, 10, 1)
    user.view.fit()
    assert views.views["Red"].node.GetFieldOfView() == pytest.approx(whole, rel=0.15)
    assert user.state.positions == before
