"""What controllers need of their host: Slicer's application, the browser app, a script or a test."""

from pathlib import Path
from typing import Protocol

import slicer

from NeuroSAM2Lib.segmentation.undo import EditHistory


class Host(Protocol):
    """The differences between Slicer and a scene without an application."""

    @property
    def scene(self) -> slicer.vtkMRMLScene:
        """The scene that is worked in."""

    @property
    def journal_folder(self) -> Path:
        """Where unsaved work is written down in case this process ends without warning."""

    def edit_history(self, segmentation_node: slicer.vtkMRMLSegmentationNode) -> EditHistory:
        """The undo history that the manual tools use for a segmentation."""

    def editor_node(self) -> slicer.vtkMRMLSegmentEditorNode | None:
        """The Segment Editor's settings; None where there is no editor."""

    def confirm(self, question: str) -> bool:
        """Asks the person; true only for a clear yes."""
