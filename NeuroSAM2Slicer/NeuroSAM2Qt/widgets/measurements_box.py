"""Measurements of all objects: the table, comparisons, and what is written for a paper. The twin of the browser's dialog."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import qt
import slicer
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.presenters.measurements import DIFFERENCE_TITLES, Difference, Measurements, MeasurementsView, Product
from NeuroSAM2Lib.segmentation.objects.session_node import HOW_IT_IS_COUNTED
from NeuroSAM2Lib.view_state import capitalized

from NeuroSAM2Core.volume import SlicePlane
from NeuroSAM2Qt.connections import connect
from NeuroSAM2Qt.widgets.tables import fill_table, prepare_table

OUT_OF_DATE = _("Something has changed since: measure again.")


def ask_path(name: str, product: Product) -> str:
    """The file that the person chooses to write; empty for none. The dialog asks before it replaces one."""
    return str(
        qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), _("Write"), name, f"{product.name} (*{product.value})")
        or ""
    )


class MeasurementsBox:
    """The widgets.

    Args:
        ui: Has them.
        measurements: Of the session.
        do: Makes a button's function of an action.
        jump: Shows a slice.
        ask_path: Asks for a file.
    """

    def __init__(
        self,
        ui: SimpleNamespace,
        measurements: Measurements,
        do: Callable[[Callable[..., None]], Callable[..., None]],
        jump: Callable[[SlicePlane], None],
        ask_path: Callable[[str, Product], str] = ask_path,
    ) -> None:
        self.ui, self.measurements, self.ask_path = ui, measurements, ask_path
        self._jump = jump
        self._shown: MeasurementsView | None = None
        self._place = (-1, 0)
        """The row that was gone to last, and which of its slices comes next."""
        ui.measurementsLabel.setToolTip(HOW_IT_IS_COUNTED)
        for table in (ui.measurementsTable, ui.differencesTable):
            prepare_table(table, ())
        prepare_table(ui.differencesTable, DIFFERENCE_TITLES)
        connect(ui.measureButton, "clicked()", do(self._measure_or_cancel))
        connect(ui.copyMeasurementsButton, "clicked()", self._copy)
        connect(ui.compareButton, "clicked()", do(self._compare))
        connect(ui.goThereButton, "clicked()", do(self._go_there))
        connect(ui.differencesTable, "cellDoubleClicked(int,int)", do(lambda row, column: self._go_there()))
        for button, product in (
            (ui.tableButton, Product.TABLE),
            (ui.reportButton, Product.PAGE),
            (ui.sheetButton, Product.SHEET),
        ):
            connect(button, "clicked()", do(lambda product=product: self._write(product)))

    def show(self) -> None:
        """Shows what there is; nothing is looked up while the section is closed."""
        ui = self.ui
        if ui.measurementsSection.collapsed:
            return
        view = self.measurements.view()
        if view == self._shown:
            return
        before, self._shown = self._shown, view
        sentence = OUT_OF_DATE if view.is_out_of_date and not view.is_busy else capitalized(view.sentence)
        ui.measurementsLabel.text = sentence
        ui.measurementsLabel.setVisible(bool(sentence))
        ui.measureButton.text = _("Cancel") if view.is_busy else _("Measure")
        ui.measureButton.setEnabled(view.can_measure or view.is_busy)
        for button in (ui.tableButton, ui.reportButton, ui.sheetButton):
            button.setEnabled(view.can_measure)
        ui.copyMeasurementsButton.setEnabled(bool(view.rows))
        ui.compareButton.setEnabled(view.can_measure and bool(view.choices))
        ui.goThereButton.setEnabled(any(one.planes for one in view.differences))
        if before is None or (before.titles, before.rows) != (view.titles, view.rows):
            prepare_table(ui.measurementsTable, view.titles, is_wide=True)
            fill_table(ui.measurementsTable, view.rows)
        if before is None or before.differences != view.differences:
            fill_table(ui.differencesTable, [one.cells for one in view.differences])
        if before is None or before.choices != view.choices:
            self._show_choices(view)

    def _show_choices(self, view: MeasurementsView) -> None:
        selector = self.ui.compareSelector
        chosen = selector.currentText
        titles = [one.title for one in view.choices]
        selector.clear()
        selector.addItems(titles)
        if chosen in titles:
            selector.setCurrentIndex(titles.index(chosen))

    def _measure_or_cancel(self) -> None:
        if self.measurements.is_busy:
            self.measurements.cancel()
        else:
            self.measurements.measure()

    def _copy(self) -> None:
        qt.QApplication.clipboard().setText(self.measurements.clipboard_text())

    def _compare(self) -> None:
        choices = self.measurements.view().choices
        number = self.ui.compareSelector.currentIndex
        if 0 <= number < len(choices):
            self.measurements.compare(choices[number].key)

    def _write(self, product: Product) -> None:
        path = self.ask_path(self.measurements.default_name(product), product)
        is_whole = path.lower().endswith(product.value)  # else the dialog has asked about another name
        if path:
            target = Path(path if is_whole else path + product.value)
            self.measurements.write(product, target, num_slices=self.ui.sheetSpinBox.value, overwrite=is_whole)

    def _go_there(self) -> None:
        row = self._row()
        if row is None:
            return
        number, difference = row
        turn = self._place[1] if self._place[0] == number else 0
        self._place = number, turn + 1
        self._jump(difference.planes[turn % len(difference.planes)])

    def _row(self) -> tuple[int, Difference] | None:
        """The chosen row, or the first one with a difference."""
        rows = [] if self._shown is None else list(enumerate(self._shown.differences))
        chosen = [one for one in rows if one[0] == self.ui.differencesTable.currentRow()]
        return next((one for one in (*chosen, *rows) if one[1].planes), None)
