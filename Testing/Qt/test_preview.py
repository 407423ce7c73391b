"""The pointer over a slice view with a point tool in hand: what is seen there, with a quick engine and with the real one."""

import sys
import time

import numpy as np
import pytest
from NeuroSAM2Lib.engine.choice import EngineChoice
from NeuroSAM2Lib.segmentation.sync.preview import COLOUR

from NeuroSAM2Core import disk
from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.remote import EngineClient
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Qt.panel_user import PanelUser, blob
from Testing.Support.pace import slowness

LIMIT_S = 0.1
START_S = 60.0
SHAPE, CENTRE = (10, 192, 192), (5, 96, 96)


@pytest.fixture
def real_desk(slicer_app, loop, monkeypatch):
    monkeypatch.setattr(EngineChoice, "connect", lambda choice, slicer_python: EngineClient.launch(sys.executable))
    user = PanelUser(slicer_app, loop)
    yield user
    user.close()


def is_shown(user):
    return user.session.preview.outline.is_shown


def pink(picture):
    """Pixels of the outline's own colour."""
    return (np.abs(picture - 255.0 * np.array(COLOUR)) < 30).all(axis=2)


def test_with_a_point_tool_in_hand_a_line_shows_what_a_click_would_give(user, loop):
    user.load()
    user.key("P")
    assert not pink(user.view().draw()).any()
    user.hover(28, 24, 6)
    loop.until(lambda: is_shown(user))
    shown = user.view().draw()
    row, col = np.nonzero(pink(shown))
    assert len(row) > 20
    middle = user.view().to_xy(user.ras(28, 24, 6))
    assert abs(np.mean(col) - middle[0]) < 3
    assert abs(np.mean(row) - middle[1]) < 3
    assert not pink(shown)[middle[1] - 3 : middle[1] + 4, middle[0] - 3 : middle[0] + 4].any()
    assert user.nodes("vtkMRMLMarkupsFiducialNode") <= 2
    assert not user.mask(6).any()
    assert user.ui.undoButton.toolTip == "Take back: New object"


def test_the_line_is_gone_with_the_click_the_tool_and_the_pointer(user, loop):
    user.load()
    user.key("P")
    user.hover(28, 24, 6)
    loop.until(lambda: is_shown(user))
    user.view().mouse("LeaveEvent", 1, 1)
    assert not is_shown(user)
    user.hover(28, 24, 6)
    loop.until(lambda: is_shown(user))
    user.click(28, 24, 6)
    loop.until(user.settled)
    assert not is_shown(user)
    assert user.mask(6).any()
    user.key("N")
    user.hover(30, 24, 6)
    loop.until(lambda: is_shown(user))
    user.key("N")
    assert not is_shown(user)
    assert user.nodes("vtkMRMLSegmentationNode") == 1
    user.hover(29, 24, 6)
    loop.turn()
    assert not is_shown(user)


def test_the_line_is_gone_with_an_effect_or_another_mode_of_the_mouse(user, loop, slicer_app):
    user.load()
    mouse = slicer_app.applicationLogic().GetInteractionNode()
    for take in (
        lambda: user.ui.editorWidget.setActiveEffectByName("Paint"),
        lambda: mouse.SetCurrentInteractionMode(mouse.AdjustWindowLevel),
        lambda: user.key("X"),
        lambda: user.key("Esc"),
    ):
        user.key("P")
        user.hover(28, 24, 6)
        loop.until(lambda: is_shown(user))
        take()
        assert not is_shown(user)
        user.hover(27, 24, 6)
        loop.turn()
        assert not is_shown(user)
    mouse.SetCurrentInteractionMode(mouse.ViewTransform)


def test_a_saved_scene_knows_nothing_of_it_and_it_comes_back(user, loop, slicer_app, tmp_path):
    user.load()
    user.key("P")
    user.hover(28, 24, 6)
    loop.until(lambda: is_shown(user))
    num_nodes = slicer_app.mrmlScene().GetNumberOfNodes()
    user.view().mouse("LeaveEvent", 1, 1)
    assert slicer_app.mrmlScene().Commit(disk.as_utf8(tmp_path / "scene.mrml"))
    assert "NeuroSAM2 preview" not in (tmp_path / "scene.mrml").read_text(encoding="utf-8")
    user.hover(27, 24, 6)
    loop.until(lambda: is_shown(user))
    assert slicer_app.mrmlScene().GetNumberOfNodes() == num_nodes


def test_a_box_tool_and_no_tool_show_nothing(user, loop):
    user.load()
    user.hover(28, 24, 6)
    user.ui.boxButton.click()
    user.hover(27, 24, 6)
    loop.turn()
    assert not is_shown(user)


def test_the_switch_is_remembered_and_takes_effect_at_once(user, loop, slicer_app):
    user.load()
    user.key("P")
    user.hover(28, 24, 6)
    loop.until(lambda: is_shown(user))
    user.ui.previewCheckBox.click()
    assert not is_shown(user)
    user.hover(27, 24, 6)
    loop.turn()
    assert not is_shown(user)
    again = PanelUser(slicer_app, loop)
    assert not again.ui.previewCheckBox.isChecked()
    assert not again.panel.tools.previews
    again.close()
    user.ui.previewCheckBox.click()
    user.hover(28, 24, 6)
    loop.until(lambda: is_shown(user))


@pytest.mark.usefixtures("settled_heap")
def test_previews_of_the_real_engine_come_at_once_and_never_block(real_desk, loop, record_property):
    user = real_desk
    user.load(blob(SHAPE, CENTRE, radius=24.0))
    user.session.add_box(SlicePlane(Axis.K, 5), BoxPrompt(72, 72, 120, 120))
    loop.until(user.settled, limit_s=START_S)
    user.key("P")
    loop.longest_s, took = 0.0, []
    for k, i in [(5, 80 + n) for n in range(20)] + [(6, 80 + n) for n in range(5)]:
        shown_before = mark(user)
        began = time.monotonic()
        user.hover(i, 96, k)
        loop.until(lambda before=shown_before: mark(user) != before)
        took.append(1000 * (time.monotonic() - began))
    blocked_ms = 1000 * loop.longest_s
    record_property("preview in ms, median", round(float(np.median(took))))
    print(f"preview: median {np.median(took):.0f} ms, longest {max(took):.0f} ms; window {blocked_ms:.0f} ms")  # noqa: T201
    assert is_shown(user)
    assert loop.longest_s < LIMIT_S * slowness()
    seen = outlined(user)
    user.click(84, 96, 6)
    loop.until(user.settled)
    np.testing.assert_array_equal(user.mask(6), seen)


def mark(user):
    """Changes with every outline that is shown."""
    node = user.session.preview.outline.node
    return 0 if node is None else node.GetSegmentation().GetSegment("preview").GetRepresentation("Binary labelmap")


def outlined(user):
    from NeuroSAM2Lib.scene.segments.layers import Layer

    return Layer(user.session.preview.outline.node, "preview").voxels[0].astype(bool)
