"""Measurements in Slicer's panel."""

import pytest
from NeuroSAM2Lib.engine.choice import EngineChoice

from Testing.Qt.panel_user import PanelUser, qt
from Testing.Support.fake_engine import FakeEngine


@pytest.fixture
def user(slicer_app, loop, monkeypatch):
    """A person with two objects, and the section open."""
    monkeypatch.setattr(EngineChoice, "connect", lambda choice, slicer_python: FakeEngine())
    user = PanelUser(slicer_app, loop)
    user.load()
    for low, high in (((10, 10, 6), (30, 30, 6)), ((20, 20, 6), (40, 40, 6))):
        if user.session.document.active is not None:
            user.ui.nextObjectButton.click()
        user.ui.boxButton.click()
        user.drag(low, high)
        loop.until(user.settled)
    user.ui.measurementsSection.collapsed = False
    yield user
    user.close()


def texts(table):
    return [[table.item(row, column).text() for column in range(table.columnCount)] for row in range(table.rowCount)]


def test_objects_are_measured_copied_and_compared(user, loop):
    ui = user.ui
    loop.until(lambda: ui.measureButton.enabled)
    ui.measureButton.click()
    loop.until(lambda: ui.measurementsTable.rowCount == 2)
    first, second = texts(ui.measurementsTable)
    assert first[:2] == ["object 1", str(int(user.mask(6, 1).sum()))]
    assert second[:2] == ["object 2", str(int(user.mask(6, 2).sum()))]
    assert ui.measurementsTable.columnWidth(0) >= ui.measurementsTable.sizeHintForColumn(0), "a name is cut"
    ui.copyMeasurementsButton.click()
    assert qt.QApplication.clipboard().text().splitlines()[1].startswith("object 1\t")
    assert ui.compareSelector.currentText == "object 1"
    ui.compareButton.click()
    loop.until(lambda: ui.differencesTable.rowCount == 1)
    user.view().node.JumpSliceByOffsetting(*user.ras(0, 0, 2))
    ui.goThereButton.click()
    assert user.segment_presenter.visible_plane().index == 6


def test_files_are_written_where_the_person_says(user, loop, tmp_path):
    pytest.importorskip("PIL")
    for button, name in (("tableButton", "a.csv"), ("sheetButton", "b.png"), ("reportButton", "c")):
        user.panel.measurements.ask_path = lambda suggested, product, name=name: str(tmp_path / name)
        loop.until(lambda button=button: getattr(user.ui, button).enabled)
        getattr(user.ui, button).click()
        loop.until(lambda: not user.segment_presenter.measurements.is_busy)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.png", "c.html"]
