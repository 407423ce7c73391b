"""The review of a cohort in the browser: what it looks like, its buttons, and the presenter's view in the page's state."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Any

from NeuroSAM2Lib.presenters.cohort_presenter import CohortView, cohort_presenter
from NeuroSAM2Lib.training.cases import ROLES
from NeuroSAM2Lib.view_state import capitalized
from trame.widgets import html
from trame.widgets import vuetify3 as v3

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Web.app_state import AppState
from NeuroSAM2Web.server.allowed_folders import AllowedFolders
from NeuroSAM2Web.ui.file_dialogs import FolderChooser
from NeuroSAM2Web.ui.train_panel import TrainPanel
from NeuroSAM2Web.ui.widgets import key_button, progress, section


class CohortPanel:
    """One for the app.

    Args:
        app_state: Has the presenter and the page.
        folders: That may be used.
        train: Accepted cases join the list of its project; its folder chooser is used.
    """

    def __init__(self, app_state: AppState, folders: AllowedFolders, train: TrainPanel) -> None:
        self.app_state, self.folders, self.train = app_state, folders, train
        self.cohort = cohort_presenter(app_state.presenter, app_state.choose_volume, self._project, sys.executable)
        self.chooser: FolderChooser = train.chooser
        self._shown: CohortView | None = None
        self._task: asyncio.Task[None] | None = None
        app_state.state.update({"cohort_images": "", "cohort_folder": "", "cohort_chosen": "", "cohort_busy": False})
        self._copy()

    def poll(self) -> bool:
        """Takes in what a run has done and shows what there is; true while a case is read or written."""
        self.cohort.poll()
        self._copy()
        return self._task is not None and not self._task.done()

    def close(self) -> None:
        """The app ends; what is being written is written, and a run goes on."""
        self.cohort.close()

    def browse(self) -> None:
        """Lets the person choose the folder of a cohort."""

        def take(folder: str) -> None:
            self.app_state.state.cohort_folder = folder
            self.open_folder()

        self.chooser.show(str(self.app_state.state.cohort_folder), take)

    def browse_images(self) -> None:
        """Lets the person choose the folder of new scans."""

        def take(folder: str) -> None:
            self.app_state.state.cohort_images = folder

        self.chooser.show(str(self.app_state.state.cohort_images), take)

    def begin(self) -> None:
        """Outlines the scans in the typed folder."""
        try:
            self.cohort.begin(self.folders.folder(str(self.app_state.state.cohort_images)))
        except NeuroSAM2Error as error:
            self.cohort.fail(error)
        self.app_state.wake()

    def stop(self) -> None:
        """Ends the run."""
        self.cohort.stop()
        self.app_state.wake()

    def open_folder(self) -> None:
        """The cohort in the typed folder."""
        try:
            self.cohort.open_folder(self.folders.folder(str(self.app_state.state.cohort_folder)))
        except NeuroSAM2Error as error:
            self.cohort.fail(error)
        self.app_state.wake()

    def open_chosen(self) -> None:
        """The case that is chosen in the list."""
        self._begin(self._open(str(self.app_state.state.cohort_chosen)))

    def open_next(self) -> None:
        """The most doubtful case that is not accepted."""
        self.cohort.reload()
        self._begin(self._open(self.cohort.next_case))

    def accept(self) -> None:
        """The case that is worked on is as it should be; goes on with the next one."""
        self._begin(self._accept())

    def join_training(self) -> None:
        """Accepted cases are put on the training list."""
        if self.train.presenter is not None:
            self.cohort.join_training(self.train.presenter.controller.cases, ROLES[0])
        self.app_state.wake()

    def _project(self) -> Path | None:
        return None if self.train.presenter is None else self.train.presenter.controller.folder

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        if self._task is not None and not self._task.done():
            work.close()
            return
        self.app_state.state.cohort_busy = True
        self._task = asyncio.get_running_loop().create_task(self._guarded(work))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except NeuroSAM2Error as error:
            self.cohort.fail(error)
        finally:
            self.app_state.state.cohort_busy = False
            self.app_state.wake()

    async def _open(self, name: str) -> None:
        case = self.cohort.case(name)
        self.folders.file(str(case.image))  # a list may name an image anywhere
        self.cohort.show_case(await asyncio.to_thread(self.cohort.read_case, case))

    async def _accept(self) -> None:
        await asyncio.to_thread(self.cohort.begin_accept().write)
        self.cohort.reload()
        if name := self.cohort.next_case:
            await self._open(name)

    def _copy(self) -> None:
        view = self.cohort.view
        if view == self._shown:
            return
        self._shown = view
        self.app_state.state.update(
            {
                "cohort_rows": [asdict(row) for row in view.rows],
                "cohort_current": view.current,
                "cohort_sentence": capitalized(view.sentence),
                "cohort_can_accept": view.can_accept,
                "cohort_is_running": view.is_running,
                "cohort_percent": view.percent,
            }
        )


def build_cohort_form(panel: CohortPanel) -> None:
    """The part of the page, from its title down."""
    section("More cases")
    html.Div(
        "Outline in a folder of scans what is outlined in the cases above, or open the folder of a cohort that is done: the most doubtful "
        "case comes first.",
        v_if="!cohort_sentence",
        classes="ns-hint mb-2",
    )
    _folder("cohort_images", "Folder of new scans")
    with html.Div(classes="ns-row mb-2"):
        _button("Browse scans", "Choose the folder", panel.browse_images)
        _button("Outline them", "A run that was stopped goes on", panel.begin, "cohort_is_running || !cohort_images")
        _button("Stop", "End the run; what is done stays", panel.stop, "!cohort_is_running")
    with html.Div(v_if="cohort_is_running", classes="mb-2"):
        progress("cohort_percent", is_unknown="cohort_percent === 0")
    html.Div(
        "{{ cohort_sentence }}",
        v_if="cohort_sentence",
        classes="mb-2",
        raw_attrs=['role="status"', 'data-test="cohort-line"'],
    )
    _folder("cohort_folder", "Folder of the cohort")
    with html.Div(classes="ns-row mb-2"):
        _button("Browse", "Choose the folder", panel.browse)
        _button("Open list", "Read the list of the cohort in this folder", panel.open_folder)
    with v3.VList(
        v_if="cohort_rows.length", density="compact", classes="py-0 mb-2 ns-objects", border=True, rounded=True
    ):
        v3.VListItem(
            v_for="row in cohort_rows",
            key="row.name",
            title=("row.doubt + '  ' + row.name",),
            subtitle=("row.state + ': ' + row.reason",),
            active=("cohort_chosen === row.name",),
            click="cohort_chosen = row.name",
            color="primary",
            raw_attrs=[':data-cohort-case="row.name"', ':aria-current="cohort_current === row.name"'],
        )
    with html.Div(classes="ns-row mb-2"):
        _button("Open", "Open the chosen case with its prompts", panel.open_chosen, "cohort_busy || !cohort_chosen")
        _button(
            "Next doubtful case", "Open the most doubtful case", panel.open_next, "cohort_busy || !cohort_rows.length"
        )
        _button("Accept", "Keep this case as it is, and go on", panel.accept, "cohort_busy || !cohort_can_accept")
        _button("Train on accepted", "Put accepted cases on the list above", panel.join_training, "!cohort_rows.length")


def _folder(name: str, label: str) -> None:
    v3.VTextField(
        v_model=(name,),
        label=label,
        density="compact",
        variant="outlined",
        hide_details=True,
        classes="mb-2",
        raw_attrs=[f'data-test="{name.replace("_", "-")}"'],
    )


def _button(text: str, tip: str, act: Callable[[], None], disabled: str = "false") -> None:
    name = text.lower().replace(" ", "-")
    key_button(text, tip=tip, click=act, disabled=(disabled,), raw_marks=[f'data-test="cohort-{name}"'])
