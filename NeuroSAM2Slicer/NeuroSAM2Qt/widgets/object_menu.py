"""The menu of what can be done to the active object as a whole."""

from collections.abc import Callable

import qt
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.segmentation.object_actions import ObjectActions
from NeuroSAM2Lib.view_state import ObjectView

from NeuroSAM2Qt.connections import connect

Edit = Callable[[ObjectActions, str], object]
"""An action on the object of a segment."""


class ObjectMenu:
    """The menu of one button.

    Args:
        button: Opens it.
        edit: Does something to an object.
    """

    def __init__(self, button: qt.QPushButton, edit: Callable[[Callable[[ObjectActions], object]], None]) -> None:
        self.button, self._edit = button, edit
        self._active = ""
        self._others: tuple[ObjectView, ...] = ()
        self.menu = qt.QMenu(button)
        button.setMenu(self.menu)
        self._add(_("Delete"), lambda objects, active: objects.delete(active))
        self._add(_("Duplicate"), lambda objects, active: objects.duplicate(active))
        self.merge_menu = self.menu.addMenu(_("Merge into"))
        self.subtract_menu = self.menu.addMenu(_("Subtract"))
        self._add(_("Move up"), lambda objects, active: objects.move(active, -1))
        self._add(_("Move down"), lambda objects, active: objects.move(active, 1))
        connect(self.merge_menu, "aboutToShow()", self._fill_merge_menu)
        connect(self.subtract_menu, "aboutToShow()", self._fill_subtract_menu)

    def show(self, rows: tuple[ObjectView, ...]) -> None:
        """These are the objects now."""
        self._active = next((row.segment_id for row in rows if row.is_active), "")
        self._others = tuple(row for row in rows if not row.is_active)
        self.button.setEnabled(bool(self._active))
        for menu in (self.merge_menu, self.subtract_menu):
            menu.setEnabled(bool(self._others))

    def _fill_merge_menu(self) -> None:
        self.merge_menu.clear()
        for row in self._others:
            self._add(row.name, _merging(row.segment_id), self.merge_menu)

    def _fill_subtract_menu(self) -> None:
        self.subtract_menu.clear()
        for row in self._others:
            self._add(row.name, _subtracting(row.segment_id), self.subtract_menu)

    def _add(self, title: str, edit: Edit, menu: qt.QMenu | None = None) -> None:
        action = (menu or self.menu).addAction(title.replace("&", "&&"))
        connect(action, "triggered()", lambda: self._edit(lambda objects: edit(objects, self._active)))


def _merging(into: str) -> Edit:
    return lambda objects, active: objects.merge(active, into)


def _subtracting(other: str) -> Edit:
    return lambda objects, active: objects.subtract(active, other)
