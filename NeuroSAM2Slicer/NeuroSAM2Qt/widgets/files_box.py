"""Files: Slicer's DICOM database, label maps as objects, objects for other programs, and objects of an earlier scan."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import qt
import slicer
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.presenters.follow_presenter import FollowPhase, FollowPresenter, FollowView
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.scene.files.exporting import ExportFormat
from NeuroSAM2Lib.scene.volume_nodes import read_volume
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.object_actions import add_objects, read_objects

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.labels import find_table, read_table
from NeuroSAM2Qt.connections import connect

FORMATS = {
    ExportFormat.NIFTI: _("NIfTI labels with their table (.nii.gz, .tsv)"),
    ExportFormat.DICOM: _("DICOM segmentation (.dcm)"),
    ExportFormat.STL: _("Surfaces, for printing (.stl)"),
    ExportFormat.OBJ: _("Surfaces (.obj)"),
    ExportFormat.PLY: _("Surfaces with colours (.ply)"),
    ExportFormat.GLB: _("Surfaces, all in one coloured file (.glb)"),
}
INSTANCES = "DICOM.instanceUIDs"
"""Attribute of a volume that Slicer has loaded from its DICOM database."""


def ask_labels() -> str:
    """The label map that the person chooses; empty for none."""
    kinds = _("Label maps") + " (*.nii *.nii.gz *.mgz *.mgh *.nrrd *.mha *.mhd)"
    return str(qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), _("Open a label map"), "", kinds) or "")


def ask_path(name: str, kind: ExportFormat) -> str:
    """The file that the person chooses to write; empty for none. The dialog asks before it replaces one."""
    title = f"{FORMATS[kind]} (*{kind.value})"
    return str(qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), _("Export"), name, title) or "")


class FilesBox:
    """The widgets.

    Args:
        ui: Has them.
        presenter: Of the session.
        follow: Carries objects over.
        do: Makes a button's function of an action.
    """

    def __init__(
        self,
        ui: SimpleNamespace,
        presenter: SegmentPresenter,
        follow: FollowPresenter,
        do: Callable[[Callable[..., None]], Callable[..., None]],
    ) -> None:
        self.ui, self.presenter, self.follow = ui, presenter, follow
        self.ask_labels, self.ask_path = ask_labels, ask_path
        self._ids: list[str] = []
        self._shown: FollowView | None = None
        for title in FORMATS.values():
            ui.exportSelector.addItem(title)
        connect(ui.dicomButton, "clicked()", lambda: slicer.util.selectModule("DICOM"))
        connect(ui.labelsButton, "clicked()", do(self._open_labels))
        connect(ui.exportButton, "clicked()", do(self._export))
        connect(ui.followButton, "clicked()", do(self._follow))
        connect(ui.useFollowButton, "clicked()", do(self._use))
        connect(ui.cancelFollowButton, "clicked()", do(follow.cancel))

    def poll(self) -> bool:
        """Shows what there is; true while scans are registered."""
        is_busy = self.follow.poll()
        scans = self.follow.scans
        if list(scans) != self._ids:
            self._ids = list(scans)
            self.ui.earlierSelector.clear()
            for scan in scans.values():
                self.ui.earlierSelector.addItem(scan.title)
        self._show(self.follow.view)
        return is_busy

    def show(self, *, can_prompt: bool, has_objects: bool) -> None:
        """What can be done now."""
        self.ui.labelsButton.setEnabled(can_prompt)
        self.ui.exportButton.setEnabled(has_objects)
        self.ui.followButton.setEnabled(can_prompt and bool(self._ids))

    def _show(self, view: FollowView) -> None:
        if view == self._shown:
            return
        self._shown, ui = view, self.ui
        ui.followProgressBar.setVisible(view.phase is FollowPhase.REGISTERING)
        ui.followProgressBar.setValue(view.percent)
        ui.followLabel.text = view.sentence
        ui.followLabel.setVisible(bool(view.sentence))
        ui.useFollowButton.setVisible(view.phase is FollowPhase.REVIEW)
        ui.cancelFollowButton.setVisible(view.phase is not FollowPhase.IDLE)

    def _open_labels(self) -> None:
        if path := self.ask_labels():
            self.presenter.act(lambda session: _add_labels(session, Path(path)))

    def _export(self) -> None:
        kind = list(FORMATS)[self.ui.exportSelector.currentIndex]
        volume_node, _segmentation_node = self.presenter.chosen
        if volume_node is None:
            return
        chosen = self.ask_path(f"{volume_node.GetName()} segmentation{kind.value}", kind)
        if not chosen:
            return
        path = Path(chosen if chosen.lower().endswith(kind.value) else chosen + kind.value)

        source_files = _source_files(volume_node) if kind is ExportFormat.DICOM else None
        self.presenter.export(kind, path, source_files=source_files, overwrite=path.exists())

    def _follow(self) -> None:
        place = self.ui.earlierSelector.currentIndex
        if 0 <= place < len(self._ids):
            self.follow.begin_with(self._ids[place])

    def _use(self) -> None:
        self.presenter.act(lambda session: self.follow.use(self.follow.carry()))


def _add_labels(session: SessionController, path: Path) -> None:
    """Opens a label map as objects; the node that Slicer has read it into goes away again."""
    node = slicer.util.loadLabelVolume(str(path))
    if node is None:
        raise DataError(_("{name} cannot be read").format(name=path.name), hint=_("choose another file"))
    try:
        beside = find_table(path)
        table = None if beside is None else read_table(beside)
        objects = read_objects(session.document.volume, read_volume(node), table)
    finally:
        slicer.mrmlScene.RemoveNode(node)
    add_objects(session, objects)


def _source_files(volume_node: slicer.vtkMRMLScalarVolumeNode) -> list[str] | None:
    """The DICOM slices that Slicer has loaded a volume from, in its order; None where it comes from elsewhere."""
    database = getattr(slicer, "dicomDatabase", None)
    names = [] if database is None else str(volume_node.GetAttribute(INSTANCES) or "").split()
    files = [database.fileForInstance(name) for name in names] if database is not None else []
    return [str(one) for one in files] if files and all(files) else None
