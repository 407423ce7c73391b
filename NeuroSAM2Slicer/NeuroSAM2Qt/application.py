"""Slicer's application as the controllers need it: its scene, its undo history, its questions, a folder for unsaved work, its slice views.

What goes on in the background is shown in the status bar of Slicer's main window, where it is seen from every module. The installer takes
the next step of an installation, after the person has agreed to it; it knows Slicer's ways to install and decides nothing. A head to
practise on is registered with Slicer's Sample Data module, too.
"""

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import slicer
import vtk
from NeuroSAM2Lib.engine.choice import TORCH, TRAINING_PACKAGES, Found, InstallPlan, Place, Step, training_plan
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.practice_volume import NAME, add_practice_volume
from NeuroSAM2Lib.segmentation.host import Host
from NeuroSAM2Lib.segmentation.undo import EditHistory

from NeuroSAM2Core.errors import DataError


class EditorHistory:
    """The Segment Editor's undo stack, so that clicks and manual edits are taken back in one order.

    Args:
        editor: The embedded qMRMLSegmentEditorWidget; it has the segmentation.
    """

    def __init__(self, editor: "slicer.qMRMLSegmentEditorWidget") -> None:
        self.editor = editor

    def save(self) -> None:
        """See `EditHistory`."""
        self.editor.saveStateForUndo()

    def undo(self) -> bool:
        """See `EditHistory`."""
        can = self.can_undo()
        self.editor.undo()
        return can

    def redo(self) -> bool:
        """See `EditHistory`."""
        can = self.can_redo()
        self.editor.redo()
        return can

    def can_undo(self) -> bool:
        """The editor says so by its own button."""
        return _is_enabled(self.editor, "UndoButton")

    def can_redo(self) -> bool:
        """See `can_undo`."""
        return _is_enabled(self.editor, "RedoButton")

    def forget(self) -> None:
        """The editor does so only for another segmentation."""
        if self.can_undo() or self.can_redo():
            node = self.editor.segmentationNode()
            self.editor.setSegmentationNode(None)
            self.editor.setSegmentationNode(node)


class DesktopHost:
    """A `Host`.

    Args:
        editor: The embedded segment editor.
    """

    def __init__(self, editor: "slicer.qMRMLSegmentEditorWidget") -> None:
        self.editor = editor

    @property
    def scene(self) -> slicer.vtkMRMLScene:
        """See `Host`."""
        return slicer.mrmlScene

    @property
    def journal_folder(self) -> Path:
        """Beside Slicer's settings, where it outlives a crash."""
        return Path(slicer.app.slicerUserSettingsFilePath).parent / "NeuroSAM2" / "journals"

    def edit_history(self, segmentation_node: slicer.vtkMRMLSegmentationNode) -> EditHistory:
        """See `Host`."""
        if self.editor.segmentationNode() is not segmentation_node:
            self.editor.setSegmentationNode(segmentation_node)
        return EditorHistory(self.editor)

    def editor_node(self) -> slicer.vtkMRMLSegmentEditorNode | None:
        """See `Host`."""
        return self.editor.mrmlSegmentEditorNode()

    def confirm(self, question: str) -> bool:
        """See `Host`."""
        return bool(slicer.util.confirmYesNoDisplay(question, windowTitle="NeuroSAM2"))


def _is_enabled(editor: "slicer.qMRMLSegmentEditorWidget", name: str) -> bool:
    return bool(slicer.util.findChild(editor, name).isEnabled())


def slicer_python() -> str:
    """PythonSlicer, which Slicer puts on its path; elsewhere the interpreter that runs this."""
    return shutil.which("PythonSlicer") or sys.executable


class StatusBar:
    """One sentence of ours; what others write there stays while we have nothing to say."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, sentence: str) -> None:
        """This from now on; empty for nothing."""
        if sentence != self._shown:
            self._shown = sentence
            slicer.util.showStatusMessage(sentence)


def slice_views() -> Iterator[tuple[slicer.vtkMRMLSliceNode, vtk.vtkRenderWindowInteractor]]:
    """Those of the layout; none without a main window."""
    manager = slicer.app.layoutManager()
    if manager is None:
        return
    for name in manager.sliceViewNames():
        widget = manager.sliceWidget(name)
        yield widget.mrmlSliceNode(), widget.sliceView().interactor()


EXTENSION = "PyTorch"


class Installer:
    """Finds what there is and installs what is missing."""

    def __init__(self) -> None:
        self.is_restart_due = False

    def found(self, place: Place) -> Found:
        """What there is now."""
        names = (TORCH, *TRAINING_PACKAGES)
        return Found(
            place=place,
            modules=frozenset(name for name in names if importlib.util.find_spec(name) is not None),
            python=sys.version_info[:2],
            has_extension=importlib.util.find_spec("PyTorchUtils") is not None,
            is_restart_due=self.is_restart_due,
        )

    def take(self, plan: InstallPlan) -> str:
        """Takes the step; returns a sentence where it did not work out.

        Args:
            plan: What the person has agreed to.
        """
        match plan.step:
            case Step.EXTENSION:
                return self._install_extension()
            case Step.RESTART:
                slicer.app.restart()
            case Step.TORCH:
                return _install_torch()
            case Step.PACKAGES:
                return _install_packages(plan.requirements)
            case Step.NOTHING:
                pass
        importlib.invalidate_caches()
        return ""

    def has_training_packages(self, place: Place, host: Host) -> bool:
        """Installs what training lacks if the person agrees; false where they do not.

        Args:
            place: Where training is to run.
            host: Asks the person.

        Raises:
            DataError: It takes more than that, or did not work out.
        """
        plan = training_plan(self.found(place))
        if not plan.sentence:
            return True
        if plan.step is not Step.PACKAGES:
            raise DataError(plan.sentence.removesuffix("."), hint=_("NeuroSAM2 Segment shows how"))
        if not host.confirm(plan.question):
            return False
        problem = self.take(plan)
        if problem:
            raise DataError(problem)
        return True

    def _install_extension(self) -> str:
        manager = slicer.app.extensionsManagerModel()
        if not manager.installExtensionFromServer(EXTENSION, False):
            return _(
                "The PyTorch extension could not be installed. Without a network, choose another Python under Engine."
            )
        self.is_restart_due = True
        return ""


def _install_torch() -> str:
    """Through the PyTorch extension, which knows the right build for this computer."""
    import PyTorchUtils

    try:
        installed = PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=False)
    except Exception as error:  # what pip says
        return _("PyTorch could not be installed: {error}").format(error=error)
    return "" if installed is not None else _("PyTorch was not installed.")


def _install_packages(requirements: tuple[str, ...]) -> str:
    try:
        try:
            from slicer.packaging import pip_install

            pip_install(list(requirements))
        except ImportError:
            slicer.util.pip_install(" ".join(f'"{one}"' for one in requirements))
    except Exception as error:  # what pip says
        return _("The packages could not be installed: {error}").format(error=error)
    return ""


CATEGORY = "NeuroSAM2"


def load_sample() -> slicer.vtkMRMLScalarVolumeNode:
    """A head made on the spot, shown in the slice views."""
    node = add_practice_volume(slicer.mrmlScene)
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node


def register_sample(thumbnail: str) -> None:
    """Lists it among Slicer's sample data.

    Args:
        thumbnail: Path of a picture.
    """
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=NAME,
        thumbnailFileName=thumbnail,
        uris="",
        fileNames="",
        nodeNames=NAME,
        customDownloader=lambda source: load_sample(),
    )
