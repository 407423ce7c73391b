"""Tables: read-only ones of texts, the quality strip as one row, and the objects, edited in place; with the menu of the active one.

In the quality strip, cells are coloured, explained by tool tips, and clicked to go to their slice.
"""

from collections.abc import Callable, Mapping, Sequence

import qt
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.presenters.segment_view_model import LEGEND, Mark, QualityCell
from NeuroSAM2Lib.segmentation.object_actions import ObjectActions
from NeuroSAM2Lib.view_state import ObjectView

from NeuroSAM2Qt.connections import connect

ROW_PX, MAX_ROWS = 24, 6


def prepare_table(table: qt.QTableWidget, titles: Sequence[str], *, is_wide: bool = False) -> None:
    """Columns with these titles, whole rows chosen, nothing edited.

    Args:
        table: The widget.
        titles: Of the columns.
        is_wide: The columns do not fit into the panel: the first one is as wide as its texts, and does not fill what the others leave.
    """
    table.setColumnCount(len(titles))
    table.setHorizontalHeaderLabels(list(titles))
    table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
    if not is_wide:
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
    table.verticalHeader().setVisible(False)
    table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
    table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
    table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
    table.setFixedHeight((MAX_ROWS + 1) * ROW_PX)


def fill_table(table: qt.QTableWidget, rows: Sequence[Sequence[str]]) -> None:
    """These rows; the chosen one stays chosen."""
    chosen = table.currentRow()
    table.setRowCount(len(rows))
    for row, texts in enumerate(rows):
        for column, text in enumerate(texts):
            table.setItem(row, column, qt.QTableWidgetItem(text))
        table.setRowHeight(row, ROW_PX)
    if 0 <= chosen < len(rows):
        table.setCurrentCell(chosen, 0)


HEIGHT_PX, FRAME_PX = 28, 2
CURRENT = "QTableWidget::item:selected {{ border: 2px solid black; background: rgb{colour}; }}"
"""The cell of the shown slice keeps its colour."""


class QualityStripTable:
    """Shows cells and says which one was clicked.

    Args:
        table: The table.
        legend: Below it.
        on_choose: Called with the number of a cell.
    """

    def __init__(self, table: qt.QTableWidget, legend: qt.QLabel, on_choose: Callable[[int], None]) -> None:
        self.table = table
        self._shown: tuple[QualityCell, ...] = ()
        self._brushes = {mark: qt.QBrush(qt.QColor(*mark.value)) for mark in Mark}
        table.horizontalHeader().setMinimumSectionSize(1)
        table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        for header in (table.horizontalHeader(), table.verticalHeader()):
            header.setVisible(False)
        table.setRowCount(1)
        table.setShowGrid(False)
        table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        table.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        table.setVerticalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        table.setFixedHeight(HEIGHT_PX)
        table.setRowHeight(0, HEIGHT_PX - FRAME_PX)
        connect(table, "cellClicked(int,int)", lambda row, column: on_choose(column))
        legend.text = "   ".join(f'<span style="color: rgb{mark.value}">■</span> {word}' for mark, word in LEGEND)

    def show(self, cells: tuple[QualityCell, ...], current: int) -> None:
        """Changes what differs from what is shown."""
        if len(cells) != len(self._shown):
            self.table.setColumnCount(len(cells))
            self._shown = ()
        for number, cell in enumerate(cells):
            if not self._shown or cell != self._shown[number]:
                self._set(number, cell)
        self._shown = cells
        if 0 <= current < len(cells):
            self._frame(current)

    def _frame(self, current: int) -> None:
        style = CURRENT.format(colour=self._shown[current].mark.value)
        if self.table.styleSheet != style:
            self.table.setStyleSheet(style)
        if self.table.currentColumn() != current:
            self.table.setCurrentCell(0, current)

    def _set(self, number: int, cell: QualityCell) -> None:
        item = self.table.item(0, number)
        if item is None:
            item = qt.QTableWidgetItem()
            self.table.setItem(0, number, item)
        item.setBackground(self._brushes[cell.mark])
        item.setToolTip(cell.sentence)


Colour = tuple[float, float, float]
COLOUR, NAME, VOLUME, SHOWN, LOCKED = range(5)
"""The columns."""
CHECKABLE = qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable
FLAGS = {
    COLOUR: qt.Qt.ItemIsEnabled,  # a selection would hide it
    NAME: qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEditable,
    VOLUME: qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable,
    SHOWN: CHECKABLE,
    LOCKED: CHECKABLE,
}
"""What a person can do to a cell."""
NUM_ROWS_SHOWN = 5
MAX_CHANNEL = 255


def ask_colour(colour: Colour) -> Colour | None:
    """The colour that the person chooses in a dialog; None where there is none."""
    chosen = qt.QColorDialog.getColor(qt.QColor(*(round(MAX_CHANNEL * part) for part in colour)))
    if not chosen.isValid():
        return None
    return chosen.red() / MAX_CHANNEL, chosen.green() / MAX_CHANNEL, chosen.blue() / MAX_CHANNEL


