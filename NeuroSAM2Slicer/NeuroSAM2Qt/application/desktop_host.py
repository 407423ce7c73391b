"""Slicer's application as the controllers need it: its scene, its undo history, its questions, a folder for unsaved work."""

from pathlib import Path

import slicer
from NeuroSAM2Lib.segmentation.undo import EditHistory


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
