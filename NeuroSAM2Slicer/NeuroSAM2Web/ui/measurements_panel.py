"""The measurements' dialog: buttons call the presenter, its view is copied into the page's state. The twin of Slicer's.

What the measurements' dialog looks like.
"""

from collections.abc import Callable
from pathlib import Path

from NeuroSAM2Lib.presenters.measurements import DIFFERENCE_TITLES, MAX_SLICES, NUM_SLICES, Measurements, Product
from NeuroSAM2Lib.segmentation.objects.session_node import HOW_IT_IS_COUNTED
from trame.widgets import html
from trame.widgets import vuetify3 as v3

from NeuroSAM2Core.decoding import parse_count
from NeuroSAM2Core.volume import Axis, SlicePlane
from NeuroSAM2Web.app_state import AppState
from NeuroSAM2Web.server.allowed_folders import size_text
from NeuroSAM2Web.server.transfer import Transfer
from NeuroSAM2Web.ui.widgets import key_button, progress, section


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


FIELD = {"density": "compact", "variant": "outlined", "hide_details": True}
WIDTH_PX = 1200
COLUMN_TITLE = "{{ title.replace(' %', '\\u00a0%').replaceAll('-', '\\u2011') }}"
"""A title that is broken between words only."""
COPY = "utils.get('navigator').clipboard.writeText(measures_text); measures_copied = true"
PRODUCTS = (
    (
        Product.PAGE,
        "Report",
        "mdi-file-document-outline",
        "Picture, tables, a line for the methods and versions, on one page",
    ),
    (Product.SHEET, "Contact sheet", "mdi-view-grid-outline", "A picture of slices with the outlines of what is shown"),
    (Product.TABLE, "Table (CSV)", "mdi-table", "All numbers, for a spreadsheet or a statistics program"),
)


def build_measurements(panel: MeasurementsPanel) -> None:
    """The dialog."""
    with (
        v3.VDialog(v_model=("measures_open",), max_width=WIDTH_PX, scrollable=True),
        v3.VCard(title="Measurements", raw_attrs=['data-test="measurements"']),
    ):
        with v3.VCardText(classes="pt-0"):
            _table(panel)
            _comparison(panel)
            _files(panel)
        with v3.VCardActions():
            html.Span("{{ measures_sentence }}", classes="ns-hint ml-4", raw_attrs=['role="status"'])
            v3.VSpacer()
            v3.VBtn("Close", click="measures_open = false", color="primary")


def _table(panel: MeasurementsPanel) -> None:
    with html.Div(v_if="measures_busy", classes="mb-2 d-flex align-center ga-3"):
        progress("0", is_unknown="true")
        key_button("Cancel", tip="Give up; what was measured before stays", click=panel.cancel)
    html.Div("There is no object yet.", v_if="!measures_can && !measures_busy", classes="ns-hint mb-2")
    html.Div(
        "Something has changed since: measure again.",
        v_if="measures_old && !measures_busy",
        classes="ns-old mb-2",
        raw_attrs=['role="status"', 'data-test="measures-old"'],
    )
    with (
        html.Div(
            v_if="measures_rows.length",
            classes="ns-wide mb-2",
            raw_attrs=['tabindex="0"', 'aria-label="Table of objects"'],
        ),
        html.Table(classes="ns-measures"),
    ):
        with html.Thead(), html.Tr():
            html.Th(COLUMN_TITLE, v_for="(title, n) in measures_titles", key="n", raw_attrs=['scope="col"'])
        with (
            html.Tbody(),
            html.Tr(v_for="(row, n) in measures_rows", key="n", raw_attrs=[':data-measured="row[0]"']),
        ):
            html.Td("{{ cell }}", v_for="(cell, m) in row", key="m")
    with html.Div(classes="ns-row"):
        key_button(
            "Measure", tip="Measure all objects in all open images", click=panel.measure, disabled=("!measures_can",)
        )
        key_button(
            "{{ measures_copied ? 'Copied' : 'Copy' }}",
            tip="Put the table on the clipboard, to be pasted into a spreadsheet",
            icon="mdi-content-copy",
            click=COPY,
            disabled=("!measures_rows.length",),
            blur="measures_copied = false",
        )
    html.Div(HOW_IT_IS_COUNTED, classes="ns-hint mb-3")


def _comparison(panel: MeasurementsPanel) -> None:
    section("Compare")
    with html.Div(classes="d-flex ga-2 align-center mb-2"):
        v3.VSelect(
            items=("measures_choices",),
            v_model=("measures_other",),
            label="With",
            disabled=("!measures_choices.length",),
            **FIELD,
        )
        key_button(
            "Compare",
            tip="Dice, HD95 and the slices that differ most: of the active object, or of all objects with those of the same names",
            click=panel.compare,
            disabled=("!measures_can || !measures_other",),
        )
    with html.Table(v_if="measures_differences.length", classes="ns-measures mb-3"):
        with html.Thead(), html.Tr():
            for title in DIFFERENCE_TITLES:
                html.Th(title, raw_attrs=['scope="col"'])
        with (
            html.Tbody(),
            html.Tr(v_for="row in measures_differences", key="row.title", raw_attrs=[':data-difference="row.title"']),
        ):
            html.Td("{{ row.title }}")
            html.Td("{{ row.dice }}")
            html.Td("{{ row.hd95 || 'none' }}")
            with html.Td():
                v3.VBtn(
                    "{{ plane.axis }} = {{ plane.index }}",
                    v_for="plane in row.planes",
                    key="plane.index",
                    size="x-small",
                    variant="tonal",
                    classes="mr-1",
                    title="Go there",
                    click=(panel.go_there, "[plane.axis, plane.index]"),
                )


def _files(panel: MeasurementsPanel) -> None:
    section("For a paper")
    with html.Div(classes="d-flex flex-wrap ga-2 align-center mb-2"):
        for product, title, icon, tip in PRODUCTS:
            key_button(
                title,
                tip=tip,
                icon=icon,
                click=(panel.write, f"['{product.name}']"),
                disabled=("!measures_can",),
                raw_marks=[f'data-test="write-{product.name.lower()}"'],
            )
        v3.VTextField(
            v_model=("measures_slices",),
            label="Slices in the picture",
            type="number",
            min=1,
            max=MAX_SLICES,
            style="max-width: 150px",
            **FIELD,
        )
    html.A(
        "Download {{ link.name }} ({{ link.size }})",
        v_for="link in measures_links",
        key="link.address",
        href=("link.address.slice(1)",),
        download=("link.name",),
        classes="d-block ns-link",
        raw_attrs=['data-test="measures-link"'],
    )