class ObjectTable:
    """One table.

    Args:
        table: The widget.
        choose: Called with the segment of the row that was chosen.
        edit: Does something to an object.
        ask_colour: Asks for a colour in place of another one.
    """

    def __init__(
        self,
        table: qt.QTableWidget,
        choose: Callable[[str], None],
        edit: Callable[[Callable[[ObjectActions], object]], None],
        ask_colour: Callable[[Colour], Colour | None] = ask_colour,
    ) -> None:
        self.table, self.ask_colour = table, ask_colour
        self._choose, self._edit = choose, edit
        self._rows: tuple[ObjectView, ...] = ()
        self._volumes_ml: Mapping[str, float] = {}
        self._is_showing = False
        prepare_table(table, ("", _("Object"), _("mL"), _("Shown"), _("Lock")))
        header = table.horizontalHeader()
        header.setMinimumSectionSize(ROW_PX)
        header.setSectionResizeMode(COLOUR, qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(NAME, qt.QHeaderView.Stretch)
        table.setEditTriggers(qt.QAbstractItemView.DoubleClicked | qt.QAbstractItemView.EditKeyPressed)
        table.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        table.setFixedHeight((NUM_ROWS_SHOWN + 1) * ROW_PX)
        connect(
            table,
            "currentCellChanged(int,int,int,int)",
            lambda row, column, before, column_before: self._on_chosen(row, column),
        )
        connect(table, "cellChanged(int,int)", self._on_changed)
        connect(table, "cellDoubleClicked(int,int)", self._on_double_clicked)

    def show(self, rows: tuple[ObjectView, ...], volumes_ml: Mapping[str, float]) -> None:
        """Changes what differs from what is shown, so that a name that is being typed stays."""
        self._is_showing, self._rows, self._volumes_ml = True, rows, volumes_ml
        if self.table.rowCount != len(rows):
            self.table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            self._show_row(number, row, volumes_ml.get(row.segment_id))
            if row.is_active and self.table.currentRow() != number:
                self.table.setCurrentCell(number, NAME)
        if not any(row.is_active for row in rows):
            self.table.setCurrentCell(-1, -1)
        self._is_showing = False

    def _show_row(self, number: int, row: ObjectView, millilitres: float | None) -> None:
        if self.table.item(number, NAME) is None:
            for column in range(self.table.columnCount):
                item = qt.QTableWidgetItem()
                item.setFlags(FLAGS[column])
                self.table.setItem(number, column, item)
            self.table.item(number, COLOUR).setToolTip(_("Double-click for another colour"))
            self.table.setRowHeight(number, ROW_PX)
        self.table.item(number, COLOUR).setBackground(
            qt.QBrush(qt.QColor(*(round(MAX_CHANNEL * part) for part in row.colour)))
        )
        self._set_text(number, NAME, row.name)
        for column, is_checked in ((SHOWN, row.is_shown), (LOCKED, row.is_locked)):
            self.table.item(number, column).setCheckState(qt.Qt.Checked if is_checked else qt.Qt.Unchecked)
        self._set_text(number, VOLUME, "" if millilitres is None else f"{millilitres:.2f}")
        self.table.item(number, NAME).setToolTip(
            _(
                "{name} ({num_done} done, {num_prompted} prompted, {num_confirmed} confirmed). Double-click to rename."
            ).format(
                name=row.name,
                num_done=row.num_done,
                num_prompted=row.num_prompted,
                num_confirmed=row.num_confirmed,
            )
        )

    def _set_text(self, row: int, column: int, text: str) -> None:
        item = self.table.item(row, column)
        if item.data(qt.Qt.DisplayRole) != text:
            item.setData(qt.Qt.DisplayRole, text)

    def _on_chosen(self, row: int, column: int) -> None:
        """What is hidden or locked by its box is not chosen by that."""
        if not self._is_showing and 0 <= row < len(self._rows) and column not in (SHOWN, LOCKED):
            self._choose(self._rows[row].segment_id)

    def _on_changed(self, row: int, column: int) -> None:
        if self._is_showing or row >= len(self._rows):
            return
        known, item = self._rows[row], self.table.item(row, column)
        typed, is_checked = str(item.data(qt.Qt.DisplayRole)), item.checkState() == qt.Qt.Checked
        self._is_showing = True
        self._show_row(row, known, self._volumes_ml.get(known.segment_id))  # the change may be refused
        self._is_showing = False
        if column == NAME:
            self._edit(lambda objects: objects.set_name(known.segment_id, typed))
        elif column == SHOWN:
            self._edit(lambda objects: objects.display.show(known.segment_id, is_shown=is_checked))
        elif column == LOCKED:
            self._edit(lambda objects: objects.lock(known.segment_id, is_locked=is_checked))

    def _on_double_clicked(self, row: int, column: int) -> None:
        if column != COLOUR or row >= len(self._rows):
            return
        known = self._rows[row]
        colour = self.ask_colour(known.colour)
        if colour is not None:
            self._edit(lambda objects: objects.recolour(known.segment_id, colour))


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
