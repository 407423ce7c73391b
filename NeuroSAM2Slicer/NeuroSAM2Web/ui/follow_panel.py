"""Carrying objects over from an earlier scan: buttons call the presenter, its view is copied into the page's state.

What carrying over from an earlier scan looks like: a dialog to choose it, and a bar below the views while the person looks.
"""

import asyncio
import sys

from NeuroSAM2Lib.presenters.follow_presenter import FollowPhase, follow_presenter
from NeuroSAM2Lib.view_state import capitalized
from trame.widgets import html
from trame.widgets import vuetify3 as v3

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Web.app_state import AppState
from NeuroSAM2Web.ui.widgets import progress


class FollowPanel:
    """One for the app.

    Args:
        app_state: Has the presenter and the page.
    """

    def __init__(self, app_state: AppState) -> None:
        self.app_state = app_state
        self.follow = follow_presenter(app_state.presenter, sys.executable)
        self._task: asyncio.Task[None] | None = None
        app_state.state.update({"follow_opens": False, "follow_scans": [], "follow_scan": ""})
        self._copy()

    def show(self) -> None:
        """The dialog, with what can be carried over."""
        scans = self.follow.scans
        self.app_state.state.update(
            {
                "files_opens": False,
                "follow_opens": True,
                "follow_scans": [{"value": key, "title": scan.title} for key, scan in scans.items()],
                "follow_scan": next(iter(scans), ""),
            }
        )

    def begin(self) -> None:
        """Registers the scan that is chosen."""
        self.app_state.state.follow_opens = False
        self.follow.begin_with(str(self.app_state.state.follow_scan))
        self.app_state.wake()

    def use(self) -> None:
        """The person agrees: the objects become prompts here."""
        self._task = asyncio.get_running_loop().create_task(self._use())

    def cancel(self) -> None:
        """The person does not."""
        self.follow.cancel()
        self.app_state.wake()

    def poll(self) -> bool:
        """Shows what there is; true while the scans are registered."""
        is_busy = self.follow.poll()
        self._copy()
        return is_busy

    def close(self) -> None:
        """Gives up what is under way."""
        self.follow.cancel()

    async def _use(self) -> None:
        try:
            self.follow.use(await asyncio.to_thread(self.follow.carry))
        except NeuroSAM2Error as error:
            self.follow.cancel()
            self.app_state.state.files_problem = capitalized(str(error))
        self.app_state.wake()

    def _copy(self) -> None:
        view = self.follow.view
        if view.phase is FollowPhase.IDLE and view.sentence:
            self.app_state.state.files_problem = capitalized(view.sentence)
            self.follow.cancel()
        self.app_state.state.update(
            {"follow_phase": view.phase.value, "follow_percent": view.percent, "follow_sentence": view.sentence}
        )


WIDTH_PX = 520
BAR = "position: fixed; bottom: 16px; left: 50%; transform: translateX(-50%); z-index: 2000; width: min(640px, 96vw)"


def build_follow(panel: FollowPanel) -> None:
    """Both."""
    with (
        v3.VDialog(v_model=("follow_opens",), max_width=WIDTH_PX),
        v3.VCard(title="Carry over from an earlier scan", raw_attrs=['data-test="follow"']),
    ):
        with v3.VCardText():
            html.P(
                "The earlier scan of the same person is registered with the one that is open. You see the result before it is used; "
                "then the objects become boxes on few slices, and the model outlines them anew.",
                classes="mb-4",
            )
            v3.VSelect(
                v_model=("follow_scan",),
                items=("follow_scans",),
                label="Earlier scan and what is outlined on it",
                density="compact",
                variant="outlined",
                hide_details=True,
            )
            html.Div(
                "Nothing is outlined on another image: open the earlier scan and its label map first.",
                v_if="!follow_scans.length",
                classes="ns-hint mt-2",
            )
        with v3.VCardActions():
            v3.VSpacer()
            v3.VBtn("Cancel", click="follow_opens = false")
            v3.VBtn("Register", click=panel.begin, disabled=("!follow_scan",), color="primary", variant="flat")
    with v3.VCard(
        v_if="follow_phase !== 'idle'", style=BAR, elevation=8, raw_attrs=['data-test="follow-bar"', 'role="status"']
    ):
        v3.VCardText("{{ follow_sentence }}", classes="pb-1")
        with html.Div(v_if="follow_phase === 'registering'", classes="px-4"):
            progress("follow_percent", is_unknown="follow_percent === 0")
        with v3.VCardActions():
            v3.VSpacer()
            v3.VBtn("Cancel", click=panel.cancel)
            v3.VBtn("Use", v_if="follow_phase === 'review'", click=panel.use, color="primary", variant="flat")
