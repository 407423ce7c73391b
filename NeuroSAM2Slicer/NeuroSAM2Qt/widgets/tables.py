"""Read-only tables of texts."""

from collections.abc import Sequence

import qt

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
