"""The next scan of the same person: registers it in a process beside this one, shows the result, and uses it if the person says so."""

import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import slicer

from NeuroSAM2Core.errors import DataError, NeuroSAM2Error
from NeuroSAM2Core.processes import ProcessTree, exit_summary
from NeuroSAM2Core.registration import Registration, thinned
from NeuroSAM2Lib.engine.choice import StartProgram, starter
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.scene.segments.segment_masks import SegmentationSnapshot
from NeuroSAM2Lib.scene.volume_nodes import add_volume
from NeuroSAM2Lib.segmentation.object_actions import CarriedObjects, add_carried, carry_objects

OVERLAY_OPACITY = 0.5
PROGRESS = re.compile(r"^progress (\d\.\d+)$", re.MULTILINE)
RESULT, LOG = "registration.json", "log.txt"


class FollowPhase(Enum):
    """How far it is."""

    IDLE = "idle"
    REGISTERING = "registering"
    REVIEW = "review"
    """The earlier scan lies over this one; the person looks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FollowView:
    """What is shown."""

    phase: FollowPhase = FollowPhase.IDLE
    percent: int = 0
    sentence: str = ""
    """How the scans lie to each other, or what went wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class EarlierScan:
    """A segmentation in the scene, with the image that it was made on."""

    segmentation_node: slicer.vtkMRMLSegmentationNode
    volume_node: slicer.vtkMRMLScalarVolumeNode

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.volume_node.GetName()}: {self.segmentation_node.GetName()}"


