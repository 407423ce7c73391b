"""Slice views with a hand on the mouse."""

from pathlib import Path

import slicer
from NeuroSAM2Lib.headless import views
from NeuroSAM2Lib.headless.application import HeadlessApplication
from PIL import Image


class SliceView(views.SliceView):
    """One view that is clicked and dragged in."""

    def save(self, path: Path) -> None:
        """The picture as PNG."""
        Image.fromarray(self.draw()[::-1]).save(path)

    def click(self, x: int, y: int) -> None:
        """Move there, press, release."""
        for event in ("EnterEvent", "MouseMoveEvent", "LeftButtonPressEvent", "LeftButtonReleaseEvent"):
            self.mouse(event, x, y)

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Press, move, release."""
        self.mouse("EnterEvent", *start)
        self.mouse("MouseMoveEvent", *start)
        self.mouse("LeftButtonPressEvent", *start)
        self.mouse("MouseMoveEvent", *((a + b) // 2 for a, b in zip(start, end, strict=True)))
        self.mouse("MouseMoveEvent", *end)
        self.mouse("LeftButtonReleaseEvent", *end)


def start_placing(app: HeadlessApplication, node: slicer.vtkMRMLMarkupsNode) -> None:
    """Clicks in views go into this list from now on, as after pressing Slicer's place button."""
    app.markups.SetActiveList(node)
    interaction = app.scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    interaction.SetPlaceModePersistence(1)
    interaction.SetCurrentInteractionMode(interaction.Place)


def stop_placing(app: HeadlessApplication) -> None:
    """Clicks in views move things again."""
    interaction = app.scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
