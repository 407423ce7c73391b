"""Slicer's own slice views, drawn off screen: slice logic, displayable managers and interactor style, without Slicer's application.

What the browser shell shows and the tests look at. Drawing needs EGL and crashes where there is none; look before.
"""

from collections.abc import Callable

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from NeuroSAM2Lib.headless.application import HeadlessApplication
from NeuroSAM2Lib.headless.segment_overlay import SegmentOverlay
from NeuroSAM2Lib.scene.arrays import Matrix, to_matrix
from NeuroSAM2Lib.scene.observer import SceneObserver

ORIENTATIONS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}
"""The views of Slicer's usual layout."""
MANAGERS = (
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLScalarBarDisplayableManager",
)
"""The last one holds the mouse's window and level."""
SEGMENTS = "vtkMRMLSegmentationsDisplayableManager2D"
"""Not needed where a `SegmentOverlay` draws the segments."""


class SliceView:
    """One view.

    Args:
        app: Has the scene.
        name: Of the view, such as Red.
        orientation: Axial, Coronal or Sagittal.
        size: Width and height in pixels.
        overlay: Draws the segments; Slicer's displayable manager does if None.
    """

    def __init__(
        self,
        app: HeadlessApplication,
        name: str,
        orientation: str,
        size: tuple[int, int] = (320, 320),
        overlay: SegmentOverlay | None = None,
    ) -> None:
        self._overlay = overlay
        self.renderer = vtk.vtkRenderer()
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        factory = self._factory = slicer.vtkMRMLDisplayableManagerFactory()
        factory.SetMRMLApplicationLogic(app.logic)
        for manager in MANAGERS:
            if overlay is None or manager != SEGMENTS:
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
        self.resize(*size)
        self._watch = SceneObserver()
        self._on_change: Callable[[], None] = lambda: None

    def resize(self, width: int, height: int) -> None:
        """So many pixels from now on; what is shown stays in the middle."""
        self.size = width, height
        self.window.SetSize(width, height)
        self.logic.ResizeSliceNode(width, height)

    def watch(self, on_change: Callable[[], None]) -> None:
        """Calls a function whenever the picture may have become out of date; often several times in a row."""
        self._on_change = on_change
        self._watch.on(self.managers, vtk.vtkCommand.UpdateEvent, self._notice)
        self._watch.on(self.logic, vtk.vtkCommand.ModifiedEvent, self._notice)

    def show(self, volume_node: slicer.vtkMRMLScalarVolumeNode, ras: Matrix | None = None) -> None:
        """The volume, whole, through a world position, (3,) in mm; through its middle if None."""
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume_node.GetID())
        self.logic.FitSliceToBackground()
        if ras is not None:
            self.node.JumpSliceByOffsetting(*map(float, ras))

    def fit(self) -> None:
        """The whole image again, on the slice that is shown."""
        offset = self.node.GetSliceOffset()
        self.logic.FitSliceToBackground()
        self.node.SetSliceOffset(offset)

    def look_like(self, other: "SliceView") -> None:
        """The same slice as another view, the same place in the middle, as large."""
        was_modifying = self.node.StartModify()
        self.node.GetSliceToRAS().DeepCopy(other.node.GetSliceToRAS())
        width, height, depth = other.node.GetFieldOfView()
        self.node.SetFieldOfView(width * self.size[0] / other.size[0], height * self.size[1] / other.size[1], depth)
        self.node.SetXYZOrigin(*other.node.GetXYZOrigin())
        self.node.UpdateMatrices()
        self.node.EndModify(was_modifying)

    def draw(self) -> NDArray[np.uint8]:
        """The picture (H, W, 3), its first row at the bottom."""
        connection = self.logic.GetImageDataConnection()
        if self._overlay is None or connection is None:
            self.mapper.SetInputConnection(connection)
        else:
            self.mapper.SetInputData(self._with_segments(self._overlay, connection))
        self.picture.SetVisibility(bool(connection))
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.SetInputBufferTypeToRGB()
        grab.ReadFrontBufferOff()
        grab.ShouldRerenderOff()
        grab.Update()
        image = grab.GetOutput()
        width, height, _ = image.GetDimensions()
        return np.asarray(memoryview(image.GetPointData().GetScalars())).reshape(height, width, 3).copy()

    def _with_segments(self, overlay: SegmentOverlay, connection: vtk.vtkAlgorithmOutput) -> vtk.vtkImageData:
        """A copy of the logic's image with the segments blended in."""
        algorithm = connection.GetProducer()
        algorithm.Update()
        image = vtk.vtkImageData()
        image.DeepCopy(algorithm.GetOutputDataObject(connection.GetIndex()))
        width, height, _ = image.GetDimensions()
        rows = np.asarray(memoryview(image.GetPointData().GetScalars())).reshape(height, width, -1)
        overlay.draw(rows[..., :3], self.node)
        return image

    def to_ras(self, x: float, y: float) -> Matrix:
        """The world position, (3,) in mm, of a screen pixel; y goes up."""
        return np.asarray((to_matrix(self.node.GetXYToRAS()) @ [x, y, 0, 1])[:3])

    def to_xy(self, ras: Matrix) -> tuple[int, int]:
        """The screen pixel of a world position."""
        x, y, _, _ = np.linalg.inv(to_matrix(self.node.GetXYToRAS())) @ [*ras, 1]
        return round(x), round(y)

    def place_point(self, node: slicer.vtkMRMLMarkupsNode, x: float, y: float) -> None:
        """Adds a control point to a list where the view is clicked, as Slicer's place mode does.

        Args:
            node: The list.
            x: Screen pixel.
            y: Going up.
        """
        crosshair = self.node.GetScene().GetFirstNodeByClass("vtkMRMLCrosshairNode")
        crosshair.SetCursorPositionXYZ([x, y, 0.0], self.node)
        node.AddControlPointWorld(*map(float, self.to_ras(x, y)))
        crosshair.SetCursorPositionInvalid()

    def mouse(self, event: str, x: int, y: int, *, has_control: bool = False, has_shift: bool = False) -> None:
        """One event of the mouse, by VTK's name, at a screen pixel."""
        self.interactor.SetEventInformation(int(x), int(y), int(has_control), int(has_shift), chr(0), 0, None)
        self.interactor.InvokeEvent(event)

    def _notice(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self._on_change()
