"""Slicer's own slice views, drawn off screen, with a mouse."""

from pathlib import Path

import numpy as np
import slicer
import vtk
from NeuroSAM2MRML.headless import HeadlessApplication
from NeuroSAM2MRML.scene.arrays import to_matrix

MANAGERS = (
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)


class SliceView:
    """One view: the slice logic, the displayable managers and the interactor style that Slicer has too."""

    def __init__(
        self, app: HeadlessApplication, name: str, orientation: str, size: tuple[int, int] = (320, 320)
    ) -> None:
        self.size = size
        self.renderer = vtk.vtkRenderer()
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(*size)
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(app.logic)
        for manager in MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self.managers = slicer.vtkMRMLDisplayableManagerGroup()
        self.managers.SetRenderer(self.renderer)
        self.managers.Initialize(factory, self.renderer)
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(app.logic)
        app.logic.GetSliceLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(app.scene)
        self.style = slicer.vtkMRMLSliceViewInteractorStyle()
        self.style.SetSliceLogic(self.logic)
        self.style.SetDisplayableManagers(self.managers)
        self.node = self.logic.AddSliceNode(name)
        self.node.SetOrientation(orientation)
        self.node.SetMappedInLayout(1)
        self.managers.SetMRMLDisplayableNode(self.node)
        self.style.SetInteractor(self.interactor)
        self.mapper = vtk.vtkImageMapper()
        self.mapper.SetColorWindow(255)
        self.mapper.SetColorLevel(127.5)
        self.picture = vtk.vtkActor2D()
        self.picture.SetMapper(self.mapper)
        self.picture.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(self.picture)
        self.logic.ResizeSliceNode(*size)

    def show(self, volume_node: slicer.vtkMRMLScalarVolumeNode, ras: np.ndarray) -> None:
        """The volume, whole, through a world position."""
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume_node.GetID())
        self.logic.FitSliceToBackground()
        self.node.JumpSliceByOffsetting(*map(float, ras))

    def draw(self, path: Path | None = None) -> np.ndarray:
        """The picture (H, W, 3), its first row at the bottom; written as PNG if a path is given."""
        connection = self.logic.GetImageDataConnection()
        self.mapper.SetInputConnection(connection)
        self.picture.SetVisibility(bool(connection))
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.SetInputBufferTypeToRGB()
        grab.ReadFrontBufferOff()
        grab.Update()
        if path is not None:
            writer = vtk.vtkPNGWriter()
            writer.SetFileName(str(path))
            writer.SetInputConnection(grab.GetOutputPort())
            writer.Write()
        image = grab.GetOutput()
        width, height, _ = image.GetDimensions()
        return np.asarray(memoryview(image.GetPointData().GetScalars())).reshape(height, width, 3).copy()

    def to_ras(self, x: float, y: float) -> np.ndarray:
        """The world position of a screen pixel."""
        return (to_matrix(self.node.GetXYToRAS()) @ [x, y, 0, 1])[:3]

    def to_xy(self, ras: np.ndarray) -> tuple[int, int]:
        """The screen pixel of a world position."""
        x, y, _, _ = np.linalg.inv(to_matrix(self.node.GetXYToRAS())) @ [*ras, 1]
        return round(x), round(y)

    def mouse(self, event: str, x: int, y: int) -> None:
        """One event of the mouse."""
        self.interactor.SetEventInformation(int(x), int(y), 0, 0, chr(0), 0, None)
        self.interactor.InvokeEvent(event)

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
