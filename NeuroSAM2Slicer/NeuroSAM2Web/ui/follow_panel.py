"""Carrying objects over from an earlier scan: buttons call the presenter, its view is copied into the page's state."""

import asyncio
import sys

from NeuroSAM2Lib.presenters.follow_presenter import FollowPhase, follow_presenter
from NeuroSAM2Lib.view_state import capitalized

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Web.app_state import AppState


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
