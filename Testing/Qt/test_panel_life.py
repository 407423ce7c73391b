"""The panels from their first moment to their last: without a window, reloaded, closed."""

import pytest
import slicer

pytestmark = pytest.mark.usefixtures("fake_programs")


@pytest.fixture
def no_window(slicer_app, monkeypatch):
    """Slicer was started without its main window."""
    monkeypatch.setattr(slicer.util, "mainWindow", lambda: None)
    monkeypatch.setattr(type(slicer_app), "layoutManager", lambda application: None)


def test_without_a_main_window_there_are_no_keys_and_all_else_works(no_window, desk, loop):
    desk.ui.stateButton.click()
    desk.ui.stateButton.click()
    for tool in (desk.ui.boxButton, desk.ui.positiveButton):
        tool.click()
        assert tool.checked
        loop.turn()
    assert desk.panel.shortcuts.active() == ()
    desk.panel.exit()
    desk.panel.enter()


def test_after_a_reload_the_new_panel_goes_on_with_what_is_chosen(desk, loop):
    node, old = desk.load(), desk.panel
    desk.module = desk.module.reload()
    desk.panel = desk.module.widget.panel
    desk.ui = desk.panel.ui
    assert desk.panel is not old
    assert len(desk.panel.shortcuts.active()) == 13
    assert desk.ui.volumeSelector.currentNode() is node
    desk.key("P")
    desk.click(28, 24, 6)
    loop.until(desk.settled)
    assert desk.mask(6).any()


def test_after_a_reload_the_old_panel_does_nothing_any_more(desk, slicer_app, loop):
    desk.load()
    desk.ui.editorWidget.setActiveEffectByName("Paint")
    old = desk.panel
    desk.module = desk.module.reload()
    assert not old.ui.editorWidget.mrmlSegmentEditorNode().GetActiveEffectName()
    chosen = desk.module.widget.panel.workplace.chosen
    old.ui.volumeSelector.setCurrentNode(None)
    old.bridge.wake()
    loop.turn()
    assert not old.bridge.timer.isActive()
    assert old.workplace.session is None
    assert desk.module.widget.panel.workplace.chosen == chosen
    slicer_app.mrmlScene().Clear(0)
    loop.turn()
    assert old.workplace.session is None


def test_a_module_that_is_reloaded_while_another_is_shown_takes_no_keys(desk, qt):
    desk.panel.exit()
    other = qt.QWidget()
    slicer.app.panels.addWidget(other)
    slicer.app.panels.setCurrentWidget(other)
    desk.module = desk.module.reload()
    desk.panel = desk.module.widget.panel
    assert desk.panel.shortcuts.active() == ()
    slicer.app.panels.removeWidget(other)


def test_the_training_panel_works_with_the_segmentation_panel_there_is(school, loop):
    school.outline("first")
    school.desk.module = school.desk.module.reload()
    workplace = school.desk.module.widget.panel.workplace
    school.module.widget.enter()
    assert school.panel.desk.workplace is workplace
    school.add_current()
    assert school.ui.casesTable.rowCount == 1


def test_after_a_reload_the_new_training_panel_watches_and_the_old_one_does_not(school, loop):
    old = school.panel
    school.module = school.module.reload()
    school.panel = school.module.widget.panel
    school.ui = school.panel.ui
    assert school.panel.timer.isActive()
    old.wake()
    assert not old.timer.isActive()
    assert old.desk is None
