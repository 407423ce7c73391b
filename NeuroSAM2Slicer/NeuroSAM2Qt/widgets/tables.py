"""Read-only tables of texts, and the quality strip as a table of one row.

In the quality strip, cells are coloured, explained by tool tips, and clicked to go to their slice.
"""

from collections.abc import Callable, Sequence

import qt
from NeuroSAM2Lib.presenters.segment_view_model import LEGEND, Mark, QualityCell

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
