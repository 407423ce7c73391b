"""Repairs in Slicer's panel: buttons and keys, with Slicer's own undo."""

import numpy as np
import pytest


@pytest.fixture
def boxed(user, loop):
    """A person with a box on slice 6."""
    user.load()
    user.key("X")
    user.drag((18, 15, 6), (38, 34, 6))
    loop.until(user.settled)
    loop.until(lambda: user.ui.undoButton.enabled)
    return user


def test_a_repair_is_done_by_its_button_and_taken_back_by_undo(boxed, loop):
    before = boxed.mask(6)
    boxed.ui.repairScopeSelector.setCurrentIndex(1)
    boxed.ui.repairLengthSpinBox.setValue(2.0)
    button = boxed.panel.repair.buttons["grow"]
    loop.until(lambda: button.enabled)
    button.click()
    grown = boxed.mask(6)
    assert (grown & before == before).all()
    assert grown.sum() > before.sum()
    assert not boxed.mask(5).any()
    loop.until(lambda: "Grow" in boxed.ui.undoButton.toolTip)
    boxed.ui.undoButton.click()
    assert (boxed.mask(6) == before).all()
    boxed.ui.redoButton.click()
    assert (boxed.mask(6) == grown).all()


def test_keys_copy_a_slice_show_it_and_empty_it(boxed, loop):
    before = boxed.mask(6)
    loop.until(lambda: boxed.panel.repair.buttons["copy-up"].enabled)
    boxed.key("U")
    assert (boxed.mask(7) == before).all()
    assert boxed.segment_presenter.visible_plane().index == 7
    boxed.key("Shift+N")
    assert not boxed.mask(7).any()
    assert set(boxed.session.document.active_record.prompts.indices) == {6, 7}


def test_where_and_how_far_is_remembered_by_the_scene(boxed, loop):
    boxed.ui.repairScopeSelector.setCurrentIndex(1)
    boxed.ui.repairLengthSpinBox.setValue(3.5)
    boxed.ui.repairLengthSpinBox.blockSignals(True)
    boxed.ui.repairLengthSpinBox.setValue(1.0)
    boxed.ui.repairLengthSpinBox.blockSignals(False)
    boxed.panel.restore()
    assert boxed.ui.repairLengthSpinBox.value == 3.5
    assert boxed.ui.repairScopeSelector.currentIndex == 1


def test_painted_slices_are_filled_between(boxed, loop):
    painted = boxed.paint(9)
    loop.until(lambda: boxed.panel.repair.buttons["between"].enabled)
    boxed.key("Shift+F")
    assert all(boxed.mask(k).any() for k in (7, 8))
    assert (boxed.mask(9) == painted).all()
    assert np.all([not boxed.mask(k).any() for k in (5, 10)])
