"""The Open and Save dialogs as parts of the page; `FilePanel` does what they say.

A dialog in which a folder is chosen by walking through those that the app may use, instead of typing its path.
"""

from collections.abc import Callable
from dataclasses import asdict

from trame.widgets import html
from trame.widgets import vuetify3 as v3
from trame_server.state import State

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Web.file_io import Target
from NeuroSAM2Web.server.allowed_folders import AllowedFolders, Listing
from NeuroSAM2Web.ui.file_panel import FilePanel
from NeuroSAM2Web.ui.widgets import key_button, path_row, progress


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


TITLES = {
    Target.NIFTI: "Segmentation, NIfTI labels with their table (.nii.gz, .tsv)",
    Target.SEGMENTATION: "Segmentation with names and colours (.seg.nrrd)",
    Target.DICOM: "Segmentation for DICOM systems (.dcm)",
    Target.STL: "Surfaces, for printing (.stl)",
    Target.OBJ: "Surfaces (.obj)",
    Target.PLY: "Surfaces with colours (.ply)",
    Target.GLB: "Surfaces, all in one coloured file (.glb)",
    Target.SCENE: "Everything: image, segmentation and prompts (.mrb)",
}
CHOOSER = "ns-file-chooser"
FIELD = {"density": "compact", "variant": "outlined", "hide_details": True}
WIDTH_PX = 620


def build_buttons(panel: FilePanel) -> None:
    """Open and Save, for the bar."""
    key_button(
        "Open",
        "Ctrl+O",
        icon="mdi-folder-open-outline",
        variant="text",
        tip="Open an image, a segmentation or a scene",
        click=panel.show_open,
    )
    key_button(
        "Save",
        "Ctrl+S",
        icon="mdi-content-save-outline",
        variant="text",
        tip="Save the segmentation or everything",
        click=panel.show_save,
    )


def build_dialogs(panel: FilePanel, follow: Callable[[], None]) -> None:
    """Both dialogs, the question, and the status at the bottom of the page.

    Args:
        panel: Does what they say.
        follow: Begins to carry objects over from an earlier scan.
    """
    with (
        v3.VDialog(v_model=("files_opens",), max_width=WIDTH_PX),
        v3.VCard(title="Open", raw_attrs=['data-test="open"']),
    ):
        _build_open(panel, follow)
    with (
        v3.VDialog(v_model=("files_saves",), max_width=WIDTH_PX),
        v3.VCard(title="Save", raw_attrs=['data-test="save"']),
    ):
        _build_save(panel)
    with v3.VDialog(model_value=("!!files_question",), max_width=480, persistent=True), v3.VCard():
        v3.VCardText("{{ files_question }}")
        with v3.VCardActions():
            v3.VSpacer()
            v3.VBtn("No", click=(panel.answer, "[false]"))
            v3.VBtn("Open it", click=(panel.answer, "[true]"), color="primary", variant="flat")
    _build_series(panel)
    with (
        v3.VDialog(model_value=("!!files_unsure",), max_width=480, persistent=True),
        v3.VCard(title="Image or labels?", raw_attrs=['data-test="unsure"']),
    ):
        v3.VCardText(
            "{{ files_unsure }} has few, whole values: it may be an image, or a label map with outlined objects."
        )
        with v3.VCardActions():
            v3.VBtn("Cancel", click=(panel.choose_kind, "['UNSURE']"))
            v3.VSpacer()
            v3.VBtn("Image", click=(panel.choose_kind, "['IMAGE']"))
            v3.VBtn("Labels", click=(panel.choose_kind, "['LABELS']"), color="primary", variant="flat")
    with html.Div(
        v_if="files_busy || files_percent >= 0", classes="ns-busy", raw_attrs=['role="status"', 'data-test="busy"']
    ):
        html.Span("{{ files_busy || 'Sending the file, ' + files_percent + ' %' }}")
        progress("files_percent", is_unknown="files_percent < 0 || files_percent > 99")
        v3.VBtn("Cancel", v_if="files_busy", click=panel.cancel, size="small", variant="tonal", classes="ml-2")
    for name, colour, timeout in (("files_problem", "error", -1), ("files_said", "success", 8000)):
        with v3.VSnackbar(
            model_value=(f"!!{name}",),
            update_modelValue=f"{name} = ''",
            color=colour,
            timeout=timeout,
            raw_attrs=[f'data-test="{name}"'],
        ):
            html.Span(f"{{{{ {name} }}}}")
            with html.Template(raw_attrs=["#actions"]):
                v3.VBtn(icon="mdi-close", size="small", variant="text", click=f"{name} = ''", title="Close")


