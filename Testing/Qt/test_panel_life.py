"""The panels from their first moment to their last: without a window, reloaded, closed."""

import pytest
import slicer

pytestmark = pytest.mark.usefixtures("fake_programs")


@pytest.fixture
def no_window(slicer_app, monkeypatch):
    """Slicer was started without its main window."""
    monkeypatch.setattr(slicer.util, "mainWindow", lambda: None)
    monkeypatch.setattr(type(slicer_app), "layoutManager", lambda application: None)


def test_without_a_main_window_there_are_no_keys_and_all_else_works(no_window, user, loop):
    user.ui.stateButton.click()
    user.ui.stateButton.click()
    for tool in (user.ui.boxButton, user.ui.positiveButton):
        tool.click()
        assert tool.checked
        loop.turn()
    assert user.panel.shortcuts.active() == ()
    user.panel.exit()
    user.panel.enter()


def test_after_a_reload_the_new_panel_goes_on_with_what_is_chosen(user, loop):
    node, old = user.load(), user.panel
    user.module = user.module.reload()
    user.panel = user.module.widget.panel
    user.ui = user.panel.ui
    assert user.panel is not old
    assert len(user.panel.shortcuts.active()) == 23
    assert user.ui.volumeSelector.currentNode() is node
    user.key("P")
    user.click(28, 24, 6)
    loop.until(user.settled)
    assert user.mask(6).any()


def test_after_a_reload_the_old_panel_does_nothing_any_more(user, slicer_app, loop):
    user.load()
    user.ui.editorWidget.setActiveEffectByName("Paint")
    old = user.panel
    user.module = user.module.reload()
    assert not old.ui.editorWidget.mrmlSegmentEditorNode().GetActiveEffectName()
    chosen = user.module.widget.panel.segment_presenter.chosen
    old.ui.volumeSelector.setCurrentNode(None)
    old.bridge.wake()
    loop.turn()
    assert not old.bridge.timer.isActive()
    assert old.segment_presenter.session is None
    assert user.module.widget.panel.segment_presenter.chosen == chosen
    slicer_app.mrmlScene().Clear(0)
    loop.turn()
    assert old.segment_presenter.session is None


def test_a_module_that_is_reloaded_while_another_is_shown_takes_no_keys(user, qt):
    user.panel.exit()
    other = qt.QWidget()
    slicer.app.panels.addWidget(other)
    slicer.app.panels.setCurrentWidget(other)
    user.module = user.module.reload()
    user.panel = user.module.widget.panel
    assert user.panel.shortcuts.active() == ()
    slicer.app.panels.removeWidget(other)


def test_the_training_panel_works_with_the_segmentation_panel_there_is(train_user, loop):
    train_user.outline("first")
    train_user.user.module = train_user.user.module.reload()
    segment_presenter = train_user.user.module.widget.panel.segment_presenter
    train_user.module.widget.enter()
    assert train_user.panel.presenter.segment_presenter is segment_presenter
    train_user.add_current()
    assert train_user.ui.casesTable.rowCount == 1


def test_after_a_reload_the_new_training_panel_watches_and_the_old_one_does_not(train_user, loop):
    old = train_user.panel
    train_user.module = train_user.module.reload()
    train_user.panel = train_user.module.widget.panel
    train_user.ui = train_user.panel.ui
    assert train_user.panel.timer.isActive()
    old.wake()
    assert not old.timer.isActive()
    assert old.presenter is None
