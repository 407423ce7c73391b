"""A dialog in which a folder is chosen by walking through those that the app may use, instead of typing its path."""

from collections.abc import Callable
from dataclasses import asdict

from trame.widgets import html
from trame.widgets import vuetify3 as v3
from trame_server.state import State

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Web.server.allowed_folders import AllowedFolders, Listing
from NeuroSAM2Web.ui.widgets import path_row


class FolderChooser:
    """One dialog.

    Args:
        state: Of the page.
        folders: That may be used.
    """

    def __init__(self, state: State, folders: AllowedFolders) -> None:
        self._state, self._folders = state, folders
        self._choose: Callable[[str], None] = lambda folder: None
        state.update({"browse_open": False, "browse_list": _shown(folders.listing())})

    def show(self, begin: str, choose: Callable[[str], None]) -> None:
        """Opens the dialog.

        Args:
            begin: The folder that is shown first; the list of usable ones where it is not there.
            choose: Called with the folder that the person takes.
        """
        self._choose = choose
        self.enter(begin)
        self._state.browse_open = True

    def enter(self, folder: str) -> None:
        """Shows another folder."""
        try:
            listing = self._folders.listing(folder)
        except NeuroSAM2Error:
            listing = self._folders.listing()
        self._state.browse_list = _shown(listing)

    def take(self) -> None:
        """The shown folder is the one."""
        self._state.browse_open = False
        self._choose(str(self._state.browse_list["folder"]))


def _shown(listing: Listing) -> dict[str, object]:
    shown = asdict(listing)
    shown["entries"] = [one for one in shown["entries"] if one["is_folder"]]
    return shown


def build_folder_chooser(chooser: FolderChooser) -> None:
    """The dialog."""
    with (
        v3.VDialog(v_model=("browse_open",), max_width=560),
        v3.VCard(title="Choose a folder", raw_attrs=['data-test="browse"']),
    ):
        with v3.VCardText(classes="pb-0"):
            path_row("browse_list", chooser.enter, "ns-path")
            with v3.VList(density="compact", border=True, rounded=True, style="height: 260px; overflow-y: auto"):
                v3.VListItem(
                    v_for="entry in browse_list.entries",
                    key="entry.path",
                    title=("entry.name",),
                    prepend_icon="mdi-folder",
                    click=(chooser.enter, "[entry.path]"),
                    raw_attrs=[':data-folder="entry.name"'],
                )
            html.Div("No folders in this one.", v_if="!browse_list.entries.length", classes="ns-hint mt-2")
        with v3.VCardActions():
            v3.VSpacer()
            v3.VBtn("Cancel", click="browse_open = false")
            v3.VBtn(
                "Take this folder",
                click=chooser.take,
                disabled=("!browse_list.folder",),
                color="primary",
                variant="flat",
            )
