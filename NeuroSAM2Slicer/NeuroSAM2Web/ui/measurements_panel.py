"""The measurements' dialog: buttons call the presenter, its view is copied into the page's state. The twin of Slicer's."""

from collections.abc import Callable
from pathlib import Path

from NeuroSAM2Lib.presenters.measurements import MAX_SLICES, NUM_SLICES, Measurements, Product

from NeuroSAM2Core.decoding import parse_count
from NeuroSAM2Core.volume import Axis, SlicePlane
from NeuroSAM2Web.app_state import AppState
from NeuroSAM2Web.server.allowed_folders import size_text
from NeuroSAM2Web.server.transfer import Transfer


class MeasurementsPanel:
    """One dialog.

    Args:
        app_state: Has the presenter and the page.
        transfer: Offers what was written to the browser.
    """

    def __init__(self, app_state: AppState, transfer: Transfer) -> None:
        self.app_state, self._transfer = app_state, transfer
        self._writes = False
        app_state.state.update(
            {
                "measures_open": False,
                "measures_other": "",
                "measures_slices": NUM_SLICES,
                "measures_links": [],
                "measures_copied": False,
            }
        )
        self._copy()

    @property
    def measurements(self) -> Measurements:
        """Of the session."""
        return self.app_state.presenter.measurements

    def poll(self) -> bool:
        """Shows what there is; true while something is under way."""
        if self._writes and not self.measurements.is_busy:
            self._writes = False
            self._offer(self.measurements.written)
        if self.app_state.state.measures_open:
            self._copy()
        return self.measurements.is_busy

    def close(self) -> None:
        """Gives up what is under way."""
        self.measurements.cancel()

    def show(self) -> None:
        """Opens the dialog, and measures where nothing is measured yet or something has changed."""
        self.app_state.state.update({"measures_open": True, "measures_links": []})
        view = self.measurements.view()
        if view.can_measure and (not view.rows or view.is_out_of_date):
            self.measurements.measure()
        self.app_state.wake()

    def measure(self) -> None:
        """Measures anew."""
        self._do(self.measurements.measure)

    def cancel(self) -> None:
        """Gives up what is under way."""
        self._do(self.measurements.cancel)

    def compare(self) -> None:
        """Compares with what is chosen."""
        self._do(lambda: self.measurements.compare(str(self.app_state.state.measures_other)))

    def go_there(self, axis: str, index: int) -> None:
        """Shows a slice, without the dialog before it."""
        self.app_state.state.measures_open = False
        self.app_state.presenter.jump_to_slice(SlicePlane(Axis(axis), index))
        self.app_state.wake()

    def write(self, name: str) -> None:
        """Writes a file for the browser.

        Args:
            name: Of a `Product`.
        """
        product = Product[name]
        count = parse_count(str(self.app_state.state.measures_slices)) or NUM_SLICES
        path = self._transfer.temp_path(self.measurements.default_name(product))
        self.app_state.state.measures_links = []
        self._writes = True
        self._do(lambda: self.measurements.write(product, path, num_slices=min(max(1, count), MAX_SLICES)))

    def _do(self, action: Callable[[], None]) -> None:
        action()
        self.app_state.wake()

    def _offer(self, path: Path | None) -> None:
        if path is not None:
            (address,) = self._transfer.offer([path])
            self.app_state.state.measures_links = [
                {"name": path.name, "address": address, "size": size_text(path.stat().st_size)}
            ]

    def _copy(self) -> None:
        view, state = self.measurements.view(), self.app_state.state
        keys = [one.key for one in view.choices]
        state.update(
            {
                "measures_titles": list(view.titles),
                "measures_rows": [list(row) for row in view.rows],
                "measures_text": self.measurements.clipboard_text(),
                "measures_differences": [
                    {
                        "title": one.title,
                        "dice": one.dice,
                        "hd95": one.hd95_mm,
                        "planes": [{"axis": str(plane.axis), "index": plane.index} for plane in one.planes],
                    }
                    for one in view.differences
                ],
                "measures_choices": [{"value": one.key, "title": one.title} for one in view.choices],
                "measures_sentence": view.sentence,
                "measures_old": view.is_out_of_date,
                "measures_can": view.can_measure,
                "measures_busy": view.is_busy,
            }
        )
        if state.measures_other not in keys:
            state.measures_other = keys[0] if keys else ""