def earlier_scans(
    scene: slicer.vtkMRMLScene, volume_node: slicer.vtkMRMLScalarVolumeNode | None
) -> dict[str, EarlierScan]:
    """What can be carried to an image, by the id of the segmentation: whatever is outlined on another one."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    found, scans = scene.GetNodesByClass("vtkMRMLSegmentationNode"), {}
    for number in range(found.GetNumberOfItems()):
        node = found.GetItemAsObject(number)
        image = node.GetNodeReference(role)
        if image is not None and image is not volume_node and node.GetSegmentation().GetNumberOfSegments():
            scans[str(node.GetID())] = EarlierScan(node, image)
    return scans


def follow_presenter(presenter: SegmentPresenter, slicer_python: str) -> "FollowPresenter":
    """One that runs NeuroSAM2 where the engine of the presenter is, on this machine."""

    def start(command: Sequence[str], log: Path, *, stop_file: Path | None = None) -> ProcessTree:
        return starter(presenter.choice.environment(slicer_python))(command, log, stop_file=stop_file)

    return FollowPresenter(presenter, lambda: presenter.choice.command(slicer_python), start)


class FollowPresenter:
    """One for the panel.

    Args:
        presenter: Its session is on the later scan.
        command: The start of a command that runs NeuroSAM2, now.
        start: Starts it.
    """

    def __init__(
        self, presenter: SegmentPresenter, command: Callable[[], tuple[str, ...]], start: StartProgram
    ) -> None:
        self._presenter, self._command, self._start = presenter, command, start
        self._program: ProcessTree | None = None
        self._folder: Path | None = None
        self._earlier: SegmentationSnapshot | None = None
        self._later: slicer.vtkMRMLScalarVolumeNode | None = None
        self._registration: Registration | None = None
        self._overlay: slicer.vtkMRMLScalarVolumeNode | None = None
        self._foregrounds: list[tuple[slicer.vtkMRMLSliceCompositeNode, str | None, float]] = []
        self._problem = ""

    @property
    def view(self) -> FollowView:
        """What is shown now."""
        if self._registration is not None:
            return FollowView(phase=FollowPhase.REVIEW, percent=100, sentence=self._sentence(self._registration))
        if self._program is None:
            return FollowView(sentence=self._problem)
        return FollowView(phase=FollowPhase.REGISTERING, percent=self._percent(), sentence=_("Registering the scans"))

    @property
    def scans(self) -> dict[str, EarlierScan]:
        """What can be carried to the image that is worked on; see `earlier_scans`."""
        return earlier_scans(self._presenter.host.scene, self._presenter.chosen[0])

    def begin_with(self, segmentation_id: str) -> None:
        """The same as `begin`, for a scan of `scans`."""
        if (scan := self.scans.get(segmentation_id)) is not None:
            self.begin(scan.volume_node, scan.segmentation_node)

    def begin(
        self, volume_node: slicer.vtkMRMLScalarVolumeNode, segmentation_node: slicer.vtkMRMLSegmentationNode
    ) -> None:
        """Registers an earlier scan, of which something is outlined, with the one that is worked on; a mistake becomes a sentence."""
        self.cancel()
        try:
            self._begin(volume_node, segmentation_node)
        except NeuroSAM2Error as error:
            self.cancel()
            self._problem = str(error)

    def poll(self) -> bool:
        """Takes in what has come; true while the process runs."""
        if self._program is None or self._folder is None:
            return False
        code = self._program.poll()
        if code is None:
            return True
        folder, self._program = self._folder, None
        try:
            if code != 0:
                raise DataError(exit_summary(_("the registration"), code, folder / LOG))
            self._registration = Registration.from_text((folder / RESULT).read_text(encoding="utf-8"))
            self._show_overlay(self._registration)
        except (NeuroSAM2Error, OSError) as error:
            self.cancel()
            self._problem = str(error)
        self._delete_folder()
        return False

    def carry(self) -> CarriedObjects:
        """The objects on this scan; takes a moment, touches no scene and may run in a thread.

        Raises:
            DataError: There is nothing to carry.
        """
        session = self._presenter.session
        if self._registration is None or self._earlier is None or session is None:
            raise DataError(_("no scan is registered"), hint=_("choose the earlier scan first"))
        if session.document.volume_node is not self._later:
            raise DataError(_("another image was chosen meanwhile"), hint=_("register the scans again"))
        return carry_objects(self._earlier, session.document.volume, self._registration)

    def use(self, carried: CarriedObjects) -> None:
        """The objects become prompts here, and the model answers; a mistake becomes the session's notice."""
        self.cancel()
        self._presenter.act(lambda session: add_carried(session, carried))

    def cancel(self) -> None:
        """Ends the process, or takes the earlier scan out of the views; nothing is used."""
        if self._program is not None:
            self._program.kill()
            self._program.wait(5.0)
        self._program = self._registration = self._earlier = self._later = None
        self._problem = ""
        self._hide_overlay()
        self._delete_folder()

    def _begin(
        self, volume_node: slicer.vtkMRMLScalarVolumeNode, segmentation_node: slicer.vtkMRMLSegmentationNode
    ) -> None:
        session = self._presenter.session
        if session is None or session.ended:
            raise DataError(_("there is no scan to carry to"), hint=_("open the later scan first"))
        if volume_node is session.document.volume_node:
            raise DataError(_("that is the scan itself"), hint=_("choose an earlier one"))
        self._later = session.document.volume_node
        self._earlier = SegmentationSnapshot.take(segmentation_node, volume_node)
        self._folder = Path(tempfile.mkdtemp(prefix="neurosam2-"))
        paths = [self._folder / f"{name}.nii" for name in ("earlier", "later")]
        for path, volume in zip(paths, (self._earlier.volume, session.document.volume), strict=True):
            thinned(volume).write(path)
        command = (*self._command(), "follow", *map(str, paths), "--registration-only", str(self._folder / RESULT))
        self._program = self._start(command, self._folder / LOG)

    def _percent(self) -> int:
        try:
            text = (Path() if self._folder is None else self._folder / LOG).read_text(
                encoding="utf-8", errors="replace"
            )
        except OSError:
            return 0
        said = PROGRESS.findall(text)
        return round(100 * float(said[-1])) if said else 0

    def _sentence(self, registration: Registration) -> str:
        session = self._presenter.session
        if session is None:
            return ""
        volume = session.document.volume
        centre = volume.to_ras((np.array(volume.shape[::-1]) - 1) / 2)
        sentence = _(
            "The earlier scan lies over this one: turned by {angle} degrees, moved by {shift} mm; "
            "mutual information {before} before, {after} after."
        ).format(
            angle=f"{registration.angle_degrees:.1f}",
            shift=f"{registration.shift_mm(centre):.1f}",
            before=f"{registration.similarity_before:.2f}",
            after=f"{registration.similarity:.2f}",
        )
        doubt = _(" The registration is doubtful: look well.")
        return sentence + (doubt if registration.is_doubtful else "")

    def _show_overlay(self, registration: Registration) -> None:
        """The earlier scan, where it lies now, half transparent over the later one in all slice views."""
        assert self._earlier is not None, "it was registered"
        scene = self._presenter.host.scene
        volume = self._earlier.volume
        self._overlay = add_volume(scene, volume.moved(registration.to_later), f"{volume.name} registered")
        self._overlay.SetHideFromEditors(True)
        self._overlay.SetSaveWithScene(False)
        found = scene.GetNodesByClass("vtkMRMLSliceCompositeNode")
        for number in range(found.GetNumberOfItems()):
            node = found.GetItemAsObject(number)
            self._foregrounds.append((node, node.GetForegroundVolumeID(), node.GetForegroundOpacity()))
            node.SetForegroundVolumeID(self._overlay.GetID())
            node.SetForegroundOpacity(OVERLAY_OPACITY)

    def _hide_overlay(self) -> None:
        scene = self._presenter.host.scene
        for node, volume_id, opacity in self._foregrounds:
            if self._overlay is not None and node.GetForegroundVolumeID() == self._overlay.GetID():
                node.SetForegroundVolumeID(volume_id)
                node.SetForegroundOpacity(opacity)
        self._foregrounds = []
        if self._overlay is not None and scene.IsNodePresent(self._overlay):
            scene.RemoveNode(self._overlay)
        self._overlay = None

    def _delete_folder(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None