def _build_series(panel: FilePanel) -> None:
    """The list of DICOM series, of which the person opens one."""
    with (
        v3.VDialog(model_value=("!!files_series.length",), max_width=WIDTH_PX, persistent=True),
        v3.VCard(title="Which series?", raw_attrs=['data-test="series"']),
    ):
        with v3.VTable(density="compact", hover=True, fixed_header=True, height=320):
            with html.Thead(), html.Tr():
                for title in ("Description", "Modality", "Slices", "Size", "Date", "Folder"):
                    html.Th(title, scope="col")
            with html.Tbody(), html.Tr(v_for="one in files_series", key="one.key"):
                with html.Td():
                    v3.VBtn("{{ one.title }}", click=(panel.choose_series, "[one.key]"), size="small", variant="tonal")
                for name in ("modality", "slices", "size", "date", "folder"):
                    html.Td(f"{{{{ one.{name} }}}}")
        with v3.VCardActions():
            v3.VSpacer()
            v3.VBtn("Cancel", click=(panel.choose_series, "['']"))


def _build_open(panel: FilePanel, follow: Callable[[], None]) -> None:
    with v3.VCardText(classes="pb-0"):
        path_row("files_list", panel.enter, "text-truncate")
        with v3.VList(density="compact", border=True, rounded=True, style="height: 300px; overflow-y: auto"):
            v3.VListItem(
                v_for="entry in files_list.entries",
                key="entry.path",
                title=("entry.name",),
                subtitle=("entry.size",),
                prepend_icon=("entry.is_folder ? 'mdi-folder' : 'mdi-file-outline'",),
                click=(panel.pick, "[entry.path, entry.is_folder]"),
                raw_attrs=[':data-file="entry.name"'],
            )
        html.Div("Nothing here that can be opened.", v_if="!files_list.entries.length", classes="ns-hint mt-2")
        html.Div(
            "Images and label maps: .nii, .nii.gz, .mgz, .nrrd, .mha, .mhd. Segmentations: .seg.nrrd. Scenes: .mrb. "
            "DICOM: a folder with its series, or a .zip of it.",
            classes="ns-hint mt-2",
        )
    with v3.VCardActions(classes="flex-wrap"):
        html.Input(
            type="file",
            id=CHOOSER,
            multiple=True,
            style="display: none",
            change="utils.get('neurosam2_files.upload')($event.target.files); $event.target.value = ''",
        )
        v3.VBtn(
            "Upload from this browser",
            prepend_icon="mdi-upload",
            variant="tonal",
            click=f"utils.get('document').getElementById('{CHOOSER}').click()",
            title="Or drop files or a folder anywhere on the page; a label map together with its table",
        )
        v3.VBtn(
            "DICOM in this folder",
            prepend_icon="mdi-folder-multiple-image",
            variant="tonal",
            disabled=("!files_list.folder",),
            click=(panel.open_folder, "[files_list.folder]"),
            title="Open a DICOM series whose files are in the folder that is shown, or in those below it",
        )
        v3.VBtn(
            "Earlier scan",
            prepend_icon="mdi-history",
            variant="tonal",
            click=follow,
            title="Carry over what is outlined on an earlier scan of the same person",
        )
        v3.VSpacer()
        v3.VBtn("Cancel", click="files_opens = false")


def _build_save(panel: FilePanel) -> None:
    items = [{"title": title, "value": target.name} for target, title in TITLES.items()]
    with v3.VCardText(classes="pb-0"):
        v3.VSelect(
            items=("save_targets", items),
            model_value=("save_target",),
            update_modelValue=(panel.choose_target, "[$event]"),
            label="What",
            classes="mb-3",
            **FIELD,
        )
        for name, label in (("save_folder", "Folder"), ("save_name", "File name")):
            v3.VTextField(
                model_value=(name,),
                update_modelValue=(panel.set_field, f"['{name}', $event]"),
                label=label,
                classes="mb-3",
                raw_attrs=[f'data-test="{name}"'],
                **FIELD,
            )
        html.Div(
            "Beside a segmentation, a .json file tells how it was made.",
            v_if="['NIFTI', 'SEGMENTATION', 'DICOM'].includes(save_target)",
            classes="ns-hint",
        )
        with html.Div(v_if="save_links.length", classes="mt-2"):
            html.A(
                "{{ link.name }} ({{ link.size }})",
                v_for="link in save_links",
                key="link.address",
                href=("link.address.slice(1)",),
                download=("link.name",),
                classes="d-block text-primary",
                raw_attrs=['data-test="link"'],
            )
        html.Div("{{ save_replaces }}", v_if="save_replaces", classes="text-warning mt-2")
    with v3.VCardActions():
        v3.VBtn(
            "Download",
            prepend_icon="mdi-download",
            variant="tonal",
            click=panel.fetch,
            title="Save it where your browser is",
        )
        v3.VSpacer()
        v3.VBtn("Cancel", click="files_saves = false")
        v3.VBtn("Replace", v_if="save_replaces", click=(panel.save, "[true]"), color="warning", variant="flat")
        v3.VBtn("Save into the folder", v_if="!save_replaces", click=panel.save, color="primary", variant="flat")
