"""Nothing of a panel asks for more width than it is given: a module panel that grows lays out the views anew under the pointer."""

import pytest

PANEL_PX = 297
"""What Slicer's module panel gives on its own."""
LONG = "/a/folder/with/a/long/name/" + "without-any-place-to-break-the-line" * 5


def asked_px(parent):
    parent.layout().activate()
    return parent.layout().minimumSize().width()


def test_the_segmentation_panel_keeps_its_width_in_every_state(train_user, loop):
    user = train_user.user
    parent, asked = user.module.parent, []

    def note():
        loop.turn()
        asked.append(asked_px(parent))

    note()
    user.load()
    note()
    user.key("X")
    user.drag((18, 15, 6), (38, 34, 6))
    loop.until(user.settled)
    user.ui.propagateButton.click()
    note()
    loop.until(user.settled)
    note()
    assert set(asked) == {asked[0]}
    assert asked[0] <= PANEL_PX


@pytest.mark.parametrize("panel", ["segment", "train"])
def test_no_text_however_long_widens_a_panel(train_user, qt, panel):
    module = train_user.user.module if panel == "segment" else train_user.module
    form, ui = module.parent, module.widget.ui
    for section in form.findChildren(qt.QWidget):
        if section.objectName.endswith("Section"):
            section.collapsed = False
    before = asked_px(form)
    wider = []
    for name, widget in vars(ui).items():
        if not isinstance(widget, qt.QLabel | qt.QComboBox | qt.QLineEdit) and name not in (
            "stateButton",
            "readingButton",
        ):
            continue
        widget.setVisible(True)
        if isinstance(widget, qt.QComboBox):
            widget.addItem(LONG)
        elif name.endswith("Label") and widget.text and not widget.wordWrap:
            continue  # the title of a field
        else:
            widget.setText(LONG)
        if asked_px(form) > max(before, PANEL_PX):
            wider.append(name)
            widget.setVisible(False)
    assert wider == []
    assert before <= PANEL_PX


def test_a_picture_of_a_clip_is_as_wide_as_the_panel_and_no_wider(train_user, loop, qt):
    ui = train_user.ui
    train_user.add("first")
    before = asked_px(train_user.module.parent)
    ui.lookButton.click()
    loop.until(lambda: ui.lookButton.enabled)
    assert asked_px(train_user.module.parent) == before
    for width in (280, 520):
        ui.sampleLabel.resize(width, 100)
        train_user.panel.wake()
        assert ui.sampleLabel.pixmap.width() <= width
        assert ui.sampleLabel.pixmap.width() > 0.9 * width
